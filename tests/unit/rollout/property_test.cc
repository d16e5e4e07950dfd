// What must hold whatever the mesh shows and whoever orders what: seeded random worlds over many
// thousands of looks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>

#include "tests/unit/rollout/world.h"

namespace consul_canary::rollout {
namespace {

class Chaos {
 public:
  explicit Chaos(unsigned seed) : random_(seed) {
    world_.spec.warmup = Seconds(1);
    world_.spec.deadline = Seconds(50);
    world_.spec.ready_deadline = Seconds(40);
    world_.spec.on_deadline = Chance(0.5) ? OnDeadline::kHold : OnDeadline::kRollBack;
    world_.spec.steps = {{.weight_percent = 5},
                         {.weight_percent = 20, .min_duration = Seconds(3)},
                         {.weight_percent = 60, .pause = Chance(0.3)}};
    world_.seen.callers.push_back({.id = "shop", .fresh = true, .applied_canary_percent = 0});
  }

  void Run(int looks) {
    for (int i = 0; i < looks; ++i) {
      Disturb();
      Check();
      if (::testing::Test::HasFailure()) return;
    }
  }

  int successes = 0;
  int rollbacks = 0;

 private:
  bool Chance(double p) { return std::bernoulli_distribution(p)(random_); }
  int Below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }

  void Disturb() {
    Observation& seen = world_.seen;
    if (Chance(0.03)) seen.unknown = "something";
    if (Chance(0.3)) seen.unknown.clear();
    if (Chance(0.02)) hidden_splitter_ = seen.splitter, seen.splitter.reset();
    if (!seen.splitter && Chance(0.5)) seen.splitter = hidden_splitter_;
    seen.instances_known = !Chance(0.03);
    for (CallerFacts& caller : seen.callers) caller.fresh = Chance(caller.fresh ? 0.97 : 0.5);
    if (Chance(0.01)) world_.Deploy("v" + std::to_string(++version_));
    if (seen.splitter && Chance(0.01)) world_.EditSplitter(Below(101));
    if (Chance(0.03)) world_.Give(static_cast<OrderKind>(Below(7)), RandomOrder());
    world_.callers_follow = Chance(0.9);
    if (seen.splitter && Chance(0.3)) world_.CallersFollow();
    const std::int64_t requests = Below(3000);
    const bool bad = Chance(0.005);
    const auto weight =
        std::max(1.0, world_.seen.splitter ? world_.seen.splitter->canary_percent : 0.0);
    const auto primary = std::llround(static_cast<double>(requests) * (100 - weight) / weight);
    world_.Traffic({primary, primary / 1000}, {requests, bad ? requests / 2 : requests / 1000});
    GoneOrBack();
  }

  void GoneOrBack() {
    Observation& seen = world_.seen;
    if (Chance(0.003)) seen.canary_passing = 0;
    if (Chance(0.001)) seen.canary_passing = seen.primary_passing = 0;
    if (Chance(0.2)) seen.canary_passing = seen.primary_passing = 1;
  }

  Order RandomOrder() {
    Order order;
    order.full = Chance(0.2);
    order.alert_key = "f@" + std::to_string(Below(5));
    order.alert_started_wall_seconds = world_.seen.wall_seconds - Below(100);
    return order;
  }

  void Check() {
    const State before = world_.state;
    const Observation seen = world_.seen;
    const bool write = seen.splitter && Chance(0.9);
    if (!write) {
      world_.TickWithoutWriting();
    } else if (Chance(0.2)) {
      world_.Look();
    } else {
      world_.Tick();
    }
    CheckWeight(before, seen);
    CheckLog(before);
    if (world_.state.phase != before.phase) {
      successes += world_.state.phase == Phase::kSucceeded;
      rollbacks += world_.state.phase == Phase::kRolledBack;
    }
  }

  void CheckWeight(const State& before, const Observation& seen) {
    const State& after = world_.state;
    const double weight = after.wanted.canary_percent;
    const bool known = weight == 0 || weight == 100 || weight == 5 || weight == 20 || weight == 60;
    EXPECT_TRUE(known) << weight;
    if (weight <= before.wanted.canary_percent) return;
    EXPECT_EQ(seen.unknown, "");
    EXPECT_TRUE(seen.splitter.has_value());
    EXPECT_TRUE(seen.instances_known);
    EXPECT_GT(seen.canary_passing, 0);
    EXPECT_FALSE(before.foreign_edit && seen.orders.empty());
    const auto fresh = [](const CallerFacts& caller) { return caller.fresh; };
    EXPECT_TRUE(std::all_of(seen.callers.begin(), seen.callers.end(), fresh));
    EXPECT_FALSE(world_.last.decisions.empty());
    // One step at a time, unless a person asked for more.
    if (seen.orders.empty() && after.stage == Stage::kStepping && before.stage == after.stage) {
      EXPECT_EQ(after.step, before.step + 1);
    }
  }

  void CheckLog(const State& before) {
    std::uint64_t expected = before.decisions;
    for (const Decision& decision : world_.last.decisions) {
      EXPECT_EQ(decision.sequence, ++expected);
    }
    EXPECT_EQ(world_.state.decisions, expected);
    if (world_.state.phase != before.phase) {
      EXPECT_FALSE(world_.last.decisions.empty());
    }
    EXPECT_GE(world_.state.last_order, before.last_order);
    if (world_.state.phase == Phase::kRolledBack && before.phase == Phase::kRollingBack) {
      EXPECT_EQ(world_.state.wanted.canary_percent, 0);
    }
  }

  std::mt19937 random_;
  World world_;
  std::optional<SplitterView> hidden_splitter_;
  int version_ = 1;
};

TEST(Decide, NeverWidensOnWhatIsNotKnownWhateverHappens) {
  int successes = 0;
  int rollbacks = 0;
  for (unsigned seed = 1; seed <= 40 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Chaos chaos(seed);
    chaos.Run(1500);
    successes += chaos.successes;
    rollbacks += chaos.rollbacks;
  }
  // The worlds go through all of it.
  EXPECT_GT(successes, 20);
  EXPECT_GT(rollbacks, 20);
}

}  // namespace
}  // namespace consul_canary::rollout
