// What the primary did stands for it once it gets no requests any more: while a promoted version is
// watched there is nothing beside it to hold it against. Derivation: docs/statistics.md#watch.
#pragma once

#include "analyzer/stats/counts.h"

namespace consul_canary::stats {

// The least rate that the rate behind `counts` exceeds with a chance of at most `chance`, by
// Chernoff's bound: the root p >= X / N of N KL(X / N, p) = overdispersion * ln 1/chance, where
// KL(a, b) = a ln a/b + (1 - a) ln (1 - a)/(1 - b). 1 for no counts. Preconditions: 0 < chance < 1,
// overdispersion >= 1.
[[nodiscard]] double UpperRate(const Counts& counts, double overdispersion, double chance);

}  // namespace consul_canary::stats
