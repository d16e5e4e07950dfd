// What Consul has said so far, and what follows from it: what else to ask, whom to scrape, and the
// snapshot. Plain values and pure functions; collector.cc feeds it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "exporter/collect/reading.h"
#include "exporter/collect/snapshot.h"
#include "exporter/collect/targets.h"
#include "exporter/consul/client.h"

namespace consul_canary::collect {

// The last good answer to one question, and the error since, if there is one.
template <class T>
struct Answer {
  std::optional<T> value;
  std::optional<base::Error> error;
};

struct MeshState {
  Answer<std::map<std::string, consul::Splitter>> splitters;  // by name, as all three
  Answer<std::map<std::string, consul::Resolver>> resolvers;
  Answer<std::map<std::string, consul::Router>> routers;
  Answer<std::vector<std::string>> proxy_services;
  Answer<std::vector<std::string>> gateways;
  // By path: health of proxies, gateways and shown services, and of their subsets; and what each
  // gateway calls.
  std::map<std::string, Answer<std::vector<consul::Instance>>> health;
  std::map<std::string, Answer<std::vector<std::string>>> gateway_services;
  std::set<std::string> followed;  // besides those with a splitter
  Answer<bool> heartbeat;          // value true: Consul has a leader
};

// Every service that a snapshot shows: the followed ones and those with a splitter.
[[nodiscard]] std::set<std::string> ShownServices(const MeshState& state);

// The paths of `health` and `gateway_services` to ask now, the most important first: followed
// services, their subsets and proxies, then those with a splitter, then proxies of whom nothing
// relevant is known.
[[nodiscard]] std::vector<std::string> WantedPaths(const MeshState& state);

// Sidecars that call or serve a shown service, by ProxyId, as far as they have an address.
[[nodiscard]] std::map<std::string, ScrapeTarget> WantedTargets(const MeshState& state);

// Whether every question has been answered or refused once.
[[nodiscard]] bool IsComplete(const MeshState& state);

[[nodiscard]] std::optional<base::Error> FirstError(const MeshState& state);

// The services of a snapshot without what their sidecars said.
using MeshOutline = std::map<std::string, ServiceSnapshot>;

// What Consul's answers say; needed anew only when one of them changes.
[[nodiscard]] MeshOutline Outline(const MeshState& state);

// The outline with the newest readings, once a round: what these hold is shared, not copied.
[[nodiscard]] std::map<std::string, std::shared_ptr<const ServiceSnapshot>> Assemble(
    const MeshOutline& outline, const std::map<std::string, SidecarReading>& readings);

}  // namespace consul_canary::collect
