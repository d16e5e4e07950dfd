// A rollout in a mesh whose shield ejects instances of the canary that fail: which process judges,
// and that what is ejected is never taken for healthy.
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/rollout/world.h"

namespace consul_canary::rollout {
namespace {

World Shielded() {
  World world;
  world.seen.shield = ShieldView{.ejecting = 2, .retried = true};
  return world;
}

TEST(Shield, AFewFailuresOfACanaryThatIsEjectedAtEachAreHarm) {
  World world = Shielded();
  world.ReachStep(0);
  for (int second = 0; second < 60 && world.state.phase == Phase::kProgressing; ++second) {
    const bool ejected = second % 4 != 0;
    world.Traffic({100, 0}, ejected ? stats::Counts{} : stats::Counts{2, 2});
    world.seen.counts.saved_requests = ejected ? 0 : 2;
    world.Tick();
  }
  EXPECT_EQ(world.LastDecision(), "rollback/harm") << world.state.reason;
  EXPECT_EQ(stats::LogHarm(world.state.evidence.harm), 0) << "the process without ejection";
  EXPECT_GT(world.state.evidence.saved_requests, 0);
}

TEST(Shield, AHealthyCanaryAdvancesThoughItsShareIsNotItsWeight) {
  World world = Shielded();
  world.ReachStep(0);
  world.Traffic({950, 0}, {50, 0});  // a tenth is its weight
  world.Tick(60);
  EXPECT_GE(world.state.step, 1) << world.state.reason;
  EXPECT_EQ(stats::LogSafe(world.state.evidence.safe), 0) << "the process without ejection";
}

TEST(Shield, ACanaryThatIsEjectedMostOfTheTimeIsNotAdvanced) {
  World world = Shielded();
  world.ReachStep(0);
  world.seen.shield->ejected = 1;
  world.Traffic({950, 0}, {50, 0});
  world.Tick(60);
  EXPECT_EQ(world.state.step, 0);
  EXPECT_EQ(world.last.verdict.kind, VerdictKind::kUntrusted);
  EXPECT_NE(world.state.reason.find("keeps 100% of the canary's instances out of the traffic"),
            std::string::npos)
      << world.state.reason;
}

// What never reaches it is counted nowhere else, and no caller notices.
TEST(Shield, AnInstanceOfTheCanaryThatCompletesNothingHoldsByItsName) {
  World world = Shielded();
  world.ReachStep(0);
  world.Traffic({950, 0}, {50, 0});
  world.seen.counts.canary_instances = {{"n/api-4-proxy", {50, 0}}, {"n/api-5-proxy", {0, 0}}};
  world.Tick(60);
  EXPECT_EQ(world.state.step, 0);
  EXPECT_NE(world.state.reason.find("n/api-5-proxy passes its checks and completes no requests"),
            std::string::npos)
      << world.state.reason;
  world.seen.counts.canary_instances[1].second = {1, 0};
  world.Tick(60);
  EXPECT_GE(world.state.step, 1) << world.state.reason;
}

TEST(Shield, AnInstanceThatCompletesNothingWhileTheCanaryHasAllTrafficIsNotPromoted) {
  World world = Shielded();
  world.ReachStage(Stage::kCanaryFull);
  world.Traffic({0, 0}, {100, 0});
  world.seen.counts.canary_instances = {{"n/api-4-proxy", {100, 0}}, {"n/api-5-proxy", {0, 0}}};
  world.Tick(40);
  EXPECT_EQ(world.state.stage, Stage::kCanaryFull);
  EXPECT_NE(world.state.reason.find("promotion holds: n/api-5-proxy"), std::string::npos)
      << world.state.reason;
}

// That the primary answers for it is no health.
TEST(Shield, ACanaryThatIsEjectedWhileItHasAllTrafficIsNotPromoted) {
  World world = Shielded();
  world.ReachStage(Stage::kCanaryFull);
  world.seen.shield->ejected = 1;
  world.Traffic({0, 0}, {100, 0});
  world.Tick(40);
  EXPECT_EQ(world.state.stage, Stage::kCanaryFull);
  EXPECT_NE(world.state.reason.find("promotion holds: the shield keeps"), std::string::npos)
      << world.state.reason;
}

TEST(Shield, ACanaryWhoseTrafficThePrimaryServesIsNotPromoted) {
  World world = Shielded();
  world.ReachStage(Stage::kCanaryFull);
  world.Traffic({1000, 0}, {1, 0});
  world.Tick(40);
  EXPECT_EQ(world.state.stage, Stage::kCanaryFull);
  EXPECT_NE(world.state.reason.find("promotion holds: the primary has completed"),
            std::string::npos)
      << world.state.reason;
}

TEST(Shield, AFirstStepOfWeightZeroIsProvenOnWhatMatches) {
  World world = Shielded();
  world.spec.steps[0].weight_percent = 0;
  world.spec.match = {{.header = "x-canary", .value = "always"}};
  world.seen.entries_known = true;
  world.ReachStep(0);
  world.Traffic({900, 0}, {100, 0});
  world.Tick(90);
  EXPECT_GE(world.state.step, 1) << world.state.reason;
}

// Whatever was proven on one side of the change stays proven on the other.
TEST(Shield, EvidenceGoesOnWhereTheMeshGetsAShieldInTheMiddle) {
  World world;
  world.ReachStep(0);
  world.Traffic({900, 0}, {30, 2});
  world.Tick(2);
  const double before = world.last.verdict.log_harm;
  EXPECT_GT(before, 0);
  world.seen.shield = ShieldView{};
  world.Traffic({100, 0}, {});
  world.Tick();
  EXPECT_GE(world.last.verdict.log_harm, before);
}

TEST(Shield, NothingStartsWithoutOneThatIsRequired) {
  World world;
  world.spec.shield = ShieldUse::kRequire;
  world.Deploy("v2");
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kIdle);
  EXPECT_NE(world.state.reason.find(
                "shield: require, but the service-resolver has no Failover of subset canary to"),
            std::string::npos)
      << world.state.reason;
  world.seen.shield = ShieldView{.lacks = "caller web does not eject instances that fail"};
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kIdle);
  EXPECT_NE(world.state.reason.find("caller web does not eject"), std::string::npos)
      << world.state.reason;
  world.seen.shield->lacks.clear();
  world.Tick();
  EXPECT_EQ(world.state.phase, Phase::kProgressing) << world.state.reason;
}

World Requiring() {
  World world = Shielded();
  world.spec.shield = ShieldUse::kRequire;
  return world;
}

bool HoldsForTheShield(const World& world) {
  return world.state.reason.find("shield: require, but caller late does not eject") !=
         std::string::npos;
}

constexpr const char* kLacks = "caller late does not eject instances that fail";

TEST(Shield, NoStepIsWidenedWhileOneThatIsRequiredHasLostAPart) {
  World world = Requiring();
  world.Deploy("v2");
  world.Tick();
  ASSERT_EQ(world.state.stage, Stage::kPreparing);
  world.seen.shield->lacks = kLacks;
  world.Tick(10);
  EXPECT_EQ(world.state.stage, Stage::kPreparing);
  EXPECT_TRUE(HoldsForTheShield(world)) << world.state.reason;

  world.seen.shield->lacks.clear();
  world.ReachStep(0);
  world.seen.shield->lacks = kLacks;
  world.Traffic({950, 0}, {50, 0});
  world.Tick(60);
  EXPECT_EQ(world.state.step, 0);
  EXPECT_TRUE(HoldsForTheShield(world)) << world.state.reason;
  world.Give(OrderKind::kPromote);
  world.Look();
  EXPECT_EQ(world.LastDecision(), "refuse/promote");
  EXPECT_EQ(world.state.step, 0);
  world.seen.shield->lacks.clear();
  world.Tick();
  EXPECT_EQ(world.state.step, 1) << world.state.reason;
}

TEST(Shield, NothingIsPromotedWhileOneThatIsRequiredHasLostAPart) {
  World world = Requiring();
  world.ReachStage(Stage::kCanaryFull);
  world.seen.shield->lacks = kLacks;
  world.Traffic({0, 0}, {100, 0});
  world.Tick(40);
  EXPECT_EQ(world.state.stage, Stage::kCanaryFull);
  EXPECT_TRUE(HoldsForTheShield(world)) << world.state.reason;
}

// Both subsets are to have the version: there is nobody left to be kept from it.
TEST(Shield, APromotionThatHasTakenThePrimaryNeedsNoneAnyMore) {
  World world = Requiring();
  world.ReachStage(Stage::kPrimaryFilter);
  world.seen.shield->lacks = kLacks;
  world.Tick(40);
  EXPECT_EQ(world.state.phase, Phase::kSucceeded) << world.state.reason;
}

TEST(Shield, HarmIsRolledBackThoughOneThatIsRequiredIsGone) {
  World world = Requiring();
  world.ReachStep(0);
  world.seen.shield.reset();
  world.Traffic({90, 0}, {10, 0});
  world.Tick();
  EXPECT_NE(world.state.reason.find("shield: require, but the service-resolver has no Failover"),
            std::string::npos)
      << world.state.reason;
  world.Traffic({90, 0}, {10, 10});
  world.Tick(5);
  EXPECT_EQ(world.state.canary_version, "v2");
  EXPECT_TRUE(world.state.phase == Phase::kRollingBack || world.state.phase == Phase::kRolledBack)
      << world.state.reason;
}

}  // namespace
}  // namespace consul_canary::rollout
