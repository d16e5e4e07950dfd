// What the sidecars have counted since the last tick, as a rollout judges it: by the callers, or
// behind a shield by the instances. Pure.
#pragma once

#include <set>
#include <string>

#include "analyzer/rollout/observation.h"
#include "analyzer/rollout/spec.h"
#include "exporter/collect/snapshot.h"

namespace consul_canary::control {

// Takes what the sidecars have counted since the state's baselines, and moves these.
[[nodiscard]] rollout::TickCounts TakeCounts(const rollout::Spec& spec,
                                             const collect::ServiceSnapshot& service,
                                             rollout::State& state);

// Under which names the state may hold baselines: the callers, and the instances with their
// subsets.
[[nodiscard]] std::set<std::string> SidecarsOf(const collect::ServiceSnapshot& service);

// Drops the baselines of sidecars that are not known any more. Between rollouts only: one that is
// merely late would lose what it has counted meanwhile.
void ForgetGoneCallers(const collect::ServiceSnapshot& service, envoy::Baselines& baselines);

// What the callers' sidecars have counted of the primary since they started, or behind a shield its
// instances' own.
[[nodiscard]] rollout::SubsetTick PrimaryHistory(const rollout::Spec& spec,
                                                 const collect::ServiceSnapshot& service);

// As Observation::attempts_together, by the routes.
[[nodiscard]] double AttemptsTogether(const rollout::Spec& spec,
                                      const collect::ServiceSnapshot& service);

}  // namespace consul_canary::control
