// A specification that changes or goes in the middle of a rollout.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/unit/rollout/world.h"

namespace consul_canary::rollout {
namespace {

TEST(Respecify, WhatIsJudgedByBeginsAgainAtTheFirstStepWithWeightZeroFirst) {
  World world;
  world.ReachStep(1);
  world.writes.clear();
  world.spec.false_rollback = 0.02;
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "start/spec-changed");
  EXPECT_EQ(world.decisions.back().reason,
            "version v2 is rolled out over v1, from the first step again: analysis changed in the "
            "specification");
  world.Tick(4);
  EXPECT_EQ(world.writes.at(0), "splitter 0");
  EXPECT_EQ(world.state.step, 0);
  EXPECT_EQ(world.state.stage, Stage::kStepping);
  world.PlentyOfTraffic();
  world.Tick(40);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
}

TEST(Respecify, WhatConcernsNeitherEvidenceNorEntriesIsTakenOverAtTheStep) {
  World world;
  world.ReachStep(1);
  world.spec.steps[1].pause = true;
  world.spec.rollback_window = Seconds(60);
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "respecify/spec-changed");
  EXPECT_EQ(world.decisions.back().reason,
            "strategy.steps, rollback_window changed in the specification; the rollout goes on at "
            "its step");
  EXPECT_EQ(world.state.step, 1);
  world.PlentyOfTraffic();
  world.Tick(10);
  EXPECT_EQ(world.LastDecision(), "pause/step");
}

TEST(Respecify, OtherSubsetsWaitUntilAllTrafficIsBack) {
  World world;
  world.ReachStep(1);
  world.spec.canary_subset = "next";
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "rollback/spec-changed");
  EXPECT_EQ(world.state.spec->canary_subset, "canary") << "the way back is by the former one";
  EXPECT_TRUE(world.state.rolled_back_versions.empty());
  world.Tick(3);
  EXPECT_EQ(world.state.spec->canary_subset, "next");
  EXPECT_EQ(world.state.canary_version, "v2");
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
}

TEST(Respecify, APromotionEndsByTheSpecificationItBeganWith) {
  World world;
  world.ReachStage(Stage::kCanaryFull);
  world.spec.promote = PromoteMode::kNone;
  world.Tick();
  EXPECT_EQ(world.decisions.back().action, "hold");
  EXPECT_EQ(world.decisions.back().reason,
            "promote changed in the specification; the former one rules until this rollout has "
            "ended");
  world.Tick(5);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded);
  EXPECT_EQ(world.seen.primary_filter, "is v2");
  const auto log = world.Log();
  EXPECT_EQ(std::count(log.begin(), log.end(), "hold/spec-changed 100"), 1);
}

TEST(Respecify, APauseThatAPersonHasOrderedStays) {
  World world;
  world.ReachStep(1);
  world.Give(OrderKind::kPause);
  world.Tick();
  world.spec.warmup = Seconds(3);
  world.Tick(5);
  EXPECT_EQ(world.state.phase, Phase::kPaused);
  EXPECT_EQ(world.LastDecision(), "hold/spec-changed");
  world.Give(OrderKind::kResume);
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "start/spec-changed");
}

TEST(Respecify, NothingBeginsAgainOnWhatIsUnknown) {
  World world;
  world.ReachStep(1);
  world.spec.warmup = Seconds(3);
  world.seen.unknown = "Consul does not answer";
  world.TickWithoutWriting();
  EXPECT_EQ(world.LastDecision(), "hold/spec-changed");
  EXPECT_EQ(world.state.step, 1);
  EXPECT_EQ(world.state.spec->warmup, Seconds(2));
  world.seen.unknown.clear();
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "start/spec-changed");
}

TEST(Respecify, HarmIsJudgedByTheFormerOneMeanwhile) {
  World world;
  world.ReachStep(1);
  world.Give(OrderKind::kPause);
  world.Tick();
  world.spec.false_rollback = 1e-9;
  world.Tick();
  world.Traffic({100, 0}, {100, 12});
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "rollback/harm") << world.state.reason;
}

TEST(Respecify, NothingIsWrittenAnyMoreOnceItMayNotActInWhateverPhase) {
  for (const Stage stage : {Stage::kStepping, Stage::kCanaryFull, Stage::kPrimaryFull}) {
    World world;
    if (stage == Stage::kStepping) {
      ASSERT_NO_FATAL_FAILURE(world.ReachStep(1));
    } else {
      ASSERT_NO_FATAL_FAILURE(world.ReachStage(stage));
    }
    world.writes.clear();
    world.seen.fenced = false;  // the promotion does not end by itself
    world.spec.act = false;
    world.Tick();
    EXPECT_EQ(world.LastDecision(), "respecify/spec-changed") << ToString(stage);
    world.Give(OrderKind::kAbort);
    world.Tick(20);
    EXPECT_TRUE(world.writes.empty()) << ToString(stage) << " " << world.writes.front();
  }
}

TEST(Respecify, ADeletedSpecificationTakesAllTrafficBack) {
  for (const Stage stage : {Stage::kStepping, Stage::kPrimaryFilter}) {
    World world;
    if (stage == Stage::kStepping) {
      ASSERT_NO_FATAL_FAILURE(world.ReachStep(1));
    } else {
      ASSERT_NO_FATAL_FAILURE(world.ReachStage(stage));
    }
    world.seen.spec_deleted = true;
    world.Tick();
    EXPECT_EQ(world.LastDecision(), "rollback/spec-deleted");
    world.Tick(2);
    EXPECT_FALSE(IsActive(world.state.phase));
    EXPECT_EQ(world.seen.splitter->canary_percent, 0);
    EXPECT_EQ(world.seen.primary_filter, "is v1");
    EXPECT_TRUE(world.state.rolled_back_versions.empty());
  }
}

TEST(Respecify, NothingStartsWithoutASpecification) {
  World world;
  world.seen.spec_deleted = true;
  world.Deploy("v2");
  world.Tick(5);
  EXPECT_EQ(world.state.phase, Phase::kIdle);
}

}  // namespace
}  // namespace consul_canary::rollout
