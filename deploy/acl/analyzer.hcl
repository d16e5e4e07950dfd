# ACL policy of consul-canary-analyzer: what the exporter reads, and writes to what it rolls out.
#   consul acl policy create -name consul-canary-analyzer -rules @analyzer.hcl
# Config entries are written in the primary datacenter: the token must be known there.

# One block like this for each service that may be rolled out: write covers its service-splitter,
# service-resolver and service-router.
# service_prefix "" with write lets the analyzer roll out any service, and whoever has its token register any.
service "api" {
  policy = "write"
}

# Callers, their sidecars and the services that splitters name.
service_prefix "" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}

# Its own service, whose check its session is bound to: without it another analyzer takes over 10 to 20 s after this one
# was killed, instead of 2. With --consul.register-name, put that name here.
service "consul-canary-analyzer" {
  policy = "write"
}

# Specifications, state, decisions, orders and locks.
key_prefix "consul-canary/" {
  policy = "write"
}

# The session that holds the locks. The name of the agent's node, instead of every node, is enough where the analyzer
# always speaks to the same agent: session "NODE" { policy = "write" }
session_prefix "" {
  policy = "write"
}
