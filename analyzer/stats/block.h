// The evidence of one tick: what harm.cc and safe.cc add up. Internal to stats/; a header of its
// own so that the formulas can be tested with literals. Sources: docs/statistics.md.
//
// Refuses to know anything about time, epochs or earlier ticks.
#pragma once

#include <array>
#include <cmath>
#include <span>

#include "analyzer/stats/counts.h"
#include "analyzer/stats/margin.h"

namespace consul_canary::stats {

inline constexpr int kOddsGridSize = 12;

// The chance that a request fails, with its complement, so that neither loses digits near 0.
// Invariant: both in (0, 1), their sum is 1 but for rounding.
struct Rate {
  double failure = 0.5;
  double success = 0.5;
};

// Alternatives "the odds of a failure are r_k times the primary's": 12 odds ratios, spaced evenly
// in ln r from 1.25 to 128, with prior weights proportional to r^-0.25.
struct OddsGrid {
  std::array<double, kOddsGridSize> odds_ratios{};
  std::array<double, kOddsGridSize> log_weights{};
};
[[nodiscard]] const OddsGrid& HarmGrid();
// The same up to 4096, for ticks that a failure cuts short: a few requests are all there are.
[[nodiscard]] const OddsGrid& EjectedHarmGrid();

// (X + 1/2) / (N + 1): strictly between 0 and 1 for any totals, 1/2 for none.
[[nodiscard]] Rate EstimateRate(const Counts& totals);

// The rate whose odds are `odds_ratio` times those of `rate`.
[[nodiscard]] Rate RaiseOdds(const Rate& rate, double odds_ratio);

// a's failure less b's, from whichever side of the complement has the finer resolution.
[[nodiscard]] double FailureDifference(const Rate& a, const Rate& b);

// ln(numerator / denominator), given numerator - denominator: nothing cancels where they are close.
[[nodiscard]] double LogRatio(double numerator, double denominator, double difference);

// ln of the probability of `counts` under `numerator` over that under `denominator`.
[[nodiscard]] double LogLikelihoodRatio(const Counts& counts, const Rate& numerator,
                                        const Rate& denominator);

// ln of the block e-variable of Turner, Ly and Grünwald (arXiv 2106.02693) for "the primary fails
// at p, the canary at q" against "both at one common rate"; 0 where either subset completed
// nothing. Its exp has an expectation of at most 1 at every common rate.
[[nodiscard]] double LogBlock(const Counts& primary, const Counts& canary, const Rate& p,
                              const Rate& q);

// ln of the e-variable for "the primary fails at p, the canary at q" against the nearest point of
// the margin: its exp has an expectation of at most 1 on the margin and beyond, on the side where
// (p, q) is not. Precondition: both subsets completed requests.
[[nodiscard]] double LogMarginBlock(const Counts& primary, const Counts& canary, const Rate& p,
                                    const Rate& q, const Margin& margin);

// The same as LogBlock, given the number of failures of the tick (Lindon and Malek, NeurIPS 2022):
// the limit of LogBlock where failures are rare. Used as an oracle in tests.
[[nodiscard]] double LogConditionalBlock(const Counts& primary, const Counts& canary,
                                         double odds_ratio);

// LogBlock for each odds ratio of HarmGrid(), with p estimated from the primary's totals before the
// tick.
[[nodiscard]] std::array<double, kOddsGridSize> HarmBlocks(const Counts& primary_totals,
                                                           const Counts& primary,
                                                           const Counts& canary);

// Evenly spaced logarithms from ln least to ln greatest.
template <std::size_t N>
[[nodiscard]] std::array<double, N> EvenlyInLog(double least, double greatest) {
  std::array<double, N> logs{};
  const double step = std::log(greatest / least) / static_cast<double>(N - 1);
  for (std::size_t k = 0; k < N; ++k) logs[k] = std::log(least) + step * static_cast<double>(k);
  return logs;
}

// ln(exp(a) + exp(b)) and ln of the sum of exp(x): no overflow; -infinity counts as 0.
[[nodiscard]] double LogAddExp(double a, double b);
[[nodiscard]] double LogSumExp(std::span<const double> values);

}  // namespace consul_canary::stats
