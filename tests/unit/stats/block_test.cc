// Literals: docs/statistics.md, "Test values" (mpmath with 40 digits and scipy 1.17; formulas
// written down anew there, independently of this code).
#include "analyzer/stats/block.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "tests/unit/stats/enumeration.h"

namespace consul_canary::stats {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Rate Of(double failure) { return {failure, 1.0 - failure}; }

struct Tick {
  Counts primary;
  Counts canary;
};
const std::vector<Tick> kTicks = {
    {{95, 0}, {5, 1}}, {{93, 0}, {6, 0}}, {{97, 1}, {4, 1}}, {{90, 0}, {5, 0}}, {{96, 0}, {5, 1}}};

TEST(HarmGrid, SpansOddsRatiosFrom1Point25To128WithWeightsThatSumToOne) {
  const OddsGrid& grid = HarmGrid();
  EXPECT_NEAR(grid.odds_ratios[0], 1.25, 1e-14);
  EXPECT_NEAR(grid.odds_ratios[5], 10.2490289666402, 1e-12);
  EXPECT_NEAR(grid.odds_ratios[11], 128.0, 1e-11);
  EXPECT_NEAR(std::exp(grid.log_weights[0]), 0.139264652178224, 1e-14);
  EXPECT_NEAR(std::exp(grid.log_weights[11]), 0.0437790073055162, 1e-14);
  EXPECT_NEAR(LogSumExp(grid.log_weights), 0.0, 1e-14);
}

TEST(EstimateRate, NeverReaches0Or1) {
  EXPECT_DOUBLE_EQ(EstimateRate({0, 0}).failure, 0.5);
  EXPECT_DOUBLE_EQ(EstimateRate({30000, 30}).failure, 30.5 / 30001);
  EXPECT_DOUBLE_EQ(EstimateRate({1'000'000'000, 0}).failure, 0.5 / 1'000'000'001);
  EXPECT_DOUBLE_EQ(EstimateRate({1'000'000'000, 1'000'000'000}).success, 0.5 / 1'000'000'001);
}

TEST(LogBlock, AgreesWithFortyDigitArithmetic) {
  EXPECT_NEAR(LogBlock({95, 0}, {5, 2}, Of(.001), Of(.02)), 4.69143671339, 1e-11);
  EXPECT_NEAR(LogBlock({95, 0}, {5, 0}, Of(.001), Of(.02)), -.000870695753, 1e-12);
}

TEST(LogBlock, AgreesWithScipysBinomialProbabilities) {
  // scipy.stats.binom.logpmf of both subsets at p and q, less those at their common rate.
  EXPECT_NEAR(LogBlock({95, 0}, {5, 2}, Of(.001), Of(.02)), 4.691436713387727, 1e-12);
  EXPECT_NEAR(LogBlock({940, 3}, {60, 4}, Of(.002), Of(.05)), 6.7409184940783815, 1e-11);
  EXPECT_NEAR(LogBlock({10, 1}, {90, 30}, Of(.1), Of(.3)), 1.358206071253483, 1e-12);
  EXPECT_NEAR(LogBlock({7, 7}, {3, 3}, Of(.9), Of(.99)), -.00965748300246852, 1e-14);
}

TEST(LogBlock, KeepsItsDigitsAtABillionRequestsAndAtTinyRates) {
  EXPECT_NEAR(LogBlock({950'000'000, 950}, {50'000'000, 100}, Of(1e-6), Of(2e-6)),
              18.08506942812299, 1e-9);
  EXPECT_NEAR(LogBlock({95, 0}, {5, 1}, Of(1e-12), Of(2e-12)), .64435701639146331, 1e-12);
}

TEST(LogBlock, IsNothingWhereEitherSubsetCompletedNothing) {
  EXPECT_EQ(LogBlock({0, 0}, {5, 5}, Of(.001), Of(.02)), 0.0);
  EXPECT_EQ(LogBlock({95, 3}, {0, 0}, Of(.001), Of(.02)), 0.0);
}

TEST(LogBlock, HasAnExpectationOfAtMostOneAtEveryCommonRate) {
  for (const double p : {.0005, .01, .2, .6}) {
    for (const double odds_ratio : {1.25, 4.0, 128.0}) {
      const Rate q = RaiseOdds(Of(p), odds_ratio);
      const auto evidence = [&](const Counts& primary, const Counts& canary) {
        return LogBlock(primary, canary, Of(p), q);
      };
      for (const double rate : {0.0, 1e-6, .001, .01, .1, .3, .5, .8, .99, 1.0}) {
        EXPECT_LE(ExpectedEvidence(12, 1, rate, rate, evidence), 1 + 1e-12) << p << ' ' << rate;
        EXPECT_LE(ExpectedEvidence(9, 7, rate, rate, evidence), 1 + 1e-12) << p << ' ' << rate;
        EXPECT_LE(ExpectedEvidence(1, 15, rate, rate, evidence), 1 + 1e-12) << p << ' ' << rate;
      }
    }
  }
}

TEST(LogBlock, HasAnExpectationOfAtMostOneWhereTheCanaryIsBetter) {
  const Rate p = Of(.01);
  const Rate q = RaiseOdds(p, 16);
  const auto evidence = [&](const Counts& primary, const Counts& canary) {
    return LogBlock(primary, canary, p, q);
  };
  for (const double rate : {.001, .05, .4, .9}) {
    for (const double share : {0.0, .1, .5, .9}) {
      EXPECT_LE(ExpectedEvidence(10, 6, rate, share * rate, evidence), 1 + 1e-12);
    }
  }
}

TEST(LogBlock, IsWorthMoreThanOneOnAverageWhereTheAlternativeIsTrue) {
  const auto evidence = [](const Counts& primary, const Counts& canary) {
    return LogBlock(primary, canary, Of(.01), Of(.3));
  };
  EXPECT_GT(ExpectedEvidence(12, 6, .01, .3, evidence), 2.0);
}

TEST(HarmBlocks, AgreeWithFortyDigitArithmeticAtABillionRequests) {
  const auto healthy_history =
      HarmBlocks({1'000'000'000, 0}, {1'000'000'000, 0}, {1'000'000'000, 3});
  EXPECT_NEAR(healthy_history[0], .316081546990406, 1e-8);
  EXPECT_NEAR(healthy_history[11], 2.056094206064491, 1e-8);
  const auto one_request = HarmBlocks({1'000'000'000, 1000}, {1'000'000'000, 1000}, {1, 1});
  EXPECT_NEAR(one_request[0], .2231433010642413, 1e-8);
  EXPECT_NEAR(one_request[11], 4.851903145007765, 1e-8);
}

TEST(HarmBlocks, StayFiniteWherePrimaryAndCanaryAlwaysFail) {
  const auto blocks =
      HarmBlocks({1'000'000'000, 1'000'000'000}, {1'000'000'000, 1'000'000'000}, {1000, 1000});
  for (const double block : blocks) EXPECT_NEAR(block, 0.0, 1e-12);
}

TEST(HarmBlocks, MixedOverTheGridGiveTheKnownSequence) {
  const double expected[] = {1.92219829684, 1.91373583254, 3.54928689831, 3.5424530672,
                             6.01904600715};
  auto log_sums = HarmGrid().log_weights;
  Counts totals{30000, 30};
  for (std::size_t i = 0; i < kTicks.size(); ++i) {
    const auto blocks = HarmBlocks(totals, kTicks[i].primary, kTicks[i].canary);
    for (std::size_t k = 0; k < kOddsGridSize; ++k) log_sums[k] += blocks[k];
    EXPECT_NEAR(LogSumExp(log_sums), expected[i], 1e-11) << "tick " << i;
    totals.completed += kTicks[i].primary.completed;
    totals.failures += kTicks[i].primary.failures;
  }
}

TEST(LogConditionalBlock, MixedOverTheGridGivesTheKnownEnd) {
  auto log_sums = HarmGrid().log_weights;
  for (const Tick& tick : kTicks) {
    for (std::size_t k = 0; k < kOddsGridSize; ++k) {
      log_sums[k] += LogConditionalBlock(tick.primary, tick.canary, HarmGrid().odds_ratios[k]);
    }
  }
  EXPECT_NEAR(LogSumExp(log_sums), 5.9225484043, 1e-10);
}

TEST(LogConditionalBlock, IsTheLimitOfLogBlockWhereFailuresAreRare) {
  for (const double odds_ratio : HarmGrid().odds_ratios) {
    const Rate p = Of(1e-9);
    EXPECT_NEAR(LogBlock({940, 2}, {60, 3}, p, RaiseOdds(p, odds_ratio)),
                LogConditionalBlock({940, 2}, {60, 3}, odds_ratio), 1e-5);
  }
}

TEST(LogLikelihoodRatio, AgreesWithScipysBinomialProbabilities) {
  // binom.logpmf(x, n, .004) - binom.logpmf(x, n, .001)
  EXPECT_NEAR(LogLikelihoodRatio({1000, 3}, Of(.004), Of(.001)), 1.1603845825962535, 1e-11);
  EXPECT_NEAR(LogLikelihoodRatio({50, 0}, Of(.004), Of(.001)), -.15037605319776426, 1e-13);
}

TEST(LogSumExp, SurvivesTheExtremes) {
  EXPECT_EQ(LogAddExp(-kInfinity, -kInfinity), -kInfinity);
  EXPECT_EQ(LogAddExp(-kInfinity, 3.0), 3.0);
  EXPECT_DOUBLE_EQ(LogAddExp(1000.0, 1000.0), 1000.0 + std::log(2.0));
  EXPECT_DOUBLE_EQ(LogAddExp(-1e9, 1e9), 1e9);
  EXPECT_EQ(LogSumExp(std::vector<double>{}), -kInfinity);
  EXPECT_EQ(LogSumExp(std::vector<double>{-kInfinity, -kInfinity}), -kInfinity);
  EXPECT_DOUBLE_EQ(LogSumExp(std::vector<double>{-1e6, -1e6, -1e6}), -1e6 + std::log(3.0));
}

}  // namespace
}  // namespace consul_canary::stats
