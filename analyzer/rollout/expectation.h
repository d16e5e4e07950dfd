// What a proof may be expected to take at given traffic, without simulation: for plans, which
// simulate the rest, and for what would make them better. About, but cheap. Pure.
#pragma once

#include "analyzer/rollout/spec.h"
#include "analyzer/stats/counts.h"

namespace consul_canary::rollout {

struct Traffic {
  double weight = 0;               // of the canary, 0..1
  double requests_per_second = 0;  // of the whole service
  double primary_ratio = 0;        // of failures, as the next
  double canary_ratio = 0;
};

// A proof needs at most so many times the expected number of requests in nearly all runs.
inline constexpr double kProofSpread = 2.5;

// Whether that judge, alone or with the other, decides.
[[nodiscard]] bool Uses(const Spec& spec, JudgeMode mode);

// What a primary that fails this share of its requests did before the rollout.
[[nodiscard]] stats::Counts PrimaryHistory(double primary_ratio);

// Of the canary, for a proof; infinite: no number is enough.
[[nodiscard]] double RequestsNeeded(const Spec& spec, const Traffic& traffic);

// Until the canary has answered that many requests.
[[nodiscard]] double ExpectedSeconds(double needed, const Traffic& traffic);

// At the beginning of a step, in which nothing is proven.
[[nodiscard]] double SecondsUnproven(const Spec& spec);

// A proof has what the deadline leaves, perhaps nothing.
[[nodiscard]] double SecondsToProve(const Spec& spec);

// Whether nearly all runs are proven before the deadline.
[[nodiscard]] bool IsInTime(const Spec& spec, const Traffic& traffic);

}  // namespace consul_canary::rollout
