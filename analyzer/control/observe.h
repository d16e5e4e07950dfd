// From the collector's snapshot of a service to what Decide() looks at. Pure.
#pragma once

#include <set>
#include <string>

#include "analyzer/rollout/observation.h"
#include "analyzer/rollout/spec.h"
#include "exporter/collect/snapshot.h"

namespace consul_canary::control {

// The name of the splitter's Meta key that carries the leader's epoch.
inline constexpr const char* kEpochMetaKey = "consul-canary-epoch";

// How old a caller's last reading may be before it counts as late.
inline constexpr base::milliseconds kFreshFor{3500};

// Empty: the instance (or its sidecar, which inherits tags and Meta) tells none.
[[nodiscard]] std::string VersionOf(const consul::Instance& instance, const rollout::Spec& spec);

// Everything but orders, times and counts. A missing snapshot (the service is not followed yet) is
// unknown.
[[nodiscard]] rollout::Observation Observe(const rollout::Spec& spec,
                                           const collect::MeshSnapshot& mesh,
                                           const collect::ServiceSnapshot* service,
                                           base::MonotonicTime now);

}  // namespace consul_canary::control
