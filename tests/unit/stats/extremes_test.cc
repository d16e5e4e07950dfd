// Whatever a mesh may count, every number stays finite and sensible: seeded random ticks with
// counts of 0 to 1e12, silence, total failure, and traffic of one subset only.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "analyzer/stats/average.h"
#include "analyzer/stats/dispersion.h"
#include "analyzer/stats/harm.h"
#include "analyzer/stats/late.h"
#include "analyzer/stats/safe.h"
#include "analyzer/stats/sequences.h"
#include "analyzer/stats/share.h"

namespace consul_canary::stats {
namespace {

constexpr std::int64_t kHuge = 1'000'000'000'000;

class Extremes {
 public:
  explicit Extremes(std::uint64_t seed) : random_(seed) {}

  std::int64_t Number() {
    const std::int64_t numbers[] = {0, 0, 1, 2, 100, 5000, 1'000'000, kHuge};
    return numbers[Below(std::size(numbers))];
  }

  Counts Tick() {
    const std::int64_t completed = Number();
    const std::int64_t failures[] = {0,
                                     0,
                                     0,
                                     completed,
                                     std::min<std::int64_t>(1, completed),
                                     completed - std::min<std::int64_t>(1, completed),
                                     completed / 2,
                                     completed / 1000};
    return {completed, failures[Below(std::size(failures))]};
  }

  double Seconds() { return std::pow(10.0, std::uniform_real_distribution<>(-3.0, 4.0)(random_)); }
  double Phi() { return Below(2) == 0 ? 1.0 : std::pow(10.0, 1 + static_cast<double>(Below(5))); }
  std::size_t Below(std::size_t end) { return random_() % end; }

 private:
  std::mt19937_64 random_;
};

// Everything that is kept of one rollout.
struct All {
  HarmState harm, tolerant, tolerant_ratio;
  SafeState safe, safe_ratio;
  LateState late;
  ShareState share;
  RatioSequence ratio;
  DifferenceSequence difference;
  DispersionState dispersion;

  void Observe(const Counts& primary, const Counts& canary, double weight, double phi,
               double seconds) {
    ObserveHarm(harm, {5}, primary, canary, phi, seconds);
    ObserveHarm(tolerant, {0, {1.0, .01}}, primary, canary, phi, seconds);
    ObserveHarm(tolerant_ratio, {0, {3.0, 0.0}}, primary, canary, phi, seconds);
    ObserveSafe(safe, {1.0, .01}, primary, canary, phi);
    ObserveSafe(safe_ratio, {.5, .3}, primary, canary, phi);
    ObserveLate(late, 5, {canary.completed, canary.failures}, phi, seconds);
    ObserveShare(share, weight, primary.completed + canary.completed, canary.completed, seconds);
    ObserveRatio(ratio, primary, canary, phi);
    ObserveDifference(difference, primary, canary, phi);
    ObserveDispersion(dispersion, {{"a", primary}, {"b", canary}}, seconds);
  }
};

void ExpectFinite(const All& all) {
  const double values[] = {LogHarm(all.harm),           LogHarm(all.tolerant),
                           LogHarm(all.tolerant_ratio), LogSafe(all.safe),
                           LogSafe(all.safe_ratio),     LogLate(all.late),
                           LogShareMismatch(all.share), Overdispersion(all.dispersion, 1.0)};
  for (const double value : values) ASSERT_TRUE(std::isfinite(value));
  for (const HarmState* state : {&all.harm, &all.tolerant, &all.tolerant_ratio}) {
    for (const double sum : state->log_sums) ASSERT_TRUE(std::isfinite(sum));
  }
  for (const double value : all.ratio.log_likelihood) ASSERT_TRUE(std::isfinite(value));
  for (const double value : all.difference.log_evidence) ASSERT_TRUE(std::isfinite(value));
}

void ExpectSensible(const All& all) {
  const Interval ratio = RatioInterval(all.ratio, .05);
  ASSERT_TRUE(ratio.lower >= .000999 && ratio.upper <= 1000.1);
  ASSERT_TRUE(ratio.lower <= ratio.estimate && ratio.estimate <= ratio.upper);
  const Interval difference = DifferenceInterval(all.difference, .05);
  ASSERT_TRUE(-1.0 <= difference.lower && difference.lower < difference.upper &&
              difference.upper <= 1.0);
  ASSERT_TRUE(std::abs(difference.estimate) <= 1.0);
  ASSERT_GE(Overdispersion(all.dispersion, 1.0), 1.0);
  ASSERT_LE(ObservedShare(all.share), 1.0);
}

TEST(Extremes, NoSequenceOfTicksLeavesTheFiniteNumbers) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Extremes extremes(seed);
    All all;
    if (seed % 2 == 0) all.harm = all.tolerant = StartHarm(extremes.Tick());
    for (int i = 0; i < 60; ++i) {
      const double weights[] = {0.0, .01, .5, 1.0};
      all.Observe(extremes.Tick(), extremes.Tick(), weights[extremes.Below(4)], extremes.Phi(),
                  extremes.Seconds());
      ExpectFinite(all);
      ExpectSensible(all);
      if (HasFatalFailure()) FAIL() << "seed " << seed << ", tick " << i;
    }
  }
}

TEST(Extremes, NothingIsProvenBySilence) {
  All all;
  for (int i = 0; i < 3600; ++i) all.Observe({0, 0}, {0, 0}, .1, 1.0, 1.0);
  EXPECT_EQ(LogHarm(all.harm), 0.0);
  EXPECT_NEAR(LogSafe(all.safe), 0.0, 1e-15);
  EXPECT_EQ(LogLate(all.late), 0.0);
  EXPECT_FALSE(all.share.untrusted);
  EXPECT_EQ(DifferenceInterval(all.difference, .05), (Interval{-1.0, 0.0, 1.0}));
}

TEST(Extremes, NothingIsProvenByOneSubsetAlone) {
  for (const bool canary_alone : {false, true}) {
    All all;
    for (int i = 0; i < 3600; ++i) {
      const Counts seen{100, i % 3 == 0 ? 100 : 0};
      all.Observe(canary_alone ? Counts{} : seen, canary_alone ? seen : Counts{},
                  canary_alone ? 1.0 : 0.0, 1.0, 1.0);
    }
    EXPECT_EQ(LogHarm(all.harm), 0.0);
    EXPECT_EQ(LogHarm(all.tolerant), 0.0);
    EXPECT_NEAR(LogSafe(all.safe), 0.0, 1e-15);
    EXPECT_EQ(RatioInterval(all.ratio, .05).estimate, 1.0);
  }
}

TEST(Extremes, HoursWithoutAFailureProveTheCanarySafeAndNeverHarmful) {
  All all;
  for (int i = 0; i < 4 * 3600; i += 4) all.Observe({90, 0}, {10, 0}, .1, 1.0, 4.0);
  ExpectFinite(all);
  EXPECT_LT(LogHarm(all.harm), 0.0);
  EXPECT_GT(LogSafe(all.safe), std::log(20.0));
  EXPECT_LT(DifferenceInterval(all.difference, .05).upper, .002);
  EXPECT_FALSE(all.share.untrusted);
}

TEST(Extremes, WhereAllRequestsOfBothFailTheCanaryIsNotBlamed) {
  All all;
  for (int i = 0; i < 600; ++i) all.Observe({kHuge, kHuge}, {kHuge, kHuge}, .5, 1.0, 1.0);
  ExpectFinite(all);
  EXPECT_LT(LogHarm(all.harm), std::log(20.0));
  EXPECT_LT(LogHarm(all.tolerant), std::log(20.0));
}

TEST(Extremes, TotalsMayGrowUntilRatesAreRoundedToOne) {
  constexpr std::int64_t kYears = 100'000'000'000'000'000;
  for (const std::int64_t failures : {std::int64_t{0}, kYears}) {
    All all;
    all.harm = all.tolerant = all.tolerant_ratio = StartHarm({kYears, failures});
    all.safe = all.safe_ratio = StartSafe({kYears, failures});
    all.difference = StartDifference({kYears, failures});
    all.difference.canary = {kYears, failures};
    all.Observe({100, 50}, {100, 50}, .5, 1.0, 1.0);
    ExpectFinite(all);
    ExpectSensible(all);
  }
}

TEST(Extremes, AHugeFailingCanaryIsProvenHarmfulAtOnce) {
  All all;
  all.harm = all.tolerant = StartHarm({kHuge, 0});
  all.safe = StartSafe({kHuge, 0});
  all.Observe({kHuge, 0}, {kHuge, kHuge}, .5, 1.0, 1.0);
  ExpectFinite(all);
  EXPECT_GT(LogHarm(all.harm), 1e9);
  EXPECT_GT(LogHarm(all.tolerant), 1e9);
  EXPECT_LT(LogSafe(all.safe), -1e9);
}

}  // namespace
}  // namespace consul_canary::stats
