// What a random part of a subset's requests is worth, on average over which part it is. Internal to
// stats/: it lets evidence use as many of the primary's requests as the canary's few can be weighed
// against. Derivation: docs/statistics.md#ejection.
#pragma once

#include "analyzer/stats/counts.h"

namespace consul_canary::stats {

// ln E[exp(X log_failed + (draws - X) log_succeeded)], X of `draws` requests failed, drawn of
// `pool` without replacement. The fraction of `draws` is one more request's factor to that power.
// Draws beyond the pool count as failed.
//
// Never above the true value but for rounding: of the sum's terms, which have one peak, those that
// do not matter are left out, and all but 8192 in any case (never reached below 800 000 draws).
// Cost: about 18 standard deviations of X, and nothing but a few operations where no request of the
// pool failed. Precondition: log_failed <= log_succeeded, both finite; draws >= 0.
[[nodiscard]] double LogExpectedDraws(const Counts& pool, double draws, double log_failed,
                                      double log_succeeded);

}  // namespace consul_canary::stats
