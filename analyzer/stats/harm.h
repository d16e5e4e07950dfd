// Evidence that the canary fails more often than the primary, while requests are still arriving.
// May be consulted after every tick: it is an e-process, so repeated looks do not inflate false
// alarms. Derivation, assumptions and sources: docs/statistics.md#harm.
//
// Block e-variable of Turner, Ly and Grünwald (arXiv 2106.02693), one tick or twenty requests a
// block, mixed over 12 odds ratios from 1.25 to 128, restarted as a Shiryaev–Roberts sum so that a
// late fault is found as fast as an early one.
#pragma once

#include <array>
#include <cstdint>

#include "analyzer/stats/counts.h"
#include "analyzer/stats/margin.h"
#include "analyzer/stats/restarts.h"

namespace consul_canary::stats {

inline constexpr int kHarmGridSize = 12;
inline constexpr std::int64_t kHarmBlockRequests = 20;
inline constexpr double kHarmBlockSeconds = 10.0;

// Requests whose evidence is not added yet. A block of one tick would waste most of what a few
// requests tell: with one request of either subset a failure counts ln 2, however rare failures
// are. So a block closes with the tick that brings its twentieth request, or its tenth second.
struct HarmBlock {
  Counts primary, canary;
  double seconds = 0;
  double overdispersion = 1;  // as it was known when the block began

  bool operator==(const HarmBlock&) const = default;
};

// Everything the process remembers. Plain finite numbers: a state that is stored and read back
// without loss goes on bit for bit as if nothing had happened.
struct HarmState {
  Counts primary;  // totals strictly before the open block, history included
  // ln R_k for each odds ratio; 0 and without meaning while epoch is -1.
  std::array<double, kHarmGridSize> log_sums{};
  double spent = 0;         // prior mass put to work by the epochs that have begun, 0..1
  std::int64_t epoch = -1;  // -1: none has begun; it waits for the first tick with requests at both
  double epoch_seconds =
      0;  // of the ticks since this epoch began; the tick after epoch_seconds begins the next

  HarmBlock open;

  bool operator==(const HarmState&) const = default;
};

// planned_epochs: how many epochs the rollout may last; 0: open-ended. The first epoch has
// a prior mass of 3/4 and the planned ones after it share 1/4 equally (epochs beyond the plan have
// none); without a plan epoch j has 1/4 / (j (j + 1)). Fixed before the first tick.
//
// tolerance: what the canary's rate must exceed to be harm. With a ratio of 1 and an absolute of 0
// (any worse) the block e-variable is used; else the projection onto the margin, as safe.h has it,
// with the alternatives above it.
//
// epoch_seconds: shorter epochs find a late fault sooner where the evidence of a healthy canary is
// strong, and cost it ln of how many more there are.
struct HarmPlan {
  std::int64_t planned_epochs = 0;
  Margin tolerance{1.0, 0.0};
  double epoch_seconds = kEpochSeconds;

  bool operator==(const HarmPlan&) const = default;
};

// A process that has seen nothing but the primary's history before the rollout.
[[nodiscard]] HarmState StartHarm(const Counts& primary_history);

// Adds one tick of `elapsed_seconds` (> 0) to the open block. A block in which either subset
// completed nothing adds no evidence, but still teaches the primary's rate and, once an epoch has
// begun, counts towards the next. After a gap, one tick may span several epochs: their masses are
// then spent together before the next block. overdispersion >= 1, known before the tick.
void ObserveHarm(HarmState& state, const HarmPlan& plan, const Counts& primary,
                 const Counts& canary, double overdispersion, double elapsed_seconds);

// The same of a canary alone, against a fixed rate: `limit` is what a healthy canary's rate does
// not exceed. The evidence of a block is the likelihood ratio of "the odds are r_k times the
// limit's". What the primary still completes is learned and decides nothing. A limit of 1 or more
// is no evidence.
void ObserveHarmBeyond(HarmState& state, const HarmPlan& plan, double limit, const Counts& primary,
                       const Counts& canary, double overdispersion, double elapsed_seconds);

// ln M: 0 means no evidence; on a healthy canary the chance that it ever reaches ln(1/alpha) is at
// most alpha.
[[nodiscard]] double LogHarm(const HarmState& state);

}  // namespace consul_canary::stats
