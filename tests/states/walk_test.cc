// Beyond the depth of exploration_test.cc: hundreds of events in a random order, from printed
// seeds. CONSUL_CANARY_STATES_SEED begins with another one, CONSUL_CANARY_STATES_WALKS makes so
// many walks.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/states/claims.h"
#include "tests/states/events.h"
#include "tests/states/quiet.h"
#include "tests/states/rules.h"

namespace consul_canary::states {
namespace {

constexpr unsigned kWalks = 60;  // of each specification
constexpr int kEvents = 400;
constexpr int kBetweenQuiets = 20;
constexpr std::size_t kShown = 30;  // of the way to a problem

unsigned Asked(const char* name, unsigned otherwise) {
  const char* const asked = std::getenv(name);
  return asked == nullptr ? otherwise : static_cast<unsigned>(std::strtoul(asked, nullptr, 10));
}

class Walk {
 public:
  Walk(const Rules& rules, unsigned seed) : random_(seed), model_(rules.spec, rules.changed) {}

  void Run() {
    for (int i = 0; i < kEvents && problem_.empty(); ++i) {
      Step();
      if (i % kBetweenQuiets == 0) EndQuietly();
    }
  }

  [[nodiscard]] std::string Problem() const {
    if (problem_.empty()) return "";
    std::string text = problem_ + "; after:";
    const std::size_t begin = way_.size() > kShown ? way_.size() - kShown : 0;
    for (std::size_t i = begin; i < way_.size(); ++i) text += fmt::format("\n    {}", way_[i]);
    return text;
  }
  [[nodiscard]] const std::set<rollout::Phase>& ends() const { return ends_; }

 private:
  bool Chance(double p) { return std::bernoulli_distribution(p)(random_); }

  // Half of all are ticks with good requests, so that rollouts come somewhere; what was broken is
  // mended now and then, all together.
  const Event& Draw() {
    static const Event& good = EventNamed("tick, good requests");
    const auto events = AllEvents();
    for (;;) {
      const Event& event =
          Chance(0.5)
              ? good
              : events[std::uniform_int_distribution<std::size_t>(0, events.size() - 1)(random_)];
      if (event.possible(model_)) return event;
    }
  }

  void Step() {
    if (Chance(0.03)) {
      BringQuiet(model_);
      model_.requests_of_a_caller = kRequestsOfACaller;
      way_.emplace_back("(all is mended)");
    }
    if (Chance(0.01)) {
      model_.Deploy(fmt::format("v{}", model_.instances.size() + 1));
      way_.emplace_back("(a further version)");
    }
    const Event& event = Draw();
    Happen(model_, event);
    way_.emplace_back(event.name);
    if (const auto broken = BrokenClaims(model_); !broken.empty()) problem_ = broken.front();
    if (model_.last && model_.last->committed) ends_.insert(model_.last->outcome.state.phase);
  }

  void EndQuietly() {
    // For each walk anew: what is folded together in a short way need not be in a long one.
    for (const Requests requests : {Requests::kGood, Requests::kBad}) {
      const Ending ending = QuietWorld(requests).Run(model_);
      if (!ending.stuck.empty() && problem_.empty()) {
        problem_ = fmt::format("in a {} quiet world: {}",
                               requests == Requests::kGood ? "good" : "bad", ending.stuck);
      }
    }
  }

  std::mt19937 random_;
  Model model_;
  std::vector<std::string> way_;
  std::string problem_;
  std::set<rollout::Phase> ends_;
};

class RandomOrders : public ::testing::TestWithParam<std::string> {};

TEST_P(RandomOrders, OfHundredsOfEventsKeepTheClaimsAndEnd) {
  const unsigned first = Asked("CONSUL_CANARY_STATES_SEED", 1);
  const unsigned walks = Asked("CONSUL_CANARY_STATES_WALKS", kWalks);
  std::set<rollout::Phase> ends;
  for (unsigned seed = first; seed < first + walks && !HasFailure(); ++seed) {
    Walk walk(RulesNamed(GetParam()), seed);
    walk.Run();
    ends.insert(walk.ends().begin(), walk.ends().end());
    if (const std::string problem = walk.Problem(); !problem.empty()) {
      ADD_FAILURE() << "seed " << seed << ": " << problem;
    }
  }
  fmt::print("{}: {} walks of {} events, seeds from {}\n", GetParam(), walks, kEvents, first);
  // They go through all of it.
  using rollout::Phase;
  for (const Phase phase : {Phase::kProgressing, Phase::kPaused, Phase::kRollingBack,
                            Phase::kRolledBack, Phase::kPromoting, Phase::kSucceeded}) {
    const bool is_kept = RulesNamed(GetParam()).spec.promote == rollout::PromoteMode::kNone;
    if (is_kept && (phase == Phase::kPromoting || phase == Phase::kSucceeded)) continue;
    EXPECT_TRUE(HasFailure() || ends.contains(phase)) << ToString(phase);
  }
}

INSTANTIATE_TEST_SUITE_P(States, RandomOrders, ::testing::ValuesIn(NamesOfRules()),
                         [](const auto& named) { return named.param; });

}  // namespace
}  // namespace consul_canary::states
