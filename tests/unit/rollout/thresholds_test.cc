// Fixed thresholds: windows, checks, and what they decide.
#include "analyzer/rollout/thresholds.h"

#include <gtest/gtest.h>

#include "tests/unit/rollout/world.h"

namespace consul_canary::rollout {
namespace {

Threshold SuccessRatio(double min, double window, int failures) {
  return {.metric = ThresholdMetric::kSuccessRatio,
          .min = min,
          .window = Seconds(window),
          .failures = failures};
}

World ThresholdWorld(const Threshold& threshold, JudgeMode judge = JudgeMode::kThresholds) {
  World world;
  world.spec.judge = judge;
  world.spec.thresholds = {threshold};
  world.ReachStep(0);
  return world;
}

void TickWith(World& world, stats::Counts primary, stats::Counts canary, int times) {
  for (int i = 0; i < times; ++i) {
    world.Traffic(primary, canary);
    world.Tick();
  }
}

TEST(Thresholds, AWindowThatPassesLetsTheStepGoAndNoProofIsNeeded) {
  World world = ThresholdWorld(SuccessRatio(0.99, 10, 2));
  TickWith(world, {9, 0}, {1, 0}, 9);
  EXPECT_EQ(world.state.step, 0);
  EXPECT_EQ(world.state.reason,
            "collects evidence: success_ratio: no window of 10 s is over at this step");
  TickWith(world, {9, 0}, {1, 0}, 1);
  EXPECT_EQ(world.LastDecision(), "advance/proven");
  EXPECT_EQ(world.decisions.back().reason, "every threshold's last check passed");
}

TEST(Thresholds, AFailedCheckHoldsAndEnoughOfThemRollBack) {
  World world = ThresholdWorld(SuccessRatio(0.99, 10, 2));
  TickWith(world, {90, 0}, {10, 1}, 10);
  EXPECT_EQ(
      world.state.reason,
      "collects evidence: success_ratio was 0.9 (wanted: at least 0.99), failed check 1 of 2");
  TickWith(world, {90, 0}, {10, 1}, 10);
  EXPECT_EQ(world.LastDecision(), "rollback/threshold");
  EXPECT_EQ(world.decisions.back().reason,
            "success_ratio was 0.9 in the last of 2 failed checks of 10 s (wanted: at least 0.99)");
}

TEST(Thresholds, SequentialHarmDoesNotDecideWhereThresholdsAloneJudge) {
  World world = ThresholdWorld(SuccessRatio(0.5, 30, 5));
  TickWith(world, {900, 0}, {100, 20}, 10);
  EXPECT_GT(world.last.verdict.log_harm, world.last.verdict.harm_bound);
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
}

TEST(Thresholds, OfBothJudgesEitherMayRollBack) {
  World world = ThresholdWorld(SuccessRatio(0.5, 30, 5), JudgeMode::kBoth);
  TickWith(world, {900, 0}, {100, 20}, 1);
  EXPECT_EQ(world.LastDecision(), "rollback/harm");
  world = ThresholdWorld(SuccessRatio(0.999, 5, 1), JudgeMode::kBoth);
  TickWith(world, {90, 1}, {10, 0}, 4);
  TickWith(world, {90, 1}, {10, 1}, 1);
  EXPECT_EQ(world.LastDecision(), "rollback/threshold") << world.state.reason;
}

TEST(Thresholds, BothJudgesMustAllowAnAdvance) {
  World world = ThresholdWorld(SuccessRatio(0.99, 30, 5), JudgeMode::kBoth);
  TickWith(world, {45000, 0}, {5000, 0}, 29);  // proven at once, but the window is open
  EXPECT_EQ(world.state.step, 0);
  EXPECT_NE(world.state.reason.find("; success_ratio: no window of 30 s is over"),
            std::string::npos)
      << world.state.reason;
  TickWith(world, {45000, 0}, {5000, 0}, 1);
  EXPECT_EQ(world.state.step, 1);
}

TEST(Thresholds, AWindowWithoutRequestsIsWhatTheSpecificationSays) {
  World holds = ThresholdWorld(SuccessRatio(0.99, 10, 2));
  TickWith(holds, {90, 0}, {0, 0}, 30);
  EXPECT_EQ(holds.state.phase, Phase::kProgressing);
  EXPECT_EQ(holds.state.step, 0);
  World back = ThresholdWorld(SuccessRatio(0.99, 10, 2));
  back.state.spec->on_insufficient_data = NoDataPolicy::kRollBack;
  back.spec = *back.state.spec;
  TickWith(back, {0, 0}, {0, 0}, 20);
  EXPECT_EQ(back.LastDecision(), "rollback/threshold");
  World goes_on = ThresholdWorld(SuccessRatio(0.99, 10, 2));
  goes_on.state.spec->on_insufficient_data = NoDataPolicy::kAdvance;
  goes_on.spec = *goes_on.state.spec;
  TickWith(goes_on, {0, 0}, {0, 0}, 10);
  EXPECT_EQ(goes_on.state.step, 1) << goes_on.state.reason;
}

TEST(Thresholds, ResultsOfAStepDoNotCountAtTheNextButFailuresDo) {
  World world = ThresholdWorld(SuccessRatio(0.99, 10, 2));
  TickWith(world, {90, 0}, {10, 1}, 10);  // the first failed check
  TickWith(world, {90, 0}, {10, 0}, 10);
  ASSERT_EQ(world.state.step, 1);
  EXPECT_EQ(world.state.evidence.thresholds[0].last, CheckResult::kNone);
  EXPECT_EQ(world.state.evidence.thresholds[0].failed, 1);
}

TEST(Thresholds, AQuantileIsInterpolatedAsPrometheusDoes) {
  // histogram_quantile(.9) of 100 requests, 80 of them up to .1 s and all up to .5 s: .1 + .4 / 2.
  World world = ThresholdWorld({.metric = ThresholdMetric::kLatency,
                                .quantile = 0.9,
                                .max = 0.29,
                                .window = Seconds(5),
                                .failures = 1});
  world.Traffic(kNothing, kNothing);
  world.Tick(5);  // histograms still tell of the warm-up
  for (int i = 0; i < 5; ++i) {
    world.Traffic({90, 0}, {10, 0});
    world.seen.counts.canary.latency = {20, {{0.1, 4}, {0.5, 0}}};
    world.Tick();
  }
  EXPECT_EQ(world.LastDecision(), "rollback/threshold") << world.state.reason;
  EXPECT_EQ(
      world.decisions.back().reason,
      "latency_p90 was 300 ms in the last of 1 failed checks of 5 s (wanted: at most 290 ms)");
}

TEST(Thresholds, AQuantileAboveTheLastEdgeExceedsEveryLimit) {
  World world = ThresholdWorld({.metric = ThresholdMetric::kLatency,
                                .quantile = 0.99,
                                .max = 3600,
                                .window = Seconds(5),
                                .failures = 1});
  world.Traffic(kNothing, kNothing);
  world.Tick(5);  // histograms still tell of the warm-up
  for (int i = 0; i < 5; ++i) {
    world.Traffic({90, 0}, {10, 0});
    world.seen.counts.canary.latency = {20, {{0.1, 20}, {0.5, 20}}};
    world.Tick();
  }
  EXPECT_EQ(world.LastDecision(), "rollback/threshold") << world.state.reason;
}

TEST(Thresholds, MannWhitneySeesAShiftOfTheTimeBins) {
  const Threshold threshold{.metric = ThresholdMetric::kMannWhitney,
                            .window = Seconds(100),
                            .failures = 1,
                            .bin = Seconds(10)};
  World healthy = ThresholdWorld(threshold);
  for (int i = 0; i < 100; ++i) TickWith(healthy, {900, (i / 10) % 3}, {100, i % 20 == 0}, 1);
  EXPECT_EQ(healthy.state.step, 1) << healthy.state.reason;
  World worse = ThresholdWorld(threshold);
  for (int i = 0; i < 100; ++i) TickWith(worse, {900, (i / 10) % 3}, {100, 4 + (i / 10) % 3}, 1);
  EXPECT_EQ(worse.LastDecision(), "rollback/threshold") << worse.state.reason;
}

TEST(Thresholds, TicksThatDoNotDivideABinCostNoBin) {
  const Threshold threshold{.metric = ThresholdMetric::kMannWhitney,
                            .window = Seconds(50),
                            .failures = 1,
                            .bin = Seconds(10)};
  Spec spec;
  spec.thresholds = {threshold};
  std::vector<ThresholdState> states;
  for (int i = 0; i < 48; ++i) {
    TickCounts tick;
    tick.primary.high = tick.primary.low = {95, i % 2};
    tick.canary.high = tick.canary.low = {95, 40 + i % 3};
    ObserveThresholds(spec, tick, 1.05, states);
  }
  EXPECT_EQ(states[0].last, CheckResult::kFailed);
}

TEST(Thresholds, CountersThatLeaveTheResultOpenAreNoData) {
  World world = ThresholdWorld(SuccessRatio(0.95, 5, 1));
  for (int i = 0; i < 5; ++i) {
    world.Traffic({90, 0}, {10, 0});
    world.seen.counts.canary.high = {10, 1};  // at most one failed, perhaps none
    world.Tick();
  }
  EXPECT_EQ(world.state.evidence.thresholds[0].last, CheckResult::kNoData);
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
}

TEST(Thresholds, AThresholdThatTakesAnothersPlaceBeginsAfresh) {
  Spec spec;
  spec.thresholds = {{.metric = ThresholdMetric::kLatency, .max = 0.1, .window = Seconds(1)},
                     SuccessRatio(0.5, 1, 3)};
  std::vector<ThresholdState> states;
  TickCounts tick;
  tick.canary.low = tick.canary.high = {10, 0};
  tick.canary.latency = {10, {{0.5, 10}}};
  for (int i = 0; i < 4; ++i) ObserveThresholds(spec, tick, 1, states);
  EXPECT_EQ(states[0].failed, 4);
  spec.thresholds.erase(spec.thresholds.begin());
  ObserveThresholds(spec, tick, 1, states);
  EXPECT_EQ(states[0].failed, 0);
  EXPECT_EQ(ThresholdHarm(spec, states), "");
}

}  // namespace
}  // namespace consul_canary::rollout
