// Literals: the equation of docs/statistics.md#safe-to-advance, halved to 40 digits in mpmath.
#include "analyzer/stats/margin.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "analyzer/stats/block.h"

namespace consul_canary::stats {
namespace {

struct Row {
  double p, q;
  Margin margin;
  double primary_requests, canary_requests;
  double s, t;
};

void ExpectAll(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    const NullPoint point =
        ProjectOntoMargin(row.p, row.q, row.margin, row.primary_requests, row.canary_requests);
    EXPECT_NEAR(point.primary, row.s, 1e-14 * row.s) << row.p << ' ' << row.q;
    EXPECT_NEAR(point.canary, row.t, 1e-14 * row.t) << row.p << ' ' << row.q;
  }
}

TEST(CanaryLimit, IsTheRatioOfThePrimarysRateAndTheAbsoluteOnTop) {
  EXPECT_DOUBLE_EQ(CanaryLimit({1.5, .01}, .02), .04);
}

TEST(ProjectOntoMargin, AgreesWithFortyDigitArithmeticForACanaryWorseThanTheMargin) {
  ExpectAll({{.001, .02, {1.5, .005}, 95, 5, .001183392886064902, .006775089329097352},
             {.01, .3, {1, .01}, 50, 50, .1461941374505446, .1561941374505446},
             {.001, .04, {2, 0}, 90, 10, .004467275364776155, .008934550729552309},
             {.9, .99, {1, .05}, 10, 10, .931005624665406, .981005624665406}});
}

TEST(ProjectOntoMargin, AgreesWithFortyDigitArithmeticForACanaryThatIsBetter) {
  ExpectAll({{.1, .02, {1, .03}, 70, 30, .07366668913612887, .1036666891361289},
             {.05, .02, {1, -.04}, 70, 30, .05590978381877447, .01590978381877447},
             {.05, .02, {1, -.02}, 70, 30, .04572704093909642, .02572704093909642}});
}

TEST(ProjectOntoMargin, KeepsItsDigitsWhereARateIsAMillionMillionthOfTheMargin) {
  ExpectAll({{1e-9, 1e-7, {1, -1e-8}, 1e12, 1, 1.000000000011111e-8, 1.111111099997394e-19}});
}

TEST(ProjectOntoMargin, IsTheCommonRateWhereTheMarginIsEquality) {
  ExpectAll({{.001, .02, {1, 0}, 95, 5, .00195, .00195}});
}

TEST(ProjectOntoMargin, SolvesItsEquationWhereverTheAlternativeLies) {
  std::mt19937_64 random(20240607);
  const auto between = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  for (int i = 0; i < 20000; ++i) {
    const double p = std::pow(10.0, between(-12.0, -.01));
    const double q = std::pow(10.0, between(-12.0, -.01));
    const Margin margin{std::pow(10.0, between(0.0, 1.0)), std::pow(10.0, between(-9.0, -.05))};
    const double primary_requests = std::pow(10.0, between(0.0, 12.0));
    const double canary_requests = std::pow(10.0, between(0.0, 12.0));
    const NullPoint point = ProjectOntoMargin(p, q, margin, primary_requests, canary_requests);
    const double s = point.primary;
    const double t = point.canary;
    ASSERT_TRUE(s > 0.0 && s < 1.0 && t > 0.0 && t < 1.0) << p << ' ' << q;
    const double pull = primary_requests * std::abs(s - p) * t * (1 - t);
    const double other = canary_requests * margin.ratio * std::abs(t - q) * s * (1 - s);
    const double rounding =
        1e-14 * (primary_requests * p * t + canary_requests * margin.ratio * q * s);
    ASSERT_NEAR(pull, other, 1e-9 * pull + rounding) << p << ' ' << q << ' ' << margin.absolute;
  }
}

TEST(LogMarginBlock, IsTheBlockOfTheCommonRateWhereTheMarginIsEquality) {
  const Rate p{.001, .999};
  for (const double odds_ratio : {1.25, 10.0, 128.0}) {
    const Rate q = RaiseOdds(p, odds_ratio);
    EXPECT_NEAR(LogMarginBlock({95, 1}, {5, 2}, p, q, {1.0, 0.0}), LogBlock({95, 1}, {5, 2}, p, q),
                1e-12);
  }
}

}  // namespace
}  // namespace consul_canary::stats
