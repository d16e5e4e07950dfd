// One simulated rollout: seeded traffic into the real statistics, until they decide or time is
// over.
#pragma once

#include <cstdint>
#include <random>

#include "analyzer/stats/counts.h"
#include "analyzer/stats/safe.h"

namespace consul_canary::simulation {

using Random = std::mt19937_64;

// What happens to the requests. Each tick is a second of `requests_per_second` requests, each of
// which goes to the canary with chance `weight_ratio`.
struct Traffic {
  int requests_per_second = 100;
  double weight_ratio = 0.05;
  double primary_rate = 0.001;  // of failures
  double canary_rate = 0.001;
  // One second in fifty is an outage that both subsets share: their rates are then this many times
  // higher.
  double shared_burst = 1.0;
  // The weight is multiplied by this every minute, up to a half: a rollout's steps.
  double weight_growth = 1.0;
  // Requests come in groups of this size that share their fate (one user, one pod, one batch).
  int clump = 1;
};

struct Outcome {
  bool decided = false;
  int seconds = 0;  // until the decision, or until time was over
  std::int64_t canary_requests = 0;
  std::int64_t canary_failures = 0;
};

// The primary's record before the rollout.
[[nodiscard]] stats::Counts History(const Traffic& traffic, Random& random);

// Until ln M >= ln(1/alpha). overdispersion: as the analyzer would have learned it.
[[nodiscard]] Outcome UntilRollback(const Traffic& traffic, double alpha, double overdispersion,
                                    int max_seconds, Random& random);

// Until not-worse-than-the-margin is proven at beta.
[[nodiscard]] Outcome UntilAdvance(const Traffic& traffic, const stats::Margin& margin, double beta,
                                   int max_seconds, Random& random);

}  // namespace consul_canary::simulation
