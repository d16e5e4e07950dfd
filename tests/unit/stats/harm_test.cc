// Literals: an independent reading of docs/statistics.md#harm in mpmath with 40 digits, which keeps
// the sum itself instead of its logarithm.
#include "analyzer/stats/harm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "analyzer/stats/block.h"
#include "tests/unit/stats/enumeration.h"
#include "tests/unit/stats/near.h"

namespace consul_canary::stats {
namespace {

constexpr Counts kHistory{30000, 30};
constexpr HarmPlan kOpenEnded{0};

struct Tick {
  Counts primary;
  Counts canary;
};
const std::vector<Tick> kTicks = {
    {{95, 0}, {5, 1}}, {{93, 0}, {6, 0}}, {{97, 1}, {4, 1}}, {{90, 0}, {5, 0}}, {{96, 0}, {5, 1}}};

// ln M after each of kTicks.
std::vector<double> LogHarmAfterEach(const Counts& history, const HarmPlan& plan,
                                     double overdispersion, double elapsed_seconds) {
  HarmState state = StartHarm(history);
  std::vector<double> result;
  for (const Tick& tick : kTicks) {
    ObserveHarm(state, plan, tick.primary, tick.canary, overdispersion, elapsed_seconds);
    result.push_back(LogHarm(state));
  }
  return result;
}

TEST(Harm, IsNothingBeforeTheFirstTick) {
  EXPECT_EQ(LogHarm(StartHarm(kHistory)), 0.0);
  EXPECT_EQ(LogHarm(StartHarm({})), 0.0);
}

TEST(Harm, AgreesWithFortyDigitArithmeticWithoutAPlan) {
  ExpectNear(LogHarmAfterEach(kHistory, kOpenEnded, 1.0, 30.0),
             {1.6821263371749, 1.674058922610544, 3.285027883731797, 3.278284163224352,
              5.746640440800791});
}

TEST(Harm, AgreesWithFortyDigitArithmeticForThreePlannedEpochs) {
  ExpectNear(LogHarmAfterEach(kHistory, {3}, 1.0, 30.0),
             {1.6821263371749, 1.674058922610544, 3.2822658764807233, 3.2755172049581707,
              5.745017046713496});
}

TEST(Harm, SpendsLittleAfterThePlannedEpochs) {
  ExpectNear(LogHarmAfterEach(kHistory, {2}, 1.0, 30.0),
             {1.6821263371749, 1.674058922610544, 3.2932684262594223, 3.2865393961273965,
              5.754445667477132});
}

TEST(Harm, IsTemperedByOverdispersion) {
  ExpectNear(LogHarmAfterEach(kHistory, kOpenEnded, 2.5, 1.0),
             {0.552783286343603, 0.5509567765821464, 1.065223505449226, 1.063435396301382,
              1.859959364067134});
}

TEST(Harm, LearnsThePrimaryFromNothing) {
  ExpectNear(LogHarmAfterEach({}, kOpenEnded, 1.0, 1.0),
             {-.3767346623464052, -.3770649468415828, .1911509633077608, .1904281305624683,
              1.13780212794726});
}

TEST(Harm, AGapOfSeveralEpochsSpendsTheirMassesTogether) {
  HarmState state = StartHarm(kHistory);
  ObserveHarm(state, kOpenEnded, kTicks[0].primary, kTicks[0].canary, 1.0, 200.0);
  ObserveHarm(state, kOpenEnded, kTicks[1].primary, kTicks[1].canary, 1.0, 1.0);
  EXPECT_NEAR(LogHarm(state), 1.673939911601188, 1e-11);
  EXPECT_EQ(state.epoch, 3);
  EXPECT_DOUBLE_EQ(state.epoch_seconds, 21.0);
  EXPECT_DOUBLE_EQ(state.spent, .75 + .25 * (1.0 - 1.0 / 4.0));
}

TEST(Harm, TheFirstEpochWaitsForRequestsAtBoth) {
  HarmState state = StartHarm(kHistory);
  for (int i = 0; i < 100; ++i) ObserveHarm(state, kOpenEnded, {95, 0}, {0, 0}, 1.0, 1.0);
  EXPECT_EQ(state.epoch, -1);
  EXPECT_EQ(state.spent, 0.0);
  ObserveHarm(state, kOpenEnded, {95, 0}, {1, 0}, 1.0, 1.0);
  EXPECT_EQ(state.epoch, 0);
  EXPECT_EQ(state.spent, .75);
}

TEST(Harm, AnEpochBeginsEverySixtySeconds) {
  HarmState state = StartHarm(kHistory);
  for (int i = 0; i < 60; ++i) ObserveHarm(state, {3}, {95, 0}, {5, 0}, 1.0, 1.0);
  EXPECT_EQ(state.epoch, 0);
  ObserveHarm(state, {3}, {95, 0}, {5, 0}, 1.0, 1.0);
  EXPECT_EQ(state.epoch, 1);
  EXPECT_DOUBLE_EQ(state.spent, .85);
  for (int i = 0; i < 60; ++i) ObserveHarm(state, {3}, {95, 0}, {0, 0}, 1.0, 1.0);
  EXPECT_EQ(state.epoch, 2);
  EXPECT_DOUBLE_EQ(state.spent, .95);
  // Whoever is watched for longer than planned has a little left for each minute.
  for (int i = 0; i < 600; ++i) ObserveHarm(state, {3}, {95, 0}, {5, 0}, 1.0, 1.0);
  EXPECT_DOUBLE_EQ(state.spent, .95 + .05 * (1.0 - 1.0 / 11.0));
  EXPECT_TRUE(std::isfinite(LogHarm(state)));
}

TEST(Harm, NeverSpendsMoreThanAllItHas) {
  HarmState open_ended = StartHarm(kHistory);
  HarmState planned = StartHarm(kHistory);
  for (int i = 0; i < 20000; ++i) {
    ObserveHarm(open_ended, kOpenEnded, {95, 0}, {5, 0}, 1.0, 60.0);
    ObserveHarm(planned, {7000}, {95, 0}, {5, 0}, 1.0, 60.0);
    ASSERT_LE(open_ended.spent, 1.0);
    ASSERT_LE(planned.spent, 1.0);
  }
  EXPECT_NEAR(open_ended.spent, 1.0, 2e-5);
  EXPECT_NEAR(planned.spent, 1.0, 1e-5);
}

TEST(Harm, FindsAFaultLongAfterThePlanWithAFewFailuresMore) {
  const auto ticks_until_rollback = [](int healthy_minutes) {
    HarmState state = StartHarm(kHistory);
    for (int i = 0; i < healthy_minutes; ++i) {
      ObserveHarm(state, {60}, {3000, 3}, {3000, 3}, 1.0, 60.0);
    }
    int ticks = 0;
    for (; LogHarm(state) < std::log(100.0); ++ticks) {
      ObserveHarm(state, {60}, {50, 0}, {50, 2}, 1.0, 1.0);
    }
    return ticks;
  };
  const int within = ticks_until_rollback(50);
  EXPECT_LE(ticks_until_rollback(600), 2 * within);
  EXPECT_LE(ticks_until_rollback(3600), 3 * within);
}

TEST(Harm, AddsNoEvidenceWhereEitherSubsetCompletedNothing) {
  HarmState state = StartHarm(kHistory);
  ObserveHarm(state, kOpenEnded, {95, 0}, {5, 1}, 1.0, 1.0);
  const double before = LogHarm(state);
  ObserveHarm(state, kOpenEnded, {0, 0}, {50, 50}, 1.0, 1.0);
  ObserveHarm(state, kOpenEnded, {500, 500}, {0, 0}, 1.0, 1.0);
  EXPECT_EQ(LogHarm(state), before);
  EXPECT_EQ(state.primary, (Counts{30000 + 95 + 500, 30 + 500}));
}

TEST(Harm, FindsALateFaultAlmostAsFastAsAnEarlyOne) {
  const auto ticks_until_rollback = [](int healthy_ticks) {
    HarmState state = StartHarm(kHistory);
    const HarmPlan plan{60};
    for (int i = 0; i < healthy_ticks; ++i) ObserveHarm(state, plan, {95, 0}, {5, 0}, 1.0, 1.0);
    for (int i = 1; i < 100; ++i) {
      ObserveHarm(state, plan, {95, 0}, {5, 1}, 1.0, 1.0);
      if (LogHarm(state) >= std::log(100.0)) return i;
    }
    return 100;
  };
  EXPECT_EQ(ticks_until_rollback(0), 3);
  EXPECT_LE(ticks_until_rollback(1800), 5);
}

TEST(Harm, TakesTicksOfFewRequestsTogetherUntilTheyAreTwenty) {
  HarmState in_parts = StartHarm(kHistory);
  ObserveHarm(in_parts, kOpenEnded, {13, 0}, {1, 1}, 2.0, 1.0);
  ObserveHarm(in_parts, kOpenEnded, {4, 1}, {1, 0}, 5.0, 1.0);
  EXPECT_EQ(LogHarm(in_parts), 0.0);
  EXPECT_EQ(in_parts.primary, kHistory);
  ObserveHarm(in_parts, kOpenEnded, {0, 0}, {1, 1}, 5.0, 1.0);
  HarmState at_once = StartHarm(kHistory);
  ObserveHarm(at_once, kOpenEnded, {17, 1}, {3, 2}, 2.0, 3.0);
  EXPECT_EQ(in_parts, at_once);
  EXPECT_GT(LogHarm(in_parts), 0.0);
}

TEST(Harm, TakesTicksTogetherForNoMoreThanTenSeconds) {
  HarmState state = StartHarm(kHistory);
  for (int i = 0; i < 9; ++i) ObserveHarm(state, kOpenEnded, {0, 0}, {0, 0}, 1.0, 1.0);
  EXPECT_EQ(state.open.seconds, 9.0);
  ObserveHarm(state, kOpenEnded, {1, 0}, {1, 1}, 1.0, 1.0);
  EXPECT_EQ(state.open, HarmBlock{});
  EXPECT_GT(LogHarm(state), 0.0);
}

TEST(Harm, ContinuesBitForBitFromAStoredState) {
  HarmState state = StartHarm(kHistory);
  for (int i = 0; i < 130; ++i)
    ObserveHarm(state, {9}, {95, i % 7 == 0}, {5, i % 11 == 0}, 1.3, .97);
  ObserveHarm(state, {9}, {6, 1}, {1, 0}, 1.3, .97);
  ASSERT_NE(state.open, HarmBlock{});
  HarmState restored;
  restored.primary = state.primary;
  restored.log_sums = state.log_sums;
  restored.spent = state.spent;
  restored.epoch = state.epoch;
  restored.epoch_seconds = state.epoch_seconds;
  restored.open = state.open;
  for (int i = 0; i < 130; ++i) {
    ObserveHarm(state, {9}, {95, i % 5 == 0}, {5, i % 13 == 0}, 1.7, 1.03);
    ObserveHarm(restored, {9}, {95, i % 5 == 0}, {5, i % 13 == 0}, 1.7, 1.03);
    ASSERT_EQ(restored, state);
    ASSERT_EQ(LogHarm(restored), LogHarm(state));
  }
}

TEST(Harm, HoldsOnlyFiniteNumbersFromTheStart) {
  HarmState state = StartHarm({});
  for (int i = 0; i < 3; ++i) {
    for (const double sum : state.log_sums) EXPECT_TRUE(std::isfinite(sum));
    EXPECT_TRUE(std::isfinite(LogHarm(state)));
    ObserveHarm(state, kOpenEnded, {1'000'000'000, 0}, {1'000'000'000, 1'000'000'000}, 1.0, 1e9);
  }
  EXPECT_GT(LogHarm(state), 1e6);
}

TEST(Harm, HasAnExpectationOfAtMostOneOverTwoTicksAtACommonRate) {
  // Two ticks with an epoch between them, every outcome enumerated: the restart itself must cost
  // nothing.
  for (const double rate : {1e-4, .01, .1, .5, .95}) {
    const auto second_tick = [&](const HarmState& after_first) {
      return ExpectedEvidence(4, 3, rate, rate, [&](const Counts& primary, const Counts& canary) {
        HarmState state = after_first;
        ObserveHarm(state, {3}, primary, canary, 1.0, 60.0);
        return LogHarm(state);
      });
    };
    const double expectation =
        ExpectedEvidence(5, 2, rate, rate, [&](const Counts& primary, const Counts& canary) {
          HarmState state = StartHarm({20, 1});
          ObserveHarm(state, {3}, primary, canary, 1.0, 60.0);
          return std::log(second_tick(state));
        });
    EXPECT_LE(expectation, 1 + 1e-12) << rate;
  }
}

TEST(Harm, HasAnExpectationOfAtMostOneForAnyOverdispersion) {
  for (const double overdispersion : {1.0, 1.5, 20.0}) {
    for (const double rate : {.001, .1, .7}) {
      const double expectation =
          ExpectedEvidence(9, 4, rate, rate, [&](const Counts& primary, const Counts& canary) {
            HarmState state = StartHarm({50, 2});
            ObserveHarm(state, kOpenEnded, primary, canary, overdispersion, 10.0);
            return LogHarm(state);
          });
      EXPECT_LE(expectation, 1 + 1e-12);
    }
  }
}

}  // namespace
}  // namespace consul_canary::stats
