// What happens to a rollout while the world around it changes: entries deleted, instances gone,
// deadlines beside foreign weights, maintenance mode.
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/rollout/world.h"

namespace consul_canary::rollout {
namespace {

TEST(LifeCycle, ARollbackEndsThoughSomeoneDeletesTheSplitter) {
  World world;
  world.ReachStep(1);
  world.Give(OrderKind::kAbort);
  world.TickWithoutWriting();
  world.seen.splitter.reset();
  world.seen.entries_known = true;
  world.seen.unknown = "the service has no service-splitter entry";
  world.Tick(2);
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
  EXPECT_EQ(world.state.reason,
            "aborted by ann; the splitter was deleted meanwhile: nothing to take back");
}

TEST(LifeCycle, ARollbackEndsThoughSplitterAndResolverAreDeleted) {
  World world;
  world.ReachStage(Stage::kPrimaryFull);
  world.Give(OrderKind::kAbort);
  world.TickWithoutWriting();
  world.seen.splitter.reset();
  world.seen.entries_known = true;
  world.seen.primary_filter.reset();
  world.seen.canary_filter.reset();
  world.seen.unknown = "the service has no service-splitter entry";
  world.TickWithoutWriting();
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
}

TEST(LifeCycle, ThePrimaryFilterGoesBackThoughTheSplitterIsDeleted) {
  World world;
  world.ReachStage(Stage::kPrimaryFull);
  world.Give(OrderKind::kAbort);
  world.TickWithoutWriting();
  world.seen.splitter.reset();
  world.seen.entries_known = true;
  world.TickWithoutWriting();
  EXPECT_EQ(world.state.phase, Phase::kRollingBack);
  world.Tick(2);
  EXPECT_EQ(world.seen.primary_filter, "is v1");
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
}

TEST(LifeCycle, ARollbackIsNotOverWhileEntriesAreNotKnown) {
  World world;
  world.ReachStep(1);
  world.Give(OrderKind::kAbort);
  world.TickWithoutWriting();
  world.seen.splitter.reset();
  world.TickWithoutWriting();
  EXPECT_EQ(world.state.phase, Phase::kRollingBack);
  world.seen.entries_known = true;
  world.seen.fenced = false;
  world.TickWithoutWriting();
  EXPECT_EQ(world.state.phase, Phase::kRollingBack);
}

TEST(LifeCycle, ASplitterDeletedInTheMiddleIsAForeignEdit) {
  World world;
  world.ReachStep(1);
  const auto splitter = world.seen.splitter;
  world.seen.splitter.reset();
  world.seen.entries_known = true;
  world.Tick(3);
  EXPECT_EQ(world.LastDecision(), "hold/foreign-edit");
  EXPECT_EQ(world.state.reason, "holds: the service has no splitter");
  world.Give(OrderKind::kResume);
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "refuse/resume");
  world.seen.splitter = splitter;
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "resume/foreign-edit");
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
}

TEST(LifeCycle, NoDeadlineWritesOverForeignWeights) {
  World step;
  step.spec.on_deadline = OnDeadline::kRollBack;
  step.spec.deadline = Seconds(30);
  step.ReachStep(1);
  step.EditSplitter(33);
  step.Tick(60);
  EXPECT_EQ(step.seen.splitter->canary_percent, 33);
  EXPECT_EQ(step.state.phase, Phase::kProgressing);
  step.EditSplitter(50);
  step.Tick(2);
  EXPECT_EQ(step.Log().at(step.decisions.size() - 2), "rollback/deadline 0")
      << "it passes once the weights are the rollout's again";

  World ready;
  ready.spec.ready_deadline = Seconds(30);
  ready.callers_follow = false;
  ready.Deploy("v2");
  ready.Tick(5);
  ASSERT_EQ(ready.state.stage, Stage::kPreparing);
  ready.EditSplitter(33);
  ready.Tick(60);
  EXPECT_EQ(ready.seen.splitter->canary_percent, 33);
  EXPECT_EQ(ready.state.phase, Phase::kProgressing);
}

TEST(LifeCycle, ACanaryScaledToZeroIsRolledBackWhilePausedToo) {
  for (const bool paused : {false, true}) {
    World world;
    world.ReachStep(1);
    if (paused) world.Give(OrderKind::kPause);
    world.Tick();
    world.Remove("v2");
    world.Tick(3);
    EXPECT_EQ(world.state.phase, Phase::kRolledBack);
    EXPECT_EQ(world.seen.splitter->canary_percent, 0);
    world.Deploy("v2");  // scaled up again
    world.Tick(5);
    EXPECT_EQ(world.state.phase, Phase::kRolledBack) << "not tried again by itself";
  }
}

TEST(LifeCycle, ACanaryScaledToZeroBeforeItHasTrafficIsWaitedForUntilTheReadyDeadline) {
  World world;
  world.spec.ready_deadline = Seconds(20);
  world.callers_follow = false;
  world.Deploy("v2");
  world.Tick(3);
  ASSERT_EQ(world.state.stage, Stage::kPreparing);
  world.Remove("v2");
  world.Tick(5);
  EXPECT_EQ(world.state.reason, "waits for the canary: no passing instance of version v2");
  world.Tick(20);
  EXPECT_EQ(world.decisions.at(1).cause, "ready-deadline");
}

TEST(LifeCycle, NothingIsProvenBesideAPrimaryThatRestarts) {
  World world;
  world.ReachStep(0);
  world.seen.primary_passing = 0;
  world.Traffic({5000, 5000}, {5000, 50});
  for (int i = 0; i < 30; ++i) world.TickWithoutWriting();
  EXPECT_EQ(world.state.step, 0);
  EXPECT_EQ(world.state.reason,
            "holds: the primary subset has no passing instance to compare the canary with");
  EXPECT_EQ(world.state.evidence.step_canary, kNothing);
  world.seen.primary_passing = 1;
  world.PlentyOfTraffic();
  world.Tick(3);
  EXPECT_EQ(world.state.step, 1) << "and goes on when it is back";
}

TEST(LifeCycle, TheServiceGoneAltogetherIsAHold) {
  World world;
  world.ReachStep(1);
  world.Remove("v1");
  world.Remove("v2");
  world.Tick(10);
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
  EXPECT_EQ(world.state.reason, "holds: the canary subset has no passing instance");
}

TEST(LifeCycle, MaintenanceIsDueOnceAfterARollback) {
  World world;
  world.spec.maintenance_on_rollback = true;
  world.ReachStep(1);
  world.Give(OrderKind::kAbort);
  world.Tick(2);
  ASSERT_EQ(world.state.phase, Phase::kRolledBack);
  EXPECT_TRUE(world.state.maintenance_due);
  world.seen.maintenance = "maintenance: put api-2 into it";
  world.Look();
  EXPECT_FALSE(world.state.maintenance_due);
  EXPECT_EQ(world.LastDecision(), "maintenance/rolled-back");
  EXPECT_EQ(world.state.reason, "aborted by ann") << "what the rollout came to stays";
  const auto said = world.decisions.size();
  world.Tick(3);
  EXPECT_EQ(world.decisions.size(), said);
}

TEST(LifeCycle, NoMaintenanceOfAVersionThatIsToBeRolledOutAgain) {
  World world;
  world.spec.maintenance_on_rollback = true;
  world.ReachStep(1);
  world.seen.spec_deleted = true;
  world.Tick(3);
  ASSERT_EQ(world.state.phase, Phase::kRolledBack);
  EXPECT_FALSE(world.state.maintenance_due);
}

TEST(LifeCycle, NoMaintenanceWhereItIsNotAskedFor) {
  World world;
  world.ReachStep(1);
  world.Give(OrderKind::kAbort);
  world.Tick(2);
  EXPECT_FALSE(world.state.maintenance_due);
}

}  // namespace
}  // namespace consul_canary::rollout
