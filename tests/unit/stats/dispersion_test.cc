// Literals: the header's formula in Python's fractions, which are exact.
#include "analyzer/stats/dispersion.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace consul_canary::stats {
namespace {

InstanceCounts Of(const std::vector<Counts>& counts) {
  InstanceCounts instances;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    instances.emplace_back("web-" + std::to_string(i), counts[i]);
  }
  return instances;
}

TEST(Dispersion, OfOneWindowAgreesWithTheKnownValue) {
  DispersionState state;
  ObserveDispersion(state, Of({{100, 4}, {100, 0}, {100, 0}, {100, 0}}), 1.0);
  EXPECT_NEAR(Overdispersion(state, 1.0), 4.04040404040404, 1e-13);
}

TEST(Dispersion, DividesTheSumsOverWindowsAndNotTheRatios) {
  DispersionState state;
  ObserveDispersion(state, Of({{100, 4}, {50, 0}, {200, 3}}), 1.0);
  ObserveDispersion(state, Of({{10, 1}, {20, 0}, {30, 5}}), 1.0);
  // The sum of both is .3983333333333333 and .2192; the first is a second old.
  EXPECT_NEAR(state.excess[0], .398320819380669, 1e-14);
  EXPECT_NEAR(state.expected[0], .21919245312393165, 1e-14);
  EXPECT_NEAR(Overdispersion(state, 1.0), 1.8172195881007727, 1e-13);
}

TEST(Dispersion, FindsInALongWindowWhatAShortOneHides) {
  DispersionState state;
  for (int i = 0; i < 3; ++i) ObserveDispersion(state, Of({{100, 2}, {100, 0}}), 1.0);
  ObserveDispersion(state, Of({{100, 0}, {100, 1}}), 1.0);
  EXPECT_EQ(state.expected[1], 0.0);  // the window of five seconds is still open
  ObserveDispersion(state, Of({{100, 0}, {100, 1}}), 1.0);
  EXPECT_NEAR(state.excess[0] / state.expected[0], 1.7653558035992079, 1e-13);
  EXPECT_NEAR(Overdispersion(state, 1.0), 2.0161290322580645, 1e-13);
}

// So many windows of equal terms, each a little older.
double Decayed(int windows, double seconds) {
  double sum = 0;
  for (int i = 0; i < windows; ++i) sum += std::exp2(-i * seconds / 3600);
  return sum;
}

TEST(Dispersion, ClosesWindowsNearestToTheirEndWhereTicksAreNotSeconds) {
  DispersionState state;
  for (int i = 0; i < 60; ++i) ObserveDispersion(state, Of({{100, 2}, {100, 0}}), .97);
  // 60 windows of one tick, 12 of five, 4 of fifteen (14.55 s is nearer than 15.52 s), one of 31.
  EXPECT_NEAR(state.expected[0], Decayed(60, .97) * .01 * .99, 1e-12);
  EXPECT_NEAR(state.expected[1], Decayed(12, 4.85) * .01 * .99, 1e-12);
  EXPECT_NEAR(state.expected[2], Decayed(4, 14.55) * .01 * .99, 1e-12);
  EXPECT_NEAR(state.expected[3], 1 * .01 * .99, 1e-12);
}

TEST(Dispersion, IsNeverBelowOneOrTheFloor) {
  DispersionState state;
  EXPECT_EQ(Overdispersion(state, 1.0), 1.0);
  EXPECT_EQ(Overdispersion(state, 2.5), 2.5);
  ObserveDispersion(state, Of({{100, 1}, {100, 1}}), 1.0);  // less than chance would have it
  EXPECT_EQ(Overdispersion(state, 1.0), 1.0);
  EXPECT_EQ(Overdispersion(state, 2.5), 2.5);
}

TEST(Dispersion, IsNotLearnedFromOneInstanceNorFromSilenceNorWithoutFailures) {
  DispersionState state;
  for (int i = 0; i < 60; ++i) {
    ObserveDispersion(state, Of({{100, 50}}), 1.0);
    ObserveDispersion(state, {}, 1.0);
    ObserveDispersion(state, Of({{100, 0}, {100, 0}}), 1.0);
  }
  DispersionState idle_second;
  ObserveDispersion(idle_second, Of({{100, 50}, {0, 0}}), 1.0);
  EXPECT_FALSE(IsDispersionLearned(idle_second));
  DispersionState all_fail;
  ObserveDispersion(all_fail, Of({{100, 100}, {100, 100}}), 1.0);
  EXPECT_FALSE(IsDispersionLearned(all_fail));
  EXPECT_EQ(Overdispersion(all_fail, 1.0), 1.0);
}

TEST(Dispersion, IsLearnedFromTwoInstancesAndAFailure) {
  DispersionState state;
  ObserveDispersion(state, Of({{100, 1}, {100, 0}}), 1.0);
  EXPECT_TRUE(IsDispersionLearned(state));
}

TEST(Dispersion, KeepsTheFirstSixtyFourInstances) {
  DispersionState state;
  ObserveDispersion(state, Of(std::vector<Counts>(64, {10, 0})), 1.0);
  InstanceCounts others;
  for (int i = 0; i < 100; ++i) {
    others.emplace_back("other-" + std::to_string(i), Counts{10, i == 0});
  }
  ObserveDispersion(state, others, 1.0);
  EXPECT_EQ(state.open[1].instances.size(), 64u);
  EXPECT_FALSE(state.open[1].instances.contains("other-0"));
}

TEST(Dispersion, IsNearOneForIndependentRequestsAndNearTheClumpForClumps) {
  std::mt19937_64 random(3);
  for (const std::int64_t clump : {1, 4}) {
    DispersionState state;
    for (int i = 0; i < 3000; ++i) {
      std::vector<Counts> counts(5, {200, 0});
      for (Counts& instance : counts) {
        instance.failures =
            clump * std::binomial_distribution<std::int64_t>(200 / clump, .01)(random);
      }
      ObserveDispersion(state, Of(counts), 1.0);
    }
    // The greatest of four noisy estimates, the noisiest from 100 windows of 30 s.
    EXPECT_GT(Overdispersion(state, 1.0), .95 * static_cast<double>(clump));
    EXPECT_LT(Overdispersion(state, 1.0), 1.25 * static_cast<double>(clump));
  }
}

TEST(Dispersion, AnIncidentIsForgottenByAndBy) {
  DispersionState state;
  const auto pass = [&state](int seconds, Counts a, Counts b) {
    for (int i = 0; i < seconds; ++i) ObserveDispersion(state, {{"a", a}, {"b", b}}, 1.0);
  };
  pass(600, {50, 50}, {50, 0});  // one of two fails for ten minutes
  const double after_incident = Overdispersion(state, 1.0);
  EXPECT_GT(after_incident, 40);
  for (int i = 0; i < 8 * 3600; ++i) pass(1, {50, i % 20 == 0}, {50, i % 20 == 10});
  EXPECT_LT(Overdispersion(state, 1.0), after_incident / 3);
  for (int i = 0; i < 16 * 3600; ++i) pass(1, {50, i % 20 == 0}, {50, i % 20 == 10});
  EXPECT_LT(Overdispersion(state, 1.0), 1.1);
}

}  // namespace
}  // namespace consul_canary::stats
