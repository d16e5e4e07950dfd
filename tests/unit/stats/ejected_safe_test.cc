// Literals: an independent reading of docs/statistics.md#ejection in mpmath with 40 digits.
#include "analyzer/stats/ejected_safe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/unit/stats/ejected_ticks.h"
#include "tests/unit/stats/near.h"

namespace consul_canary::stats {
namespace {

constexpr Counts kHistory{30000, 30};
const std::vector<EjectionTick> kTicks = {{{97, 0}, {3, 1}, .5},
                                          {{101, 1}, {0, 0}, .5},
                                          {{60, 0}, {40, 0}, .5},
                                          {{88, 0}, {14, 2}, .5},
                                          {{50, 1}, {52, 1}, .5}};

std::vector<double> LogSafeAfterEach(const Margin& margin, double overdispersion) {
  EjectedSafeState state = StartEjectedSafe(kHistory);
  std::vector<double> result;
  for (const EjectionTick& tick : kTicks) {
    ObserveEjectedSafe(state, margin, tick, overdispersion);
    result.push_back(LogEjectedSafe(state));
  }
  return result;
}

TEST(EjectedSafe, IsNothingBeforeTheFirstTick) {
  EXPECT_NEAR(LogEjectedSafe(StartEjectedSafe(kHistory)), 0.0, 1e-15);
}

TEST(EjectedSafe, AgreesWithFortyDigitArithmetic) {
  ExpectNear(LogSafeAfterEach({1, .01}, 1.0),
             {-2.676162002398046, -2.676162002398046, -2.307303541539264, -7.093509121375904,
              -8.340828694203835});
  ExpectNear(LogSafeAfterEach({1.5, .005}, 2.0),
             {-1.062908149342978, -1.062908149342978, -.9768761836838479, -2.905856102314161,
              -3.316561743013324});
}

TEST(EjectedSafe, ProvesAHealthyCanaryInSomeHundredsOfItsRequests) {
  EjectedSafeState state = StartEjectedSafe({30000, 60});
  int ticks = 0;
  while (LogEjectedSafe(state) < std::log(20.0) && ticks < 1000) {
    ObserveEjectedSafe(state, {1, .01}, {{90, ticks % 5 == 0}, {10, 0}, .1}, 1.0);
    ++ticks;
  }
  EXPECT_GT(ticks, 20);
  EXPECT_LT(ticks, 60);
}

// An outage of half a second: the canary's first failure ends its part in it, the primary fails on.
TEST(EjectedSafe, CountsNoMoreFailuresOfThePrimaryThanItsRateExplains) {
  const auto evidence = [](const Counts& primary) {
    EjectedSafeState state = StartEjectedSafe(kHistory);
    ObserveEjectedSafe(state, {1, .01}, {primary, {40, 0}, .5}, 1.0);
    return LogEjectedSafe(state);
  };
  EXPECT_GT(evidence({60, 1}), evidence({60, 0}));
  EXPECT_EQ(evidence({60, 30}), evidence({60, 1}));
  // 10 to be expected, and two standard deviations.
  EXPECT_GT(evidence({10000, 16}), evidence({10000, 15}));
  EXPECT_EQ(evidence({10000, 18}), evidence({10000, 17}));
}

TEST(EjectedSafe, AddsNoEvidenceWithoutTheCanaryOrAtAWeightOfNothingOrAll) {
  EjectedSafeState state = StartEjectedSafe(kHistory);
  ObserveEjectedSafe(state, {1, .01}, {{95, 9}, {0, 0}, .5}, 1.0);
  ObserveEjectedSafe(state, {1, .01}, {{95, 9}, {5, 0}, 0}, 1.0);
  ObserveEjectedSafe(state, {1, .01}, {{95, 9}, {5, 0}, 1}, 1.0);
  EXPECT_NEAR(LogEjectedSafe(state), 0.0, 1e-15);
  EXPECT_EQ(state.primary, (Counts{30000 + 3 * 95, 30 + 3 * 9}));
}

TEST(EjectedSafe, NeverProvesWhereTheRatioDemandsTheImpossible) {
  EjectedSafeState state = StartEjectedSafe({1000, 999});
  for (int i = 0; i < 1000; ++i)
    ObserveEjectedSafe(state, {.2, .01}, {{50, 50}, {50, 15}, .5}, 1.0);
  EXPECT_LT(LogEjectedSafe(state), std::log(20.0));
}

TEST(EjectedSafe, FallsWithTheCanarysFailuresAndGrowsWithItsRequests) {
  const auto evidence = [](const Counts& canary) {
    EjectedSafeState state = StartEjectedSafe(kHistory);
    ObserveEjectedSafe(state, {1, .01}, {{100, 0}, canary, .5}, 1.0);
    return LogEjectedSafe(state);
  };
  for (std::int64_t n = 1; n < 40; ++n) {
    EXPECT_GT(evidence({n + 1, 0}), evidence({n, 0}));
    EXPECT_LT(evidence({n, 1}), evidence({n, 0}));
  }
}

TEST(EjectedSafe, HasAnExpectationOfAtMostOneBeyondTheMarginOverTwoTicks) {
  for (const double rate : {.02, .2}) {
    const EjectedMesh mesh{9, rate, rate + .05, true, StopsAfter(.5, 2)};
    const EjectedTicks ticks(mesh);
    double sum = 0;
    const auto observe = [](EjectedSafeState& state, EjectionTick tick) {
      tick.weight_ratio = .5;
      ObserveEjectedSafe(state, {1, .05}, tick, 1.0);
    };
    ticks.ForEach([&](const EjectionTick& first, double first_chance) {
      EjectedSafeState state = StartEjectedSafe({200, 4});
      observe(state, first);
      ticks.ForEach([&](const EjectionTick& second, double second_chance) {
        EjectedSafeState next = state;
        observe(next, second);
        sum += first_chance * second_chance * std::exp(LogEjectedSafe(next));
      });
    });
    EXPECT_LE(sum, 1 + 1e-10) << rate;
  }
}

TEST(EjectedSafe, ContinuesBitForBitFromAStoredState) {
  EjectedSafeState state = StartEjectedSafe(kHistory);
  for (const EjectionTick& tick : kTicks) ObserveEjectedSafe(state, {1, .01}, tick, 1.3);
  EjectedSafeState restored = StartEjectedSafe(state.primary);
  restored.log_sums = state.log_sums;
  for (const EjectionTick& tick : kTicks) {
    ObserveEjectedSafe(state, {1, .01}, tick, 1.7);
    ObserveEjectedSafe(restored, {1, .01}, tick, 1.7);
    ASSERT_EQ(restored, state);
  }
}

}  // namespace
}  // namespace consul_canary::stats
