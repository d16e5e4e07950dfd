#include "analyzer/stats/reference.h"

#include <cassert>
#include <cmath>

namespace consul_canary::stats {
namespace {

// KL(a, b) for 0 < b < 1.
double Divergence(double a, double b) {
  double divergence = 0;
  if (a > 0) divergence += a * std::log(a / b);
  if (a < 1) divergence += (1 - a) * std::log1p((b - a) / (1 - b));
  return divergence;
}

}  // namespace

double UpperRate(const Counts& counts, double overdispersion, double chance) {
  assert(chance > 0 && chance < 1 && overdispersion >= 1);
  if (counts.completed == 0 || counts.failures == counts.completed) return 1;
  const auto size = static_cast<double>(counts.completed);
  const double observed = static_cast<double>(counts.failures) / size;
  const double needed = -std::log(chance) * overdispersion / size;
  double low = observed;
  double high = 1;
  // Halved until the two are neighbours.
  for (double middle = (low + high) / 2; low < middle && middle < high; middle = (low + high) / 2) {
    (Divergence(observed, middle) < needed ? low : high) = middle;
  }
  return high;
}

}  // namespace consul_canary::stats
