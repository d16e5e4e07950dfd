// Literals: an independent reading of docs/statistics.md#safe-to-advance in mpmath with 40 digits;
// projections also by scipy.optimize.minimize_scalar (1.17), which agrees to the seven digits it is
// good for.
#include "analyzer/stats/safe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "analyzer/stats/block.h"
#include "tests/unit/stats/enumeration.h"

namespace consul_canary::stats {
namespace {

constexpr Counts kHistory{30000, 30};

struct Tick {
  Counts primary;
  Counts canary;
};

void ExpectSequence(const Margin& margin, double overdispersion, const std::vector<Tick>& ticks,
                    const std::vector<double>& expected) {
  SafeState state = StartSafe(kHistory);
  for (std::size_t i = 0; i < ticks.size(); ++i) {
    ObserveSafe(state, margin, ticks[i].primary, ticks[i].canary, overdispersion);
    EXPECT_NEAR(LogSafe(state), expected[i], 1e-11) << "tick " << i;
  }
}

TEST(ProjectOntoMargin, AgreesWithFortyDigitArithmetic) {
  struct Row {
    double p, q;
    Margin margin;
    double primary_requests, canary_requests;
    double s, t;
  };
  const Row rows[] = {
      {.001, .001, {1, .005}, 95, 5, .0009578380082472768, .005957838008247277},
      {.001, .0035, {1, .005}, 95, 5, .0009785411973271052, .005978541197327105},
      {.02, .02, {1.5, .01}, 50, 50, .01328101426914071, .02992152140371106},
      {.5, .4, {1, .05}, 10, 90, .3656335612779987, .4156335612779987},
      {.3, .05, {2, .1}, 7, 3, .1462586227759429, .3925172455518858},
  };
  for (const Row& row : rows) {
    const NullPoint point =
        ProjectOntoMargin(row.p, row.q, row.margin, row.primary_requests, row.canary_requests);
    EXPECT_NEAR(point.primary, row.s, 1e-15) << row.p << ' ' << row.q;
    EXPECT_NEAR(point.canary, row.t, 1e-15) << row.p << ' ' << row.q;
  }
}

TEST(ProjectOntoMargin, StaysInsideTheDomainAtTheExtremes) {
  for (const double p : {1e-12, .5, .999999}) {
    for (const Margin margin :
         {Margin{1, 1e-9}, Margin{1, .9}, Margin{100, .5}, Margin{.01, .01}}) {
      const double limit = margin.ratio * p + margin.absolute;
      const double q = std::min(p, .5 * limit);
      for (const double requests : {1.0, 1e9}) {
        const NullPoint point = ProjectOntoMargin(p, q, margin, requests, 1e9 + 1 - requests);
        EXPECT_GT(point.primary, 0.0);
        EXPECT_LT(point.primary, 1.0);
        EXPECT_GT(point.canary, 0.0);
        EXPECT_LT(point.canary, 1.0);
      }
    }
  }
}

TEST(Safe, OneTickWithoutFailuresIsWorthWhatTheProjectionSays) {
  const Rate p{.001, .999};
  const NullPoint null = ProjectOntoMargin(.001, .001, {1, .005}, 95, 5);
  const double evidence = LogLikelihoodRatio({95, 0}, p, {null.primary, 1 - null.primary}) +
                          LogLikelihoodRatio({5, 0}, p, {null.canary, 1 - null.canary});
  EXPECT_NEAR(evidence, .0208664679934, 1e-12);
}

TEST(Safe, IsNothingBeforeTheFirstTick) { EXPECT_NEAR(LogSafe(StartSafe(kHistory)), 0.0, 1e-15); }

TEST(Safe, AgreesWithFortyDigitArithmeticForAFailingCanary) {
  ExpectSequence({1, .01}, 1.0,
                 {{{95, 0}, {5, 1}},
                  {{93, 0}, {6, 0}},
                  {{97, 1}, {4, 1}},
                  {{90, 0}, {5, 0}},
                  {{96, 0}, {5, 1}}},
                 {-1.354324107193956, -1.316568266244034, -2.262346954209543, -2.234700643851402,
                  -3.011931005894729});
}

const std::vector<Tick> kGrowingWeight = {{{95, 0}, {5, 0}},
                                          {{93, 1}, {6, 0}},
                                          {{97, 0}, {4, 0}},
                                          {{50, 0}, {50, 0}},
                                          {{60, 0}, {70, 1}}};

TEST(Safe, AgreesWithFortyDigitArithmeticUnderAGrowingWeight) {
  ExpectSequence({1, .01}, 1.0, kGrowingWeight,
                 {.03767992834332151, .1308726010722382, .1611584302141319, .5398570099305611,
                  -.4397024726412891});
}

TEST(Safe, AgreesWithFortyDigitArithmeticForARatioMarginAndOverdispersion) {
  ExpectSequence({1.5, .005}, 2.0, kGrowingWeight,
                 {.008696570443792859, .05179074331149204, .05874801711919427, .1417763684214361,
                  -.3255871253595878});
}

TEST(Safe, AddsNoEvidenceWhereEitherSubsetCompletedNothing) {
  SafeState state = StartSafe(kHistory);
  ObserveSafe(state, {1, .01}, {95, 0}, {5, 0}, 1.0);
  const double before = LogSafe(state);
  ObserveSafe(state, {1, .01}, {0, 0}, {5000, 0}, 1.0);
  ObserveSafe(state, {1, .01}, {5000, 5000}, {0, 0}, 1.0);
  EXPECT_EQ(LogSafe(state), before);
  EXPECT_EQ(state.primary, (Counts{30000 + 95 + 5000, 30 + 5000}));
}

TEST(Safe, ProvesAHealthyCanaryAfterAboutFiveHundredOfItsRequests) {
  SafeState state = StartSafe({30000, 60});
  int ticks = 0;
  while (LogSafe(state) < std::log(20.0) && ticks < 1000) {
    ObserveSafe(state, {1, .01}, {90, ticks % 5 == 0}, {10, 0}, 1.0);
    ++ticks;
  }
  EXPECT_GT(ticks, 20);
  EXPECT_LT(ticks, 60);
}

TEST(Safe, NeverProvesWhereTheRatioDemandsTheImpossible) {
  SafeState state = StartSafe({1000, 500});
  for (int i = 0; i < 1000; ++i) ObserveSafe(state, {.5, .01}, {50, 25}, {50, 0}, 1.0);
  EXPECT_NEAR(LogSafe(state), 0.0, 1e-12);
}

TEST(Safe, HasAnExpectationOfAtMostOneOnAndBeyondTheMargin) {
  for (const Margin margin : {Margin{1, .01}, Margin{1.5, .05}, Margin{.5, .2}}) {
    for (const Counts history : {Counts{0, 0}, Counts{500, 3}, Counts{40, 10}}) {
      const auto evidence = [&](const Counts& primary, const Counts& canary) {
        SafeState state = StartSafe(history);
        ObserveSafe(state, margin, primary, canary, 1.0);
        return LogSafe(state);
      };
      for (const double rate : {0.0, .001, .02, .1, .3, .6}) {
        const double limit = margin.ratio * rate + margin.absolute;
        if (limit > 1.0) continue;
        for (const double beyond : {0.0, .05, .5, 1.0}) {
          const double canary_rate = limit + beyond * (1.0 - limit);
          EXPECT_LE(ExpectedEvidence(9, 3, rate, canary_rate, evidence), 1 + 1e-11);
          EXPECT_LE(ExpectedEvidence(2, 12, rate, canary_rate, evidence), 1 + 1e-11);
        }
      }
    }
  }
}

TEST(Safe, HoldsOnlyFiniteNumbersAtTheExtremes) {
  SafeState state = StartSafe({});
  const Tick ticks[] = {{{1'000'000'000, 0}, {1'000'000'000, 0}},
                        {{1, 1}, {1'000'000'000, 1'000'000'000}},
                        {{1'000'000'000, 1'000'000'000}, {1, 0}},
                        {{1'000'000'000, 1'000'000'000}, {1'000'000'000, 1'000'000'000}}};
  for (const Tick& tick : ticks) {
    ObserveSafe(state, {1, .01}, tick.primary, tick.canary, 1.0);
    for (const double sum : state.log_sums) EXPECT_TRUE(std::isfinite(sum));
    EXPECT_TRUE(std::isfinite(LogSafe(state)));
  }
}

TEST(Safe, ContinuesBitForBitFromAStoredState) {
  SafeState state = StartSafe(kHistory);
  for (int i = 0; i < 50; ++i) ObserveSafe(state, {1, .01}, {95, i % 7 == 0}, {5, 0}, 1.3);
  SafeState restored;
  restored.primary = state.primary;
  restored.log_sums = state.log_sums;
  for (int i = 0; i < 50; ++i) {
    ObserveSafe(state, {1, .01}, {95, i % 5 == 0}, {5, i % 13 == 0}, 1.7);
    ObserveSafe(restored, {1, .01}, {95, i % 5 == 0}, {5, i % 13 == 0}, 1.7);
    ASSERT_EQ(restored, state);
  }
}

}  // namespace
}  // namespace consul_canary::stats
