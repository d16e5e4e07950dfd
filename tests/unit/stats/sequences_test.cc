// Literals: an independent reading of sequences.h in mpmath with 40 digits.
#include "analyzer/stats/sequences.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "analyzer/stats/margin.h"
#include "tests/unit/stats/enumeration.h"

namespace consul_canary::stats {
namespace {

struct Tick {
  Counts primary;
  Counts canary;
};
const std::vector<Tick> kTicks = {{{950, 3}, {50, 2}}, {{900, 1}, {100, 4}}, {{500, 2}, {500, 9}}};

double RatioAt(std::size_t i) { return std::pow(1000.0, (static_cast<double>(i) - 120.0) / 120.0); }
double DifferenceAt(std::size_t i) { return std::pow((static_cast<double>(i) - 40.0) / 40.0, 3); }

RatioSequence AfterTicks() {
  RatioSequence state;
  for (const Tick& tick : kTicks) ObserveRatio(state, tick.primary, tick.canary, 1.0);
  return state;
}

TEST(RatioSequence, AgreesWithFortyDigitArithmetic) {
  const RatioSequence state = AfterTicks();
  EXPECT_NEAR(state.log_likelihood[0], -95.220254327673108, 1e-11);
  EXPECT_NEAR(state.log_likelihood[100], -12.139167995770274, 1e-11);
  EXPECT_NEAR(state.log_likelihood[140], 7.7152531600274752, 1e-11);
  EXPECT_NEAR(state.log_likelihood[180], 9.4455999921262528, 1e-11);
  EXPECT_NEAR(state.log_likelihood[240], -7.4802278367174577, 1e-11);
}

TEST(RatioInterval, AgreesWithFortyDigitArithmetic) {
  const RatioSequence state = AfterTicks();
  const Interval at_five_percent = RatioInterval(state, .05);
  EXPECT_NEAR(at_five_percent.lower, 1.9952623149688796, 1e-12);
  EXPECT_NEAR(at_five_percent.estimate, 11.885022274370184, 1e-11);
  EXPECT_NEAR(at_five_percent.upper, 94.406087628592338, 1e-10);
  const Interval at_one_in_a_thousand = RatioInterval(state, .001);
  EXPECT_NEAR(at_one_in_a_thousand.lower, 1.1885022274370184, 1e-12);
  EXPECT_NEAR(at_one_in_a_thousand.upper, 211.34890398366468, 1e-10);
}

TEST(RatioInterval, IsTheWholeGridAroundOneBeforeAnythingFails) {
  RatioSequence state;
  ObserveRatio(state, {1'000'000, 0}, {1'000'000, 0}, 1.0);
  const Interval interval = RatioInterval(state, .05);
  EXPECT_NEAR(interval.lower, .001, 1e-15);
  EXPECT_EQ(interval.estimate, 1.0);
  EXPECT_NEAR(interval.upper, 1000.0, 1e-9);
}

TEST(RatioInterval, IsBoundedFromBelowAloneWhereOnlyTheCanaryFails) {
  RatioSequence state;
  ObserveRatio(state, {100'000, 0}, {1000, 50}, 1.0);
  const Interval interval = RatioInterval(state, .05);
  EXPECT_GT(interval.lower, 100.0);
  EXPECT_NEAR(interval.upper, 1000.0, 1e-9);
}

TEST(RatioInterval, IsWiderUnderOverdispersion) {
  RatioSequence state;
  for (const Tick& tick : kTicks) ObserveRatio(state, tick.primary, tick.canary, 4.0);
  const Interval tempered = RatioInterval(state, .05);
  const Interval plain = RatioInterval(AfterTicks(), .05);
  EXPECT_LT(tempered.lower, plain.lower);
  EXPECT_GT(tempered.upper, plain.upper);
}

TEST(RatioInterval, ClosesInOnTheTruthWhereManyFail) {
  RatioSequence state;
  ObserveRatio(state, {1'000'000'000'000, 1'000'000'000}, {1'000'000'000'000, 2'100'000'000}, 1.0);
  const Interval interval = RatioInterval(state, .05);
  EXPECT_LT(interval.lower, 2.1);
  EXPECT_GT(interval.upper, 2.1);
  EXPECT_LT(interval.upper / interval.lower, 1.13);
}

TEST(RatioInterval, IsNotMisledByAWeightThatGrowsWhileThePrimaryGetsBetter) {
  // Simpson: pooled, the canary seems to fail half as often (37 of 10000 against 81 of 10000).
  RatioSequence state;
  for (int i = 0; i < 10; ++i) ObserveRatio(state, {900, 9}, {100, 1}, 1.0);
  for (int i = 0; i < 30; ++i) ObserveRatio(state, {33, 0}, {300, 0}, 1.0);
  ObserveRatio(state, {10, 0}, {0, 0}, 1.0);
  const Interval interval = RatioInterval(state, .05);
  EXPECT_LT(interval.lower, 1.0);
  EXPECT_GT(interval.upper, 1.0);
  EXPECT_NEAR(interval.estimate, 1.0, .06);
}

TEST(RatioSequence, HasAnExpectationOfOneAtTheTruth) {
  // Given 7 failures at a share of 30%, each is the canary's with a chance of .3 r / (1 + .3 (r -
  // 1)).
  for (const std::size_t truth : {0u, 60u, 120u, 150u, 240u}) {
    const double ratio = RatioAt(truth);
    const double chance = .3 * ratio / (1 + .3 * (ratio - 1));
    for (const std::size_t other : {0u, 100u, 120u, 180u, 240u}) {
      double expectation = 0.0;
      for (std::int64_t x = 0; x <= 7; ++x) {
        RatioSequence state;
        ObserveRatio(state, {700, 7 - x}, {300, x}, 1.0);
        expectation += Binomial(7, x, chance) *
                       std::exp(state.log_likelihood[other] - state.log_likelihood[truth]);
      }
      EXPECT_NEAR(expectation, 1.0, 1e-10) << truth << ' ' << other;
    }
  }
}

TEST(DifferenceSequence, AgreesWithFortyDigitArithmetic) {
  DifferenceSequence state = StartDifference({30000, 30});
  for (const Tick& tick : kTicks) ObserveDifference(state, tick.primary, tick.canary, 1.0);
  const std::vector<std::pair<std::size_t, double>> expected = {
      {1, 6141.9423997575777},  {10, 1273.308423969387},  {30, 38.797064970089492},
      {38, 7.0338205674991267}, {40, 6.5466124017716747}, {41, 6.4874693110558294},
      {45, 1.2623942449996843}, {60, 35.906606477956089}, {79, 1588.0332332272424}};
  for (const auto& [i, value] : expected) {
    EXPECT_NEAR(state.log_evidence[i], value, 1e-9 * std::max(1.0, value)) << i;
  }
}

TEST(DifferenceSequence, AgreesWithFortyDigitArithmeticWhereMostFail) {
  DifferenceSequence state = StartDifference({10, 9});
  ObserveDifference(state, {20, 18}, {10, 10}, 2.0);
  ObserveDifference(state, {30, 29}, {5, 3}, 2.0);
  const std::vector<std::pair<std::size_t, double>> expected = {
      {1, 15.151899176595503},   {10, .77317377280146304},  {30, -1.170261322571864},
      {38, -1.0989906467585663}, {40, -1.0983026053890033}, {41, -1.0982164635448281},
      {45, -1.0872972078210825}, {60, 1.1481424659218938},  {79, 59.730831979332766}};
  for (const auto& [i, value] : expected) EXPECT_NEAR(state.log_evidence[i], value, 1e-10) << i;
}

TEST(DifferenceInterval, IsEverythingBeforeTheFirstTick) {
  EXPECT_EQ(DifferenceInterval(StartDifference({30000, 30}), .05), (Interval{-1.0, 0.0, 1.0}));
}

TEST(DifferenceInterval, HoldsTheDifferenceOfTheMeans) {
  DifferenceSequence state = StartDifference({100'000, 1000});
  for (int i = 0; i < 600; ++i) ObserveDifference(state, {900, 9}, {100, 3}, 1.0);
  const Interval interval = DifferenceInterval(state, .05);
  EXPECT_NEAR(interval.estimate, .02, 1e-12);
  EXPECT_GT(interval.lower, .01);
  EXPECT_LT(interval.upper, .03);
}

TEST(DifferenceInterval, IsWiderUnderOverdispersion) {
  DifferenceSequence plain = StartDifference({100'000, 1000});
  DifferenceSequence tempered = plain;
  for (int i = 0; i < 60; ++i) {
    ObserveDifference(plain, {900, 9}, {100, 3}, 1.0);
    ObserveDifference(tempered, {900, 9}, {100, 3}, 10.0);
  }
  EXPECT_LT(DifferenceInterval(tempered, .05).lower, DifferenceInterval(plain, .05).lower);
  EXPECT_GT(DifferenceInterval(tempered, .05).upper, DifferenceInterval(plain, .05).upper);
}

TEST(DifferenceInterval, ClosesInOnTheTruthWhereManyFail) {
  DifferenceSequence state = StartDifference({});
  for (int i = 0; i < 3; ++i) {
    ObserveDifference(state, {1'000'000'000'000, 1'000'000'000}, {1'000'000'000'000, 3'000'000'000},
                      1.0);
  }
  const Interval interval = DifferenceInterval(state, .05);
  EXPECT_LE(interval.lower, .002);
  EXPECT_GE(interval.upper, .002);
  EXPECT_LT(interval.upper - interval.lower, .0025);  // three points of the grid
}

TEST(DifferenceSequence, LearnsFromTicksThatProveNothing) {
  DifferenceSequence state = StartDifference({100, 1});
  ObserveDifference(state, {50, 2}, {0, 0}, 1.0);
  ObserveDifference(state, {0, 0}, {7, 3}, 1.0);
  EXPECT_EQ(state.log_evidence, StartDifference({}).log_evidence);
  EXPECT_EQ(state.primary, (Counts{150, 3}));
  EXPECT_EQ(state.canary, (Counts{7, 3}));
}

// E[exp(log_evidence)] of one tick at each difference, every outcome enumerated.
void ExpectAtMostOne(const DifferenceSequence& before, std::int64_t primary_requests,
                     std::int64_t canary_requests) {
  std::vector<DifferenceSequence> after;
  for (std::int64_t x = 0; x <= primary_requests; ++x) {
    for (std::int64_t y = 0; y <= canary_requests; ++y) {
      after.push_back(before);
      ObserveDifference(after.back(), {primary_requests, x}, {canary_requests, y}, 1.0);
    }
  }
  for (std::size_t i = 1; i + 1 < kDifferenceGridSize; ++i) {
    const double difference = DifferenceAt(i);
    for (const double part : {0.0, .001, .1, .5, .99, 1.0}) {
      const double least = std::max(0.0, -difference);
      const double rate = least + part * (std::min(1.0, 1.0 - difference) - least);
      double expectation = 0.0;
      std::size_t outcome = 0;
      for (std::int64_t x = 0; x <= primary_requests; ++x) {
        for (std::int64_t y = 0; y <= canary_requests; ++y) {
          const double gain = after[outcome++].log_evidence[i] - before.log_evidence[i];
          const double chance = Binomial(primary_requests, x, rate) *
                                Binomial(canary_requests, y, std::max(0.0, rate + difference));
          if (chance > 0.0) expectation += chance * std::exp(gain);
        }
      }
      ASSERT_LE(expectation, 1 + 1e-9) << i << ' ' << rate;
    }
  }
}

TEST(DifferenceSequence, HasAnExpectationOfAtMostOneAtTheTruth) {
  ExpectAtMostOne(StartDifference({}), 5, 3);
  ExpectAtMostOne(StartDifference({500, 3}), 2, 8);
  DifferenceSequence later = StartDifference({40, 30});
  ObserveDifference(later, {20, 18}, {10, 1}, 1.0);
  ExpectAtMostOne(later, 6, 4);
}

// Runs of a minute and a half with a growing weight, looked at all the time.
struct Misses {
  int ratio = 0;
  int difference = 0;
};

Misses CountMisses(double primary_rate, double canary_rate, int runs, double alpha) {
  std::mt19937_64 random(11);
  const auto draw = [&](std::int64_t requests, double rate) {
    return Counts{requests, std::binomial_distribution<std::int64_t>(requests, rate)(random)};
  };
  Misses misses;
  for (int run = 0; run < runs; ++run) {
    RatioSequence ratio;
    DifferenceSequence difference = StartDifference(draw(1000, primary_rate));
    bool ratio_missed = false;
    bool difference_missed = false;
    for (int i = 0; i < 90; ++i) {
      const std::int64_t canary_requests = 2 + 2 * i;
      const Counts primary = draw(200 - canary_requests, primary_rate);
      const Counts canary = draw(canary_requests, canary_rate);
      ObserveRatio(ratio, primary, canary, 1.0);
      ObserveDifference(difference, primary, canary, 1.0);
      if (i % 3 != 0) continue;
      const Interval ratios = RatioInterval(ratio, alpha);
      const Interval differences = DifferenceInterval(difference, alpha);
      const double true_ratio = canary_rate / primary_rate;
      ratio_missed |= true_ratio < ratios.lower || true_ratio > ratios.upper;
      const double true_difference = canary_rate - primary_rate;
      difference_missed |=
          true_difference < differences.lower || true_difference > differences.upper;
    }
    misses.ratio += ratio_missed;
    misses.difference += difference_missed;
  }
  return misses;
}

TEST(ConfidenceSequences, MissTheTruthAtAnyTimeNoMoreOftenThanAlpha) {
  // Of 120 runs at alpha = .1, 12 misses are expected at most; more than 24 by chance once in 2000
  // times.
  for (const auto& [primary_rate, canary_rate] :
       {std::pair{.02, .02}, std::pair{.02, .08}, std::pair{.3, .2}}) {
    const Misses misses = CountMisses(primary_rate, canary_rate, 120, .1);
    EXPECT_LE(misses.ratio, 24) << primary_rate << ' ' << canary_rate;
    EXPECT_LE(misses.difference, 24) << primary_rate << ' ' << canary_rate;
  }
}

TEST(ConfidenceSequences, ExcludeAFalseStatementSoonEnoughToBeOfUse) {
  std::mt19937_64 random(12);
  RatioSequence ratio;
  DifferenceSequence difference = StartDifference({30000, 30});
  for (int i = 0; i < 300; ++i) {
    const Counts primary{900, std::binomial_distribution<std::int64_t>(900, .001)(random)};
    const Counts canary{100, std::binomial_distribution<std::int64_t>(100, .01)(random)};
    ObserveRatio(ratio, primary, canary, 1.0);
    ObserveDifference(difference, primary, canary, 1.0);
  }
  EXPECT_GT(RatioInterval(ratio, .05).lower, 4.0);
  EXPECT_LT(RatioInterval(ratio, .05).upper, 25.0);
  EXPECT_GT(DifferenceInterval(difference, .05).lower, .004);
  EXPECT_LT(DifferenceInterval(difference, .05).upper, .016);
}

TEST(BandRadius, AgreesWithFortyDigitArithmetic) {
  EXPECT_NEAR(BandRadius(1000, 100, .05), .082845467397101181, 1e-15);
  EXPECT_NEAR(BandRadius(100, 100, .05), .24495298993167416, 1e-15);
  EXPECT_NEAR(BandRadius(1'000'000'000, 1, .01), 9.5679591181936256e-5, 1e-17);
}

TEST(BandRadius, IsEverythingForFewObservations) {
  EXPECT_EQ(BandRadius(0, 100, .05), 1.0);
  EXPECT_EQ(BandRadius(99, 100, .05), 1.0);
  EXPECT_EQ(BandRadius(2, 1, .01), 1.0);
}

TEST(Difference, ItsEstimateIsNotTurnedRoundByChangingWeights) {
  DifferenceSequence state = StartDifference({30000, 600});
  for (int i = 0; i < 300; ++i) ObserveDifference(state, {990, 1}, {10, 0}, 1.0);
  for (int i = 0; i < 300; ++i) ObserveDifference(state, {500, 10}, {500, 10}, 1.0);
  const Interval interval = DifferenceInterval(state, 0.05);
  EXPECT_LE(interval.lower, interval.estimate);
  EXPECT_LE(interval.estimate, interval.upper);
  EXPECT_NEAR(interval.estimate, 0, 1e-4);
}

}  // namespace
}  // namespace consul_canary::stats
