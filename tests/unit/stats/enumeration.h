// Expectations by exact enumeration of every outcome of a small tick.
#pragma once

#include <cmath>
#include <cstdint>

#include "analyzer/stats/counts.h"

namespace consul_canary::stats {

// Probability of `failures` in `completed` independent requests that fail with chance `rate`.
inline double Binomial(std::int64_t completed, std::int64_t failures, double rate) {
  double probability = 1.0;
  for (std::int64_t i = 0; i < failures; ++i) {
    probability *= rate * static_cast<double>(completed - i) / static_cast<double>(i + 1);
  }
  return probability * std::pow(1.0 - rate, static_cast<double>(completed - failures));
}

// E[exp(log_evidence(primary, canary))] where the subsets complete these numbers of requests and
// fail at these rates.
template <class LogEvidence>
double ExpectedEvidence(std::int64_t primary_requests, std::int64_t canary_requests,
                        double primary_rate, double canary_rate, const LogEvidence& log_evidence) {
  double sum = 0.0;
  for (std::int64_t x = 0; x <= primary_requests; ++x) {
    for (std::int64_t y = 0; y <= canary_requests; ++y) {
      sum += Binomial(primary_requests, x, primary_rate) *
             Binomial(canary_requests, y, canary_rate) *
             std::exp(log_evidence(Counts{primary_requests, x}, Counts{canary_requests, y}));
    }
  }
  return sum;
}

}  // namespace consul_canary::stats
