#include "tests/chaos/cluster.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

namespace consul_canary::testing {

using base::Result;

Result<std::unique_ptr<Cluster>> Cluster::Start() {
  auto cluster = std::make_unique<Cluster>();
  std::vector<std::string> join;
  for (std::size_t i = 0; i < kServers; ++i) {
    auto server = ConsulAgent::Begin({.node = fmt::format("server-{}", i + 1),
                                      .servers = static_cast<int>(kServers),
                                      .join = join});
    if (!server) return tl::unexpected(server.error());
    join.push_back((*server)->lan_address());
    cluster->servers_.at(i) = std::move(*server);
  }
  auto client = ConsulAgent::Begin({.node = "mesh", .client = true, .join = join});
  if (!client) return tl::unexpected(client.error());
  cluster->client_ = std::move(*client);
  for (const auto& server : cluster->servers_) {
    if (const auto ready = server->WaitUntilReady(); !ready) return tl::unexpected(ready.error());
  }
  if (const auto ready = cluster->client_->WaitUntilReady(); !ready) {
    return tl::unexpected(ready.error());
  }
  // Sidecars whose first certificate is refused wait long before they ask again.
  const auto certifies = [&cluster] {
    return cluster->client_->Get("/v1/agent/connect/ca/leaf/first").has_value();
  };
  if (!WaitUntil(certifies, seconds(20))) {
    return base::Fail(base::ErrorCode::kUnavailable, "the client agent gets no certificate");
  }
  return cluster;
}

std::optional<std::size_t> Cluster::Leader() const {
  for (std::size_t i = 0; i < kServers; ++i) {
    const auto self = servers_.at(i)->http().Call(
        "GET", servers_.at(i)->address() + "/v1/agent/self", "", {}, milliseconds(500));
    if (!self) continue;
    const auto json = nlohmann::json::parse(self->body, nullptr, false);
    if (!json.is_object()) continue;
    if (json["Stats"]["consul"].value("leader", "false") == "true") return i;
  }
  return std::nullopt;
}

void Cluster::KeepLogs() {
  for (const auto& server : servers_) server->folder().Keep();
  client_->folder().Keep();
}

}  // namespace consul_canary::testing
