// Which version is rolled out, and which is left alone.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/rollout/world.h"

namespace consul_canary::rollout {
namespace {

void RollBack(World& world) {
  world.Give(OrderKind::kAbort);
  world.Tick(2);
  ASSERT_EQ(world.state.phase, Phase::kRolledBack);
}

TEST(Versions, TheOneRegisteredLastIsTaken) {
  World world;
  world.Deploy("v3");
  world.Deploy("v2");
  world.Tick();
  EXPECT_EQ(world.state.canary_version, "v2");
}

TEST(Versions, InstancesWithoutAVersionAreLeftAlone) {
  World world;
  world.Deploy("");
  world.Tick(3);
  EXPECT_EQ(world.state.phase, Phase::kIdle);
}

TEST(Versions, ARolledBackOneIsNotTriedAgainUntilRetry) {
  World world;
  world.ReachStep(0);
  RollBack(world);
  world.Tick(20);
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
  world.Give(OrderKind::kRetry);
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
  EXPECT_EQ(world.state.canary_version, "v2");
  EXPECT_TRUE(world.state.rolled_back_versions.empty());
  world.PlentyOfTraffic();
  world.Tick(40);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
}

TEST(Versions, AnotherOneIsTriedAfterARollback) {
  World world;
  world.ReachStep(0);
  RollBack(world);
  world.Deploy("v3");
  world.Tick();
  EXPECT_EQ(world.state.canary_version, "v3");
}

TEST(Versions, AFormerPrimaryIsNotStartedByItselfButByOrder) {
  World world;
  world.Deploy("v2");
  world.PlentyOfTraffic();
  world.Tick(40);
  ASSERT_EQ(world.state.phase, Phase::kSucceeded);
  world.seen.versions[0].newest_index = 99;  // an instance of v1 restarts
  world.Tick(10);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded);
  world.Give(OrderKind::kStart, {.version = "v1"});
  world.Tick();
  EXPECT_EQ(world.state.canary_version, "v1");
}

TEST(Versions, ANewerOneRestartsAtTheFirstStepWithWeightZeroBeforeTheFilterMoves) {
  World world;
  world.ReachStep(1);
  world.Deploy("v3");
  world.writes.clear();
  world.Tick();
  EXPECT_EQ(world.Log().back(), "start/superseded 0");
  EXPECT_EQ(world.state.stage, Stage::kPreparing);
  world.Tick(5);
  EXPECT_EQ(world.writes,
            (std::vector<std::string>{"splitter 0", "canary filter is v3", "splitter 10"}));
  EXPECT_EQ(world.state.step, 0);
  EXPECT_EQ(world.state.primary_version, "v1");
}

TEST(Versions, TheSupersededOneDoesNotComeBack) {
  World world;
  world.ReachStep(1);
  world.Deploy("v3");
  world.Tick();
  world.seen.versions[1].newest_index = 99;
  world.Tick(5);
  EXPECT_EQ(world.state.canary_version, "v3");
}

TEST(Versions, EvidenceOfTheSupersededOneIsForgotten) {
  World world;
  world.ReachStep(0);
  world.Traffic({1000, 1}, {20, 2});  // bad, not yet proven
  world.Tick();
  ASSERT_GT(world.last.verdict.log_harm, 0);
  ASSERT_EQ(world.state.phase, Phase::kProgressing);
  world.Deploy("v3");
  world.Look();
  EXPECT_EQ(world.state.evidence.step_canary, kNothing);
  EXPECT_EQ(world.state.evidence.harm.epoch, -1);
}

TEST(Versions, NothingIsSupersededDuringAPromotion) {
  World world;
  world.ReachStage(Stage::kCanaryFull);
  world.Deploy("v3");
  world.Tick();
  EXPECT_EQ(world.state.canary_version, "v2");
}

TEST(Versions, NothingIsSupersededWhereStartsAreManual) {
  World world;
  world.ReachStep(0);
  world.spec.start = StartMode::kManual;
  world.Deploy("v3");
  world.Tick(3);
  EXPECT_EQ(world.state.canary_version, "v2");
}

TEST(Versions, AnOlderOneThatStandsBesideIsNotRolledOutLater) {
  World world;
  world.Deploy("v2");
  world.Deploy("v3");
  world.PlentyOfTraffic();
  world.Tick(40);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
  EXPECT_EQ(world.state.canary_version, "v3");
  world.Tick(10);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded);
}

}  // namespace
}  // namespace consul_canary::rollout
