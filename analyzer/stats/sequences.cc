#include "analyzer/stats/sequences.h"

#include <Eigen/Core>
#include <algorithm>
#include <cassert>
#include <cmath>
#include <span>

#include "analyzer/stats/block.h"
#include "analyzer/stats/margin.h"

namespace consul_canary::stats {
namespace {

// Of fixed size, so that it is aligned: each element is then computed the same way in every run,
// whatever the state's address, and a replay is the same to the last digit.
using RatioArray = Eigen::Array<double, kRatioGridSize, 1>;

constexpr double kGreatestRatio = 1000.0;

struct RatioGrid {
  RatioArray log_ratios;
  RatioArray excess;  // ratio - 1
};

const RatioGrid& Ratios() {
  static const RatioGrid grid = [] {
    RatioGrid made;
    constexpr int kHalf = kRatioGridSize / 2;
    for (int i = 0; i < kRatioGridSize; ++i) {
      made.log_ratios[i] = std::log(kGreatestRatio) * (i - kHalf) / kHalf;
      made.excess[i] = std::expm1(made.log_ratios[i]);
    }
    return made;
  }();
  return grid;
}

// -1 ... 1, the cubes of evenly spaced numbers.
const std::array<double, kDifferenceGridSize>& Differences() {
  static const auto grid = [] {
    std::array<double, kDifferenceGridSize> made{};
    constexpr double kHalf = (kDifferenceGridSize - 1) / 2.0;
    for (std::size_t i = 0; i < kDifferenceGridSize; ++i) {
      const double even = (static_cast<double>(i) - kHalf) / kHalf;
      made[i] = even * even * even;
    }
    return made;
  }();
  return grid;
}

// The canary's rate as a bet on its next tick: half a failure (or success, whichever is rarer) in
// as many requests as the primary has one in, so that it begins at the primary's rate; in ten
// thousand where it is rarer still.
Rate BetOnCanary(const Counts& canary, const Rate& primary) {
  constexpr double kMostRequests = 1e4;
  const double prior = std::min(0.5 / std::min(primary.failure, primary.success), kMostRequests);
  const double prior_failures = primary.failure <= 0.5 ? 0.5 : prior - 0.5;
  const double failures = static_cast<double>(canary.failures) + prior_failures;
  const double successes =
      static_cast<double>(canary.completed - canary.failures) + prior - prior_failures;
  return {failures / (failures + successes), successes / (failures + successes)};
}

double Mean(const Counts& counts) {
  return static_cast<double>(counts.failures) / static_cast<double>(counts.completed);
}

// From one point below what is not excluded to one point above it, since the truth may lie between
// two points; the grid's ends are limits alone. Where all are excluded the truth is beside the one
// that is least so.
Interval NotExcluded(std::span<const double> grid, std::span<const double> log_evidence,
                     double bound) {
  const auto inner = log_evidence.subspan(1, log_evidence.size() - 2);
  auto first = static_cast<std::size_t>(std::ranges::min_element(inner) - inner.begin());
  auto last = first;
  for (std::size_t i = 0; i < inner.size(); ++i) {
    if (inner[i] >= bound) continue;
    first = std::min(first, i);
    last = std::max(last, i);
  }
  return {grid[first], 0.0, grid[last + 2]};
}

void AddDifference(DifferenceSequence& state, const Counts& primary, const Counts& canary) {
  const auto primary_requests = static_cast<double>(primary.completed);
  const auto canary_requests = static_cast<double>(canary.completed);
  const double weight = primary_requests * canary_requests / (primary_requests + canary_requests);
  state.weighted += weight * (Mean(canary) - Mean(primary));
  state.weight += weight;
}

}  // namespace

void ObserveRatio(RatioSequence& state, const Counts& primary, const Counts& canary,
                  double overdispersion) {
  assert(overdispersion >= 1.0);
  const std::int64_t failures = primary.failures + canary.failures;
  if (primary.completed == 0 || canary.completed == 0 || failures == 0) return;
  const double canary_requests = static_cast<double>(canary.completed);
  const double share = canary_requests / (canary_requests + static_cast<double>(primary.completed));
  const RatioGrid& grid = Ratios();
  const RatioArray gain = static_cast<double>(canary.failures) * grid.log_ratios -
                          static_cast<double>(failures) * (share * grid.excess).log1p();
  Eigen::Map<RatioArray>(state.log_likelihood.data()) += gain / overdispersion;
}

Interval RatioInterval(const RatioSequence& state, double alpha) {
  assert(alpha > 0.0 && alpha < 1.0);
  const double log_average =
      LogSumExp(state.log_likelihood) - std::log(static_cast<double>(kRatioGridSize));
  std::array<double, kRatioGridSize> ratios{};
  std::array<double, kRatioGridSize> log_evidence{};
  for (std::size_t i = 0; i < kRatioGridSize; ++i) {
    ratios[i] = 1.0 + Ratios().excess[static_cast<Eigen::Index>(i)];
    log_evidence[i] = log_average - state.log_likelihood[i];
  }
  Interval interval = NotExcluded(ratios, log_evidence, -std::log(alpha));
  const auto& likelihoods = state.log_likelihood;
  const bool knows_nothing = std::ranges::all_of(likelihoods, [](double l) { return l == 0.0; });
  const auto greatest = std::ranges::max_element(likelihoods) - likelihoods.begin();
  interval.estimate = knows_nothing ? 1.0 : ratios[static_cast<std::size_t>(greatest)];
  return interval;
}

DifferenceSequence StartDifference(const Counts& primary_history) {
  DifferenceSequence state;
  state.primary = primary_history;
  return state;
}

void ObserveDifference(DifferenceSequence& state, const Counts& primary, const Counts& canary,
                       double overdispersion) {
  assert(overdispersion >= 1.0);
  if (primary.completed > 0 && canary.completed > 0) {
    AddDifference(state, primary, canary);
    const Rate p = EstimateRate(state.primary);
    const Rate q = BetOnCanary(state.canary, p);
    // A difference of -1 or 1 has no point at which both outcomes are possible: it stands as a
    // limit.
    for (std::size_t i = 1; i + 1 < kDifferenceGridSize; ++i) {
      state.log_evidence[i] +=
          LogMarginBlock(primary, canary, p, q, {1.0, Differences()[i]}) / overdispersion;
    }
  }
  state.primary += primary;
  state.canary += canary;
}

Interval DifferenceInterval(const DifferenceSequence& state, double alpha) {
  assert(alpha > 0.0 && alpha < 1.0);
  Interval interval = NotExcluded(Differences(), state.log_evidence, -std::log(alpha));
  if (state.weight > 0.0) {
    interval.estimate = std::clamp(state.weighted / state.weight, interval.lower, interval.upper);
  }
  return interval;
}

double BandRadius(std::int64_t n, std::int64_t m, double alpha) {
  assert(m > 0 && alpha > 0.0 && alpha < 1.0);
  if (n < m) return 1.0;
  const double times = static_cast<double>(n) / static_cast<double>(m);
  const double iterated = std::log1p(std::log(times));  // lnln(e n / m)
  const double radius =
      0.85 * std::sqrt((iterated + 0.8 * std::log(1612.0 / alpha)) / static_cast<double>(n));
  return std::min(1.0, radius);
}

}  // namespace consul_canary::stats
