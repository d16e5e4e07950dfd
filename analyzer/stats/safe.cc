#include "analyzer/stats/safe.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "analyzer/stats/block.h"

namespace consul_canary::stats {
namespace {

constexpr std::size_t kAlternatives = 3;
// How far each alternative lies between "as good as the primary" (0) and the margin (1).
constexpr std::array<double, kAlternatives> kTowardsMargin = {0.0, 0.25, 0.5};
constexpr std::array<double, kAlternatives> kWeights = {0.5, 0.3, 0.2};

double CanaryLimit(const Margin& margin, double primary_rate) {
  return margin.ratio * primary_rate + margin.absolute;
}

// Proportional to the slope in s of the expected log-likelihood ratio of (p, q) to (s, t(s)), which
// is convex: negative below the nearest point, positive above.
double Slope(double s, double p, double q, const Margin& margin, double primary_requests,
             double canary_requests) {
  const double t = CanaryLimit(margin, s);
  return primary_requests * (s - p) / (s * (1.0 - s)) +
         canary_requests * margin.ratio * (t - q) / (t * (1.0 - t));
}

Rate FromFailure(double failure) { return {failure, 1.0 - failure}; }

// One tick's evidence for the alternative that lies `towards_margin` of the way from p to the
// margin at p. 0 where that is no alternative: a ratio below 1 demands a canary better than the
// primary.
double LogEvidence(const Margin& margin, const Rate& p, double towards_margin,
                   const Counts& primary, const Counts& canary) {
  const double limit = CanaryLimit(margin, p.failure);
  const double excess = std::min(limit, 1.0) - p.failure;
  const Rate q = FromFailure(p.failure + towards_margin * excess);
  if (q.failure >= limit || q.success <= 0.0) return 0.0;
  const NullPoint null =
      ProjectOntoMargin(p.failure, q.failure, margin, static_cast<double>(primary.completed),
                        static_cast<double>(canary.completed));
  return LogLikelihoodRatio(primary, p, FromFailure(null.primary)) +
         LogLikelihoodRatio(canary, q, FromFailure(null.canary));
}

}  // namespace

NullPoint ProjectOntoMargin(double p, double q, const Margin& margin, double primary_requests,
                            double canary_requests) {
  assert(q < CanaryLimit(margin, p));
  double low = std::max(0.0, (q - margin.absolute) / margin.ratio);
  double high = std::min(p, (1.0 - margin.absolute) / margin.ratio);
  // Halves until no double lies between; a thousand halvings would only be needed at denormal
  // rates.
  for (int i = 0; i < 200; ++i) {
    const double middle = low + (high - low) / 2;
    if (middle <= low || middle >= high) break;
    const double slope = Slope(middle, p, q, margin, primary_requests, canary_requests);
    (slope < 0.0 ? low : high) = middle;
  }
  // Rounding must not put the canary's rate on 1, where a success would be impossible.
  return {high, std::min(CanaryLimit(margin, high), std::nextafter(1.0, 0.0))};
}

SafeState StartSafe(const Counts& primary) {
  SafeState state;
  state.primary = primary;
  return state;
}

void ObserveSafe(SafeState& state, const Margin& margin, const Counts& primary,
                 const Counts& canary, double overdispersion) {
  assert(margin.ratio > 0.0 && margin.absolute > 0.0 && margin.absolute < 1.0);
  assert(overdispersion >= 1.0);
  if (primary.completed > 0 && canary.completed > 0) {
    const Rate p = EstimateRate(state.primary);
    for (std::size_t i = 0; i < kAlternatives; ++i) {
      state.log_sums[i] +=
          LogEvidence(margin, p, kTowardsMargin[i], primary, canary) / overdispersion;
    }
  }
  state.primary.completed += primary.completed;
  state.primary.failures += primary.failures;
}

double LogSafe(const SafeState& state) {
  std::array<double, kAlternatives> terms{};
  for (std::size_t i = 0; i < kAlternatives; ++i) {
    terms[i] = std::log(kWeights[i]) + state.log_sums[i];
  }
  return LogSumExp(terms);
}

}  // namespace consul_canary::stats
