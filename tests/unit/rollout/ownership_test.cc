// Splitter and resolver that somebody else owns, so that nothing of ours may be written there.
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/rollout/world.h"

namespace consul_canary::rollout {
namespace {

constexpr const char* kOwned = "the service-splitter \"api\" is owned by Kubernetes";

bool Says(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

TEST(Ownership, KeepsARolloutFromItsStart) {
  World world;
  world.seen.splitter_unwritable = kOwned;
  world.Deploy("v2");
  world.Tick(3);
  EXPECT_EQ(world.state.phase, Phase::kIdle);
  EXPECT_EQ(world.last.waits, std::string("cannot start: ") + kOwned);
  world.Give(OrderKind::kStart);
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "refuse/start");
  EXPECT_TRUE(Says(world.decisions.back().reason, kOwned)) << world.decisions.back().reason;
  world.seen.splitter_unwritable.clear();
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "start/new-version");
}

TEST(Ownership, OfTheResolverIsNoMatterWhereItsFiltersAreNotWritten) {
  World world;
  world.seen.resolver_unwritable = "owned";
  world.Deploy("v2");
  world.Tick();
  EXPECT_EQ(world.last.waits, "cannot start: owned");
  world.spec.promote = PromoteMode::kExternal;
  world.EditFilters("v1", "v2");
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "start/new-version");
}

TEST(Ownership, IsNoMatterWhereNothingIsWritten) {
  World world;
  world.spec.act = false;
  world.seen.splitter_unwritable = world.seen.resolver_unwritable = "owned";
  world.EditFilters("v1", "v2");
  world.Deploy("v2");
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "start/new-version");
}

TEST(Ownership, ThatComesInTheMiddleHoldsUntilItGoes) {
  World world;
  world.ReachStep(0);
  world.seen.splitter_unwritable = kOwned;
  world.PlentyOfTraffic();
  world.Tick(5);
  EXPECT_EQ(world.LastDecision(), "hold/owned");
  EXPECT_EQ(world.state.step, 0);
  EXPECT_EQ(world.state.reason, std::string("holds: ") + kOwned);
  world.seen.splitter_unwritable.clear();
  world.Tick();
  EXPECT_EQ(world.Log()[world.Log().size() - 2], "resume/owned 10");
  EXPECT_EQ(world.LastDecision(), "advance/proven");
}

TEST(Ownership, LetsNoDeadlineRollBackWhatCannotBeWritten) {
  World world;
  world.spec.deadline = Seconds(60);
  world.spec.on_deadline = OnDeadline::kRollBack;
  world.ReachStep(0);
  world.seen.splitter_unwritable = kOwned;
  world.Tick(200);
  EXPECT_EQ(world.state.phase, Phase::kProgressing) << world.state.reason;
  world.seen.splitter_unwritable.clear();
  world.Tick();
  EXPECT_EQ(world.LastDecision(), "rollback/deadline");
}

// Nobody hears of it in time otherwise: the bad canary keeps its traffic.
TEST(Ownership, SaysThatARollbackIsToBeWrittenByHandAndEndsOnceItWas) {
  World world;
  world.ReachStep(1);
  world.seen.splitter_unwritable = kOwned;
  world.Traffic({1000, 1}, {1000, 900});
  for (int i = 0; i < 3; ++i) world.TickWithoutWriting();
  EXPECT_EQ(world.state.phase, Phase::kRollingBack);
  EXPECT_EQ(world.LastDecision(), "rollback/harm");
  const std::string& reason = world.decisions.back().reason;
  EXPECT_TRUE(Says(reason, "in failure_ratio: ")) << reason;
  EXPECT_TRUE(Says(reason,
                   "; but the canary's traffic cannot be taken back from here: set the canary's "
                   "weight to 0 in the custom resource by hand, now; the service-splitter"))
      << reason;
  EXPECT_TRUE(Says(world.last.waits, "by hand, now")) << world.last.waits;
  world.EditSplitter(0);  // a person does
  world.TickWithoutWriting();
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
  EXPECT_FALSE(Says(world.state.reason, "by hand")) << world.state.reason;
}

TEST(Ownership, ThatComesDuringARollbackIsSaidOnce) {
  World world;
  world.ReachStep(1);
  world.Give(OrderKind::kAbort);
  world.TickWithoutWriting();
  world.seen.splitter_unwritable = kOwned;
  for (int i = 0; i < 3; ++i) world.TickWithoutWriting();
  EXPECT_EQ(world.LastDecision(), "hold/owned");
  EXPECT_TRUE(Says(world.decisions.back().reason, "by hand, now")) << world.decisions.back().reason;
  EXPECT_EQ(world.state.reason, "aborted by ann");
}

// The weight goes back, but the primary subset holds the new version.
TEST(Ownership, OfTheResolverAsksForItsFilterByHand) {
  World world;
  world.ReachStage(Stage::kPrimaryFull);
  const std::string old = *world.state.old_primary_filter;
  world.seen.resolver_unwritable = "owned";
  world.Give(OrderKind::kAbort);
  for (int i = 0; i < 3; ++i) world.TickWithoutWriting();
  EXPECT_EQ(world.state.phase, Phase::kRollingBack);
  EXPECT_EQ(world.last.waits,
            "the filter of subset primary cannot be put back from here: set it to " + old +
                " in the custom resource by hand, now; owned");
  world.EditFilters("v1", "v2");  // a person does
  world.EditSplitter(0);
  world.TickWithoutWriting();
  EXPECT_EQ(world.state.phase, Phase::kRolledBack);
}

TEST(Ownership, IsNotResumedOverAsForeignWeightsAre) {
  World world;
  world.ReachStep(0);
  world.EditSplitter(33);
  world.seen.splitter_unwritable = kOwned;
  world.TickWithoutWriting();
  world.Give(OrderKind::kResume);
  world.TickWithoutWriting();
  EXPECT_EQ(world.LastDecision(), "refuse/resume");
  EXPECT_TRUE(world.state.foreign_edit);
}

}  // namespace
}  // namespace consul_canary::rollout
