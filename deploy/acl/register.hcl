# ACL policy for the exporter's --consul.register, beside exporter.hcl: it may register its own service and no other. The
# analyzer's is in analyzer.hcl.
#   consul acl policy create -name consul-canary-register -rules @register.hcl
# With --consul.register-name, put that name here.
service "consul-canary-exporter" {
  policy = "write"
}
