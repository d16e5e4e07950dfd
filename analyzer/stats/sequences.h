// Confidence sequences for people to read: intervals for how much more often the canary fails, that
// hold at all times together, whenever one looks. Nothing is decided by them.
// Derivation: docs/statistics.md#confidence-sequences.
#pragma once

#include <array>
#include <cstdint>

#include "analyzer/stats/counts.h"

namespace consul_canary::stats {

inline constexpr int kRatioGridSize = 241;
inline constexpr int kDifferenceGridSize = 81;

struct Interval {
  double lower = 0;
  double estimate = 0;
  double upper = 0;

  bool operator==(const Interval&) const = default;
};

// L(d) = sum over ticks of [xC d - (xC + xP) ln(1 + pi (e^d - 1))] on a grid of d, the logarithm of
// the canary's failure rate over the primary's, from ln 1/1000 to ln 1000: the likelihood given
// each tick's number of failures, which is free of the primary's rate and holds under changing
// weights (Lindon and Malek, NeurIPS 2022). It is the ratio of the rates, not of the odds; the two
// agree where failures are rare.
struct RatioSequence {
  std::array<double, kRatioGridSize> log_likelihood{};

  bool operator==(const RatioSequence&) const = default;
};
void ObserveRatio(RatioSequence& state, const Counts& primary, const Counts& canary,
                  double overdispersion);
// {d : ln of the average of exp L - L(d) < ln 1/alpha}, as ratios e^d, with the next grid points
// outside as limits (they lie 6% apart). The grid's ends where the data do not exclude them.
// estimate: the greatest L; 1 where nothing has failed.
[[nodiscard]] Interval RatioInterval(const RatioSequence& state, double alpha);

// For each difference delta of a grid from -1 to 1 (finer towards 0), the evidence against "the
// canary's rate is the primary's plus delta": projection as in safe.h with ratio 1, both ways.
struct DifferenceSequence {
  Counts primary;  // totals strictly before the next tick
  Counts canary;
  std::array<double, kDifferenceGridSize> log_evidence{};
  // Of the estimate: the ticks' differences, weighted by w = nC nP / (nC + nP) (Mantel-Haenszel).
  double weighted = 0;  // sum of w (xC / nC - xP / nP)
  double weight = 0;    // sum of w

  bool operator==(const DifferenceSequence&) const = default;
};
[[nodiscard]] DifferenceSequence StartDifference(const Counts& primary_history);
void ObserveDifference(DifferenceSequence& state, const Counts& primary, const Counts& canary,
                       double overdispersion);
// The grid points that are not excluded at alpha, with the next ones outside as limits (the grid is
// finite: the interval is never narrower than the data allow). estimate: as above, so that changing
// weights cannot turn it round; 0 before the first tick in which both have requests.
[[nodiscard]] Interval DifferenceInterval(const DifferenceSequence& state, double alpha);

// Radius of simultaneous bands around an empirical distribution function of n >= m observations
// (Howard and Ramdas, Sequential estimation of quantiles, Bernoulli 2022): for plots of latency.
//     .85 sqrt((lnln(e n / m) + .8 ln(1612 / alpha)) / n)
// At most 1; 1 for n < m.
[[nodiscard]] double BandRadius(std::int64_t n, std::int64_t m, double alpha);

}  // namespace consul_canary::stats
