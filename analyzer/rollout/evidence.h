// One tick's requests become evidence. Internal to rollout/: judge.h says what follows from it.
#pragma once

#include "analyzer/rollout/observation.h"
#include "analyzer/rollout/spec.h"
#include "analyzer/rollout/state.h"

namespace consul_canary::rollout {

// The evidence of a rollout that begins with this observation. What was learned of the primary's
// dispersion before stays.
[[nodiscard]] Evidence StartEvidence(const Evidence& before, const Observation& seen);

// How the primary's failures clump is learned while nothing is rolled out, too.
void LearnBetweenRollouts(const Observation& seen, Evidence& evidence);

// A step begins: what is fresh for each step begins afresh.
void BeginStepEvidence(const Spec& spec, Evidence& evidence);

// A stage begins: another weight, or none.
void BeginStageEvidence(Evidence& evidence);

// The canary has all traffic from now on and is watched: fixes what it is held against in the
// primary's place, from what the primary did in this rollout (docs/statistics.md#watch).
void BeginWatchEvidence(const Spec& spec, Evidence& evidence);

// Adds the tick. In warm-up it teaches only what is known of the primary, and in doubt nothing.
// Precondition: the observation carries counts, and the rollout is active.
void AddEvidence(const Spec& spec, const Observation& seen, State& state);

// Since the step's weight was applied: before that no tick enters the proof.
[[nodiscard]] double SettlingSeconds(const Observation& seen);

// Whether the canary subset is what the rollout takes it for. Where we write no filter, others may
// put another version into it.
[[nodiscard]] bool CanaryIsTheRollouts(const Spec& spec, const Observation& seen,
                                       const State& state);

// Whether this tick's requests count as evidence.
[[nodiscard]] bool IsJudged(const Spec& spec, const Observation& seen, const State& state);

}  // namespace consul_canary::rollout
