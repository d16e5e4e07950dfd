// Harm beyond a tolerance. Literals: docs/statistics.md#harm and #safe-to-advance read anew in
// mpmath with 40 digits.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "analyzer/stats/harm.h"
#include "tests/unit/stats/enumeration.h"

namespace consul_canary::stats {
namespace {

struct Tick {
  Counts primary;
  Counts canary;
};
const std::vector<Tick> kTicks = {
    {{95, 0}, {5, 1}}, {{93, 0}, {6, 0}}, {{97, 1}, {4, 1}}, {{90, 0}, {5, 0}}, {{96, 0}, {5, 1}}};

void ExpectSequence(const HarmPlan& plan, double overdispersion, double elapsed_seconds,
                    const std::vector<double>& expected) {
  HarmState state = StartHarm({30000, 30});
  for (std::size_t i = 0; i < kTicks.size(); ++i) {
    ObserveHarm(state, plan, kTicks[i].primary, kTicks[i].canary, overdispersion, elapsed_seconds);
    EXPECT_NEAR(LogHarm(state), expected[i], 1e-11) << "tick " << i;
  }
}

TEST(TolerantHarm, AgreesWithFortyDigitArithmeticForARatioAndAnAbsoluteTolerance) {
  ExpectSequence({0, {1.5, .005}}, 1.0, 30.0,
                 {1.4483572385562319, 1.1582659475603623, 2.1411722206637555, 1.9480738260933699,
                  3.7969127091532622});
}

TEST(TolerantHarm, AgreesWithFortyDigitArithmeticUnderOverdispersionAndAPlan) {
  ExpectSequence({3, {1.0, .01}}, 2.5, 30.0,
                 {.44830778362389205, .25357852712219556, .605359354577546, .46025971633386,
                  1.0277597811906132});
}

TEST(TolerantHarm, AgreesWithFortyDigitArithmeticForARatioAlone) {
  ExpectSequence({0, {2.0, 0.0}}, 1.0, 1.0,
                 {1.3551897710289266, 1.3345699070018957, 2.2768190733966474, 2.264024575079992,
                  4.1343489821915252});
}

TEST(TolerantHarm, ComesToTheSameAsAnyWorseWhereTheToleranceVanishes) {
  HarmState any_worse = StartHarm({30000, 30});
  HarmState tolerant = StartHarm({30000, 30});
  for (const Tick& tick : kTicks) {
    ObserveHarm(any_worse, {0}, tick.primary, tick.canary, 1.0, 1.0);
    ObserveHarm(tolerant, {0, {1.0, 1e-15}}, tick.primary, tick.canary, 1.0, 1.0);
    EXPECT_NEAR(LogHarm(tolerant), LogHarm(any_worse), 1e-9);
  }
}

TEST(TolerantHarm, LeavesACanaryAloneThatIsWorseWithinTheTolerance) {
  HarmState any_worse = StartHarm({300000, 300});
  HarmState tolerant = StartHarm({300000, 300});
  for (int i = 0; i < 600; ++i) {  // .1% against .8%
    ObserveHarm(any_worse, {10}, {900, i % 10 == 0 ? 9 : 0}, {100, i % 5 == 0 ? 4 : 0}, 1.0, 1.0);
    ObserveHarm(tolerant, {10, {1.0, .01}}, {900, i % 10 == 0 ? 9 : 0}, {100, i % 5 == 0 ? 4 : 0},
                1.0, 1.0);
  }
  EXPECT_GT(LogHarm(any_worse), std::log(100.0));
  EXPECT_LT(LogHarm(tolerant), std::log(2.0));
}

TEST(TolerantHarm, FindsACanaryThatIsWorseThanTheTolerance) {
  HarmState state = StartHarm({300000, 300});
  int ticks = 0;
  while (LogHarm(state) < std::log(100.0) && ticks < 600) {  // .1% against 5%
    ObserveHarm(state, {10, {1.0, .01}}, {900, 1}, {100, 5}, 1.0, 1.0);
    ++ticks;
  }
  EXPECT_LT(ticks, 10);
}

TEST(TolerantHarm, ProvesNothingWhereNoRateExceedsTheLimit) {
  HarmState state = StartHarm({1000, 600});
  for (int i = 0; i < 100; ++i) ObserveHarm(state, {0, {2.0, 0.0}}, {50, 30}, {50, 50}, 1.0, 1.0);
  EXPECT_NEAR(LogHarm(state), 0.0, 1e-12);
}

TEST(TolerantHarm, HasAnExpectationOfAtMostOneOnTheMarginAndBelowIt) {
  for (const Margin tolerance : {Margin{1.0, .01}, Margin{1.5, .05}, Margin{2.0, 0.0}}) {
    for (const Counts history : {Counts{0, 0}, Counts{500, 3}, Counts{40, 10}}) {
      const auto evidence = [&](const Counts& primary, const Counts& canary) {
        HarmState state = StartHarm(history);
        ObserveHarm(state, {0, tolerance}, primary, canary, 1.0, 10.0);
        return LogHarm(state);
      };
      for (const double rate : {0.0, .001, .02, .1, .3, .6, 1.0}) {
        const double limit = std::min(1.0, CanaryLimit(tolerance, rate));
        for (const double within : {1.0, .9, .3, 0.0}) {
          EXPECT_LE(ExpectedEvidence(9, 3, rate, within * limit, evidence), 1 + 1e-11);
          EXPECT_LE(ExpectedEvidence(2, 12, rate, within * limit, evidence), 1 + 1e-11);
        }
      }
    }
  }
}

TEST(TolerantHarm, IsWorthMoreThanOneOnAverageBeyondTheMargin) {
  const auto evidence = [](const Counts& primary, const Counts& canary) {
    HarmState state = StartHarm({500, 3});
    ObserveHarm(state, {0, {1.0, .01}}, primary, canary, 1.0, 10.0);
    return LogHarm(state);
  };
  EXPECT_GT(ExpectedEvidence(9, 6, .006, .4, evidence), 2.0);
}

}  // namespace
}  // namespace consul_canary::stats
