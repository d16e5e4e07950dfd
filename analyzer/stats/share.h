// Whether the canary gets the share of the requests that the splitter gives it: a sequential test
// of the share, both ways, with a tolerance for what is no mismatch (requests under way, rounding
// of weights). On a mismatch nothing may be advanced. Derivation: docs/statistics.md#share.
#pragma once

#include <array>

#include "analyzer/stats/counts.h"

namespace consul_canary::stats {

inline constexpr int kShareGridSize = 8;

// One e-process for "the share is at most the upper limit", one for "at least the lower limit".
struct ShareState {
  std::array<double, kShareGridSize> log_above{};
  std::array<double, kShareGridSize> log_below{};
  double seconds = 0;      // of this window; after 60 the next one begins afresh
  bool mismatch = false;   // in this window
  bool untrusted = false;  // a mismatch in this window or in the one before
  Counts totals;  // completed: requests of both, failures: the canary's, since the window began

  bool operator==(const ShareState&) const = default;
};

// Adds a tick in which `canary` of `both` completed requests were the canary's, where the splitter
// gives it `weight` (0..1). At a weight of 0 or 1 nothing is tested.
void ObserveShare(ShareState& state, double weight, std::int64_t both, std::int64_t canary,
                  double elapsed_seconds);

// The limits between which a share is no mismatch: 10% of the weight and half a percentage point
// either way, within 0..1.
struct ShareLimits {
  double low = 0;
  double high = 1;
};
[[nodiscard]] ShareLimits ShareLimitsOf(double weight);

// ln of the greater of the two; a mismatch is declared at ln 1000 (each minute's false alarms are
// at most 2 in 1000 then).
[[nodiscard]] double LogShareMismatch(const ShareState& state);

// The canary's share of this window's requests; -1 where there were none.
[[nodiscard]] double ObservedShare(const ShareState& state);

}  // namespace consul_canary::stats
