// What the analysis looks at beside failures: latency, requests that hang, the share of the
// traffic, fixed thresholds, one proof for all steps.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/unit/rollout/world.h"

namespace consul_canary::rollout {
namespace {

using stats::LatencyCounts;

// A fifth of the primary's requests takes longer than 50 ms, a hundredth longer than 250 ms.
LatencyCounts Timed(std::int64_t timed) {
  return {timed, {{0.05, timed / 5}, {0.25, timed / 100}, {1.0, 0}}};
}

// One of two primaries' instances and the canary's, at weight 10; the primary's histogram is known.
World TimedWorld() {
  World world;
  world.seen.primary_latency_history = Timed(100000);
  return world;
}

// At the first step, and past the flush that still tells of the warm-up.
void ReachLatency(World& world) {
  world.ReachStep(0);
  world.Traffic(kNothing, kNothing);
  world.Tick(5);
}

const MetricVerdict& Metric(const World& world, const std::string& name) {
  const auto& metrics = world.last.verdict.metrics;
  const auto found = std::ranges::find(metrics, name, &MetricVerdict::name);
  static const MetricVerdict kNone{.name = "none"};
  return found == metrics.end() ? kNone : *found;
}

TEST(Analysis, FailuresAloneAreJudgedWithoutAHistogram) {
  World world;
  world.ReachStep(0);
  world.PlentyOfTraffic();
  world.Look();
  world.Tick();
  ASSERT_EQ(world.last.verdict.metrics.size(), 1U);
  EXPECT_EQ(world.last.verdict.log_harm, *Metric(world, "failure_ratio").log_harm);
  EXPECT_EQ(world.last.verdict.notes.size(), 3U);  // dispersion, latency, hanging
}

TEST(Analysis, ASlowerCanaryIsHarmThoughNothingFails) {
  World world = TimedWorld();
  ReachLatency(world);
  world.Traffic({900, 0}, {100, 0});
  world.seen.counts.primary.latency = Timed(900);
  world.seen.counts.canary.latency = {100, {{0.05, 95}, {0.25, 60}, {1.0, 0}}};
  for (int i = 0; i < 5 && world.state.phase == Phase::kProgressing; ++i) world.Tick();
  EXPECT_EQ(world.LastDecision(), "rollback/harm") << world.state.reason;
  EXPECT_TRUE(Metric(world, "latency_250ms").blamed);
  EXPECT_FALSE(Metric(world, "failure_ratio").blamed);
  EXPECT_NE(world.decisions.back().reason.find("worse than the primary in latency_"),
            std::string::npos)
      << world.decisions.back().reason;
}

TEST(Analysis, TheFirstFlushAfterTheWarmupStillTellsOfIt) {
  World world = TimedWorld();
  world.ReachStep(0);
  world.Traffic({900, 0}, {100, 0});
  world.seen.counts.primary.latency = Timed(900);
  world.seen.counts.canary.latency = {100, {{0.05, 100}, {0.25, 100}, {1.0, 50}}};
  world.Tick();
  for (int i = 0; i < 20; ++i) {
    world.seen.counts.primary.latency = Timed(900);
    world.seen.counts.canary.latency = Timed(100);
    world.Tick();
  }
  EXPECT_NE(world.LastDecision(), "rollback/harm") << world.state.reason;
}

TEST(Analysis, NothingIsProvenBeforeSlowFailuresHaveHadTheirTime) {
  World world;
  world.seen.request_timeout_seconds = 15;
  world.ReachStep(0);
  world.PlentyOfTraffic();
  world.Tick(12);
  EXPECT_EQ(world.state.step, 0) << world.state.reason;
  EXPECT_EQ(world.last.verdict.log_safe, 0);
  EXPECT_NE(world.state.reason.find("nothing is proven before slow requests have had 15 s"),
            std::string::npos)
      << world.state.reason;
  world.Tick(3);
  EXPECT_EQ(world.state.step, 1) << world.state.reason;
}

TEST(Analysis, ALongTimeoutIsWaitedForAMinuteAtMost) {
  World world;
  world.seen.request_timeout_seconds = 3600;
  world.ReachStep(0);
  world.PlentyOfTraffic();
  world.Tick(60);
  EXPECT_EQ(world.state.step, 1) << world.state.reason;
}

// A minute at the first step; once, all that arrived within half a second is slow.
void StallOnce(World& world) {
  world.ReachStep(0);
  for (int second = 0; second < 60 && world.state.phase == Phase::kProgressing; ++second) {
    world.Traffic({900, 0}, {100, 0});
    world.seen.counts.primary.latency = Timed(900);
    world.seen.counts.canary.latency = Timed(100);
    if (second == 20) world.seen.counts.canary.latency.slower = {{0.05, 60}, {0.25, 51}, {1.0, 0}};
    world.Tick();
  }
}

TEST(Analysis, AStallOfHalfASecondIsNoHarmUnlessEachSlowRequestIsToCount) {
  World allowed_for = TimedWorld();
  World counted = TimedWorld();
  counted.spec.stall = Seconds(0);
  for (World* world : {&allowed_for, &counted}) {
    world->spec.steps[0].min_duration = Seconds(3000);
    StallOnce(*world);
  }
  EXPECT_EQ(allowed_for.state.phase, Phase::kProgressing) << allowed_for.state.reason;
  EXPECT_EQ(counted.LastDecision(), "rollback/harm") << counted.state.reason;
}

TEST(Analysis, OtherObjectivesBeginTheRolloutAgain) {
  World world = TimedWorld();
  world.spec.latency = {{.edge = Seconds(0.05)}, {.edge = Seconds(0.25)}};
  ReachLatency(world);
  world.Traffic({900, 0}, {100, 0});
  world.seen.counts.primary.latency = Timed(900);
  world.seen.counts.canary.latency = Timed(100);
  world.Tick();
  ASSERT_TRUE(Metric(world, "latency_50ms").log_safe);
  world.spec.latency = {{.edge = Seconds(0.25)}};
  world.Tick();
  EXPECT_EQ(world.Log().back(), "start/spec-changed 0");
  world.Tick();
  EXPECT_FALSE(Metric(world, "latency_50ms").log_safe);
  EXPECT_EQ(Metric(world, "latency_250ms").log_safe, 0.0);
}

TEST(Analysis, ALatencyObjectiveMustBeProvenBeforeAnAdvance) {
  World world = TimedWorld();
  world.spec.latency = {{.edge = Seconds(0.25), .margin = {1.0, 0.02}}};
  ReachLatency(world);
  world.PlentyOfTraffic();
  world.Tick(3);  // failures are proven, but the histograms have not moved
  EXPECT_EQ(world.state.step, 0);
  EXPECT_NE(world.state.reason.find("least proven is latency_250ms"), std::string::npos)
      << world.state.reason;
  world.seen.counts.primary.latency = Timed(45000);
  world.seen.counts.canary.latency = Timed(5000);
  for (int i = 0; i < 3 && world.state.step == 0; ++i) {
    world.Traffic({45000, 0}, {5000, 0});
    world.seen.counts.primary.latency = Timed(45000);
    world.seen.counts.canary.latency = Timed(5000);
    world.Tick();
  }
  EXPECT_EQ(world.state.step, 1) << world.state.reason;
}

// What the primary answered in the canary's stead may have been slow at the canary.
TEST(Analysis, WhatFailedOverProvesNoLatencyObjective) {
  World world = TimedWorld();
  world.spec.latency = {{.edge = Seconds(0.25), .margin = {1.0, 0.02}}};
  world.seen.shield = ShieldView{.retried = true};
  ReachLatency(world);
  for (int i = 0; i < 3; ++i) {
    world.Traffic({45000, 0}, {5000, 0});
    world.seen.counts.primary.latency = Timed(45000);
    world.seen.counts.canary.latency = Timed(5000);
    world.seen.counts.failed_over = i == 0 ? 7000 : 0;
    world.Tick();
  }
  EXPECT_EQ(world.state.step, 0);
  EXPECT_LT(*Metric(world, "latency_250ms").log_safe, -100);
  EXPECT_EQ(world.state.evidence.failed_over, 0);
}

TEST(Analysis, AnObjectiveBetweenTwoEdgesIsHeldToTheSafeSides) {
  World world = TimedWorld();
  // Between 50 and 250 ms nobody knows: the canary's fifth above 50 ms counts as slow, of the
  // primary's only what is above 250 ms.
  world.spec.latency = {{.edge = Seconds(0.1), .margin = {1.0, 0.02}}};
  ReachLatency(world);
  for (int i = 0; i < 3; ++i) {
    world.Traffic({45000, 0}, {5000, 0});
    world.seen.counts.primary.latency = Timed(45000);
    world.seen.counts.canary.latency = Timed(5000);
    world.Tick();
  }
  EXPECT_EQ(world.state.step, 0);
  EXPECT_LT(*Metric(world, "latency_100ms").log_safe, -100);
  const auto& notes = world.last.verdict.notes;
  EXPECT_TRUE(std::ranges::any_of(notes, [](const std::string& note) {
    return note.find(
               "no bucket that ends at 100 ms: the canary's requests above 50 ms are held against "
               "the primary's above 250 ms") != std::string::npos;
  }));
}

TEST(Analysis, ACanaryThatHangsIsHarmThoughItCompletesNothing) {
  World world = TimedWorld();
  world.ReachStep(0);
  world.Traffic({90, 0}, {0, 0});
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
  world.Traffic({90, 0}, {0, 0});
  world.seen.counts.canary.late = {.started = 20, .late = 20};
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "rollback/harm") << world.state.reason;
  EXPECT_TRUE(Metric(world, "late").blamed);
  EXPECT_NE(world.decisions.back().reason.find("at least 20 of its requests took longer than 2 s"),
            std::string::npos)
      << world.decisions.back().reason;
}

TEST(Analysis, LateRequestsCountAgainstAnAdvance) {
  World world = TimedWorld();
  world.spec.false_rollback = 1e-9;  // harm shall not end it first
  world.ReachStep(0);
  world.Traffic({4500, 0}, {500, 0});
  world.seen.counts.canary.late = {.started = 510, .late = 10};
  world.Tick();
  EXPECT_LT(world.last.verdict.log_safe, 0);
}

TEST(Analysis, AShareThatIsNotTheWeightHoldsWhateverIsProven) {
  World world;
  world.ReachStep(0);
  world.Traffic({98000, 0}, {2000, 0});
  world.Tick(3);
  EXPECT_GT(world.last.verdict.log_safe, world.last.verdict.safe_bound);
  EXPECT_EQ(world.last.verdict.kind, VerdictKind::kUntrusted);
  EXPECT_EQ(world.state.step, 0);
  EXPECT_EQ(world.state.reason.find("holds: the canary gets 2.00% of the requests where the "
                                    "splitter gives it 10%"),
            0U)
      << world.state.reason;
  world.PlentyOfTraffic();
  world.Tick(130);  // the next minutes agree
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
}

TEST(Analysis, TheShareIsNotLookedAtBeforeEveryCallerAppliesTheWeight) {
  World world;
  world.seen.callers[0].applied_canary_percent = 0;
  world.seen.callers[0].route_reloads.reset();
  world.ReachStep(0);
  world.seen.callers[0].applied_canary_percent = 0;  // it has lost the route again
  world.Traffic({100000, 0}, {10, 0});
  world.Tick(3);
  EXPECT_NE(world.last.verdict.kind, VerdictKind::kUntrusted) << world.state.reason;
}

TEST(Analysis, ACanaryThatFallsSilentIsNeverSafe) {
  World world;
  world.spec.steps[0].min_duration = Seconds(10);
  world.ReachStep(0);
  world.PlentyOfTraffic();
  world.Tick(5);  // proven, but the minimum duration is not over
  EXPECT_EQ(world.last.verdict.kind, VerdictKind::kSafe) << world.state.reason;
  world.Traffic({70, 0}, {0, 0});  // 8 of them would be the canary's
  world.Tick(2);
  EXPECT_EQ(world.last.verdict.kind, VerdictKind::kUntrusted);
  world.Tick(20);
  EXPECT_EQ(world.state.step, 0);
  EXPECT_NE(world.state.reason.find("completes no requests where its weight makes"),
            std::string::npos)
      << world.state.reason;
}

TEST(Analysis, EjectedInstancesAreNamedAsTheCause) {
  World world;
  world.ReachStep(0);
  world.seen.callers[0].canary_ejected = 1;
  world.Traffic({99500, 0}, {500, 0});
  world.Tick(2);
  EXPECT_NE(world.state.reason.find("outlier detection has ejected instances of it at web"),
            std::string::npos)
      << world.state.reason;
}

TEST(Analysis, ClumpsAtThePrimarysInstancesTemperTheEvidence) {
  World world;
  world.ReachStep(0);
  for (int second = 0; second < 40; ++second) {
    world.Traffic({900, 0}, {100, 0});
    world.seen.counts.primary_instances = {{"a", {450, second % 4 == 0 ? 40 : 0}}, {"b", {450, 0}}};
    world.Tick();
    if (world.state.step > 0) break;
  }
  EXPECT_TRUE(world.last.verdict.overdispersion_learned);
  EXPECT_GT(world.last.verdict.overdispersion, 15);
}

TEST(Analysis, OneProofIsEnoughWhereTheSpecificationSaysSo) {
  World world;
  world.spec.proof = Proof::kOnce;
  world.spec.steps[1].min_duration = Seconds(20);
  world.ReachStep(0);
  world.PlentyOfTraffic();
  while (world.state.step == 0) world.Tick();
  world.Traffic({5, 0}, {5, 0});  // far from enough for a proof of its own
  for (int i = 0; i < 60 && world.state.phase == Phase::kProgressing; ++i) world.Tick();
  EXPECT_EQ(world.LastDecision(), "promote/proven") << world.state.reason;
}

TEST(Analysis, AfterOneProofAStepWithoutRequestsStillHolds) {
  World world;
  world.spec.proof = Proof::kOnce;
  world.ReachStep(0);
  world.PlentyOfTraffic();
  while (world.state.step == 0) world.Tick();
  world.Traffic(kNothing, kNothing);
  world.Tick(30);
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
  EXPECT_EQ(world.last.verdict.kind, VerdictKind::kNoData);
}

TEST(Analysis, WithinTheToleranceNothingIsHarm) {
  World strict;
  World tolerant;
  tolerant.spec.rollback_margin = {1.0, 0.05};
  for (World* world : {&strict, &tolerant}) {
    world->ReachStep(0);
    world->Traffic({900, 1}, {100, 3});
    for (int i = 0; i < 30 && world->state.phase == Phase::kProgressing; ++i) world->Tick();
  }
  EXPECT_EQ(strict.LastDecision(), "rollback/harm");
  EXPECT_EQ(tolerant.state.phase, Phase::kProgressing) << tolerant.state.reason;
  tolerant.Traffic({900, 1}, {100, 20});
  for (int i = 0; i < 30 && tolerant.state.phase == Phase::kProgressing; ++i) tolerant.Tick();
  EXPECT_EQ(tolerant.LastDecision(), "rollback/harm");
}

TEST(Analysis, TheIntervalsHoldTheTruth) {
  World world;
  world.ReachStep(0);
  world.Traffic({9000, 9}, {1000, 5});
  for (int i = 0; i < 4; ++i) world.Tick();
  const Verdict& verdict = world.last.verdict;
  EXPECT_LT(verdict.difference.lower, 0.004);
  EXPECT_GT(verdict.difference.upper, 0.004);
  EXPECT_NEAR(verdict.difference.estimate, 0.004, 0.0005);
  EXPECT_LT(verdict.rate_ratio.lower, 5);
  EXPECT_GT(verdict.rate_ratio.upper, 5);
}

}  // namespace
}  // namespace consul_canary::rollout
