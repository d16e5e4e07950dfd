// What Consul has said so far, and what follows from it: what else to ask, whom to scrape, and the
// snapshot. Plain values and pure functions; collector.cc feeds it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "exporter/collect/answer.h"
#include "exporter/collect/path_set.h"
#include "exporter/collect/reading.h"
#include "exporter/collect/snapshot.h"
#include "exporter/collect/static_targets.h"
#include "exporter/collect/targets.h"
#include "exporter/consul/checks.h"
#include "exporter/consul/client.h"
#include "exporter/consul/intentions.h"

namespace consul_canary::collect {

struct MeshState {
  Answer<std::map<std::string, consul::Splitter>> splitters;  // by name, as all three
  Answer<std::map<std::string, consul::Resolver>> resolvers;
  Answer<std::map<std::string, consul::Router>> routers;
  Answer<std::vector<std::string>> proxy_services;
  Answer<std::vector<std::string>> gateways;
  std::map<std::string, Answer<bool>> defaults;  // by kind; true: the entries could be read
  // By path: health of proxies, gateways and shown services, and of their subsets; and what each
  // gateway calls.
  std::map<std::string, Answer<std::vector<consul::Instance>>> health;
  std::map<std::string, Answer<std::vector<std::string>>> gateway_services;
  Answer<std::vector<consul::Intention>> intentions;
  Answer<bool> allowed_by_default;  // calls that no intention speaks of
  Answer<std::set<consul::FailingCheck>> failing_checks;
  StaticTargets static_targets;
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

// Whether every question has been answered or refused once. With static targets, a mesh that
// forbids the catalog is complete without it.
[[nodiscard]] bool IsComplete(const MeshState& state);

// What keeps the snapshot from being current as a whole: nullopt where only some service's own
// questions fail, or those that static targets stand in for.
[[nodiscard]] std::optional<base::Error> FirstError(const MeshState& state);

// Every question that fails, for MeshSnapshot::consul_failures.
[[nodiscard]] std::map<std::string, base::Error> Failures(const MeshState& state);

// Whether intentions matter: some known sidecar is a transparent proxy.
[[nodiscard]] bool HasTransparentProxy(const MeshState& state);

// What a path of WantedPaths() answers.
[[nodiscard]] base::Result<PathValue> ReadPath(std::string_view path, std::string_view body);

// The paths of `health` that hold an instance which one of the checks concerns, or would hold it:
// a new instance shows by a check that fails before it is known.
[[nodiscard]] std::set<std::string> PathsOf(const MeshState& state,
                                            const std::set<consul::FailingCheck>& checks);

// A transparent proxy that may call more than is known of it: whether it does is on its page.
struct OpenCaller {
  CallerReading caller;
  std::set<std::string> known;  // services that it is a caller of already, and its own
};

// A snapshot without what sidecars said.
struct MeshOutline {
  std::map<std::string, ServiceSnapshot> services;
  std::vector<OpenCaller> open_callers;
};

// What Consul's answers say; needed anew only when one of them changes.
[[nodiscard]] MeshOutline Outline(const MeshState& state);

// Takes over splitters, resolvers and routers alone, for where no service, instance or proxy has
// changed.
void UpdateEntries(const MeshState& state, MeshOutline& outline);

// The outline with the newest readings, once a round: what these hold is shared, not copied.
[[nodiscard]] std::map<std::string, std::shared_ptr<const ServiceSnapshot>> Assemble(
    const MeshOutline& outline, const std::map<std::string, SidecarReading>& readings);

}  // namespace consul_canary::collect
