#include "analyzer/stats/ejected_safe.h"

#include <cassert>
#include <cmath>

#include "analyzer/stats/block.h"
#include "analyzer/stats/ejected_block.h"

namespace consul_canary::stats {
namespace {

constexpr std::size_t kAlternatives = 3;
// The canary's rate over the primary's. Below 1 too: what few requests a canary has between two
// ejections must count for more than a proof "as good as the primary" lets them.
constexpr std::array<double, kAlternatives> kOfPrimary = {1.0, 0.5, 0.25};
constexpr std::array<double, kAlternatives> kWeights = {0.5, 0.3, 0.2};

}  // namespace

EjectedSafeState StartEjectedSafe(const Counts& primary) {
  EjectedSafeState state;
  state.primary = primary;
  return state;
}

void ObserveEjectedSafe(EjectedSafeState& state, const Margin& margin, const EjectionTick& tick,
                        double overdispersion) {
  assert(margin.ratio > 0.0 && margin.absolute > 0.0 && margin.absolute < 1.0);
  assert(overdispersion >= 1.0);
  const Rate p = EstimateRate(state.primary);
  for (std::size_t i = 0; i < kAlternatives; ++i) {
    const double failure = kOfPrimary[i] * p.failure;
    if (failure >= CanaryLimit(margin, p.failure)) continue;  // a ratio below 1 demands better
    const double gain = LogEjectedSafeBlock(tick, p, {failure, 1.0 - failure}, margin);
    state.log_sums[i] += gain / overdispersion;
  }
  state.primary += tick.primary;
}

double LogEjectedSafe(const EjectedSafeState& state) {
  std::array<double, kAlternatives> terms{};
  for (std::size_t i = 0; i < kAlternatives; ++i) {
    terms[i] = std::log(kWeights[i]) + state.log_sums[i];
  }
  return LogSumExp(terms);
}

}  // namespace consul_canary::stats
