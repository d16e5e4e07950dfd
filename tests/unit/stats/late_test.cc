// Literals: an independent reading of late.h in mpmath with 40 digits, which keeps the sums
// themselves instead of their logarithms.
#include "analyzer/stats/late.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "analyzer/stats/harm.h"
#include "tests/unit/stats/enumeration.h"

namespace consul_canary::stats {
namespace {

const std::vector<LateCounts> kBlocks = {{100, 0}, {80, 1}, {120, 0}, {5, 2}, {3, 3}};

void ExpectSequence(std::int64_t planned_epochs, double overdispersion,
                    const std::vector<double>& expected) {
  LateState state;
  for (std::size_t i = 0; i < kBlocks.size(); ++i) {
    ObserveLate(state, planned_epochs, kBlocks[i], overdispersion, 30.0);
    EXPECT_NEAR(LogLate(state), expected[i], 1e-11) << "block " << i;
  }
}

TEST(Late, IsNothingBeforeTheFirstRequest) {
  LateState state;
  EXPECT_EQ(LogLate(state), 0.0);
  ObserveLate(state, 0, {0, 0}, 1.0, 100.0);
  EXPECT_EQ(LogLate(state), 0.0);
  EXPECT_EQ(state.epoch, -1);
}

TEST(Late, AgreesWithFortyDigitArithmeticWithoutAPlan) {
  ExpectSequence(0, 1.0,
                 {-1.0828121291210621, -.57926121559813486, -1.189479911285132, 1.9436602675723568,
                  16.442753088621312});
}

TEST(Late, AgreesWithFortyDigitArithmeticUnderOverdispersionAndAPlan) {
  ExpectSequence(4, 3.0,
                 {-.91750493015118557, -.74729137912670522, -1.0339782420212535, -.175460628702925,
                  3.657199605822809});
}

TEST(Late, RestartsAsHarmDoes) {
  LateState late;
  HarmState harm = StartHarm({});
  for (int i = 0; i < 50; ++i) {
    ObserveLate(late, 9, {10, 0}, 1.0, 17.0);
    ObserveHarm(harm, {9}, {10, 0}, {10, 0}, 1.0, 17.0);
    ASSERT_EQ(late.epoch, harm.epoch);
    ASSERT_EQ(late.spent, harm.spent);
    ASSERT_EQ(late.epoch_seconds, harm.epoch_seconds);
  }
}

TEST(Late, ProvesACanaryThatAnswersNothingFromItsFirstRequests) {
  LateState state;
  ObserveLate(state, 0, {2, 2}, 1.0, 1.0);
  EXPECT_GT(LogLate(state), std::log(100.0));
}

TEST(Late, FindsAHangAfterAnHourOfHealthWithinEightRequests) {
  const auto requests_until_proof = [](int healthy_seconds) {
    LateState state;
    for (int i = 0; i < healthy_seconds; ++i) ObserveLate(state, 60, {10, 0}, 1.0, 1.0);
    int requests = 0;
    for (; LogLate(state) < std::log(100.0) && requests < 100; ++requests) {
      ObserveLate(state, 60, {1, 1}, 1.0, 1.0);
    }
    return requests;
  };
  EXPECT_EQ(requests_until_proof(0), 1);
  EXPECT_LE(requests_until_proof(3600), 8);
}

TEST(Late, StaysLowWhileTheShareIsWhatIsAllowed) {
  LateState state;
  for (int i = 0; i < 3600; ++i) {
    ObserveLate(state, 60, {100, i % 10 == 0}, 1.0, 1.0);
    ASSERT_LT(LogLate(state), std::log(20.0)) << i;
  }
}

TEST(Late, HasAnExpectationOfAtMostOneAtTheAllowedShareAndBelow) {
  for (const double overdispersion : {1.0, 4.0}) {
    const auto evidence = [&](const Counts& requests, const Counts&) {
      LateState state;
      ObserveLate(state, 0, {requests.completed, requests.failures}, overdispersion, 60.0);
      ObserveLate(state, 0, {requests.completed, 0}, overdispersion, 1.0);
      return LogLate(state);
    };
    for (const double share : {0.0, .0002, kLateShare}) {
      EXPECT_LE(ExpectedEvidence(1, 0, share, 0, evidence), 1 + 1e-12);
      EXPECT_LE(ExpectedEvidence(40, 0, share, 0, evidence), 1 + 1e-12);
    }
  }
}

TEST(Late, HasAnExpectationOfAtMostOneOverTwoTicksWithARestartBetween) {
  const auto second = [](const LateState& after_first) {
    return ExpectedEvidence(8, 0, kLateShare, 0, [&](const Counts& requests, const Counts&) {
      LateState state = after_first;
      ObserveLate(state, 3, {requests.completed, requests.failures}, 1.0, 60.0);
      return LogLate(state);
    });
  };
  const double expectation =
      ExpectedEvidence(12, 0, kLateShare, 0, [&](const Counts& requests, const Counts&) {
        LateState state;
        ObserveLate(state, 3, {requests.completed, requests.failures}, 1.0, 60.0);
        return std::log(second(state));
      });
  EXPECT_NEAR(expectation, 1.0, 1e-12);
}

TEST(Late, ContinuesBitForBitFromAStoredState) {
  LateState state;
  for (int i = 0; i < 130; ++i) ObserveLate(state, 9, {20, i % 60 == 0}, 1.3, .97);
  LateState restored;
  restored.log_sums = state.log_sums;
  restored.spent = state.spent;
  restored.epoch = state.epoch;
  restored.epoch_seconds = state.epoch_seconds;
  for (int i = 0; i < 130; ++i) {
    ObserveLate(state, 9, {20, i % 50 == 0}, 1.7, 1.03);
    ObserveLate(restored, 9, {20, i % 50 == 0}, 1.7, 1.03);
    ASSERT_EQ(restored, state);
  }
}

TEST(HasLongRequests, WhereThePrimarysOwnHangOrMoreAreUnderWayThanTheirTimeExplains) {
  const PrimaryFlight usual{
      .late = {1600, 0}, .seconds = 16, .under_way = 12, .mean_seconds = 0.05};
  EXPECT_FALSE(HasLongRequests(usual));
  PrimaryFlight hangs = usual;
  hangs.late.late = 2;
  EXPECT_TRUE(HasLongRequests(hangs));
  PrimaryFlight streams = usual;
  streams.under_way = 21;  // 100 a second of 50 ms are 5
  EXPECT_TRUE(HasLongRequests(streams));
  EXPECT_FALSE(HasLongRequests({}));
}

}  // namespace
}  // namespace consul_canary::stats
