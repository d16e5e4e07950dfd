// The Mann-Whitney U test on time bins, as Kayenta's judge uses it: for users who move over and
// want to compare. It is no sequential test: looked at often, it calls healthy canaries bad
// (docs/statistics.md#fixed-thresholds-and-mann-whitney).
#pragma once

#include <span>

namespace consul_canary::stats {

struct MannWhitney {
  double u = 0;         // of the canary's values: pairs in which the canary's is greater, ties half
  double p_value = 1;   // two-sided; normal approximation with tie and continuity correction
  double estimate = 0;  // Hodges-Lehmann: the median of all differences canary - primary
  double lower = 0;     // its confidence interval
  double upper = 0;
};

// The least number of values on each side of which an order can be so unlikely that an interval of
// this confidence exists: 2 / C(2n, n) <= 1 - confidence. 5 at .98.
[[nodiscard]] int LeastValues(double confidence);

// confidence: 0..1, of the interval (Kayenta's default is .98). Precondition: both at least one.
// Where all values are equal: p_value 1, the interval is the estimate.
[[nodiscard]] MannWhitney TestMannWhitney(std::span<const double> primary,
                                          std::span<const double> canary, double confidence);

}  // namespace consul_canary::stats
