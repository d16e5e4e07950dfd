// Swapping the subsets: each stage waits for its facts, and an abort in any of them goes all the
// way back.
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/rollout/world.h"

namespace consul_canary::rollout {
namespace {

TEST(Promotion, AbortInEachStageRestoresWeightAndPrimaryFilter) {
  for (const Stage stage : {Stage::kCanaryFull, Stage::kPrimaryFilter, Stage::kPrimaryFull}) {
    World world;
    ASSERT_NO_FATAL_FAILURE(world.ReachStage(stage));
    world.Give(OrderKind::kAbort);
    world.Tick(3);
    EXPECT_EQ(world.state.phase, Phase::kRolledBack) << ToString(stage);
    EXPECT_EQ(world.seen.splitter->canary_percent, 0);
    EXPECT_EQ(*world.seen.primary_filter, "is v1");
    EXPECT_EQ(*world.seen.canary_filter, "is v2");  // weight 0: it stays
  }
}

TEST(Promotion, RollbackIsNotOverBeforeThePrimaryFilterIsBack) {
  World world;
  world.ReachStage(Stage::kPrimaryFull);
  world.Give(OrderKind::kAbort);
  for (int i = 0; i < 3; ++i) world.TickWithoutWriting();
  EXPECT_EQ(world.state.phase, Phase::kRollingBack);
  world.Tick(2);
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
}

TEST(Promotion, DoesNotTouchThePrimaryFilterBeforeEveryCallerSendsAllToTheCanary) {
  World world;
  world.ReachStep(1);
  world.callers_follow = false;
  world.PlentyOfTraffic();
  world.Tick(5);
  EXPECT_EQ(world.state.stage, Stage::kCanaryFull);
  EXPECT_EQ(world.state.reason, "promotion holds: web has not taken the new route");
  EXPECT_EQ(*world.seen.primary_filter, "is v1");
}

TEST(Promotion, DoesNotSendTrafficToThePrimaryBeforeEveryCallerHasItsNewMembers) {
  World world;
  world.ReachStage(Stage::kCanaryFull);
  world.callers_follow = false;
  world.Tick(5);
  EXPECT_EQ(world.state.stage, Stage::kPrimaryFilter);
  EXPECT_EQ(*world.seen.primary_filter, "is v2");
  EXPECT_EQ(world.state.reason,
            "promotion: the primary subset's new instances are not routable yet from web");
  EXPECT_EQ(world.seen.splitter->canary_percent, 100);
  ++world.seen.callers[0].primary_changes;
  world.Tick();
  EXPECT_EQ(world.seen.splitter->canary_percent, 0);
}

TEST(Promotion, IsNotOverBeforeEveryCallerIsBackAtThePrimary) {
  World world;
  world.ReachStage(Stage::kPrimaryFilter);
  world.Tick();
  world.callers_follow = false;
  --*world.seen.callers[0].route_reloads;
  world.Tick(3);
  EXPECT_EQ(world.state.stage, Stage::kPrimaryFull);
  world.CallersFollow();
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kSucceeded);
}

TEST(Promotion, IsNotOverBeforeADeposedLeaderIsFencedOff) {
  World world;
  world.ReachStage(Stage::kPrimaryFull);
  world.seen.fenced = false;
  world.Tick(3);
  EXPECT_EQ(world.state.phase, Phase::kPromoting);
  world.seen.fenced = true;
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kSucceeded);
}

TEST(Promotion, HoldsAtAForeignEditInEachStage) {
  for (const Stage stage : {Stage::kCanaryFull, Stage::kPrimaryFilter, Stage::kPrimaryFull}) {
    World world;
    ASSERT_NO_FATAL_FAILURE(world.ReachStage(stage));
    world.EditSplitter(33);
    world.Tick(5);
    EXPECT_EQ(world.LastDecision(), "hold/foreign-edit");
    EXPECT_EQ(world.state.stage, stage);
    EXPECT_EQ(world.seen.splitter->canary_percent, 33);
  }
}

TEST(Promotion, HoldsWhileAnythingIsUnknown) {
  for (const Stage stage : {Stage::kCanaryFull, Stage::kPrimaryFilter, Stage::kPrimaryFull}) {
    World world;
    ASSERT_NO_FATAL_FAILURE(world.ReachStage(stage));
    world.seen.unknown = "Consul is away";
    for (int i = 0; i < 5; ++i) world.TickWithoutWriting();
    EXPECT_EQ(world.state.stage, stage);
    EXPECT_EQ(world.state.reason, "promotion holds: Consul is away");
  }
}

TEST(Promotion, ABrokenCanaryIsRolledBackThoughThePrimaryGetsNoRequests) {
  World world;
  world.ReachStage(Stage::kCanaryFull);
  world.Traffic(kNothing, {100, 90});
  world.Tick(2);
  EXPECT_EQ(world.Log().at(4), "rollback/harm 0");
}

TEST(Promotion, ACanaryThatIsGoneIsRolledBack) {
  World world;
  world.ReachStage(Stage::kCanaryFull);
  world.seen.canary_passing = 0;
  world.TickWithoutWriting();
  EXPECT_EQ(world.LastDecision(), "rollback/canary-gone");
}

TEST(Promotion, ALastStepOfAHundredPercentIsPromotedFromThere) {
  World world;
  world.spec.steps = {{.weight_percent = 10}, {.weight_percent = 100}};
  world.Deploy("v2");
  world.PlentyOfTraffic();
  world.Tick(40);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
  EXPECT_EQ(world.seen.splitter->canary_percent, 0);
}

}  // namespace
}  // namespace consul_canary::rollout
