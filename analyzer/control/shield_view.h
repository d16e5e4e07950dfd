// What the mesh does for a failing canary, and what its instances count of themselves. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "analyzer/rollout/observation.h"
#include "analyzer/rollout/spec.h"
#include "exporter/collect/snapshot.h"
#include "exporter/envoy/outcomes.h"

namespace consul_canary::control {

// Whether the resolver sends to the primary subset what no instance of the canary subset can take,
// and nothing else anywhere; not where the specification ignores that.
[[nodiscard]] bool IsShielded(const rollout::Spec& spec, const collect::ServiceSnapshot& service);

// nullopt: there is none.
[[nodiscard]] std::optional<rollout::ShieldView> ShieldOf(const rollout::Spec& spec,
                                                          const collect::ServiceSnapshot& service,
                                                          base::MonotonicTime now);

// Whether this caller's counters of the two subsets are mixed: its sidecar has failover between
// them, whatever the resolver says by now.
[[nodiscard]] bool MixesSubsets(const rollout::Spec& spec, const collect::CallerReading& caller);

// Under which name an instance's own counts have their baseline. With another subset it is another
// one: what it counted there is nothing of this.
[[nodiscard]] std::string InstanceKey(const collect::ServerReading& server,
                                      const std::string& subset);

// Of the two subsets, the one whose an instance counts as: the canary where it lies in both, as
// while promoting. nullptr: neither. Refers to the specification.
[[nodiscard]] const std::string* SubsetOf(const rollout::Spec& spec,
                                          const collect::ServerReading& server);

// Counters of the instances of the two subsets, by InstanceKey, below their subset; of one that
// lies in both, the canary.
[[nodiscard]] std::map<std::string, envoy::SubsetOutcomes> InstancesNow(
    const rollout::Spec& spec, const collect::ServiceSnapshot& service);

// Why the attempts at an instance that gets requests are not known; empty: they are.
[[nodiscard]] std::string WhyAttemptsUnknown(const rollout::Spec& spec,
                                             const collect::ServiceSnapshot& service,
                                             base::MonotonicTime now);

}  // namespace consul_canary::control
