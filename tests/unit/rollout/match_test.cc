// Requests that match go to the canary while the rollout steps, and at no other time.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/unit/rollout/world.h"

namespace consul_canary::rollout {
namespace {

// Blue/green: all that matches, then everything.
World BlueGreen() {
  World world;
  world.spec.match = {{.header = "x-canary", .value = "always"}};
  world.spec.steps = {{.weight_percent = 0}};
  world.seen.entries_known = true;
  return world;
}

std::size_t IndexOf(const World& world, const std::string& write) {
  return static_cast<std::size_t>(std::ranges::find(world.writes, write) - world.writes.begin());
}

bool Wrote(const World& world, const std::string& write) {
  return IndexOf(world, write) < world.writes.size();
}

TEST(Match, IsProvenOnMatchedRequestsAndThenPromotedAtOnce) {
  World world = BlueGreen();
  world.ReachStep(0);
  EXPECT_EQ(world.seen.router->ours, RoutesSeen::kWhole);
  EXPECT_EQ(world.seen.splitter->canary_percent, 0);
  world.PlentyOfTraffic();
  world.Tick(8);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
  EXPECT_FALSE(world.seen.router) << "it was made for the routes";
  EXPECT_LT(IndexOf(world, "routes"), IndexOf(world, "splitter 100"));
  EXPECT_LT(IndexOf(world, "splitter 100"), IndexOf(world, "no router"));
  EXPECT_LT(IndexOf(world, "no router"), IndexOf(world, "primary filter is v2"));
}

TEST(Match, MakesARouterBeforeItPutsRoutesIn) {
  World world = BlueGreen();
  world.Deploy("v2");
  world.Tick(2);
  EXPECT_EQ(world.state.stage, Stage::kPreparing);
  ASSERT_TRUE(world.seen.router);
  EXPECT_EQ(world.seen.router->ours, RoutesSeen::kNone);
}

TEST(Match, KeepsTheOwnersRouter) {
  World world = BlueGreen();
  world.seen.router = RouterView{};
  world.ReachStep(0);
  world.PlentyOfTraffic();
  world.Tick(8);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
  ASSERT_TRUE(world.seen.router);
  EXPECT_EQ(world.seen.router->ours, RoutesSeen::kNone);
}

TEST(Match, HarmTakesTheSplitterBackFirstAndIsNotOverBeforeTheRoutesAreGone) {
  World world = BlueGreen();
  world.spec.steps.push_back({.weight_percent = 50});
  world.ReachStep(1);
  world.writes.clear();
  world.Traffic({5000, 0}, {5000, 5000});
  world.TickWithoutWriting();
  ASSERT_EQ(world.state.phase, Phase::kRollingBack);
  const auto due = DueWrites(world.state, world.seen, World::kEpoch);
  EXPECT_EQ(due, (std::vector{Write::kSplitter, Write::kRoutes}));
  world.EditSplitter(0);
  world.TickWithoutWriting();
  EXPECT_EQ(world.state.phase, Phase::kRollingBack) << "matched requests still go there";
  world.Tick();
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
  EXPECT_FALSE(world.seen.router);
}

TEST(Match, WaitsUntilEveryCallerHasTheRoutes) {
  World world = BlueGreen();
  world.ReachStep(0);
  world.seen.callers.front().applied_canary_percent = 0;
  world.state.reload_baseline["web"] = *world.seen.callers.front().route_reloads;
  world.PlentyOfTraffic();
  world.Tick(3);
  EXPECT_EQ(world.state.stage, Stage::kStepping) << "the weight alone says nothing of the routes";
  EXPECT_EQ(world.state.reason, "holds: web has not taken the new route");
  world.CallersFollow();
  world.Tick(3);
  EXPECT_EQ(world.state.phase, Phase::kPromoting) << world.state.reason;
}

TEST(Match, HoldsWhereSomebodyTakesTheRoutesAway) {
  for (const RoutesSeen edit : {RoutesSeen::kNone, RoutesSeen::kOther}) {
    World world = BlueGreen();
    world.ReachStep(0);
    world.EditRoutes(edit);
    world.PlentyOfTraffic();
    world.writes.clear();
    world.Tick(5);
    EXPECT_EQ(world.LastDecision(), "hold/foreign-edit");
    EXPECT_EQ(world.state.stage, Stage::kStepping);
    EXPECT_TRUE(world.writes.empty());
    world.Give(OrderKind::kResume);
    world.Tick();
    EXPECT_EQ(world.LastDecision(), "resume/order");
    EXPECT_EQ(world.seen.router->ours, RoutesSeen::kWhole);
    world.Tick(8);
    EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
  }
}

TEST(Match, GoesOnWhereTheyAreBackByThemselves) {
  World world = BlueGreen();
  world.ReachStep(0);
  world.EditRoutes(RoutesSeen::kNone);
  world.Tick();
  world.EditRoutes(RoutesSeen::kWhole);
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "resume/foreign-edit");
  EXPECT_LT(world.state.confirmed_seconds, 1) << "the step's time begins anew";
}

TEST(Match, ANewerVersionIsPreparedWithoutRoutes) {
  World world = BlueGreen();
  world.ReachStep(0);
  world.Deploy("v3");
  world.Tick();
  EXPECT_EQ(world.state.stage, Stage::kPreparing);
  ASSERT_TRUE(world.seen.router);
  EXPECT_EQ(world.seen.router->ours, RoutesSeen::kNone);
}

TEST(Match, DoesNotStartBesideARouteThatSaysTheSame) {
  World world = BlueGreen();
  world.seen.router = RouterView{.ours = RoutesSeen::kWhole, .unnamed = "x-canary Exact always"};
  world.Deploy("v2");
  world.Tick(3);
  EXPECT_EQ(world.state.phase, Phase::kIdle);
  EXPECT_NE(world.last.waits.find("x-canary Exact always"), std::string::npos) << world.last.waits;
  EXPECT_TRUE(world.writes.empty());
}

TEST(Match, DoesNotStartWhereTheRouterMayNotBeWritten) {
  World world = BlueGreen();
  world.seen.router = RouterView{};
  world.seen.router_unwritable = "the router is owned";
  world.Deploy("v2");
  world.Tick(3);
  EXPECT_EQ(world.state.phase, Phase::kIdle);
  EXPECT_EQ(world.last.waits, "cannot start: the router is owned");
}

TEST(Match, IsNotWrittenWithActFalse) {
  World world = BlueGreen();
  world.spec.act = false;
  world.Deploy("v2");
  world.Tick(3);
  EXPECT_EQ(world.state.phase, Phase::kProgressing);
  EXPECT_TRUE(world.writes.empty());
  EXPECT_FALSE(world.seen.router);
}

TEST(Match, IsHeldAgainstNoShare) {
  World world = BlueGreen();
  world.spec.steps = {{.weight_percent = 10}, {.weight_percent = 50}};
  world.ReachStep(0);
  // Half of all requests match: five times the weight.
  world.Traffic({5000, 5}, {5000, 5});
  world.Tick(3);
  EXPECT_EQ(world.state.step, 1) << world.state.reason;
}

TEST(Match, TakesTheRoutesOfAFormerSpecificationOut) {
  World world = BlueGreen();
  world.ReachStep(0);
  world.spec.match.clear();
  world.spec.steps = {{.weight_percent = 10}};
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "start/spec-changed");
  EXPECT_NE(world.decisions.back().reason.find("strategy.match"), std::string::npos);
  EXPECT_FALSE(world.seen.router);
  EXPECT_TRUE(Wrote(world, "no router"));
}

TEST(DueWrites, FencesTheRouterWhereARolloutHasToDoWithIt) {
  World world = BlueGreen();
  world.ReachStep(0);
  world.seen.router->epoch = World::kEpoch - 1;
  EXPECT_EQ(DueWrites(world.state, world.seen, World::kEpoch), std::vector{Write::kRoutes});
  world.seen.unknown = "Consul does not answer";
  EXPECT_EQ(DueWrites(world.state, world.seen, World::kEpoch), std::vector{Write::kRoutes})
      << "they are there already, so nothing is widened";
  world.seen.router->ours = RoutesSeen::kNone;
  EXPECT_TRUE(DueWrites(world.state, world.seen, World::kEpoch).empty());
}

}  // namespace
}  // namespace consul_canary::rollout
