// What ends a rollout at once, whatever else holds.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/rollout/world.h"

namespace consul_canary::rollout {
namespace {

// Far beyond the bound, but not more than half of the canary's requests.
constexpr stats::Counts kHealthyPrimary{1000, 1};
constexpr stats::Counts kFailingCanary{100, 30};

void ExpectRollback(World& world, const std::string& cause) {
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "rollback/" + cause) << world.state.reason;
  EXPECT_EQ(world.seen.splitter->canary_percent, 0);
  const std::string reason = world.decisions.back().reason;
  world.Tick(2);
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
  EXPECT_EQ(world.LastDecision(), "rolled-back/traffic-back");
  EXPECT_EQ(world.decisions.back().reason, reason);
  EXPECT_EQ(world.state.rolled_back_versions, std::vector<std::string>{"v2"});
}

TEST(Decide, RollsBackAProvenHarm) {
  World world;
  world.ReachStep(0);
  world.Traffic(kHealthyPrimary, kFailingCanary);
  ExpectRollback(world, "harm");
  EXPECT_NE(world.decisions.back().reason.find(
                "at this step the canary failed 30 of 100 requests, the primary 1 of 1000"),
            std::string::npos)
      << world.decisions.back().reason;
}

TEST(Decide, RollsBackHarmOverEveryObstacle) {
  const std::vector<void (*)(World&)> obstacles{
      [](World& w) { w.seen.callers.clear(); },
      [](World& w) { w.seen.callers[0].fresh = false; },
      [](World& w) { w.seen.instances_known = false; },
      [](World& w) { w.EditSplitter(33); },
      [](World& w) { w.Give(OrderKind::kPause); },
      [](World& w) { w.spec.steps[0].min_duration = Seconds(9999); },
  };
  for (const auto& spoil : obstacles) {
    World world;
    world.ReachStep(0);
    spoil(world);
    world.Tick();
    world.Traffic(kHealthyPrimary, kFailingCanary);
    ExpectRollback(world, "harm");
  }
}

TEST(Decide, WritesARollbackThoughSomethingIsUnknownAndEndsItWhenAllIsKnown) {
  World world;
  world.ReachStep(0);
  world.seen.unknown = "the mesh has not been read yet";
  world.Traffic(kHealthyPrimary, kFailingCanary);
  world.Tick(3);
  EXPECT_EQ(world.state.phase, Phase::kRollingBack);
  EXPECT_EQ(world.seen.splitter->canary_percent, 0);
  world.seen.unknown.clear();
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
}

TEST(Decide, RollingBackIsNotOverWhileTheSplitterShowsAnotherWeight) {
  World world;
  world.ReachStep(0);
  world.EditSplitter(0);  // an old reading: our 10 is written, but not read back
  world.seen.unknown = "our own last write is not read back yet";
  world.Give(OrderKind::kAbort);
  world.TickWithoutWriting();
  EXPECT_EQ(world.state.phase, Phase::kRollingBack);
  world.seen.unknown.clear();
  world.EditSplitter(10);
  world.TickWithoutWriting();
  EXPECT_EQ(world.state.phase, Phase::kRollingBack);
  world.Tick(2);
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
  EXPECT_EQ(world.seen.splitter->canary_percent, 0);
}

TEST(Decide, RollingBackIsNotOverBeforeADeposedLeaderIsFencedOff) {
  World world;
  world.ReachStep(0);
  world.Give(OrderKind::kAbort);
  world.seen.fenced = false;
  world.Tick(5);
  EXPECT_EQ(world.state.phase, Phase::kRollingBack);
  world.seen.fenced = true;
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
}

TEST(Decide, RollsBackAGrossFailureInWarmup) {
  World world;
  world.spec.warmup = Seconds(60);
  world.Deploy("v2");
  while (world.state.stage != Stage::kStepping) world.Tick();
  world.Tick();
  world.Traffic({90, 0}, {10, 6});
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "rollback/harm");
  EXPECT_EQ(world.decisions.back().reason,
            "6 of the canary's 10 requests failed at once, and the primary's did not");
}

TEST(Decide, WhatIsNoGrossFailureIsLeftToTheEvidence) {
  struct Case {
    stats::Counts primary, canary;
  };
  const std::vector<Case> cases{
      {{90, 0}, {9, 9}},    // too few
      {{90, 0}, {10, 5}},   // not more than half
      {{90, 9}, {10, 10}},  // the primary fails as well
      {{0, 0}, {10, 10}},   // judged below: its history is good, so this one is gross
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    World world;
    world.spec.warmup = Seconds(60);
    world.Deploy("v2");
    while (world.state.stage != Stage::kStepping) world.Tick();
    world.Traffic(cases[i].primary, cases[i].canary);
    world.Tick();
    EXPECT_EQ(world.state.phase == Phase::kProgressing, i < 4) << i;
  }
}

TEST(Decide, FailuresAtWeightZeroAreNotTheNewVersions) {
  World world;
  world.callers_follow = false;
  world.Deploy("v2");
  world.Tick(2);
  ASSERT_EQ(world.state.stage, Stage::kPreparing);
  world.Traffic({90, 0}, {100, 100});
  world.Tick(3);
  EXPECT_EQ(world.state.stage, Stage::kPreparing) << world.state.reason;
}

TEST(Decide, RollsBackACanaryThatIsGone) {
  World world;
  world.ReachStep(0);
  world.seen.canary_passing = 0;
  world.Look();
  EXPECT_EQ(world.LastDecision(), "rollback/canary-gone");
  EXPECT_EQ(world.seen.splitter->canary_percent, 0);
}

TEST(Decide, DoesNotCallACanaryGoneWhileInstancesAreNotKnown) {
  World world;
  world.ReachStep(0);
  world.seen.canary_passing = 0;
  world.seen.instances_known = false;
  world.Tick(3);
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
}

TEST(Decide, ACanaryWithoutInstancesBeforeItsFirstWeightIsNotGone) {
  World world;
  world.seen.versions.push_back({"v2", 0, 9});
  world.Tick(5);
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
  EXPECT_EQ(world.state.stage, Stage::kPreparing);
}

TEST(Decide, HarmOfOneRolloutIsNotCarriedIntoTheNext) {
  World world;
  world.ReachStep(0);
  world.Traffic(kHealthyPrimary, kFailingCanary);
  world.Tick(3);
  ASSERT_EQ(world.state.phase, Phase::kRolledBack);
  world.PlentyOfTraffic();
  world.Deploy("v3");
  world.Tick(40);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
}

TEST(Decide, TheWeightOfTheLastRolloutIsGoneFromEveryCallerBeforeTheFilterMoves) {
  World world;
  world.ReachStep(1);
  world.callers_follow = false;
  world.Give(OrderKind::kAbort);
  world.Tick(2);
  ASSERT_EQ(world.state.phase, Phase::kRolledBack);
  world.Deploy("v3");  // while web still sends half of its requests to the canary subset
  world.Tick(3);
  EXPECT_EQ(*world.seen.canary_filter, "is v2");
  EXPECT_EQ(world.state.reason, "waits for the canary: web has not taken the new route");
  ++*world.seen.callers[0].route_reloads;
  world.Tick();
  EXPECT_EQ(*world.seen.canary_filter, "is v3");
}

TEST(Harm, IsNotJudgedWhileConsulHasJustComeBack) {
  World world;
  world.Deploy("v2");
  world.Traffic({.completed = 100}, {.completed = 10});
  world.Tick(8);
  ASSERT_EQ(world.state.stage, Stage::kStepping) << world.state.reason;
  world.Traffic({.completed = 1000, .failures = 900}, {.completed = 100, .failures = 100});
  const double before = world.state.evidence.harm.log_sums[0];
  world.seen.doubtful = true;
  world.Tick(5);
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
  EXPECT_EQ(world.state.evidence.harm.log_sums[0], before);
}

}  // namespace
}  // namespace consul_canary::rollout
