#include "analyzer/stats/block.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

namespace consul_canary::stats {
namespace {

constexpr double kLeastOddsRatio = 1.25;
constexpr double kGreatestOddsRatio = 128.0;
constexpr double kGreatestEjectedOddsRatio = 4096.0;
constexpr double kWeightExponent = -0.25;

OddsGrid MakeGrid(double greatest_odds_ratio) {
  OddsGrid grid;
  const auto log_ratios = EvenlyInLog<kOddsGridSize>(kLeastOddsRatio, greatest_odds_ratio);
  for (std::size_t k = 0; k < kOddsGridSize; ++k) {
    grid.odds_ratios[k] = std::exp(log_ratios[k]);
    grid.log_weights[k] = kWeightExponent * log_ratios[k];
  }
  const double total = LogSumExp(grid.log_weights);
  for (double& weight : grid.log_weights) weight -= total;
  return grid;
}

// count * ln(1 + x), where a count of 0 outweighs ln 0.
double CountLog1p(std::int64_t count, double x) {
  return count == 0 ? 0.0 : static_cast<double>(count) * std::log1p(x);
}

// count * ln(numerator / denominator), where a count of 0 outweighs ln 0.
double CountLogRatio(std::int64_t count, double numerator, double denominator, double difference) {
  if (count == 0) return 0.0;
  return static_cast<double>(count) * LogRatio(numerator, denominator, difference);
}

[[maybe_unused]] bool IsValid(const Counts& counts) {
  return counts.failures >= 0 && counts.failures <= counts.completed;
}

}  // namespace

const OddsGrid& HarmGrid() {
  static const OddsGrid grid = MakeGrid(kGreatestOddsRatio);
  return grid;
}

const OddsGrid& EjectedHarmGrid() {
  static const OddsGrid grid = MakeGrid(kGreatestEjectedOddsRatio);
  return grid;
}

Rate EstimateRate(const Counts& totals) {
  assert(IsValid(totals));
  const double failures = static_cast<double>(totals.failures) + 0.5;
  const double successes = static_cast<double>(totals.completed - totals.failures) + 0.5;
  const double all = failures + successes;
  return {failures / all, successes / all};
}

Rate RaiseOdds(const Rate& rate, double odds_ratio) {
  const double scale = rate.failure * odds_ratio + rate.success;
  return {rate.failure * odds_ratio / scale, rate.success / scale};
}

double FailureDifference(const Rate& a, const Rate& b) {
  return b.failure < 0.5 ? a.failure - b.failure : b.success - a.success;
}

// As the logarithm of 1 + x where the two are close, and of the quotient where x would be rounded
// to -1.
double LogRatio(double numerator, double denominator, double difference) {
  if (numerator >= 0.5 * denominator) return std::log1p(difference / denominator);
  return std::log(numerator / denominator);
}

double LogLikelihoodRatio(const Counts& counts, const Rate& numerator, const Rate& denominator) {
  const double difference = FailureDifference(numerator, denominator);
  return CountLogRatio(counts.failures, numerator.failure, denominator.failure, difference) +
         CountLogRatio(counts.completed - counts.failures, numerator.success, denominator.success,
                       -difference);
}

double LogBlock(const Counts& primary, const Counts& canary, const Rate& p, const Rate& q) {
  assert(IsValid(primary) && IsValid(canary));
  if (primary.completed == 0 || canary.completed == 0) return 0.0;
  const double primary_requests = static_cast<double>(primary.completed);
  const double canary_requests = static_cast<double>(canary.completed);
  const double canary_share = canary_requests / (primary_requests + canary_requests);
  const double primary_share = primary_requests / (primary_requests + canary_requests);
  // theta - p = canary_share * (q - p) and q - theta = primary_share * (q - p): no subtraction of
  // theta, which would cancel where one subset has nearly all requests.
  const double difference = FailureDifference(q, p);
  const double above_p = canary_share * difference;
  const double below_q = primary_share * difference;
  return -CountLog1p(primary.failures, above_p / p.failure) -
         CountLog1p(primary.completed - primary.failures, -above_p / p.success) -
         CountLog1p(canary.failures, -below_q / q.failure) -
         CountLog1p(canary.completed - canary.failures, below_q / q.success);
}

double LogMarginBlock(const Counts& primary, const Counts& canary, const Rate& p, const Rate& q,
                      const Margin& margin) {
  assert(IsValid(primary) && IsValid(canary));
  const NullPoint null =
      ProjectOntoMargin(p.failure, q.failure, margin, static_cast<double>(primary.completed),
                        static_cast<double>(canary.completed));
  return LogLikelihoodRatio(primary, p, {null.primary, 1.0 - null.primary}) +
         LogLikelihoodRatio(canary, q, {null.canary, 1.0 - null.canary});
}

double LogConditionalBlock(const Counts& primary, const Counts& canary, double odds_ratio) {
  if (primary.completed == 0 || canary.completed == 0) return 0.0;
  const double canary_requests = static_cast<double>(canary.completed);
  const double share = canary_requests / (canary_requests + static_cast<double>(primary.completed));
  return static_cast<double>(canary.failures) * std::log(odds_ratio) -
         CountLog1p(canary.failures + primary.failures, share * (odds_ratio - 1.0));
}

std::array<double, kOddsGridSize> HarmBlocks(const Counts& primary_totals, const Counts& primary,
                                             const Counts& canary) {
  const Rate p = EstimateRate(primary_totals);
  std::array<double, kOddsGridSize> blocks{};
  std::ranges::transform(HarmGrid().odds_ratios, blocks.begin(), [&](double odds_ratio) {
    return LogBlock(primary, canary, p, RaiseOdds(p, odds_ratio));
  });
  return blocks;
}

double LogAddExp(double a, double b) {
  const double greater = std::max(a, b);
  if (greater == -std::numeric_limits<double>::infinity()) return greater;
  return greater + std::log1p(std::exp(std::min(a, b) - greater));
}

double LogSumExp(std::span<const double> values) {
  double greatest = -std::numeric_limits<double>::infinity();
  for (const double value : values) greatest = std::max(greatest, value);
  if (greatest == -std::numeric_limits<double>::infinity()) return greatest;
  double sum = 0.0;
  for (const double value : values) sum += std::exp(value - greatest);
  return greatest + std::log(sum);
}

}  // namespace consul_canary::stats
