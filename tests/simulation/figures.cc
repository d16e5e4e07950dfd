#include "tests/simulation/figures.h"

#include <algorithm>
#include <cmath>

namespace consul_canary::simulation {
namespace {

constexpr double kChanceOfAFalseAlarm = 1e-4;
constexpr double kDeviations = 3.72;  // a normal variable exceeds them with the same chance

// The smallest k with P(Binomial(n, rate) > k) <= kChanceOfAFalseAlarm.
int GreatestAllowed(int trials, double rate) {
  double probability = std::pow(1.0 - rate, trials);
  double below = probability;
  int k = 0;
  while (1.0 - below > kChanceOfAFalseAlarm) {
    probability *= rate / (1.0 - rate) * (trials - k) / (k + 1);
    below += probability;
    ++k;
  }
  return k;
}

double Divergence(double a, double b) {
  const double success = a < 1 ? (1 - a) * std::log((1 - a) / (1 - b)) : 0;
  return a * std::log(a / b) + success;
}

}  // namespace

Figure MeanOf(const std::vector<double>& values) {
  Figure figure{.runs = static_cast<int>(values.size())};
  const double n = static_cast<double>(values.size());
  for (const double value : values) figure.mean += value / n;
  double squares = 0;
  for (const double value : values) squares += (value - figure.mean) * (value - figure.mean);
  if (n > 1) figure.standard_error = std::sqrt(squares / (n - 1) / n);
  return figure;
}

Figure MedianOf(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  const auto reach = static_cast<std::size_t>(std::sqrt(values.size()) / 2);
  const double above = values[std::min(middle + reach, values.size() - 1)];
  const double below = values[middle - std::min(reach, middle)];
  return {values[middle], (above - below) / 2, static_cast<int>(values.size())};
}

Figure ShareOf(int count, int runs) {
  const double share = static_cast<double>(count) / runs;
  return {share, std::sqrt(share * (1 - share) / runs), runs};
}

Figure RatioOf(const Figure& a, const Figure& b) {
  const double ratio = a.mean / b.mean;
  const double relative = std::hypot(a.standard_error / a.mean, b.standard_error / b.mean);
  return {ratio, a.mean > 0 ? ratio * relative : 0, a.runs};
}

bool KeepsShare(const Figure& share, double promised) {
  return std::lround(share.mean * share.runs) <= GreatestAllowed(share.runs, promised);
}

bool KeepsMean(const Figure& mean, double promised) {
  return mean.mean <= promised + kDeviations * mean.standard_error;
}

double LeastRequests(double p0, double p1, double weight_ratio, double alpha) {
  const double common = weight_ratio * p1 + (1 - weight_ratio) * p0;
  return std::log(1 / alpha) /
         (Divergence(p1, common) + (1 - weight_ratio) / weight_ratio * Divergence(p0, common));
}

}  // namespace consul_canary::simulation
