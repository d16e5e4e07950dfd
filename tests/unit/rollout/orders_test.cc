// What people and Alertmanager may order, and when.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "tests/unit/rollout/world.h"

namespace consul_canary::rollout {
namespace {

// Brings a world into a phase.
void Reach(World& world, Phase phase) {
  switch (phase) {
    case Phase::kIdle:
      world.spec.start = StartMode::kManual;
      return world.Deploy("v2");
    case Phase::kProgressing:
      return world.ReachStep(0);
    case Phase::kPaused:
      world.ReachStep(0);
      world.Give(OrderKind::kPause);
      return world.Tick();
    case Phase::kPromoting:
      return world.ReachStage(Stage::kCanaryFull);
    case Phase::kSucceeded:
      world.ReachStage(Stage::kPrimaryFull);
      return world.Tick();
    case Phase::kRollingBack:
      world.ReachStep(0);
      world.Give(OrderKind::kAbort);
      return world.TickWithoutWriting();
    case Phase::kRolledBack:
      world.ReachStep(0);
      world.Give(OrderKind::kAbort);
      return world.Tick(2);
  }
}

const std::vector<Phase> kPhases{Phase::kIdle,      Phase::kProgressing, Phase::kPaused,
                                 Phase::kPromoting, Phase::kSucceeded,   Phase::kRollingBack,
                                 Phase::kRolledBack};

// What an order leads to in each phase, in kPhases' order.
void ExpectTable(OrderKind kind, const std::vector<std::string>& expected) {
  ASSERT_EQ(expected.size(), kPhases.size());
  for (std::size_t i = 0; i < kPhases.size(); ++i) {
    World world;
    ASSERT_NO_FATAL_FAILURE(Reach(world, kPhases[i]));
    ASSERT_EQ(world.state.phase, kPhases[i]) << world.state.reason;
    world.Give(kind, {.alert_key = "f@t", .alert_started_wall_seconds = 1e9});
    world.TickWithoutWriting();
    ASSERT_FALSE(world.last.decisions.empty()) << ToString(kPhases[i]);
    const Decision& first = world.last.decisions.front();
    EXPECT_EQ(first.action + "/" + first.cause, expected[i]) << "in " << ToString(kPhases[i]);
    if (first.action != "refuse") continue;
    EXPECT_EQ(first.from, kPhases[i]);
    EXPECT_EQ(first.to, kPhases[i]);
  }
}

TEST(Orders, Start) {
  const std::string no = "refuse/start";
  ExpectTable(OrderKind::kStart, {"start/order", no, no, no, "start/order", no, "start/order"});
}

TEST(Orders, Pause) {
  const std::string no = "refuse/pause";
  ExpectTable(OrderKind::kPause, {no, "pause/order", no, no, no, no, no});
}

TEST(Orders, Resume) {
  const std::string no = "refuse/resume";
  ExpectTable(OrderKind::kResume, {no, no, "resume/order", no, no, no, no});
}

TEST(Orders, Promote) {
  const std::string no = "refuse/promote";
  ExpectTable(OrderKind::kPromote, {no, "advance/order", "advance/order", no, no, no, no});
}

TEST(Orders, Abort) {
  const std::string no = "refuse/abort";
  const std::string back = "rollback/order";
  ExpectTable(OrderKind::kAbort, {no, back, back, back, no, no, no});
}

TEST(Orders, Retry) {
  const std::string no = "refuse/retry";
  ExpectTable(OrderKind::kRetry, {no, no, no, no, no, no, "start/order"});
}

TEST(Orders, RollbackAlert) {
  const std::string no = "refuse/rollback-alert";
  const std::string back = "rollback/alert";
  ExpectTable(OrderKind::kRollbackAlert, {no, back, back, back, no, no, no});
}

TEST(Orders, AreTakenOnceAndInOrder) {
  World world;
  world.ReachStep(0);
  world.Give(OrderKind::kPause);
  const std::vector<Order> given = world.seen.orders;
  world.Tick();
  world.Give(OrderKind::kResume);
  world.Tick();
  world.seen.orders = given;  // still stands in Consul
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
  EXPECT_EQ(world.state.last_order, 2U);
}

TEST(Orders, APromoteThatIsSentTwicePassesOneStep) {
  World world;
  world.ReachStep(0);
  const Order seen{.seen_decisions = world.state.decisions};
  world.Give(OrderKind::kPromote, seen);
  world.Give(OrderKind::kPromote, seen);
  world.Tick();
  world.Give(OrderKind::kPromote, seen);
  world.Tick();
  EXPECT_EQ(world.state.stage, Stage::kStepping);
  EXPECT_EQ(world.state.step, 1);
  EXPECT_EQ(world.LastDecision(), "refuse/outdated");
  EXPECT_EQ(world.decisions.back().reason,
            "promote by ann not carried out: the step has passed already");
  // Whoever has looked again means the step that is there.
  world.Give(OrderKind::kPromote, {.seen_decisions = world.state.decisions});
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kPromoting);
}

TEST(Orders, WhatIsDecidedWithinAStepMakesNoPromoteOutdated) {
  World world;
  world.ReachStep(0);
  const Order seen{.seen_decisions = world.state.decisions};
  world.Give(OrderKind::kPause);
  world.Give(OrderKind::kRetry);  // refused, which is a decision too
  world.Tick();
  world.Give(OrderKind::kPromote, seen);
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "advance/order");
  EXPECT_EQ(world.state.step, 1);
}

TEST(Orders, WhatMayWidenIsRefusedWhereTheRolloutHasMovedOnButNoAbort) {
  World world;
  world.ReachStep(0);
  const Order seen{.seen_decisions = world.state.decisions};
  world.Give(OrderKind::kAbort);
  world.Tick(2);
  for (const OrderKind kind : {OrderKind::kRetry, OrderKind::kStart}) {
    world.Give(kind, seen);
    world.Tick();
    EXPECT_EQ(world.LastDecision(), "refuse/outdated") << ToString(kind);
    EXPECT_EQ(world.state.phase, Phase::kRolledBack) << ToString(kind);
  }
  world.Give(OrderKind::kRetry, {.seen_decisions = world.state.decisions});
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
  world.Give(OrderKind::kAbort, seen);
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kRollingBack);
}

TEST(Orders, EachIsNamedByTheDecisionThatAnswersIt) {
  World world;
  world.ReachStep(0);
  world.Give(OrderKind::kRetry);
  world.Give(OrderKind::kPause);
  world.Look();
  ASSERT_EQ(world.last.decisions.size(), 2U);
  EXPECT_EQ(world.last.decisions[0].action, "refuse");
  EXPECT_EQ(world.last.decisions[0].order, world.seen.orders[0].sequence);
  EXPECT_EQ(world.last.decisions[1].action, "pause");
  EXPECT_EQ(world.last.decisions[1].order, world.seen.orders[1].sequence);
  EXPECT_EQ(world.decisions.front().order, 0U);  // of its start, which nobody ordered
}

TEST(Orders, ARefusalSaysWhatAndWhoAndWhyAndKeepsThePhasesReason) {
  World world;
  world.ReachStep(0);
  world.Give(OrderKind::kPause);
  world.Give(OrderKind::kStart, {.by = "bob"});
  world.Look();
  EXPECT_EQ(world.state.reason, "paused by ann");
  EXPECT_EQ(world.decisions.back().reason,
            "start by bob not carried out: a rollout is under way; abort it first");
}

TEST(Orders, StartByHandTakesTheVersionAskedFor) {
  World world;
  world.spec.start = StartMode::kManual;
  world.Deploy("v2");
  world.Deploy("v3");
  world.Give(OrderKind::kStart, {.version = "v2"});
  world.Tick();
  EXPECT_EQ(world.state.canary_version, "v2");
  EXPECT_EQ(world.decisions.back().reason, "version v2 is rolled out over v1, by order of ann");
}

TEST(Orders, StartIsRefusedWhereItCannotBe) {
  struct Case {
    const char* version;
    const char* why;
  };
  for (const Case& test : {Case{"v1", "version v1 is the primary already"},
                           Case{"v9", "no passing instance has version v9"},
                           Case{"", "no passing instance has another version"}}) {
    World world;
    world.Give(OrderKind::kStart, {.version = test.version});
    world.Tick();
    EXPECT_EQ(world.state.phase, Phase::kIdle);
    EXPECT_EQ(world.decisions.back().reason,
              std::string("start by ann not carried out: ") + test.why);
  }
}

TEST(Orders, PauseKeepsTheWeightThoughProvenAndResumeGoesOn) {
  World world;
  world.ReachStep(0);
  world.Give(OrderKind::kPause);
  world.Tick();
  world.PlentyOfTraffic();
  world.Tick(20);
  EXPECT_EQ(world.seen.splitter->canary_percent, 10);
  world.Give(OrderKind::kResume);
  world.Tick();
  EXPECT_EQ(world.state.step, 1);
}

TEST(Orders, PromotePassesAStepWithoutProof) {
  World world;
  world.ReachStep(0);
  world.Give(OrderKind::kPromote);
  world.Tick();
  EXPECT_EQ(world.state.step, 1);
  EXPECT_EQ(world.seen.splitter->canary_percent, 50);
  world.Give(OrderKind::kPromote);
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kPromoting);
}

TEST(Orders, PromoteFullSkipsTheRemainingSteps) {
  World world;
  world.ReachStep(0);
  world.Give(OrderKind::kPromote, {.full = true});
  world.Tick();
  EXPECT_EQ(world.state.stage, Stage::kCanaryFull);
  EXPECT_EQ(world.seen.splitter->canary_percent, 100);
}

TEST(Orders, NothingIsWidenedByOrderWhileSomethingIsUnknown) {
  const std::vector<void (*)(World&)> obstacles{
      [](World& w) { w.seen.unknown = "Consul is away"; },
      [](World& w) { w.seen.splitter.reset(); },
      [](World& w) { w.seen.callers.clear(); },
      [](World& w) { w.seen.canary_passing = w.seen.primary_passing = 0; },
  };
  for (const OrderKind kind : {OrderKind::kPromote, OrderKind::kResume}) {
    for (const auto& spoil : obstacles) {
      World world;
      world.spec.steps[0].pause = true;
      world.ReachStep(0);
      world.PlentyOfTraffic();
      world.Tick(2);
      ASSERT_EQ(world.state.phase, Phase::kPaused);
      spoil(world);
      world.Give(kind);
      world.TickWithoutWriting();
      EXPECT_EQ(world.state.phase, Phase::kPaused) << ToString(kind);
      EXPECT_EQ(world.LastDecision(), "refuse/" + std::string(ToString(kind)));
    }
  }
}

TEST(Orders, ResumeWritesOverAForeignEditAndWaitsForTheCallers) {
  World world;
  world.ReachStep(0);
  world.EditSplitter(33);
  world.Tick();
  world.CallersFollow();
  world.callers_follow = false;
  world.PlentyOfTraffic();
  world.Tick();
  world.Give(OrderKind::kResume);
  world.Tick(3);
  EXPECT_EQ(world.seen.splitter->canary_percent, 10);
  EXPECT_FALSE(world.state.foreign_edit);
  EXPECT_EQ(world.state.reason, "holds: web has not taken the new route");
  world.CallersFollow();
  world.Tick(3);
  EXPECT_EQ(world.state.step, 1);
}

TEST(Orders, AbortWritesOverAForeignEdit) {
  World world;
  world.ReachStep(0);
  world.EditSplitter(33);
  world.Tick(2);
  world.Give(OrderKind::kAbort);
  world.Tick(2);
  EXPECT_EQ(world.seen.splitter->canary_percent, 0);
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
}

TEST(Orders, AnAlertThatWasHandledChangesNothing) {
  World world;
  world.ReachStep(0);
  const Order alert{.alert = "Errors: many", .alert_key = "f@t", .alert_started_wall_seconds = 1e9};
  world.Give(OrderKind::kRollbackAlert, alert);
  world.Tick(2);
  EXPECT_EQ(world.state.reason, "alert Errors: many");
  const std::size_t decisions = world.decisions.size();
  world.Give(OrderKind::kRollbackAlert, alert);
  world.Tick();
  EXPECT_EQ(world.decisions.size(), decisions);
}

TEST(Orders, AnAlertOlderThanTheRolloutChangesNothing) {
  World world;
  world.ReachStep(0);
  world.Give(OrderKind::kRollbackAlert,
             {.alert = "Errors",
              .alert_key = "f@t",
              .alert_started_wall_seconds = world.state.started_wall_seconds - 1});
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
  EXPECT_EQ(world.LastDecision(), "refuse/rollback-alert");
}

}  // namespace
}  // namespace consul_canary::rollout
