// The way of a healthy rollout, stage by stage, and what starts it.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/rollout/world.h"

namespace consul_canary::rollout {
namespace {

using Lines = std::vector<std::string>;

TEST(Decide, WaitsForAnotherVersion) {
  World world;
  world.Tick(3);
  EXPECT_EQ(world.state.phase, Phase::kIdle);
  EXPECT_EQ(world.state.reason, "waits for instances of a new version");
  EXPECT_EQ(world.Log(), Lines{});
  EXPECT_EQ(world.writes, Lines{});
}

TEST(Decide, PromotesAHealthyVersionStepByStep) {
  World world;
  world.Deploy("v2");
  world.PlentyOfTraffic();
  world.Tick(40);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
  EXPECT_EQ(world.Log(), (Lines{"start/new-version 0", "advance/ready 10", "advance/proven 50",
                                "promote/proven 100", "promote/canary-full 100",
                                "promote/primary-filter 0", "succeed/promoted 0"}));
  EXPECT_EQ(world.writes, (Lines{"splitter 0", "canary filter is v2", "splitter 10", "splitter 50",
                                 "splitter 100", "primary filter is v2", "splitter 0"}));
  EXPECT_EQ(world.state.reason, "version v2 is the primary");
}

TEST(Decide, NumbersDecisionsWithoutAGapAndNamesPhasesAndVersion) {
  World world;
  world.Deploy("v2");
  world.PlentyOfTraffic();
  world.Tick(40);
  Phase phase = Phase::kIdle;
  for (std::size_t i = 0; i < world.decisions.size(); ++i) {
    const Decision& decision = world.decisions[i];
    EXPECT_EQ(decision.sequence, i + 1);
    EXPECT_EQ(decision.from, phase);
    EXPECT_EQ(decision.canary_version, "v2");
    EXPECT_GT(decision.wall_seconds, 1000);
    EXPECT_FALSE(decision.reason.empty());
    phase = decision.to;
  }
  EXPECT_EQ(world.state.decisions, world.decisions.size());
}

TEST(Decide, RollsTheNextVersionOutAfterASuccess) {
  World world;
  world.Deploy("v2");
  world.PlentyOfTraffic();
  world.Tick(40);
  world.Deploy("v3");
  world.Tick(40);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded);
  EXPECT_EQ(world.state.canary_version, "v3");
  EXPECT_EQ(world.state.primary_version, "v2");
  EXPECT_EQ(*world.seen.primary_filter, "is v3");
}

TEST(Decide, SetsTheFilterAtWeightZeroAndWaitsForTheCallersBeforeAnyWeight) {
  World world;
  world.Deploy("v2");
  world.callers_follow = false;
  world.Tick(5);
  EXPECT_EQ(world.writes, (Lines{"splitter 0", "canary filter is v2"}));
  EXPECT_EQ(world.state.stage, Stage::kPreparing);
  EXPECT_EQ(world.state.reason,
            "waits for the canary: its instances are not routable yet from web");
  world.seen.callers[0].canary_healthy = 1;
  ++world.seen.callers[0].canary_changes;
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "advance/ready");
}

TEST(Decide, WaitsForAHealthyCanaryInConsul) {
  World world;
  world.seen.versions.push_back({"v2", 0, 9});
  world.Tick(3);
  EXPECT_EQ(world.state.wanted.canary_percent, 0);
  EXPECT_EQ(world.state.reason, "waits for the canary: no passing instance of version v2");
}

TEST(Decide, GivesUpACanaryThatIsNotReadyInTime) {
  World world;
  world.spec.ready_deadline = Seconds(10);
  world.seen.versions.push_back({"v2", 0, 9});
  world.Tick(11);
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
  world.Tick(1);
  EXPECT_EQ(world.LastDecision(), "rollback/ready-deadline");
  EXPECT_EQ(world.decisions.back().reason,
            "the canary was not ready within 10 s: no passing instance of version v2");
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
}

TEST(Decide, KeepsTheLastStepWhereNothingShallBePromoted) {
  World world;
  world.spec.promote = PromoteMode::kNone;
  world.Deploy("v2");
  world.PlentyOfTraffic();
  world.Tick(40);
  EXPECT_EQ(world.state.phase, Phase::kPaused);
  EXPECT_EQ(world.LastDecision(), "pause/proven");
  EXPECT_EQ(world.seen.splitter->canary_percent, 50);
  EXPECT_EQ(*world.seen.primary_filter, "is v1");
}

TEST(Decide, LeavesOtherSplitsWhatTheyHave) {
  World world;
  world.seen.splitter = SplitterView{.primary_percent = 60, .other_percent = 40};
  world.Deploy("v2");
  world.PlentyOfTraffic();
  world.Tick(40);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
  EXPECT_EQ(world.writes, (Lines{"splitter 0", "canary filter is v2", "splitter 10", "splitter 50",
                                 "splitter 60", "primary filter is v2", "splitter 0"}));
}

TEST(Decide, DoesNotStartWhatTheMeshCannotCarry) {
  struct Case {
    const char* reason;
    void (*spoil)(World&);
  };
  const std::vector<Case> cases{
      {"the service has no splitter", [](World& w) { w.seen.splitter.reset(); }},
      {"no caller's sidecar is known and passing", [](World& w) { w.seen.callers.clear(); }},
      {"Consul is away", [](World& w) { w.seen.unknown = "Consul is away"; }},
      {"the service's instances are not known", [](World& w) { w.seen.instances_known = false; }},
      {"the resolver has no subset primary", [](World& w) { w.seen.primary_filter.reset(); }},
      {"the resolver has no subset canary", [](World& w) { w.seen.canary_filter.reset(); }},
      {"the primary subset has no passing instance",
       [](World& w) { w.seen.primary_versions.clear(); }},
      {"the primary subset holds several versions: v1, v0",
       [](World& w) { w.seen.primary_versions.push_back("v0"); }},
      {"the splitter gives the canary 5% outside a rollout; set it to 0",
       [](World& w) { w.EditSplitter(5); }},
      {"other splits hold 60%, which leaves less than the last step's 50%",
       [](World& w) { w.seen.splitter->other_percent = 60; }},
  };
  for (const Case& test : cases) {
    World world;
    world.Deploy("v2");
    test.spoil(world);
    world.TickWithoutWriting();
    EXPECT_EQ(world.state.phase, Phase::kIdle) << test.reason;
    EXPECT_EQ(world.state.reason, std::string("cannot start: ") + test.reason);
  }
}

TEST(Decide, EscapesTheVersionInTheFilter) {
  Spec spec;
  spec.subset_filter = "a == \"{{version}}\" or b == \"{{version}}\"";
  EXPECT_EQ(FilterForVersion(spec, "1\"\\{{version}}"),
            "a == \"1\\\"\\\\{{version}}\" or b == \"1\\\"\\\\{{version}}\"");
}

}  // namespace
}  // namespace consul_canary::rollout
