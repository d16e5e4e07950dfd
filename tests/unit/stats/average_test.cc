#include "analyzer/stats/average.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace consul_canary::stats {
namespace {

using Values = std::vector<double>;
using Indices = std::vector<std::size_t>;

Values Logs(const Values& values) {
  Values logs;
  for (const double value : values) logs.push_back(std::log(value));
  return logs;
}

TEST(LogAverage, IsTheLogarithmOfTheWeightedMean) {
  // mpmath: ln(.5 e^1 + .3 e^-2 + .2 e^4)
  EXPECT_NEAR(LogAverage(Values{1, -2, 4}, Values{.5, .3, .2}), 2.5111729426668806, 1e-14);
}

TEST(LogAverage, NormalisesItsWeights) {
  EXPECT_NEAR(LogAverage(Values{1, -2, 4}, Values{5, 3, 2}), 2.5111729426668806, 1e-14);
}

TEST(LogAverage, OfOneValueIsThatValueToTheLastBit) {
  EXPECT_EQ(LogAverage(Values{.1234567890123}, Values{.3}), .1234567890123);
}

TEST(LogAverage, SurvivesTheExtremes) {
  EXPECT_NEAR(LogAverage(Values{1e6, -1e6}, Values{1, 1}), 1e6 - std::log(2.0), 1e-9);
  EXPECT_NEAR(LogAverage(Values{-1e12, -1e12}, Values{1, 3}), -1e12, 1e-3);
}

TEST(RejectedByEbh, AgreesWithTheKnownExample) {
  EXPECT_EQ(RejectedByEbh(Logs({50, 12, 3, 30}), .1), (Indices{0, 3}));
}

TEST(RejectedByEbh, RejectsNothingWithoutEvidence) {
  EXPECT_EQ(RejectedByEbh(Logs({1, 1, 1}), .1), Indices{});
  EXPECT_EQ(RejectedByEbh({}, .1), Indices{});
}

TEST(RejectedByEbh, ComparesOneValueWithOneOverTheLevel) {
  EXPECT_EQ(RejectedByEbh(Logs({100.1}), .01), Indices{0});
  EXPECT_EQ(RejectedByEbh(Logs({99.9}), .01), Indices{});
}

TEST(RejectedByEbh, LetsAStrongValueCarryWeakerOnes) {
  // 3 values at .1: bounds 30, 15, 10. The second greatest alone would fail at 30.
  EXPECT_EQ(RejectedByEbh(Logs({14, 29, 16}), .1), (Indices{0, 1, 2}));
  EXPECT_EQ(RejectedByEbh(Logs({9, 29, 16}), .1), (Indices{1, 2}));
}

TEST(RejectedByEbh, RejectsAllOfManyEqualOnesThatReachTheBoundTogether) {
  EXPECT_EQ(RejectedByEbh(Logs({11, 11, 11}), .1), (Indices{0, 1, 2}));
}

}  // namespace
}  // namespace consul_canary::stats
