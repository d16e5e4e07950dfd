// What keeps a proven step from advancing, and what is said meanwhile.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/rollout/world.h"

namespace consul_canary::rollout {
namespace {

// At step 1 with a proof, so that the obstacle alone stands against the advance.
void ExpectHold(void (*spoil)(World&), const std::string& reason) {
  World world;
  world.ReachStep(0);
  world.PlentyOfTraffic();
  spoil(world);
  const std::size_t before = world.decisions.size();
  for (int i = 0; i < 3; ++i) world.TickWithoutWriting();
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
  EXPECT_EQ(world.state.wanted.canary_percent, 10);
  EXPECT_EQ(world.decisions.size(), before) << world.LastDecision();
  EXPECT_NE(world.state.reason.find(reason), std::string::npos)
      << world.state.reason << "\nexpected: " << reason;
}

TEST(Decide, HoldsWhileAnythingIsUnknown) {
  ExpectHold([](World& w) { w.seen.unknown = "Consul does not answer: GET /v1/x: 503"; },
             "holds: Consul does not answer: GET /v1/x: 503");
  ExpectHold([](World& w) { w.seen.splitter.reset(); }, "holds: the service has no splitter");
  ExpectHold([](World& w) { w.seen.instances_known = false; },
             "holds: the service's instances are not known");
}

// Consul has just come back: not all its checks have run again.
TEST(Decide, HoldsAProvenStepWhileConsulIsInDoubt) {
  World world;
  world.spec.steps[0].min_duration = Seconds(10);
  world.ReachStep(0);
  world.PlentyOfTraffic();
  world.Tick(3);
  world.seen.doubtful = true;
  world.Tick(10);
  EXPECT_EQ(world.state.step, 0);
  EXPECT_EQ(world.state.reason,
            "holds: Consul has just come back and its checks may not all have run again");
  world.seen.doubtful = false;
  world.Tick();
  EXPECT_EQ(world.state.step, 1) << world.state.reason;
}

TEST(Decide, HoldsWithoutACaller) {
  ExpectHold([](World& w) { w.seen.callers.clear(); },
             "holds: no caller's sidecar is known and passing");
}

TEST(Decide, HoldsForAStaleCallerAndNamesIt) {
  ExpectHold(
      [](World& w) {
        w.seen.callers.push_back(w.seen.callers[0]);
        w.seen.callers[1].id = "shop";
        w.seen.callers[1].fresh = false;
        w.seen.callers[1].trouble = "last read 9.0 s ago: GET http://10.0.0.7:9102: timeout";
      },
      "holds: no fresh data from shop (last read 9.0 s ago: GET http://10.0.0.7:9102: timeout)");
}

TEST(Decide, LetsOneCallerOfTwentyBeLateButNotOneOfNineteen) {
  for (const std::size_t callers : {19U, 20U}) {
    World world;
    world.ReachStep(0);
    world.seen.callers.resize(callers, world.seen.callers[0]);
    world.seen.callers.back().fresh = false;
    world.PlentyOfTraffic();
    world.TickWithoutWriting();
    EXPECT_EQ(world.state.step, callers == 20 ? 1 : 0) << callers;
  }
}

TEST(Decide, HoldsUntilEachCallerAppliesTheWeight) {
  World world;
  world.seen.callers.push_back({.id = "shop", .fresh = true, .applied_canary_percent = 0});
  world.seen.callers.push_back({.id = "mute", .fresh = true});
  world.Deploy("v2");
  world.callers_follow = false;
  world.Tick(3);
  world.CallersFollow();
  world.PlentyOfTraffic();
  world.Tick(10);
  EXPECT_EQ(world.seen.splitter->canary_percent, 10);
  EXPECT_EQ(world.state.reason,
            "holds: web has not taken the new route, shop applies 0%, mute does not tell which "
            "weight it applies");
  world.seen.callers.pop_back();
  world.seen.callers[1].applied_canary_percent = 9.99;  // Consul's float32
  world.Tick();
  EXPECT_EQ(world.state.reason, "holds: web has not taken the new route");
  ++*world.seen.callers[0].route_reloads;
  world.Tick();
  EXPECT_EQ(world.state.step, 0);  // what this tick counted came before
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "advance/proven");
}

TEST(Decide, DoesNotWaitAgainForACallerWhoseSidecarRestarts) {
  World world;
  world.ReachStep(0);
  const std::uint64_t before = *world.seen.callers[0].route_reloads - 1;
  world.seen.callers[0].route_reloads = before;  // as at the baseline, by a restart
  world.PlentyOfTraffic();
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "advance/proven") << world.state.reason;
}

TEST(Decide, HoldsWhenCanaryAndPrimaryAreGoneTogether) {
  ExpectHold(
      [](World& w) {
        w.seen.canary_passing = 0;
        w.seen.primary_passing = 0;
      },
      "holds: the canary subset has no passing instance");
}

TEST(Decide, HoldsUntilTheSplitterHoldsTheWeight) {
  World world;
  world.ReachStep(0);
  world.PlentyOfTraffic();
  world.Tick();
  ASSERT_EQ(world.state.step, 1);
  world.EditSplitter(10);  // the write did not arrive
  for (int i = 0; i < 5; ++i) world.TickWithoutWriting();
  EXPECT_EQ(world.state.step, 1);
  EXPECT_EQ(world.state.reason, "the splitter does not hold the step's weight yet");
}

TEST(Decide, HoldsInWarmupWhateverTheRequestsShow) {
  World world;
  world.spec.warmup = Seconds(5);
  world.Deploy("v2");
  world.PlentyOfTraffic();
  while (!(world.state.stage == Stage::kStepping && world.state.confirmed)) world.Tick();
  EXPECT_EQ(world.state.confirmed_seconds, 0);
  for (int i = 0; i < 5; ++i) {
    world.Tick();
    EXPECT_EQ(world.last.verdict.kind, VerdictKind::kWarmup);
    EXPECT_EQ(world.state.step, 0);
    EXPECT_EQ(world.state.evidence.step_canary, kNothing);
  }
  world.Tick();
  EXPECT_EQ(world.state.step, 1) << world.state.reason;
}

TEST(Decide, HoldsForTheMinimumDurationThoughProven) {
  World world;
  world.spec.steps[0].min_duration = Seconds(30);
  world.ReachStep(0);
  world.PlentyOfTraffic();
  while (world.state.step == 0 && world.state.confirmed_seconds < 60) world.Tick();
  EXPECT_EQ(world.state.step, 1);
  EXPECT_EQ(world.decisions.back().wall_seconds - world.decisions[1].wall_seconds, 31);
}

TEST(Decide, HoldsWeightWhenCanaryHasTooLittleTraffic) {
  World world;
  world.ReachStep(0);
  world.Traffic({9, 0}, {1, 0});
  world.Tick(20);
  EXPECT_EQ(world.state.step, 0);
  EXPECT_EQ(world.last.verdict.kind, VerdictKind::kUndecided);
  EXPECT_EQ(world.state.reason.substr(0, 29), "collects evidence: ln M of ha");
  EXPECT_NE(world.state.reason.find("failed 0 of 20 requests, the primary 0 of 180"),
            std::string::npos)
      << world.state.reason;
}

TEST(Decide, TellsNoDataFromUndecided) {
  World world;
  world.ReachStep(0);
  world.Tick(3);
  EXPECT_EQ(world.last.verdict.kind, VerdictKind::kNoData);
  world.Traffic({50, 0}, {1, 0});
  world.Tick();
  EXPECT_EQ(world.last.verdict.kind, VerdictKind::kUndecided);
}

TEST(Decide, EvidenceOfSafetyBeginsAnewAtEachStep) {
  World world;
  world.ReachStep(1);
  world.Tick(5);
  EXPECT_EQ(world.state.step, 1);
  EXPECT_EQ(world.last.verdict.log_safe, 0);
}

TEST(Decide, WaitsForPromoteAtAPauseStep) {
  World world;
  world.spec.steps[0].pause = true;
  world.ReachStep(0);
  world.PlentyOfTraffic();
  world.Tick(20);
  EXPECT_EQ(world.state.phase, Phase::kPaused);
  EXPECT_EQ(world.LastDecision(), "pause/step");
  EXPECT_EQ(world.seen.splitter->canary_percent, 10);
  world.Give(OrderKind::kPromote);
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
  EXPECT_EQ(world.state.step, 1);
}

TEST(Decide, HoldsAtAForeignEditSaysSoOnceAndGoesOnWhenItIsSetBack) {
  World world;
  world.ReachStep(0);
  world.PlentyOfTraffic();
  world.EditSplitter(33);
  world.Tick(5);
  EXPECT_EQ(world.LastDecision(), "hold/foreign-edit");
  EXPECT_EQ(world.decisions.back().reason.substr(0, 108),
            "the splitter was edited by someone else: canary 33%, primary 67%, where 10% for the "
            "canary was set; nothing ");
  EXPECT_EQ(world.decisions.size(), 3U);
  EXPECT_EQ(world.seen.splitter->canary_percent, 33);
  EXPECT_EQ(world.state.step, 0);
  // What was seen at another weight proves nothing at this one.
  world.EditSplitter(10);
  world.Tick(3);
  EXPECT_EQ(world.Log()[3], "resume/foreign-edit 10");
  EXPECT_EQ(world.state.step, 0);
  EXPECT_EQ(world.state.confirmed_seconds, 2);
  world.Tick(3);
  EXPECT_EQ(world.state.step, 1) << world.state.reason;
}

TEST(Decide, TakesAnEditOfThePrimarysShareForForeignToo) {
  World world;
  world.ReachStep(0);
  world.seen.splitter->primary_percent = 80;
  world.seen.splitter->other_percent = 0;
  world.TickWithoutWriting();
  EXPECT_TRUE(world.state.foreign_edit);
}

TEST(Decide, SaysOnceThatAStepsDeadlinePassedAndGoesOnWatching) {
  World world;
  world.spec.deadline = Seconds(60);
  world.ReachStep(0);
  world.Tick(80);
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
  EXPECT_EQ(world.Log(), (std::vector<std::string>{"start/new-version 0", "advance/ready 10",
                                                   "hold/deadline 10"}));
  world.PlentyOfTraffic();
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "advance/proven");
}

TEST(Decide, RollsBackAtTheDeadlineWhereTheOwnerAsksForIt) {
  World world;
  world.spec.deadline = Seconds(60);
  world.spec.on_deadline = OnDeadline::kRollBack;
  world.ReachStep(0);
  world.Tick(80);
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
  EXPECT_EQ(world.Log()[2], "rollback/deadline 0");
}

TEST(Decide, TimeThatNobodyRuledCountsTowardsDeadlinesButNotTowardsWarmup) {
  World world;
  world.spec.deadline = Seconds(60);
  world.spec.warmup = Seconds(1000);
  world.Deploy("v2");
  while (!(world.state.stage == Stage::kStepping && world.state.confirmed)) world.Tick();
  world.seen.unruled_seconds = 500;
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "hold/deadline");
  EXPECT_EQ(world.state.confirmed_seconds, 1);
}

TEST(Decide, DeadlinesDoNotRunDuringAPause) {
  World world;
  world.spec.deadline = Seconds(60);
  world.spec.on_deadline = OnDeadline::kRollBack;
  world.ReachStep(0);
  world.Give(OrderKind::kPause);
  world.Tick(500);
  world.Give(OrderKind::kResume);
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kProgressing) << world.state.reason;
}

TEST(Decide, NeitherStartsNorAdvancesWhileTheFleetIsPaused) {
  World world;
  world.seen.fleet_pause = "every rollout is paused by kim since 2026-11-24T17:00:00Z";
  world.Deploy("v2");
  world.Tick(5);
  EXPECT_EQ(world.state.phase, Phase::kIdle);
  EXPECT_NE(world.last.waits.find("paused by kim since"), std::string::npos) << world.last.waits;
  world.seen.fleet_pause.clear();
  world.ReachStep(0);
  world.seen.fleet_pause = "every rollout is paused by kim since 2026-11-24T17:00:00Z";
  world.PlentyOfTraffic();
  world.Give(OrderKind::kPromote);
  world.Tick(20);
  EXPECT_EQ(world.state.step, 0);
  EXPECT_EQ(world.LastDecision(), "refuse/promote");
  EXPECT_NE(world.state.reason.find("paused by kim since"), std::string::npos)
      << world.state.reason;
  world.seen.fleet_pause.clear();
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "advance/proven");
}

TEST(Decide, AnswersHarmAndAbortsWhileTheFleetIsPaused) {
  for (const bool by_order : {false, true}) {
    World world;
    world.ReachStep(1);
    world.seen.fleet_pause = "every rollout is paused by kim since 2026-11-24T17:00:00Z";
    if (by_order) {
      world.Give(OrderKind::kAbort);
    } else {
      world.Traffic({1000, 1}, {1000, 900});
    }
    world.Tick(3);
    EXPECT_EQ(world.state.phase, Phase::kRolledBack) << by_order;
  }
}

TEST(Decide, DeadlinesDoNotRunWhileTheFleetIsPaused) {
  World world;
  world.spec.deadline = Seconds(60);
  world.spec.on_deadline = OnDeadline::kRollBack;
  world.ReachStep(0);
  world.seen.fleet_pause = "every rollout is paused";
  world.Tick(500);
  world.seen.fleet_pause.clear();
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kProgressing) << world.state.reason;
}

TEST(Decide, TakesTheLastStepWhereTheSpecificationHasLostSteps) {
  World world;
  world.ReachStep(1);
  world.spec.steps.pop_back();
  world.Tick();
  EXPECT_EQ(world.state.step, 0);
}

}  // namespace
}  // namespace consul_canary::rollout
