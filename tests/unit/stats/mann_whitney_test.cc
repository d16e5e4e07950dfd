// Literals: scipy.stats.mannwhitneyu(canary, primary, method="asymptotic") of scipy 1.17, numpy's
// median of all differences, and R's definition of the interval (the shifts at which the
// standardised rank sum passes the normal quantile) by bisection over scipy.stats.rankdata.
#include "analyzer/stats/mann_whitney.h"

#include <gtest/gtest.h>

#include <vector>

namespace consul_canary::stats {
namespace {

using Values = std::vector<double>;

TEST(MannWhitney, AgreesWithScipyWithoutTies) {
  const auto result =
      TestMannWhitney(Values{.01, .02, .03, .04, .05}, Values{.03, .05, .07, .09, .11, .13}, .98);
  EXPECT_EQ(result.u, 27.0);
  EXPECT_NEAR(result.p_value, .034926255949542, 1e-14);
  EXPECT_NEAR(result.estimate, .05, 1e-15);
  EXPECT_NEAR(result.lower, -.01, 1e-15);
  EXPECT_NEAR(result.upper, .11, 1e-15);
}

TEST(MannWhitney, AgreesWithScipyWithManyTies) {
  const auto result = TestMannWhitney(Values{0, 0, 0, .01, 0, .02, 0, 0},
                                      Values{0, .01, .02, .05, .02, .03, .01}, .98);
  EXPECT_EQ(result.u, 47.0);
  EXPECT_NEAR(result.p_value, .02291217729308583, 1e-14);
  EXPECT_NEAR(result.estimate, .01, 1e-15);
  EXPECT_NEAR(result.lower, 0.0, 1e-15);
  EXPECT_NEAR(result.upper, .03, 1e-15);
}

TEST(MannWhitney, AgreesWithScipyForSamplesOfDifferentSizes) {
  const Values primary = {-.8,  -1.32, -.25, .42,  1.14, .11,   -.55,  -.78,  .75,  1.63,
                          .27,  -1.23, -.96, 1.6,  .2,   -1.73, -.08,  -1.16, -.63, -.49,
                          -.71, .55,   -.06, -.59, .41,  .83,   -1.64, -.26,  -.98, -.17};
  const Values canary = {-.89, .42, .36, .1,  -.65,  0,   -.69, -.96, .62,  -.71, 1.57, 1.12, -1.6,
                         .67,  -.7, .43, .44, -1.59, .17, .14,  1.36, -.78, 1.14, -.7,  .07};
  const auto result = TestMannWhitney(primary, canary, .98);
  EXPECT_EQ(result.u, 426.5);
  EXPECT_NEAR(result.p_value, .3886046216443797, 1e-13);
  EXPECT_NEAR(result.estimate, .215, 1e-15);
  EXPECT_NEAR(result.lower, -.4, 1e-15);
  EXPECT_NEAR(result.upper, .85, 1e-15);
}

TEST(MannWhitney, HasANarrowerIntervalWhereMostBinsHadNoFailures) {
  const Values primary = {26, 0, 0, 0, 0, 0, 0, 0, 26, 15, 6, 4};
  const Values canary = {9, 0, 0, 0, 0, 13, 23, 25, 0, 0, 54, 0, 0};
  const auto result = TestMannWhitney(primary, canary, .9);
  EXPECT_EQ(result.u, 78.0);
  EXPECT_EQ(result.p_value, 1.0);
  EXPECT_EQ(result.lower, -1.0);  // -2 if equal values did not count as equal
  EXPECT_EQ(result.upper, 5.0);
}

TEST(MannWhitney, SeesNoDifferenceWhereAllValuesAreEqual) {
  const auto result = TestMannWhitney(Values{2, 2, 2}, Values{2, 2}, .98);
  EXPECT_EQ(result.p_value, 1.0);
  EXPECT_EQ(result.estimate, 0.0);
  EXPECT_EQ(result.lower, 0.0);
  EXPECT_EQ(result.upper, 0.0);
}

TEST(MannWhitney, CannotTellFromOneValueEach) {
  const auto result = TestMannWhitney(Values{5}, Values{7}, .98);
  EXPECT_EQ(result.u, 1.0);
  EXPECT_EQ(result.p_value, 1.0);
  EXPECT_EQ(result.estimate, 2.0);
}

TEST(MannWhitney, IsSymmetricInTheTwoSamples) {
  const Values a = {.1, .4, .2, .9, .3};
  const Values b = {.5, .8, .7, 1.4};
  const auto forth = TestMannWhitney(a, b, .9);
  const auto back = TestMannWhitney(b, a, .9);
  EXPECT_EQ(forth.u + back.u, 20.0);
  EXPECT_EQ(forth.p_value, back.p_value);
  EXPECT_EQ(forth.estimate, -back.estimate);
  EXPECT_EQ(forth.lower, -back.upper);
  EXPECT_EQ(forth.upper, -back.lower);
}

// Two-sided p of complete separation, exact (scipy.stats.mannwhitneyu, method exact): n = 3 .1,
// 4 .0286, 5 .00794, 6 .00216, 7 .000583.
TEST(MannWhitney, NeedsSoManyValuesForAConfidence) {
  EXPECT_EQ(LeastValues(0.5), 2);
  EXPECT_EQ(LeastValues(0.9), 3);
  EXPECT_EQ(LeastValues(0.95), 4);
  EXPECT_EQ(LeastValues(0.98), 5);
  EXPECT_EQ(LeastValues(0.999), 7);
}

}  // namespace
}  // namespace consul_canary::stats
