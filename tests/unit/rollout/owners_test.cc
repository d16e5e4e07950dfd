// Promotions that leave the primary's instances to their owner, versions told by filters alone, and
// reverts.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/unit/rollout/world.h"

namespace consul_canary::rollout {
namespace {

// Subsets whose filters name no version: v1 is in the primary's, v2 in the canary's.
class External : public World {
 public:
  External() {
    spec.promote = PromoteMode::kExternal;
    seen.primary_filter = "stable";
    seen.canary_filter = "next";
    Hold({"v1"}, {"v2"});
    seen.versions = {{"v1", 1, 1}, {"v2", 1, 2}};
    CallersFollow();
  }

  void Hold(std::vector<std::string> primary, std::vector<std::string> canary) {
    seen.primary_passing = static_cast<int>(primary.size());
    seen.canary_passing = static_cast<int>(canary.size());
    seen.primary_versions = std::move(primary);
    seen.canary_versions = std::move(canary);
  }

  // The world counts its subsets by their filters when something was written.
  void Tick(int times, std::vector<std::string> primary, std::vector<std::string> canary) {
    for (int i = 0; i < times; ++i) {
      Hold(primary, canary);
      World::Tick();
    }
    Hold(primary, canary);
    CallersFollow();
  }

  void ReachFull() {
    PlentyOfTraffic();
    for (int i = 0; i < 60 && state.stage != Stage::kPrimaryFilter; ++i) Tick(1, {"v1"}, {"v2"});
    ASSERT_EQ(state.stage, Stage::kPrimaryFilter) << state.reason;
  }
};

TEST(External, WaitsForTheOwnerAndThenGoesBackToThePrimary) {
  External world;
  ASSERT_NO_FATAL_FAILURE(world.ReachFull());
  world.Tick(20, {"v1"}, {"v2"});
  EXPECT_EQ(world.state.reason,
            "promotion waits for the owner of subset primary: it holds version v1");
  world.Tick(20, {"v1", "v2"}, {"v2"});
  EXPECT_EQ(world.seen.splitter->canary_percent, 100);
  world.Tick(3, {"v2"}, {"v2"});
  EXPECT_EQ(world.seen.splitter->canary_percent, 100) << "the sidecars need a moment";
  world.Tick(10, {"v2"}, {"v2"});
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
  EXPECT_EQ(world.seen.splitter->canary_percent, 0);
}

TEST(External, NeverWritesTheResolver) {
  External world;
  ASSERT_NO_FATAL_FAILURE(world.ReachFull());
  world.Tick(20, {"v2"}, {"v2"});
  for (const std::string& write : world.writes) {
    EXPECT_TRUE(write.starts_with("splitter")) << write;
  }
  EXPECT_EQ(world.seen.primary_filter, "stable");
  EXPECT_EQ(world.seen.canary_filter, "next");
}

TEST(External, SaysOnceThatTheOwnerTakesLong) {
  External world;
  world.spec.deadline = Seconds(30);
  ASSERT_NO_FATAL_FAILURE(world.ReachFull());
  world.Tick(90, {"v1"}, {"v2"});
  const auto log = world.Log();
  EXPECT_EQ(std::count(log.begin(), log.end(), "hold/deadline 100"), 1);
  EXPECT_EQ(world.state.phase, Phase::kPromoting);
}

TEST(External, RollsBackWhileTheOwnerHasNotMoved) {
  External world;
  ASSERT_NO_FATAL_FAILURE(world.ReachFull());
  world.Give(OrderKind::kAbort);
  world.Tick(3, {"v1"}, {"v2"});
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
  EXPECT_EQ(world.seen.splitter->canary_percent, 0);
}

TEST(External, HoldsWhileTheCanarySubsetHoldsAnythingElse) {
  External world;
  world.PlentyOfTraffic();
  world.spec.start = StartMode::kManual;
  world.Give(OrderKind::kStart);
  world.Tick(4, {"v1"}, {"v2"});
  ASSERT_EQ(world.state.stage, Stage::kStepping) << world.state.reason;
  const int step = world.state.step;
  world.Tick(20, {"v1"}, {"v2", "v3"});
  EXPECT_EQ(world.state.step, step);
  EXPECT_EQ(world.state.reason,
            "holds: subset canary holds v2, v3, where version v2 is rolled out");
}

TEST(External, TakesNoVersionThatTheCanarySubsetDoesNotHold) {
  External world;
  world.seen.versions.push_back({"v3", 1, 3});
  world.Tick(3, {"v1"}, {});
  EXPECT_EQ(world.state.phase, Phase::kIdle);
}

TEST(WithoutVersions, AFilterStandsForOneAndIsNotWritten) {
  External world;
  world.spec.promote = PromoteMode::kNone;
  world.spec.version_key = "";
  world.spec.start = StartMode::kManual;
  world.seen.versions = {{"stable", 1, 0}, {"next", 1, 1}};
  world.PlentyOfTraffic();
  world.Tick(3, {"stable"}, {"next"});
  EXPECT_EQ(world.state.phase, Phase::kIdle);
  world.Give(OrderKind::kStart);
  world.Tick(30, {"stable"}, {"next"});
  EXPECT_EQ(world.state.phase, Phase::kPaused) << world.state.reason;
  EXPECT_EQ(world.state.canary_version, "next");
  EXPECT_EQ(world.writes, (std::vector<std::string>{"splitter 10", "splitter 50"}));
}

// --- reverts

World Promoted() {
  World world;
  world.spec.rollback_window = Seconds(600);
  world.Deploy("v2");
  world.PlentyOfTraffic();
  world.Tick(40);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
  world.decisions.clear();
  world.writes.clear();
  return world;
}

TEST(Revert, AFormerPrimaryThatComesBackTakesNoSteps) {
  World world = Promoted();
  world.Remove("v1");
  world.Tick();
  world.Deploy("v1");
  world.Tick(20);
  EXPECT_EQ(world.Log().at(0), "start/new-version 0");
  EXPECT_EQ(world.Log().at(1), "promote/revert 100");
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
  EXPECT_EQ(world.seen.primary_filter, "is v1");
  EXPECT_EQ(world.writes, (std::vector<std::string>{"canary filter is v1", "splitter 100",
                                                    "primary filter is v1", "splitter 0"}));
}

TEST(Revert, IsHealthCheckedFirst) {
  World world = Promoted();
  world.Remove("v1");
  world.Tick();
  world.callers_follow = false;
  world.Deploy("v1");
  world.seen.callers[0].canary_healthy = 0;
  world.Tick(10);
  EXPECT_EQ(world.state.stage, Stage::kPreparing);
  EXPECT_EQ(world.seen.splitter->canary_percent, 0);
}

TEST(Revert, InstancesThatNeverLeftStartNothingEvenWhenOneRestarts) {
  World world = Promoted();
  world.seen.versions[0].newest_index = 99;
  world.Tick(10);
  EXPECT_TRUE(world.decisions.empty());
}

TEST(Revert, IsThereByOrderToo) {
  World world = Promoted();
  world.Give(OrderKind::kStart, {.version = "v1"});
  world.Tick(5);
  EXPECT_EQ(world.Log().at(1), "promote/revert 100");
}

TEST(Revert, TheVersionThatWasRevertedIsNotTriedAgainAndTakesStepsWhenOrdered) {
  World world = Promoted();
  world.Give(OrderKind::kStart, {.version = "v1"});
  world.Tick(20);
  ASSERT_EQ(world.state.phase, Phase::kSucceeded);
  world.Remove("v2");
  world.Tick();
  world.Deploy("v2");
  world.Tick(5);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded);
  world.decisions.clear();
  world.Give(OrderKind::kStart, {.version = "v2"});
  world.Tick(4);
  EXPECT_EQ(world.Log().at(1), "advance/ready 10");
}

TEST(Revert, IsNoneAfterTheWindow) {
  World world = Promoted();
  world.Remove("v1");
  world.Tick(700);
  world.Deploy("v1");
  world.Tick(5);
  EXPECT_TRUE(world.decisions.empty()) << "nor does it start by itself";
  world.Give(OrderKind::kStart, {.version = "v1"});
  world.Tick(5);
  EXPECT_EQ(world.Log().at(1), "advance/ready 10");
}

TEST(Revert, IsWatchedForHarm) {
  World world = Promoted();
  world.Give(OrderKind::kStart, {.version = "v1"});
  world.Traffic(kNothing, kNothing);
  for (int i = 0; i < 10 && world.state.stage != Stage::kCanaryFull; ++i) world.Tick();
  ASSERT_EQ(world.state.stage, Stage::kCanaryFull);
  world.Traffic(kNothing, {100, 90});
  world.Tick(2);
  EXPECT_EQ(world.Log().at(2), "rollback/harm 0");
}

}  // namespace
}  // namespace consul_canary::rollout
