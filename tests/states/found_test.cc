// Orders of events in which something went wrong once.
#include <gtest/gtest.h>

#include <initializer_list>
#include <string_view>

#include "tests/states/claims.h"
#include "tests/states/events.h"
#include "tests/states/rules.h"

namespace consul_canary::states {
namespace {

constexpr std::string_view kGood = "tick, good requests";

class Story {
 public:
  explicit Story(const Rules& rules) : model(rules.spec, rules.changed) { model.Deploy("v2"); }

  void Tell(std::initializer_list<std::string_view> events) {
    for (const std::string_view event : events) {
      Happen(model, EventNamed(event));
      for (const std::string& broken : BrokenClaims(model)) {
        ADD_FAILURE() << broken << ", after " << event;
      }
    }
  }

  Model model;
};

// The filter was written without being stored: the next leader took it for an old one, and any
// member of the subset for the new version's.
TEST(Stories, ALeaderKilledAfterTheFilterWasWrittenStillWaitsForTheNewMembers) {
  Story story(RulesNamed("Plain"));
  story.Tell({kGood, kGood, kGood, kGood, "a newer version is deployed", kGood,
              "a caller's sidecar lags behind", kGood, "another leader, or the same restarted",
              kGood, kGood});
  EXPECT_EQ(story.model.memory.canary_version, "v3");
  EXPECT_EQ(story.model.memory.stage, rollout::Stage::kPreparing) << story.model.memory.reason;
  story.Tell({"it catches up", kGood, kGood});
  EXPECT_EQ(story.model.memory.stage, rollout::Stage::kStepping) << story.model.memory.reason;
}

// The filter stood there already, so nobody was waited for who had not taken it the first time.
TEST(Stories, ARetryWaitsForTheCallersThatTheFirstTryWaitedFor) {
  Story story(RulesNamed("Plain"));
  story.Tell({kGood, kGood, kGood, kGood, "a newer version is deployed", kGood,
              "a caller's sidecar lags behind", kGood, "order abort", kGood, "order retry", kGood,
              kGood, kGood});
  EXPECT_EQ(story.model.memory.canary_version, "v3");
  EXPECT_EQ(story.model.memory.stage, rollout::Stage::kPreparing) << story.model.memory.reason;
  story.Tell({"it catches up", kGood, kGood});
  EXPECT_EQ(story.model.memory.stage, rollout::Stage::kStepping) << story.model.memory.reason;
}

// Consul's instances were known again, but not yet beyond doubt.
TEST(Stories, NoFirstWeightIsGivenInDoubt) {
  Story story(RulesNamed("Plain"));
  story.Tell({kGood, "the canary's filter is edited", "Consul is away", kGood, "Consul is back",
              kGood, kGood, kGood, kGood, kGood, kGood});
  EXPECT_EQ(story.model.memory.stage, rollout::Stage::kStepping) << story.model.memory.reason;
}

}  // namespace
}  // namespace consul_canary::states
