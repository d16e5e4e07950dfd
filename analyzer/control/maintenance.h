// Consul's maintenance mode for the instances of a rolled-back canary (`on_rollback.maintenance`):
// they count as critical and get no traffic from anybody until somebody ends it. Tries, and says
// how it went; nothing waits for it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "analyzer/control/managed.h"
#include "exporter/consul/client.h"

namespace consul_canary::control {

// I/O thread. Each instance's own agent alone can do it: the one that `client` speaks to is asked
// first, and where it does not have the instance, the agent at the node's address with the same
// scheme and port. `done` gets a sentence for the decision log that names who could not be reached;
// it is not called once the client is gone.
void BeginMaintenance(consul::Client& client, std::vector<InstanceAddress> instances,
                      std::string reason, std::function<void(std::string)> done);

// "http://127.0.0.1:8500" and 10.0.0.7 → "http://10.0.0.7:8500"; the address itself where it is
// none, as a Unix socket's.
[[nodiscard]] std::string AgentAt(const std::string& address, const std::string& node_address);

}  // namespace consul_canary::control
