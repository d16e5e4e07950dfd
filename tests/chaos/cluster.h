// Three Consul servers and a client agent, for the mesh's services, as in a real datacenter: what
// befalls a server does not take the services' checks along.
#pragma once

#include <array>
#include <memory>

#include "exporter/base/result.h"
#include "tests/support/consul_agent.h"

namespace consul_canary::testing {

class Cluster {
 public:
  static constexpr std::size_t kServers = 3;

  // Waits until there is a leader and every agent knows it.
  [[nodiscard]] static base::Result<std::unique_ptr<Cluster>> Start();

  [[nodiscard]] ConsulAgent& server(std::size_t index) { return *servers_.at(index); }
  [[nodiscard]] ConsulAgent& client() { return *client_; }

  // The server that leads by its own word; nullopt: none says so.
  [[nodiscard]] std::optional<std::size_t> Leader() const;

  void KeepLogs();  // the folders stay

 private:
  std::array<std::unique_ptr<ConsulAgent>, kServers> servers_;
  std::unique_ptr<ConsulAgent> client_;
};

}  // namespace consul_canary::testing
