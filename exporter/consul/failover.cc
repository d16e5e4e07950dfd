#include "exporter/consul/failover.h"

#include <utility>

#include "exporter/consul/routes.h"

namespace consul_canary::consul {
namespace {

// Where one Failover, or one of its Targets, leads; nullopt: out of the service or its place, which
// no target of the mesh's own subsets does.
std::optional<std::string> SubsetWithin(const Json& target, const Resolver& resolver) {
  const std::string service = Text(target, "Service");
  const std::string subset = Text(target, "ServiceSubset");
  if (subset.empty() || (!service.empty() && service != resolver.name)) return std::nullopt;
  for (const char* elsewhere : {"Datacenter", "SamenessGroup"}) {
    if (!Text(target, elsewhere).empty()) return std::nullopt;
  }
  if (!Child(target, "Datacenters").empty()) return std::nullopt;
  return LiesIn(target, resolver.place) ? std::optional(subset) : std::nullopt;
}

}  // namespace

std::map<std::string, std::string> FailoverSubsets(const Json& failovers,
                                                   const Resolver& resolver) {
  std::map<std::string, std::string> subsets;
  if (!failovers.is_object()) return subsets;
  for (const auto& [subset, failover] : failovers.items()) {
    const Json& targets = Child(failover, "Targets");
    if (targets.size() > 1) continue;
    const bool is_list = targets.is_array() && targets.size() == 1;
    if (auto other = SubsetWithin(is_list ? targets.front() : failover, resolver)) {
      subsets.emplace(subset, *std::move(other));
    }
  }
  return subsets;
}

bool Resolver::FailsOverOnly(std::string_view subset, std::string_view other) const {
  return with_failover.size() == 1 && *with_failover.begin() == subset &&
         FailoverOf(subset) == other;
}

std::optional<std::string> Resolver::FailoverOf(std::string_view subset) const {
  auto found = failover_subsets.find(std::string(subset));
  if (found == failover_subsets.end()) found = failover_subsets.find("*");
  if (found == failover_subsets.end() || found->second == subset) return std::nullopt;
  return found->second;
}

}  // namespace consul_canary::consul
