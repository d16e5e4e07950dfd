# ACL policy for --consul.register, beside exporter.hcl or analyzer.hcl: it may register its own service and no other.
#   consul acl policy create -name consul-canary-register -rules @register.hcl
# With --consul.register-name, put that name here.
service "consul-canary-exporter" {
  policy = "write"
}
service "consul-canary-analyzer" {
  policy = "write"
}
