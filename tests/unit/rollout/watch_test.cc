// strategy.after_promotion: all traffic at the canary, the old version still at hand.
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/rollout/world.h"

namespace consul_canary::rollout {
namespace {

constexpr stats::Counts kGood{1000, 1};

class Watch : public testing::Test {
 protected:
  Watch() { world.spec.after_promotion = Seconds(20); }

  // In the watch, its warm-up over.
  void BeginWatch() {
    world.ReachStage(Stage::kWatching);
    world.Traffic(kNothing, kGood);
    world.Tick(2);
    ASSERT_EQ(world.state.stage, Stage::kWatching) << world.state.reason;
  }

  World world;
};

TEST_F(Watch, LastsItsTimeWithAllTrafficAndTheOldFilter) {
  BeginWatch();
  EXPECT_EQ(world.seen.splitter->canary_percent, 100);
  EXPECT_EQ(*world.seen.primary_filter, "is v1");
  world.Tick(17);
  EXPECT_EQ(world.state.stage, Stage::kWatching);
  EXPECT_EQ(*world.seen.primary_filter, "is v1");
  world.Tick(1);
  EXPECT_EQ(world.LastDecision(), "promote/watched");
  EXPECT_EQ(*world.seen.primary_filter, "is v2");
  world.Tick(5);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
}

TEST_F(Watch, SaysWhatTheCanaryIsHeldAgainst) {
  world.ReachStage(Stage::kWatching);
  const std::string reason = world.decisions.back().reason;
  EXPECT_TRUE(
      reason.starts_with("all traffic is at the canary, and is watched there for 20 s before "
                         "the primary subset takes its version; harm is a failure ratio "
                         "above 1."))
      << reason;
  // The upper bound of the primary's ratio and the margin of a point.
  EXPECT_GT(world.state.evidence.failure_limit, 0.01);
  EXPECT_LT(world.state.evidence.failure_limit, 0.012);
}

TEST_F(Watch, SaysWhereThePrimaryDidTooLittleToHoldAnythingAgainst) {
  world.ReachStep(0);
  world.state.evidence.rollout_primary = {3, 3};
  world.Give(OrderKind::kPromote, {.full = true});
  world.Tick(2);
  ASSERT_EQ(world.state.stage, Stage::kWatching) << world.state.reason;
  const std::string reason = world.decisions.back().reason;
  EXPECT_TRUE(
      reason.ends_with("the primary failed 3 of 3 requests in this rollout, too few to tell "
                       "harm by before more than half of the requests fail"))
      << reason;
}

TEST_F(Watch, AWorseCanaryIsRolledBackThoughThePrimaryGetsNothing) {
  BeginWatch();
  world.Traffic(kNothing, {1000, 50});
  world.Tick(3);
  EXPECT_EQ(world.LastDecision(), "rolled-back/traffic-back");
  const Decision& decision = world.decisions.at(world.decisions.size() - 2);
  EXPECT_EQ(decision.action + "/" + decision.cause, "rollback/harm");
  EXPECT_NE(decision.reason.find("with all traffic the canary failed"), std::string::npos)
      << decision.reason;
  EXPECT_EQ(*world.seen.primary_filter, "is v1");
  EXPECT_EQ(world.seen.splitter->canary_percent, 0);
}

TEST_F(Watch, WhatIsWithinTheMarginIsNoHarm) {
  BeginWatch();
  world.Traffic(kNothing, {1000, 9});
  world.Tick(30);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
}

TEST_F(Watch, AWiderRollbackMarginCounts) {
  world.spec.rollback_margin = {1.0, 0.1};
  BeginWatch();
  world.Traffic(kNothing, {1000, 50});
  world.Tick(30);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
}

TEST_F(Watch, TimeInWhichSomethingIsUnknownDoesNotCount) {
  BeginWatch();
  const double watched = world.state.watched_seconds;
  world.seen.unknown = "Consul is away";
  world.Tick(100);
  EXPECT_EQ(world.state.watched_seconds, watched);
  EXPECT_EQ(world.state.stage, Stage::kWatching);
  world.seen.unknown = "";
  world.Tick(30);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
}

TEST_F(Watch, ACanaryThatAnswersNothingIsNotPromoted) {
  world.ReachStage(Stage::kWatching);
  world.Traffic(kNothing, kNothing);
  world.Tick(60);
  EXPECT_EQ(world.state.stage, Stage::kWatching);
  EXPECT_EQ(world.state.reason,
            "promotion holds: the canary has completed no request since it has all traffic");
}

TEST_F(Watch, ThatDoesNotEndIsSaidAfterTheDeadline) {
  world.spec.deadline = Seconds(40);
  world.ReachStage(Stage::kWatching);
  world.Traffic(kNothing, kNothing);
  world.Tick(61);
  EXPECT_EQ(world.LastDecision(), "hold/deadline");
  EXPECT_EQ(world.decisions.back().reason,
            "the watch was not over 40 s after its time: promotion holds: the canary has completed "
            "no request since it has all traffic");
}

TEST_F(Watch, ThatDoesNotEndIsRolledBackWhereTheDeadlineSaysSo) {
  world.spec.deadline = Seconds(40);
  world.spec.on_deadline = OnDeadline::kRollBack;
  world.ReachStage(Stage::kWatching);
  world.Traffic(kNothing, kNothing);
  world.Tick(63);
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
}

TEST_F(Watch, OrdersEndIt) {
  BeginWatch();
  world.Give(OrderKind::kPromote);
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "promote/order");
  EXPECT_EQ(world.state.stage, Stage::kPrimaryFilter);

  World other;
  other.spec.after_promotion = Seconds(20);
  other.ReachStage(Stage::kWatching);
  other.Give(OrderKind::kAbort);
  other.Tick(3);
  EXPECT_EQ(other.state.phase, Phase::kRolledBack);
  EXPECT_EQ(*other.seen.primary_filter, "is v1");
}

TEST_F(Watch, HarmStaysWhereThereIsNowhereToGoBackTo) {
  BeginWatch();
  world.Remove("v1");
  world.Traffic(kNothing, {1000, 900});
  world.Tick(3);
  EXPECT_EQ(world.LastDecision(), "hold/harm");
  EXPECT_NE(world.decisions.back().reason.find("subset primary has no passing instance to go back "
                                               "to: deploy version v1 again, or `abort`"),
            std::string::npos)
      << world.decisions.back().reason;
  EXPECT_EQ(world.seen.splitter->canary_percent, 100);
  EXPECT_EQ(world.state.stage, Stage::kWatching);
  world.Tick(40);
  EXPECT_EQ(world.state.stage, Stage::kWatching);
  EXPECT_EQ(world.state.reason,
            "promotion holds: the canary is worse, and subset primary has no passing instance to "
            "go back to");
  world.Deploy("v1");
  world.Tick(3);
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
}

TEST_F(Watch, AThresholdRollsBack) {
  world.spec.judge = JudgeMode::kBoth;
  world.spec.thresholds = {{.min = 0.999, .window = Seconds(4), .failures = 2}};
  BeginWatch();
  world.Traffic(kNothing, {1000, 5});
  world.Tick(8);
  EXPECT_EQ(world.state.phase, Phase::kRollingBack) << world.state.reason;
  EXPECT_EQ(world.LastDecision(), "rollback/threshold");
}

TEST_F(Watch, EndsOnlyWithEachThresholdsLastCheckPassed) {
  world.spec.judge = JudgeMode::kThresholds;
  world.spec.thresholds = {{.min = 0.99, .window = Seconds(30), .failures = 2}};
  world.ReachStep(0);
  world.Give(OrderKind::kPromote, {.full = true});
  world.Tick(2);
  world.Traffic(kNothing, kGood);
  world.Tick(25);
  EXPECT_EQ(world.state.stage, Stage::kWatching);
  EXPECT_EQ(world.state.reason,
            "watched after promotion; success_ratio: no window of 30 s is over at this step");
  world.Tick(12);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
}

TEST_F(Watch, AlsoPrecedesTheOwnersTurn) {
  world.spec.promote = PromoteMode::kExternal;
  world.seen.canary_filter = "is v2";
  world.ReachStage(Stage::kWatching);
  ASSERT_EQ(world.state.stage, Stage::kWatching) << world.state.reason;
  world.Traffic(kNothing, kGood);
  world.Tick(21);
  EXPECT_EQ(world.state.stage, Stage::kPrimaryFilter);
  EXPECT_TRUE(world.decisions.back().reason.ends_with(
      "subset primary is its owner's to bring to version v2"))
      << world.decisions.back().reason;
}

}  // namespace
}  // namespace consul_canary::rollout
