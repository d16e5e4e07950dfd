// Which callers' sidecars have taken what the entries say, and which are read.
#pragma once

#include <string>
#include <vector>

#include "analyzer/rollout/observation.h"
#include "analyzer/rollout/state.h"

namespace consul_canary::rollout {

enum class Subset { kPrimary, kCanary };

// "a, b, c, d, e and 3 more".
[[nodiscard]] std::string Join(const std::vector<std::string>& names);

// Callers that have taken what was waited for are not waited for again, whatever their counters do
// (a sidecar that restarts counts from the start).
void ForgetMovedCallers(State& state, const Observation& seen);

// Who of so many that nothing may be widened could not be read lately, and why; empty: few or none.
[[nodiscard]] std::string StaleCallers(const Observation& seen);

// Callers that do not apply the wanted weight yet, named with what they do; empty: all do.
[[nodiscard]] std::string WeightStragglers(const State& state, const Observation& seen);

// Callers that cannot reach the subset's (new) instances yet; empty: all can.
[[nodiscard]] std::string MembershipStragglers(const State& state, const Observation& seen,
                                               Subset subset);

}  // namespace consul_canary::rollout
