// Literals: direct sums of binomial coefficients in mpmath with 40 digits.
#include "analyzer/stats/hypergeometric.h"

#include <gtest/gtest.h>

#include <cmath>

namespace consul_canary::stats {
namespace {

double LogDraws(const Counts& pool, double draws, double failed, double succeeded) {
  return LogExpectedDraws(pool, draws, std::log(failed), std::log(succeeded));
}

TEST(ExpectedDraws, AgreesWithFortyDigitArithmetic) {
  struct Row {
    Counts pool;
    double draws, failed, succeeded, expected;
  };
  const Row rows[] = {
      {{10, 2}, 4, .5, 1.1, -.1240903852310502},
      {{10, 2}, 4.25, .5, 1.1, -.1462335265370632},
      {{100, 37}, 50.5, .2, 1.3, -11.92833620083054},
      {{200, 1}, 150.75, .01, 1.001, -1.225073481557837},
  };
  for (const Row& row : rows) {
    EXPECT_NEAR(LogDraws(row.pool, row.draws, row.failed, row.succeeded), row.expected, 1e-11)
        << row.draws;
  }
}

TEST(ExpectedDraws, CountsWhatThePoolLacksAsFailed) {
  EXPECT_NEAR(LogDraws({10, 2}, 12, .5, 1.1), -2.010107283805182, 1e-12);
  EXPECT_NEAR(LogDraws({0, 0}, 2.5, .5, 1.1), 2.5 * std::log(.5), 1e-12);
}

TEST(ExpectedDraws, OfThePoolAsAWholeIsWhatItShows) {
  EXPECT_NEAR(LogDraws({10, 2}, 10, .5, 1.1), 2 * std::log(.5) + 8 * std::log(1.1), 1e-12);
  EXPECT_NEAR(LogDraws({10, 0}, 3.5, .5, 1.1), 3.5 * std::log(1.1), 1e-12);
  EXPECT_NEAR(LogDraws({10, 10}, 3.5, .5, 1.1), 3.5 * std::log(.5), 1e-12);
  EXPECT_EQ(LogDraws({10, 3}, 0, .5, 1.1), 0.0);
}

TEST(ExpectedDraws, FallsWithEachFailureOfThePool) {
  for (const double draws : {.5, 3.0, 17.3, 39.5}) {
    double last = LogDraws({40, 0}, draws, .3, 1.05);
    for (std::int64_t failures = 1; failures <= 40; ++failures) {
      const double next = LogDraws({40, failures}, draws, .3, 1.05);
      EXPECT_LT(next, last) << draws << ' ' << failures;
      last = next;
    }
  }
}

// Where all draws but few are of one kind, the sum has a closed form: (a f + b (1 - f))^draws as
// the pool grows.
TEST(ExpectedDraws, NearsIndependentDrawsInAGreatPool) {
  const double expected = 1000 * std::log(.2 * .4 + .8 * 1.1);
  EXPECT_NEAR(LogDraws({10'000'000'000, 2'000'000'000}, 1000, .4, 1.1), expected, 1e-4);
}

TEST(ExpectedDraws, OfVeryManyIsCutOffOnTheLowSide) {
  const double draws = 1e9;
  const double value = LogDraws({4'000'000'000, 1'000'000'000}, draws, .98, 1.005);
  EXPECT_TRUE(std::isfinite(value));
  EXPECT_LT(value, draws * std::log(.25 * .98 + .75 * 1.005));  // of independent draws: more
}

}  // namespace
}  // namespace consul_canary::stats
