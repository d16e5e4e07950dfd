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
  return LogMarginBlock(primary, canary, p, q, margin);
}

}  // namespace

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
  state.primary += primary;
}

double LogSafe(const SafeState& state) {
  std::array<double, kAlternatives> terms{};
  for (std::size_t i = 0; i < kAlternatives; ++i) {
    terms[i] = std::log(kWeights[i]) + state.log_sums[i];
  }
  return LogSumExp(terms);
}

}  // namespace consul_canary::stats
