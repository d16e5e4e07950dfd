// `act: false`: judged is the traffic that is there, said is what would be done, and nothing is
// written or waited for.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/unit/rollout/world.h"

namespace consul_canary::rollout {
namespace {

// v2 is deployed and in the canary subset by another tool's hand; the rollout has been noticed.
World Watched() {
  World world;
  world.spec.act = false;
  world.Deploy("v2");
  world.EditFilters("v1", "v2");
  world.Tick();
  return world;
}

void SetWeight(World& world, double percent) {
  world.EditSplitter(percent);
  world.CallersFollow();
}

std::vector<std::string> Actions(const World& world) {
  std::vector<std::string> actions;
  for (const Decision& decision : world.decisions) {
    actions.push_back(decision.action + "/" + decision.cause);
  }
  return actions;
}

TEST(Bystander, WritesNothingFromStartToEnd) {
  World world = Watched();
  world.PlentyOfTraffic();
  for (const double weight : {10.0, 50.0, 100.0}) {
    SetWeight(world, weight);
    world.Tick(6);
  }
  world.EditFilters("v2", "v2");
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kSucceeded);
  EXPECT_EQ(world.writes, std::vector<std::string>());
}

TEST(Bystander, SaysOnceAtEachWeightWhatItWouldDo) {
  World world = Watched();
  world.PlentyOfTraffic();
  SetWeight(world, 10);
  world.Tick(20);
  SetWeight(world, 50);
  world.Tick(20);
  world.EditFilters("v2", "v2");
  world.Tick();
  EXPECT_EQ(Actions(world), (std::vector<std::string>{
                                "start/new-version", "observe/weight", "would-advance/proven",
                                "observe/weight", "would-promote/proven", "succeed/by-others"}));
  EXPECT_NE(world.decisions[2].reason.find("would set the canary to 50% (act: false)"),
            std::string::npos)
      << world.decisions[2].reason;
}

TEST(Bystander, JudgesAnyWeightAsTheStepThatItReaches) {
  World world = Watched();
  for (const auto& [weight, step] : std::vector<std::pair<double, int>>{
           {1, 0}, {10, 0}, {49.99, 0}, {50, 1}, {99, 1}, {100, 1}, {5, 0}}) {
    SetWeight(world, weight);
    world.Tick();
    EXPECT_EQ(world.state.step, step) << weight;
    EXPECT_EQ(world.state.wanted.canary_percent, weight);
  }
}

TEST(Bystander, OnlySaysThatItWouldRollBackAndIsOver) {
  World world = Watched();
  SetWeight(world, 50);
  world.Tick(4);
  world.Traffic({1000, 0}, {1000, 500});
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "would-rollback/harm");
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
  EXPECT_EQ(world.seen.splitter->canary_percent, 50);
  world.Tick(50);
  EXPECT_EQ(world.LastDecision(), "would-rollback/harm") << "the version is not watched again";
}

TEST(Bystander, EndsWithoutWaitingForTrafficWhenItIsAborted) {
  World world = Watched();
  SetWeight(world, 50);
  world.Tick();
  world.Give(OrderKind::kAbort);
  world.Look();
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
  EXPECT_EQ(world.LastDecision(), "would-rollback/order");
}

TEST(Bystander, EndsWhenSomeoneTakesTheTrafficAway) {
  World world = Watched();
  SetWeight(world, 50);
  world.Tick(3);
  SetWeight(world, 0);
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "rolled-back/by-others");
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
}

TEST(Bystander, IsNotOverBeforeTheVersionHasHadTraffic) {
  World world = Watched();
  world.Tick(700);
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
  EXPECT_EQ(world.state.reason, "looks on (act: false): nobody has given the canary a weight");
  EXPECT_EQ(Actions(world), (std::vector<std::string>{"start/new-version", "hold/ready-deadline"}));
}

TEST(Bystander, DoesNotJudgeAnotherVersionInTheCanarySubset) {
  World world = Watched();
  SetWeight(world, 50);
  world.Tick(4);
  world.spec.start = StartMode::kManual;  // nothing is superseded
  world.Deploy("v3");
  world.EditFilters("v1", "v3");
  world.Traffic({1000, 0}, {1000, 1000});
  world.Tick(3);
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
  EXPECT_EQ(world.state.reason, "holds: subset canary holds v3, where version v2 is rolled out");
}

TEST(Bystander, FollowsANewerVersion) {
  World world = Watched();
  SetWeight(world, 50);
  world.Tick(3);
  world.Deploy("v3");
  world.EditFilters("v1", "v3");
  world.Tick(2);
  EXPECT_EQ(world.state.canary_version, "v3");
  EXPECT_EQ(world.state.stage, Stage::kStepping);
  EXPECT_EQ(world.writes, std::vector<std::string>());
}

TEST(Bystander, RefusesToPromote) {
  World world = Watched();
  SetWeight(world, 10);
  world.Tick();
  world.Give(OrderKind::kPromote);
  world.Look();
  EXPECT_EQ(world.LastDecision(), "refuse/promote");
}

TEST(Bystander, HoldsOnWhatIsUnknownAndSaysNothingOfAnAdvance) {
  World world = Watched();
  world.PlentyOfTraffic();
  world.seen.callers[0].fresh = false;
  world.seen.callers[0].trouble = "last read 9 s ago";
  SetWeight(world, 10);
  world.Tick(20);
  const auto actions = Actions(world);
  EXPECT_EQ(std::count(actions.begin(), actions.end(), "would-advance/proven"), 0);
}

TEST(Bystander, WaitsForSidecarsThatTellAnotherWeight) {
  World world = Watched();
  world.seen.callers[0].applied_canary_percent = 0;
  world.PlentyOfTraffic();
  world.EditSplitter(10);
  world.Tick(20);
  EXPECT_EQ(world.state.reason, "holds: web applies 0%");
}

TEST(Bystander, TakesOverAtZeroOnceItMayAct) {
  World world = Watched();
  SetWeight(world, 50);
  world.Tick(3);
  world.spec.act = true;
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "start/spec-changed");
  EXPECT_EQ(world.writes.front(), "splitter 0");
}

}  // namespace
}  // namespace consul_canary::rollout
