// Literals: an independent reading of docs/statistics.md#ejection in mpmath with 40 digits, which
// keeps the sum itself instead of its logarithm.
#include "analyzer/stats/ejected_harm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/unit/stats/ejected_ticks.h"
#include "tests/unit/stats/near.h"

namespace consul_canary::stats {
namespace {

constexpr Counts kHistory{30000, 30};

struct Arms {
  Counts primary;
  Counts canary;
};
const std::vector<Arms> kTicks = {{{97, 0}, {3, 1}},
                                  {{101, 1}, {0, 0}},
                                  {{60, 0}, {40, 0}},
                                  {{88, 0}, {14, 2}},
                                  {{50, 1}, {52, 1}}};

EjectionTick TickOf(const Arms& arms, std::int64_t active_instances, bool retried) {
  return {arms.primary, arms.canary, .5, active_instances, retried};
}

TEST(EjectedHarm, IsNothingBeforeTheFirstTick) {
  EXPECT_EQ(LogEjectedHarm(StartEjectedHarm(kHistory)), 0.0);
}

TEST(EjectedHarm, AgreesWithFortyDigitArithmetic) {
  struct Row {
    HarmPlan plan;
    std::int64_t active_instances;
    bool retried;
    double overdispersion, elapsed_seconds;
    std::vector<double> expected;
  };
  const Row rows[] = {
      {{},
       1,
       true,
       1.0,
       30.0,
       {1.445978149885999, 1.445978149885999, .2812434184304728, .9209213263929481,
        .2374239714817659}},
      {{},
       2,
       false,
       2.5,
       1.0,
       {.24787058941326, .24787058941326, -.04971337962314562, .2545979830469886,
        .04072472952034241}},
      {{.tolerance = {1, .01}},
       1,
       true,
       1.0,
       1.0,
       {.9421127911348499, .9421127911348499, .2023054962367726, 1.337673978790722,
        -.4902029315720271}},
  };
  for (const Row& row : rows) {
    EjectedHarmState state = StartEjectedHarm(kHistory);
    std::vector<double> result;
    for (const Arms& arms : kTicks) {
      ObserveEjectedHarm(state, row.plan, TickOf(arms, row.active_instances, row.retried),
                         row.overdispersion, row.elapsed_seconds);
      result.push_back(LogEjectedHarm(state));
    }
    ExpectNear(result, row.expected);
  }
}

TEST(EjectedHarm, WaitsForTwentyRequestsOrTenSeconds) {
  EjectedHarmState state = StartEjectedHarm(kHistory);
  ObserveEjectedHarm(state, {}, TickOf({{9, 0}, {1, 1}}, 1, true), 1.0, 1.0);
  EXPECT_EQ(state.epoch, -1);
  ObserveEjectedHarm(state, {}, TickOf({{10, 0}, {0, 0}}, 1, true), 1.0, 1.0);
  EXPECT_EQ(state.epoch, -1);  // twenty attempts, but one of them is a retry
  ObserveEjectedHarm(state, {}, TickOf({{1, 0}, {0, 0}}, 1, true), 1.0, 1.0);
  EXPECT_EQ(state.epoch, 0);
  EXPECT_GT(LogEjectedHarm(state), 0.5);
  ObserveEjectedHarm(state, {}, TickOf({{1, 0}, {1, 1}}, 1, false), 1.0, 9.0);
  const double before = LogEjectedHarm(state);
  ObserveEjectedHarm(state, {}, TickOf({{1, 0}, {0, 0}}, 1, false), 1.0, 1.0);
  EXPECT_GT(LogEjectedHarm(state), before);
}

// Ten minutes of good service have an epoch's end to wait for; an ejection has not.
TEST(EjectedHarm, BeginsAnewWhenTheCanaryIsBack) {
  EjectedHarmState state = StartEjectedHarm(kHistory);
  for (int i = 0; i < 629; ++i)
    ObserveEjectedHarm(state, {}, TickOf({{50, 0}, {50, 0}}, 1, true), 1.0, 1.0);
  const EjectedHarmState good = state;
  for (int i = 0; i < 3; ++i)
    ObserveEjectedHarm(state, {}, TickOf({{100, 0}, {0, 0}}, 1, true), 1.0, 1.0);
  EXPECT_EQ(state.missed, 150);
  EXPECT_EQ(state.returns, 0);
  ObserveEjectedHarm(state, {}, TickOf({{99, 0}, {1, 1}}, 1, true), 1.0, 1.0);
  EXPECT_EQ(state.missed, 0);
  EXPECT_EQ(state.returns, 1);
  EXPECT_NEAR(state.spent - good.spent, .15, 1e-12);
  EXPECT_GT(LogEjectedHarm(state), LogEjectedHarm(good) + 1);
  // A gap that chance explains is no return.
  ObserveEjectedHarm(state, {}, {{100, 0}, {0, 0}, .04, 1, true}, 1.0, 1.0);
  ObserveEjectedHarm(state, {}, TickOf({{99, 0}, {1, 0}}, 1, true), 1.0, 1.0);
  EXPECT_EQ(state.returns, 1);
}

TEST(EjectedHarm, KeepsForABlockWhatWasKnownBeforeIt) {
  EjectedHarmState state = StartEjectedHarm(kHistory);
  ObserveEjectedHarm(state, {}, {{5, 0}, {5, 0}, .5, 3, true}, 2.0, 1.0);
  ObserveEjectedHarm(state, {}, {{5, 0}, {0, 0}, .1, 1, true}, 7.0, 1.0);
  EXPECT_EQ(state.open.tick, (EjectionTick{{10, 0}, {5, 0}, .5, 3, true}));
  EXPECT_EQ(state.open.overdispersion, 2.0);
}

TEST(EjectedHarm, LearnsThePrimaryFromTicksWithoutTheCanary) {
  EjectedHarmState state = StartEjectedHarm({});
  for (int i = 0; i < 10; ++i) ObserveEjectedHarm(state, {}, {{100, 1}, {0, 0}, .5, 1}, 1.0, 1.0);
  EXPECT_EQ(state.primary, (Counts{1000, 10}));
  EXPECT_EQ(LogEjectedHarm(state), 0.0);
}

TEST(EjectedHarm, RollsBackACanaryThatFailsOnceEachTimeItIsBack) {
  EjectedHarmState state = StartEjectedHarm(kHistory);
  for (int second = 0; second < 12; ++second) {
    const bool is_back = second % 3 == 0;
    ObserveEjectedHarm(state, {}, {{is_back ? 100 : 101, 0}, {is_back, is_back}, .5, 1, true}, 1.0,
                       1.0);
  }
  EXPECT_GT(LogEjectedHarm(state), std::log(100.0));
}

TEST(EjectedHarm, DoesNotRollBackWhatFailsTogetherWithThePrimary) {
  EjectedHarmState state = StartEjectedHarm(kHistory);
  for (int second = 0; second < 120; ++second) {
    const bool is_back = second % 3 == 0;
    ObserveEjectedHarm(state, {}, {{100, 48}, {is_back, is_back}, .5, 1, true}, 1.0, 1.0);
    ASSERT_LT(LogEjectedHarm(state), std::log(20.0)) << second;
  }
}

TEST(EjectedHarm, IsNoEvidenceWhereTheToleranceAllowsEverything) {
  EjectedHarmState state = StartEjectedHarm({100, 60});
  const HarmPlan plan{.tolerance = {2, .1}};
  for (int i = 0; i < 50; ++i)
    ObserveEjectedHarm(state, plan, {{50, 30}, {50, 50}, .5, 1}, 1.0, 1.0);
  EXPECT_NEAR(LogEjectedHarm(state), 0.0, 1e-12);
}

// Two ticks with an epoch between them: the second's p has learned from the first.
TEST(EjectedHarm, HasAnExpectationOfAtMostOneOverTwoTicks) {
  for (const double rate : {.02, .2, .6}) {
    for (const bool retried : {false, true}) {
      const EjectedMesh mesh{10, rate, rate, retried, StopsAfter(.5, 1)};
      const EjectedTicks ticks(mesh);
      double sum = 0;
      const auto observe = [](EjectedHarmState& state, EjectionTick tick) {
        tick.weight_ratio = .5;
        ObserveEjectedHarm(state, {}, tick, 1.0, 60.0);
      };
      ticks.ForEach([&](const EjectionTick& first, double first_chance) {
        EjectedHarmState state = StartEjectedHarm({200, 4});
        observe(state, first);
        ticks.ForEach([&](const EjectionTick& second, double second_chance) {
          EjectedHarmState next = state;
          observe(next, second);
          sum += first_chance * second_chance * std::exp(LogEjectedHarm(next));
        });
      });
      EXPECT_LE(sum, 1 + 1e-10) << rate << ' ' << retried;
    }
  }
}

TEST(EjectedHarm, ContinuesBitForBitFromAStoredState) {
  EjectedHarmState state = StartEjectedHarm(kHistory);
  for (int i = 0; i < 50; ++i) {
    ObserveEjectedHarm(state, {}, {{9, i % 7 == 0}, {2, i % 5 == 0}, .2, 2, true}, 1.3, 1.0);
  }
  EjectedHarmState restored = StartEjectedHarm(state.primary);
  restored.log_sums = state.log_sums;
  restored.spent = state.spent;
  restored.epoch = state.epoch;
  restored.epoch_seconds = state.epoch_seconds;
  restored.open = state.open;
  for (int i = 0; i < 50; ++i) {
    ObserveEjectedHarm(state, {}, {{95, i % 5 == 0}, {5, i % 9 == 0}, .5, 1, true}, 1.7, 1.0);
    ObserveEjectedHarm(restored, {}, {{95, i % 5 == 0}, {5, i % 9 == 0}, .5, 1, true}, 1.7, 1.0);
    ASSERT_EQ(restored, state);
  }
}

TEST(EjectedHarmDeathTest, RefusesMoreFailuresThanRequests) {
  EjectedHarmState state = StartEjectedHarm(kHistory);
  EXPECT_DEBUG_DEATH(ObserveEjectedHarm(state, {}, {{95, 0}, {5, 6}, .5, 1}, 1.0, 1.0), "IsValid");
}

}  // namespace
}  // namespace consul_canary::stats
