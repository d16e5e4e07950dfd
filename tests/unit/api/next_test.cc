// What people are told that a rollout waits for.
#include "analyzer/api/next.h"

#include <gtest/gtest.h>

namespace consul_canary::api {
namespace {

using control::RolloutView;
using rollout::Phase;
using rollout::Stage;

RolloutView Stepping() {
  RolloutView view;
  view.spec = rollout::Spec{};
  view.spec->steps = {{.weight_percent = 10}, {.weight_percent = 50}};
  view.state.phase = Phase::kProgressing;
  view.state.stage = Stage::kStepping;
  view.state.confirmed = true;
  view.state.confirmed_seconds = 20;
  view.state.stage_seconds = 22;
  view.state.wanted.canary_percent = 10;
  view.state.reason = "collects evidence: …";
  view.verdict.log_safe = 1.2;
  view.verdict.safe_bound = 3;
  return view;
}

TEST(NextOf, AStepThatLacksProofSaysHowMuch) {
  EXPECT_EQ(NextOf(Stepping()), (NextDecision{"advance to step 2 of 2, 50%",
                                              "proof of safety (1.20 of 3.00)", 3578, "hold"}));
}

TEST(NextOf, EverythingThatIsMissingIsNamed) {
  RolloutView view = Stepping();
  view.state.confirmed_seconds = 2;
  view.spec->steps[0].min_duration = rollout::Seconds(30);
  view.verdict.log_safe = -0.2;
  view.verdict.threshold_obstacle = "success_ratio was not checked yet";
  EXPECT_EQ(NextOf(view).waits_for,
            "the warm-up (3 s more), the minimum duration (28 s more), proof of safety (0.00 of "
            "3.00), success_ratio was not checked yet");
}

TEST(NextOf, AHoldAndAnUnwrittenWeightComeBeforeProof) {
  RolloutView view = Stepping();
  view.state.confirmed = false;
  EXPECT_EQ(NextOf(view).waits_for, "the splitter to hold 10%");
  view.state.reason = "holds: web-1 applies 5%";
  EXPECT_EQ(NextOf(view).waits_for, "an end of the hold: web-1 applies 5%");
}

TEST(NextOf, TheLastStepPromotesUnlessItIsKeptOrPauses) {
  RolloutView view = Stepping();
  view.state.step = 1;
  EXPECT_EQ(NextOf(view).decision, "promote: all traffic to the canary");
  view.spec->promote = rollout::PromoteMode::kNone;
  EXPECT_EQ(NextOf(view).decision, "stay at this step, as `promote: none` asks");
  view.spec->steps[1].pause = true;
  EXPECT_EQ(NextOf(view).decision, "pause until `promote`");
}

TEST(NextOf, ADeadlineThatHasPassedRunsNoMore) {
  RolloutView view = Stepping();
  view.spec->on_deadline = rollout::OnDeadline::kRollBack;
  EXPECT_EQ(NextOf(view).on_deadline, "rollback");
  view.state.deadline_passed = true;
  EXPECT_FALSE(NextOf(view).deadline_seconds);
  EXPECT_EQ(NextOf(view).on_deadline, "");
}

TEST(NextOf, EachOtherPhaseSaysWhatEndsIt) {
  struct Case {
    Phase phase;
    Stage stage;
    bool proven_wait;
    const char* decision;
    const char* waits_for;
  };
  for (const Case& test :
       {Case{Phase::kIdle, Stage::kNone, false, "start", "instances"},
        Case{Phase::kProgressing, Stage::kPreparing, false, "advance to step 1 of 2, 10%", "why"},
        Case{Phase::kPaused, Stage::kStepping, false, "go on", "an order: `resume`"},
        Case{Phase::kPaused, Stage::kStepping, true, "advance to step 2 of 2, 50%",
             "an order: `promote`"},
        Case{Phase::kPromoting, Stage::kCanaryFull, false, "the primary subset takes version v2",
             "why"},
        Case{Phase::kPromoting, Stage::kWatching, false, "the primary subset takes version v2",
             "why"},
        Case{Phase::kPromoting, Stage::kPrimaryFilter, false,
             "all traffic back to the primary subset", "why"},
        Case{Phase::kPromoting, Stage::kPrimaryFull, false, "succeeded", "why"},
        Case{Phase::kRollingBack, Stage::kNone, false, "rolled-back",
             "all traffic to be back at the primary; waits for instances"},
        Case{Phase::kRolledBack, Stage::kNone, false, "start", "instances"}}) {
    RolloutView view = Stepping();
    view.state.phase = test.phase;
    view.state.stage = test.stage;
    view.state.proven_wait = test.proven_wait;
    view.state.canary_version = "v2";
    view.state.reason = "why";
    view.waits = "waits for instances";
    EXPECT_EQ(NextOf(view).decision, test.decision);
    EXPECT_EQ(NextOf(view).waits_for, test.waits_for) << test.decision;
  }
}

TEST(NextOf, ARollbackOnItsWayAsksForNothing) {
  RolloutView view = Stepping();
  view.state.phase = Phase::kRollingBack;
  EXPECT_EQ(NextOf(view).waits_for, "all traffic to be back at the primary");
}

TEST(NextOf, AWatchComesBeforeThePrimarySubsetAndHasADeadline) {
  RolloutView view = Stepping();
  view.spec->after_promotion = rollout::Seconds(600);
  view.state.phase = Phase::kPromoting;
  view.state.stage = Stage::kCanaryFull;
  EXPECT_EQ(NextOf(view).decision, "watch it for 600 s");
  view.state.stage = Stage::kWatching;
  view.state.stage_seconds = 100;
  EXPECT_EQ(NextOf(view).deadline_seconds, view.spec->deadline.count() + 500);
}

TEST(NextOf, WordsOfTheReasonAreNotSaidTwice) {
  RolloutView view = Stepping();
  view.state.stage = Stage::kPreparing;
  view.state.reason = "waits for the canary: no passing instance of version v2";
  EXPECT_EQ(NextOf(view).waits_for, "no passing instance of version v2");
  view.state.phase = Phase::kPromoting;
  view.state.reason = "promotion holds: web-1 applies 50%";
  EXPECT_EQ(NextOf(view).waits_for, "web-1 applies 50%");
}

TEST(NextOf, ARolloutWithoutASpecificationSaysNothing) {
  EXPECT_EQ(NextOf(RolloutView{}), NextDecision{});
}

}  // namespace
}  // namespace consul_canary::api
