#include "analyzer/stats/mann_whitney.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <map>
#include <numbers>
#include <vector>

namespace consul_canary::stats {
namespace {

// All differences canary - primary, ascending.
std::vector<double> Differences(std::span<const double> primary, std::span<const double> canary) {
  std::vector<double> differences;
  differences.reserve(primary.size() * canary.size());
  for (const double y : canary) {
    for (const double x : primary) differences.push_back(y - x);
  }
  std::ranges::sort(differences);
  return differences;
}

double U(std::span<const double> primary, std::span<const double> canary) {
  double u = 0.0;
  for (const double y : canary) {
    for (const double x : primary) u += y > x ? 1.0 : (y == x ? 0.5 : 0.0);
  }
  return u;
}

using Ties = std::map<double, double>;  // value -> how often it occurs

void CountTies(std::span<const double> values, Ties& ties) {
  for (const double value : values) ties[value] += 1.0;
}

// Sum over tied groups of t^3 - t.
double TieTerm(const Ties& ties) {
  double sum = 0.0;
  for (const auto& [value, count] : ties) sum += count * count * count - count;
  return sum;
}

// Standard deviation of U where both come from one distribution.
double Deviation(double primary_size, double canary_size, double tie_term) {
  const double all = primary_size + canary_size;
  const double spread = all + 1.0 - tie_term / (all * (all - 1.0));
  return std::sqrt(std::max(0.0, primary_size * canary_size / 12.0 * spread));
}

// The chance that a standard normal variable is above z.
double AboveNormal(double z) { return 0.5 * std::erfc(z / std::numbers::sqrt2); }

// The z with AboveNormal(z) = tail, 0 < tail <= 1/2.
double NormalQuantile(double tail) {
  double low = 0.0;
  double high = 40.0;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (AboveNormal(middle) > tail ? low : high) = middle;
  }
  return low;
}

double Median(const std::vector<double>& sorted) {
  const std::size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

}  // namespace

int LeastValues(double confidence) {
  int n = 1;
  double rarest = 0.5;                              // 1 / C(2n, n)
  const double allowed = 1.0 - confidence + 1e-12;  // 1 - .9 is a little less than .1
  for (; 2.0 * rarest > allowed; ++n) {
    rarest *= (n + 1.0) * (n + 1.0) / ((2.0 * n + 1.0) * (2.0 * n + 2.0));
  }
  return n;
}

MannWhitney TestMannWhitney(std::span<const double> primary, std::span<const double> canary,
                            double confidence) {
  assert(!primary.empty() && !canary.empty());
  assert(confidence > 0.0 && confidence < 1.0);
  const double m = static_cast<double>(primary.size());
  const double n = static_cast<double>(canary.size());
  const auto differences = Differences(primary, canary);
  MannWhitney result;
  result.u = U(primary, canary);
  result.estimate = Median(differences);

  Ties primary_ties, canary_ties, all_ties;
  CountTies(primary, primary_ties);
  CountTies(canary, canary_ties);
  CountTies(primary, all_ties);
  CountTies(canary, all_ties);
  const double deviation = Deviation(m, n, TieTerm(all_ties));
  if (deviation > 0.0) {
    const double excess = std::abs(result.u - m * n / 2.0) - 0.5;
    result.p_value = std::min(1.0, 2.0 * AboveNormal(excess / deviation));
  }
  // As R's wilcox.test (and Kayenta after it): the shifts of the canary at which the test's
  // statistic passes the normal quantile. Shifted, the samples share no value, so that only the
  // ties within each count, and the statistic is a step function that falls by 1 at each
  // difference.
  const double within = Deviation(m, n, TieTerm(primary_ties) + TieTerm(canary_ties));
  const double rank =
      std::ceil(m * n / 2.0 - 0.5 - NormalQuantile((1.0 - confidence) / 2.0) * within);
  const auto skipped = static_cast<std::size_t>(std::max(0.0, rank - 1.0));
  result.lower = differences[skipped];
  result.upper = differences[differences.size() - 1 - skipped];
  return result;
}

}  // namespace consul_canary::stats
