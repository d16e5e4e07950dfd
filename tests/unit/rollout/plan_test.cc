// What a rollout will cost.
#include "analyzer/rollout/plan.h"

#include <gtest/gtest.h>

#include <cmath>

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
  EXPECT_NEAR(plan.steps[2].healthy.seconds_median, 5 + 41, 10);
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
  const Plan enough =
      MakePlan(spec, {.requests_per_second = 1.5 * first.least_requests_per_second});
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
