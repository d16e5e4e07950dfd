// Literals: docs/statistics.md#watch in mpmath with 40 digits.
#include "analyzer/stats/reference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "analyzer/stats/harm.h"
#include "tests/unit/stats/enumeration.h"
#include "tests/unit/stats/near.h"

namespace consul_canary::stats {
namespace {

TEST(UpperRate, AgreesWithFortyDigitArithmetic) {
  EXPECT_NEAR(UpperRate({1000, 10}, 1, 1e-4), 0.029987893602933534, 1e-15);
  EXPECT_NEAR(UpperRate({5000, 0}, 1, 1e-4), 0.0018403725082757533, 1e-15);
  EXPECT_NEAR(UpperRate({5000, 250}, 2.5, 1e-4), 0.073710146415548351, 1e-15);
  EXPECT_NEAR(UpperRate({10, 9}, 1, 0.05), 0.99802817960500685, 1e-14);
  EXPECT_NEAR(UpperRate({1, 0}, 1, 0.5), 0.5, 1e-15);
}

TEST(UpperRate, OfNothingKnownIsOne) {
  EXPECT_EQ(UpperRate({}, 1, 0.01), 1);
  EXPECT_EQ(UpperRate({20, 20}, 1, 0.01), 1);
}

// Every outcome of 60 requests: a rate lies above its bound no more often than promised.
TEST(UpperRate, IsExceededNoMoreOftenThanPromised) {
  constexpr int kRequests = 60;
  constexpr double kChance = 0.05;
  for (const double rate : {0.001, 0.02, 0.1, 0.3, 0.5, 0.9, 0.99}) {
    double exceeded = 0;
    for (int failures = 0; failures <= kRequests; ++failures) {
      if (UpperRate({kRequests, failures}, 1, kChance) >= rate) continue;
      exceeded += Binomial(kRequests, failures, rate);
    }
    EXPECT_LE(exceeded, kChance) << rate;
  }
}

const std::vector<Counts> kTicks = {{100, 3}, {}, {100, 0}, {120, 9}, {50, 6}};

std::vector<double> LogHarmAfterEach(const HarmPlan& plan, double limit, double overdispersion) {
  HarmState state = StartHarm({5000, 50});
  std::vector<double> result;
  for (const Counts& canary : kTicks) {
    ObserveHarmBeyond(state, plan, limit, {}, canary, overdispersion, 30);
    result.push_back(LogHarm(state));
  }
  return result;
}

TEST(HarmBeyond, AgreesWithFortyDigitArithmetic) {
  ExpectNear(LogHarmAfterEach({3}, 0.02, 1),
             {-0.6146790903378621, -0.6146790903378621, -1.365353537035451, 0.4120654184747739,
              3.911516657779842});
  ExpectNear(LogHarmAfterEach({0}, 0.02, 2.5),
             {-0.5590481019109986, -0.5590481019109986, -1.17416704019799, -0.321494164339693,
              0.9163304618440715});
}

TEST(HarmBeyond, ALimitOfOneIsNoEvidence) {
  for (const double log : LogHarmAfterEach({3}, 1.0, 1)) EXPECT_NEAR(log, 0.0, 1e-14);
}

// Every outcome of 30 requests: the expectation of M is at most 1 at the limit and below.
TEST(HarmBeyond, IsFairUpToTheLimit) {
  constexpr int kRequests = 30;
  constexpr double kLimit = 0.1;
  for (const double rate : {0.001, 0.02, 0.05, 0.1}) {
    double expectation = 0;
    for (int failures = 0; failures <= kRequests; ++failures) {
      HarmState state = StartHarm({});
      ObserveHarmBeyond(state, {1}, kLimit, {}, {kRequests, failures}, 1, 1);
      expectation += Binomial(kRequests, failures, rate) * std::exp(LogHarm(state));
    }
    EXPECT_LE(expectation, 1 + 1e-12) << rate;
  }
}

TEST(HarmBeyond, GoesOnWhereTheComparisonWithThePrimaryEnded) {
  HarmState state = StartHarm({30000, 30});
  ObserveHarm(state, {3}, {95, 0}, {5, 1}, 1, 30);
  const double before = LogHarm(state);
  ObserveHarmBeyond(state, {3}, 0.01, {}, {100, 8}, 1, 30);
  EXPECT_GT(LogHarm(state), before + 3);
  EXPECT_EQ(state.primary, (Counts{30095, 30}));
}

}  // namespace
}  // namespace consul_canary::stats
