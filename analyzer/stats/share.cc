#include "analyzer/stats/share.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "analyzer/stats/block.h"

namespace consul_canary::stats {
namespace {

constexpr double kWindowSeconds = 60.0;
constexpr double kRelativeTolerance = 0.1;
constexpr double kAbsoluteTolerance = 0.005;
constexpr double kLeastOddsRatio = 1.25;
constexpr double kGreatestOddsRatio = 128.0;
const double kMismatchBound = std::log(1000.0);
const double kLogGridSize = std::log(static_cast<double>(kShareGridSize));

// How much greater (or smaller) the odds of the share may be than those of the limit.
const std::array<double, kShareGridSize>& OddsRatios() {
  static const auto ratios = [] {
    auto grid = EvenlyInLog<kShareGridSize>(kLeastOddsRatio, kGreatestOddsRatio);
    for (double& ratio : grid) ratio = std::exp(ratio);
    return grid;
  }();
  return ratios;
}

void BeginWindow(ShareState& state) {
  const bool mismatch = state.mismatch;
  state = {};
  state.untrusted = mismatch;
}

void AddEvidence(ShareState& state, double weight, const Counts& counts) {
  const ShareLimits limits = ShareLimitsOf(weight);
  const Rate high{limits.high, 1.0 - limits.high};
  const Rate low{limits.low, 1.0 - limits.low};
  for (std::size_t k = 0; k < kShareGridSize; ++k) {
    const double ratio = OddsRatios()[k];
    if (high.success > 0.0) {
      state.log_above[k] += LogLikelihoodRatio(counts, RaiseOdds(high, ratio), high);
    }
    if (low.failure > 0.0) {
      state.log_below[k] += LogLikelihoodRatio(counts, RaiseOdds(low, 1.0 / ratio), low);
    }
  }
}

}  // namespace

ShareLimits ShareLimitsOf(double weight) {
  const double tolerance = kRelativeTolerance * weight + kAbsoluteTolerance;
  return {std::max(0.0, weight - tolerance), std::min(1.0, weight + tolerance)};
}

void ObserveShare(ShareState& state, double weight, std::int64_t both, std::int64_t canary,
                  double elapsed_seconds) {
  assert(weight >= 0.0 && weight <= 1.0);
  assert(canary >= 0 && canary <= both);
  assert(elapsed_seconds > 0.0);
  if (state.seconds >= kWindowSeconds) BeginWindow(state);
  state.seconds += elapsed_seconds;
  state.totals.completed += both;
  state.totals.failures += canary;
  if (weight > 0.0 && weight < 1.0) AddEvidence(state, weight, {both, canary});
  if (LogShareMismatch(state) >= kMismatchBound) state.mismatch = state.untrusted = true;
}

double LogShareMismatch(const ShareState& state) {
  return std::max(LogSumExp(state.log_above), LogSumExp(state.log_below)) - kLogGridSize;
}

double ObservedShare(const ShareState& state) {
  if (state.totals.completed == 0) return -1.0;
  return static_cast<double>(state.totals.failures) / static_cast<double>(state.totals.completed);
}

}  // namespace consul_canary::stats
