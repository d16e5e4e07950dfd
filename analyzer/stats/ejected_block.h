// The evidence of one tick under ejection: what ejected_harm.cc and ejected_safe.cc add up.
// Internal to stats/; a header of its own so that the formulas can be tested with literals and by
// exact enumeration. Sources and proofs: docs/statistics.md#ejection.
//
// Refuses to know anything about time, epochs or earlier ticks.
#pragma once

#include <array>

#include "analyzer/stats/block.h"
#include "analyzer/stats/counts.h"
#include "analyzer/stats/ejection.h"
#include "analyzer/stats/margin.h"

namespace consul_canary::stats {

// ln of an e-variable for "the primary fails at p, the canary at q" against "both at one common
// rate", whatever that is, and wherever in the tick the canary's requests stop because of its
// failures. 0 where the canary completed nothing or there is but one request. Precondition: q fails
// more often than p.
//
// Cost: that of one LogExpectedDraws, or of as many as canary requests may have failed among those
// that count with the primary, 1 + min(failures, active instances) at most.
[[nodiscard]] double LogEjectedBlock(const EjectionTick& tick, const Rate& p, const Rate& q);

// The same against "the canary fails at most at ratio * the primary's rate + absolute".
// Precondition: q is above that at p; ratio >= 1.
[[nodiscard]] double LogEjectedMarginBlock(const EjectionTick& tick, const Rate& p, const Rate& q,
                                           const Margin& margin);

// LogEjectedBlock for each odds ratio of EjectedHarmGrid(), with p estimated from the primary's
// totals before the tick.
[[nodiscard]] std::array<double, kOddsGridSize> EjectedHarmBlocks(const Counts& primary_totals,
                                                                  const EjectionTick& tick);

// ln of an e-variable for "the primary fails at p, the canary at q" against "the canary fails at
// ratio * the primary's rate + absolute, or more". Precondition: q is below that at p. Of the
// primary's failures no more count than p explains.
[[nodiscard]] double LogEjectedSafeBlock(const EjectionTick& tick, const Rate& p, const Rate& q,
                                         const Margin& margin);

}  // namespace consul_canary::stats
