// Evidence that the canary is not worse than the primary by more than a margin: what an advance
// needs. An e-process for the null pC >= ratio * pP + absolute (Turner and Grünwald, arXiv
// 2203.09785), so it too may be looked at every second. Derivation and price in requests:
// docs/statistics.md#safe-to-advance.
#pragma once

#include <array>

#include "analyzer/stats/counts.h"
#include "analyzer/stats/margin.h"

namespace consul_canary::stats {

// Everything the process remembers: plain finite numbers, as HarmState.
struct SafeState {
  Counts primary;                    // totals strictly before the next tick, history included
  std::array<double, 3> log_sums{};  // for each alternative: at the primary's rate, 1/4 and 1/2 of
                                     // the way from there to the margin

  bool operator==(const SafeState&) const = default;
};

// A fresh process (each step of a rollout has its own); `primary` is what is known of the primary
// so far.
[[nodiscard]] SafeState StartSafe(const Counts& primary);

// Adds one tick. One in which either subset completed nothing adds no evidence, but still teaches
// the primary's rate. overdispersion >= 1, known before the tick; the same margin at every tick.
void ObserveSafe(SafeState& state, const Margin& margin, const Counts& primary,
                 const Counts& canary, double overdispersion);

// ln M: reaches ln(1/beta) with probability at most beta while the canary is worse than the margin.
[[nodiscard]] double LogSafe(const SafeState& state);

}  // namespace consul_canary::stats
