// Evidence that the canary is not worse than the primary by more than a margin, where its instances
// are ejected when they fail: safe.h for a mesh with a shield. There a second's failures of both,
// if the canary's end its share of that second, would look like the primary's alone. Derivation and
// proof: docs/statistics.md#ejection.
#pragma once

#include <array>

#include "analyzer/stats/counts.h"
#include "analyzer/stats/ejection.h"
#include "analyzer/stats/margin.h"

namespace consul_canary::stats {

// Everything the process remembers: plain finite numbers, as SafeState.
struct EjectedSafeState {
  Counts primary;                    // totals strictly before the next tick, history included
  std::array<double, 3> log_sums{};  // for each alternative: at the primary's rate, half of it and
                                     // a quarter

  bool operator==(const EjectedSafeState&) const = default;
};

// A fresh process (each step of a rollout has its own); `primary` is what is known of the primary
// so far.
[[nodiscard]] EjectedSafeState StartEjectedSafe(const Counts& primary);

// Adds one tick. One in which the canary completed nothing, or whose weight_ratio is 0 or 1, adds
// no evidence, but still teaches the primary's rate. overdispersion >= 1, known before the tick;
// the same margin at every tick.
void ObserveEjectedSafe(EjectedSafeState& state, const Margin& margin, const EjectionTick& tick,
                        double overdispersion);

// ln M: reaches ln(1/beta) with probability at most beta while the canary is worse than the margin.
[[nodiscard]] double LogEjectedSafe(const EjectedSafeState& state);

}  // namespace consul_canary::stats
