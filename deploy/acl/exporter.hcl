# ACL policy of consul-canary-exporter: it reads config entries, the catalog, health and intentions (service read
# includes these), and writes nothing. What --consul.register needs besides is in register.hcl.
#   consul acl policy create -name consul-canary-exporter -rules @exporter.hcl
service_prefix "" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}
