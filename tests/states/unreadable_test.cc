// A specification that cannot be read from some moment of an undisturbed rollout on, and one event
// more: the claims hold, what is harmful still ends the rollout, and once the specification can be
// read again the rollout comes to an end.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/states/claims.h"
#include "tests/states/events.h"
#include "tests/states/quiet.h"
#include "tests/states/rules.h"

namespace consul_canary::states {
namespace {

constexpr std::string_view kGood = "tick, good requests";
constexpr std::string_view kBad = "tick, bad requests of the canary";
constexpr int kTicks = 16;  // longer than any undisturbed rollout here

class Unreadable : public ::testing::TestWithParam<std::string> {
 protected:
  // The rollout after so many undisturbed ticks; then its specification cannot be read.
  Model After(int ticks) {
    const Rules& rules = RulesNamed(GetParam());
    Model model(rules.spec, rules.changed);
    model.Deploy("v2");
    Tell(model, "order start");
    for (int i = 0; i < ticks; ++i) Tell(model, kGood);
    model.unreadable = true;
    return model;
  }

  static void Tell(Model& model, std::string_view event) {
    Happen(model, EventNamed(event));
    for (const std::string& broken : BrokenClaims(model)) {
      ADD_FAILURE() << broken << ", after " << event;
    }
  }

  static bool IsUnderWay(const Model& model) { return IsActive(model.memory.phase); }
};

TEST_P(Unreadable, HoldsWhateverHappensAndEndsOnceItCanBeRead) {
  int looks = 0;
  QuietWorld good(Requests::kGood);
  for (int ticks = 0; ticks <= kTicks && !HasFailure(); ++ticks) {
    SCOPED_TRACE(fmt::format("after {} ticks", ticks));
    for (const Event& event : AllEvents()) {
      Model model = After(ticks);
      if (!event.possible(model)) continue;
      const double weight = model.memory.wanted.canary_percent;
      Tell(model, event.name);
      Tell(model, kGood);
      looks += model.last.has_value();
      EXPECT_LE(model.memory.wanted.canary_percent, weight) << event.name;
      const Ending ending = good.Run(model);
      EXPECT_EQ(ending.stuck, "") << event.name;
    }
  }
  EXPECT_GT(looks, 100);
}

TEST_P(Unreadable, IsInTheWayOfNeitherAnAbortNorAnAlertNorHarm) {
  int times = 0;
  for (int ticks = 0; ticks <= kTicks && !HasFailure(); ++ticks) {
    SCOPED_TRACE(fmt::format("after {} ticks", ticks));
    for (const std::string_view event :
         {std::string_view("order abort"), std::string_view("rollback alert"), kBad}) {
      Model model = After(ticks);
      if (!IsUnderWay(model)) continue;
      const bool shows = event != kBad || model.memory.wanted.canary_percent > 0;
      for (int i = 0; i < 4; ++i) Tell(model, i == 0 || event == kBad ? event : kGood);
      for (int i = 0; i < 4; ++i) Tell(model, kGood);
      if (!shows) continue;
      ++times;
      EXPECT_TRUE(model.memory.phase == rollout::Phase::kRolledBack ||
                  (event == kBad && model.memory.phase == rollout::Phase::kSucceeded))
          << event << ": " << ToString(model.memory.phase) << ", " << model.memory.reason;
      EXPECT_EQ(model.truth.splitter->canary_percent, 0) << event;
    }
  }
  EXPECT_GT(times, 10);
}

INSTANTIATE_TEST_SUITE_P(States, Unreadable, ::testing::ValuesIn(NamesOfRules()),
                         [](const auto& named) { return named.param; });

}  // namespace
}  // namespace consul_canary::states
