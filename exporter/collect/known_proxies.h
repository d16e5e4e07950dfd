// Every sidecar and gateway that is known, from Consul or from a file, and what each of them calls.
// Pure.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/collect/mesh_state.h"
#include "exporter/collect/targets.h"

namespace consul_canary::collect {

// Valid during the visit only: it refers to the state and to the set of shown services.
struct KnownProxy {
  std::string_view name;  // the proxy service that Consul was asked for; empty: from a file only
  const consul::Instance& instance;
  const StaticTarget* from_file = nullptr;  // what the file says of its address, if anything
  // The shown services that it calls, each once: declared upstreams, what a gateway is bound to,
  // what the file says, and what an intention lets a transparent proxy call by name.
  std::vector<std::string_view> calls;
  // A transparent proxy that a wildcard, or the default, lets call a shown service: whether it has
  // a cluster for it is on its page.
  bool may_call_more = false;
};

// Those of Consul's first, in the order of their services' names.
void ForEachProxy(const MeshState& state, const std::set<std::string>& shown,
                  const std::function<void(const KnownProxy&)>& visit);

// Where the file gives another port than Consul knows, the file is right.
[[nodiscard]] std::optional<ScrapeTarget> TargetOf(const KnownProxy& proxy);

}  // namespace consul_canary::collect
