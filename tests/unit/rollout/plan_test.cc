// What a rollout will cost.
#include "analyzer/rollout/plan.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace consul_canary::rollout {
namespace {

Spec DefaultSteps() {
  Spec spec;
  spec.service = "api";
  for (const double weight : {1, 5, 10, 25, 50}) spec.steps.push_back({.weight_percent = weight});
  return spec;
}

TEST(Plan, AProofTakesAboutFiveHundredRequestsOfTheCanaryAtADefaultMargin) {
  // docs/statistics.md measured a mean of 512 at weight 10, 100 requests a second, .2%.
  const Plan plan =
      MakePlan(DefaultSteps(), {.requests_per_second = 100, .primary_failure_ratio = 0.002});
  EXPECT_NEAR(plan.steps[2].requests_needed, 480, 120);
  EXPECT_NEAR(plan.steps[2].healthy.seconds_median, 15 + 41, 10);
  EXPECT_TRUE(plan.decidable);
  EXPECT_TRUE(plan.steps[2].remedies.empty());
}

TEST(Plan, FaultsCostMoreTheGreaterTheWeightIs) {
  const Plan plan = MakePlan(DefaultSteps(), {.requests_per_second = 1000});
  for (std::size_t i = 1; i < plan.steps.size(); ++i) {
    EXPECT_GT(plan.steps[i].faults.back().until_rollback.failed_mean,
              plan.steps[i - 1].faults.back().until_rollback.failed_mean);
  }
  EXPECT_EQ(plan.steps[0].faults.size(), 4U);
  EXPECT_EQ(plan.steps[0].faults[3].failure_ratio, 1);
}

TEST(Plan, TooLittleTrafficIsSaidWithWhatWouldHelp) {
  const Spec spec = DefaultSteps();
  const PlanInput input{.requests_per_second = 1};
  const Plan plan = MakePlan(spec, input);
  EXPECT_FALSE(plan.decidable);
  const PlannedStep& first = plan.steps[0];
  EXPECT_LT(first.healthy.decided_share, 0.05);
  ASSERT_EQ(first.remedies.size(), 4U);
  // At the rate that it names, the step is decidable.
  const Plan enough = MakePlan(spec, {.requests_per_second = first.least_requests_per_second});
  EXPECT_GE(enough.steps[0].healthy.decided_share, 0.95);
  EXPECT_TRUE(enough.steps[0].remedies.empty());
}

TEST(Plan, OneProofForAllStepsMakesLaterStepsWaitOnly) {
  Spec spec = DefaultSteps();
  spec.proof = Proof::kOnce;
  for (Step& step : spec.steps) step.min_duration = Seconds(120);
  spec.steps[0].weight_percent = 4;
  const Plan plan = MakePlan(spec, {.requests_per_second = 10});
  EXPECT_EQ(plan.steps[4].healthy.seconds_median, 120);
  EXPECT_TRUE(plan.steps[4].remedies.empty());
}

TEST(Plan, APrimaryThatFailsMoreThanTheMarginCanProveNeedsMore) {
  const double needed =
      MakePlan(DefaultSteps(), {.requests_per_second = 100}).steps[2].requests_needed;
  const double at_five_percent =
      MakePlan(DefaultSteps(), {.requests_per_second = 100, .primary_failure_ratio = 0.05})
          .steps[2]
          .requests_needed;
  EXPECT_GT(at_five_percent, 5 * needed);
  EXPECT_TRUE(std::isfinite(at_five_percent));
}

Spec WithThreshold(JudgeMode judge, Threshold threshold) {
  Spec spec = DefaultSteps();
  spec.judge = judge;
  spec.thresholds = {threshold};
  return spec;
}

TEST(Plan, ThresholdsTakeTheirWindows) {
  const Threshold threshold{.min = 0.95, .window = Seconds(600), .failures = 2};
  const Plan alone =
      MakePlan(WithThreshold(JudgeMode::kThresholds, threshold), {.requests_per_second = 1000});
  EXPECT_EQ(alone.steps[0].requests_needed, 0);
  EXPECT_NEAR(alone.steps[0].healthy.seconds_median, 605, 61);
  EXPECT_EQ(alone.steps[0].healthy.decided_share, 1);
  EXPECT_NEAR(alone.steps[0].faults[2].until_rollback.seconds_median, 1200, 121);  // fails 20%
  EXPECT_EQ(alone.steps[0].faults[0].until_rollback.decided_share, 0);             // fails 1%
  const Plan both =
      MakePlan(WithThreshold(JudgeMode::kBoth, threshold), {.requests_per_second = 1000});
  EXPECT_GE(both.steps[0].healthy.seconds_median, 600);
  EXPECT_LT(both.steps[0].faults[2].until_rollback.seconds_median, 10);
}

TEST(Plan, LimitsThatThePrimaryItselfDoesNotKeepAreSaid) {
  const Plan plan = MakePlan(
      WithThreshold(JudgeMode::kBoth, {.min = 0.999, .window = Seconds(60), .failures = 9}),
      {.requests_per_second = 1000, .primary_failure_ratio = 0.01});
  EXPECT_FALSE(plan.decidable);
  ASSERT_EQ(plan.steps[4].remedies.size(), 1U);
  EXPECT_NE(plan.steps[4].remedies[0].change.find("analysis.thresholds"), std::string::npos);
}

TEST(Plan, WhatItLeavesOutIsSaid) {
  Spec spec = DefaultSteps();
  EXPECT_TRUE(MakePlan(spec, {.requests_per_second = 100}).notes.empty());
  const double before = MakePlan(spec, {.requests_per_second = 100}).healthy_seconds_median;
  spec.after_promotion = Seconds(600);
  const Plan watched = MakePlan(spec, {.requests_per_second = 100});
  EXPECT_EQ(watched.healthy_seconds_median, before + 600);
  ASSERT_EQ(watched.notes.size(), 1U);
  EXPECT_NE(watched.notes[0].find("600 s"), std::string::npos);
  spec.after_promotion = Seconds(0);
  spec.latency = {{.edge = Seconds(0.25)}};
  spec.steps[1].pause = true;
  const Plan plan = MakePlan(spec, {.requests_per_second = 100});
  ASSERT_EQ(plan.notes.size(), 2U);
  EXPECT_NE(plan.notes[0].find("latency"), std::string::npos);
  EXPECT_NE(plan.notes[1].find("step 2 pauses"), std::string::npos);
}

TEST(Plan, AStepOfWeightZeroIsLeftOutAndSaidToBe) {
  Spec spec = DefaultSteps();
  spec.match = {{.header = "x-canary", .value = "always"}};
  spec.steps.insert(spec.steps.begin(), Step{.weight_percent = 0, .min_duration = Seconds(100)});
  const Plan plan = MakePlan(spec, {.requests_per_second = 1000});
  EXPECT_EQ(plan.steps.front().healthy.seconds_median, 100);
  EXPECT_EQ(plan.steps.front().requests_needed, 0);
  EXPECT_TRUE(plan.steps.front().faults.empty());
  EXPECT_FALSE(plan.steps.back().faults.empty());
  ASSERT_EQ(plan.notes.size(), 1U);
  EXPECT_NE(plan.notes.front().find("strategy.match is not known"), std::string::npos);
}

TEST(Plan, AStepThatIsDecidedInPartOfTheRunsIsNotDecidable) {
  const Plan plan = MakePlan(DefaultSteps(), {.requests_per_second = 10});
  EXPECT_GT(plan.steps[0].healthy.decided_share, 0.2);
  EXPECT_LT(plan.steps[0].healthy.decided_share, 0.95);
  EXPECT_FALSE(plan.decidable);
  EXPECT_FALSE(plan.steps[0].remedies.empty());
}

TEST(Plan, ItsRemediesAreValid) {
  Spec spec = DefaultSteps();
  const Plan plan = MakePlan(spec, {.requests_per_second = 1});
  // What the first step would need is more than the second has.
  EXPECT_EQ(plan.steps[0].remedies[0].change.find("strategy.steps: none of a weight below"), 0U)
      << plan.steps[0].remedies[0].change;
  // A deadline of more than a year is none.
  const Plan slow = MakePlan(spec, {.requests_per_second = 0.001});
  for (const Remedy& remedy : slow.steps[0].remedies) {
    EXPECT_EQ(remedy.change.find("strategy.deadline"), std::string::npos) << remedy.change;
  }
}

TEST(Plan, ADeadlineThatLeavesNoTimeForAProofIsSaidAndFaultsAreStillFound) {
  Spec spec = DefaultSteps();
  spec.deadline = Seconds(12);
  spec.warmup = Seconds(1);
  const Plan plan = MakePlan(spec, {.requests_per_second = 1000});
  EXPECT_FALSE(plan.decidable);
  EXPECT_EQ(plan.steps[4].healthy.decided_share, 0);
  EXPECT_TRUE(std::isinf(plan.steps[4].least_requests_per_second));
  EXPECT_EQ(plan.steps[4].faults.back().until_rollback.decided_share, 1);
}

TEST(Plan, AYearsDeadlineIsSimulatedWithAFewTicks) {
  Spec spec = DefaultSteps();
  spec.deadline = Seconds(31536000);
  spec.rollback_margin = {1.0, 0.009};
  const Plan plan = MakePlan(spec, {.requests_per_second = 100});
  EXPECT_LT(plan.steps[0].faults[0].until_rollback.decided_share, 1);
  EXPECT_EQ(plan.steps[0].healthy.decided_share, 1);
}

TEST(Plan, TheSameInputGivesTheSameFigures) {
  const PlanInput input{.requests_per_second = 37};
  const Plan first = MakePlan(DefaultSteps(), input);
  const Plan second = MakePlan(DefaultSteps(), input);
  for (std::size_t i = 0; i < first.steps.size(); ++i) {
    EXPECT_EQ(first.steps[i].healthy.seconds_median, second.steps[i].healthy.seconds_median);
    EXPECT_EQ(first.steps[i].faults[0].until_rollback.failed_mean,
              second.steps[i].faults[0].until_rollback.failed_mean);
  }
}

}  // namespace
}  // namespace consul_canary::rollout
