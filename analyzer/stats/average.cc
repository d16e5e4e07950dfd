#include "analyzer/stats/average.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

#include "analyzer/stats/block.h"

namespace consul_canary::stats {

double LogAverage(std::span<const double> log_values, std::span<const double> weights) {
  assert(!log_values.empty() && log_values.size() == weights.size());
  if (log_values.size() == 1) return log_values[0];
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<double> terms(log_values.size());
  for (std::size_t i = 0; i < terms.size(); ++i) {
    assert(weights[i] > 0.0);
    terms[i] = log_values[i] + std::log(weights[i] / total);
  }
  return LogSumExp(terms);
}

std::vector<std::size_t> RejectedByEbh(std::span<const double> log_values, double level) {
  assert(level > 0.0 && level <= 1.0);
  std::vector<std::size_t> order(log_values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::ranges::greater{},
                           [&](std::size_t i) { return log_values[i]; });
  const double all = static_cast<double>(order.size());
  std::size_t rejected = 0;
  for (std::size_t k = 1; k <= order.size(); ++k) {
    const double bound = std::log(all / (level * static_cast<double>(k)));
    if (log_values[order[k - 1]] >= bound) rejected = k;
  }
  order.resize(rejected);
  std::ranges::sort(order);
  return order;
}

}  // namespace consul_canary::stats
