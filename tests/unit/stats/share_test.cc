// Literals: an independent reading of share.h in mpmath with 40 digits.
#include "analyzer/stats/share.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "analyzer/stats/block.h"
#include "tests/unit/stats/enumeration.h"

namespace consul_canary::stats {
namespace {

double LogAbove(const ShareState& state) {
  return LogSumExp(state.log_above) - std::log(kShareGridSize);
}

double LogBelow(const ShareState& state) {
  return LogSumExp(state.log_below) - std::log(kShareGridSize);
}

TEST(ShareLimits, AreTenPercentOfTheWeightAndHalfAPointEitherWay) {
  EXPECT_DOUBLE_EQ(ShareLimitsOf(.1).low, .085);
  EXPECT_DOUBLE_EQ(ShareLimitsOf(.1).high, .115);
  EXPECT_EQ(ShareLimitsOf(.005).low, 0.0);
  EXPECT_EQ(ShareLimitsOf(.99).high, 1.0);
}

TEST(Share, AgreesWithFortyDigitArithmetic) {
  ShareState state;
  ObserveShare(state, .1, 100, 10, 1.0);
  EXPECT_NEAR(LogAbove(state), -2.6790941646752006, 1e-11);
  EXPECT_NEAR(LogBelow(state), -2.5563271988433929, 1e-11);
  ObserveShare(state, .1, 100, 14, 1.0);
  ObserveShare(state, .1, 200, 30, 1.0);
  EXPECT_NEAR(LogAbove(state), -1.3674776302394213, 1e-11);
  EXPECT_NEAR(LogBelow(state), -7.2707297784046232, 1e-11);
  EXPECT_EQ(LogShareMismatch(state), LogAbove(state));
  EXPECT_DOUBLE_EQ(ObservedShare(state), 54.0 / 400);
}

TEST(Share, IsComparedWithBothLimits) {
  ShareState state;
  ObserveShare(state, .25, 40, 3, 1.0);
  EXPECT_NEAR(LogShareMismatch(state), 1.8498927587248191, 1e-11);
  EXPECT_NEAR(LogAbove(state), -4.1161923441085017, 1e-11);
}

TEST(Share, IsNotKnownBeforeTheFirstRequest) {
  EXPECT_EQ(ObservedShare(ShareState{}), -1.0);
  EXPECT_EQ(LogShareMismatch(ShareState{}), 0.0);
}

TEST(Share, IsNotTrustedWhereTheCanaryGetsNothing) {
  ShareState state;
  int ticks = 0;
  while (!state.untrusted && ticks < 60) {
    ObserveShare(state, .05, 100, 0, 1.0);
    ++ticks;
  }
  EXPECT_LE(ticks, 5);
  EXPECT_TRUE(state.mismatch);
}

TEST(Share, IsNotTrustedWhereTheCanaryGetsTwiceItsWeight) {
  ShareState state;
  int ticks = 0;
  while (!state.untrusted && ticks < 60) {
    ObserveShare(state, .1, 100, 20, 1.0);
    ++ticks;
  }
  EXPECT_LE(ticks, 5);
}

TEST(Share, IsTrustedInsideTheLimits) {
  for (const std::int64_t canary : {9, 10, 11}) {
    ShareState state;
    for (int i = 0; i < 600; ++i) {
      ObserveShare(state, .1, 100, canary, 1.0);
      ASSERT_FALSE(state.untrusted) << canary << ' ' << i;
    }
  }
}

TEST(Share, IsNotTestedWhereAllTrafficGoesToOneSubset) {
  ShareState state;
  ObserveShare(state, 0.0, 1000, 1000, 1.0);
  ObserveShare(state, 1.0, 1000, 0, 1.0);
  EXPECT_EQ(LogShareMismatch(state), 0.0);
  EXPECT_FALSE(state.untrusted);
}

TEST(Share, ForgetsAMismatchAfterAWholeMinuteWithout) {
  ShareState state;
  for (int i = 0; i < 30; ++i) ObserveShare(state, .5, 100, 100, 1.0);
  ASSERT_TRUE(state.untrusted);
  for (int i = 0; i < 60; ++i) ObserveShare(state, .5, 100, 50, 1.0);
  EXPECT_FALSE(state.mismatch);
  EXPECT_TRUE(state.untrusted);
  EXPECT_DOUBLE_EQ(ObservedShare(state), .5);
  for (int i = 0; i < 60; ++i) ObserveShare(state, .5, 100, 50, 1.0);
  EXPECT_FALSE(state.untrusted);
}

TEST(Share, BeginsAfreshAfterSixtySeconds) {
  ShareState state;
  for (int i = 0; i < 60; ++i) ObserveShare(state, .5, 100, 60, 1.0);
  EXPECT_EQ(state.totals, (Counts{6000, 3600}));
  ObserveShare(state, .5, 100, 40, 1.0);
  EXPECT_EQ(state.totals, (Counts{100, 40}));
  EXPECT_EQ(state.seconds, 1.0);
  ShareState fresh;
  ObserveShare(fresh, .5, 100, 40, 1.0);
  EXPECT_EQ(state.log_above, fresh.log_above);
  EXPECT_EQ(state.log_below, fresh.log_below);
}

TEST(Share, MismatchedInOneMinuteStaysSoUntilTheMinuteIsOver) {
  ShareState state;
  for (int i = 0; i < 10; ++i) ObserveShare(state, .5, 10, 10, 1.0);
  ASSERT_TRUE(state.mismatch);
  for (int i = 0; i < 40; ++i) ObserveShare(state, .5, 1000, 500, 1.0);
  EXPECT_LT(LogShareMismatch(state), 0.0);
  EXPECT_TRUE(state.mismatch);
  EXPECT_TRUE(state.untrusted);
}

TEST(Share, HasAnExpectationOfAtMostOneInsideTheLimits) {
  for (const double weight : {.02, .1, .5, .95}) {
    const ShareLimits limits = ShareLimitsOf(weight);
    const auto after = [&](const Counts& both) {
      ShareState state;
      ObserveShare(state, weight, both.completed, both.failures, 1.0);
      return state;
    };
    const auto above = [&](const Counts& both, const Counts&) { return LogAbove(after(both)); };
    const auto below = [&](const Counts& both, const Counts&) { return LogBelow(after(both)); };
    for (const double part : {0.0, .5, 1.0}) {
      const double share = limits.low + part * (limits.high - limits.low);
      EXPECT_LE(ExpectedEvidence(30, 0, share, 0, above), 1 + 1e-12) << weight << ' ' << share;
      EXPECT_LE(ExpectedEvidence(30, 0, share, 0, below), 1 + 1e-12) << weight << ' ' << share;
    }
    EXPECT_NEAR(ExpectedEvidence(30, 0, limits.high, 0, above), 1.0, 1e-12);
    EXPECT_NEAR(ExpectedEvidence(30, 0, limits.low, 0, below), 1.0, 1e-12);
  }
}

TEST(Share, IsWronglyMistrustedInFewMinutesEvenAtTheLimit) {
  std::mt19937_64 random(5);
  const double high = ShareLimitsOf(.1).high;
  int mistrusted = 0;
  for (int minute = 0; minute < 3000; ++minute) {
    ShareState state;
    for (int i = 0; i < 60; ++i) {
      const auto canary = std::binomial_distribution<std::int64_t>(100, high)(random);
      ObserveShare(state, .1, 100, canary, 1.0);
    }
    mistrusted += state.mismatch;
  }
  EXPECT_LE(mistrusted, 10);  // 3 are expected at most; more than 10 by chance once in 3000 times
}

}  // namespace
}  // namespace consul_canary::stats
