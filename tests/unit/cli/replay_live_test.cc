// A rollout that was recorded while it was ruled is decided again as it was.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "analyzer/cli/replay.h"
#include "analyzer/control/record.h"
#include "analyzer/control/stored_json.h"
#include "tests/unit/rollout/world.h"

namespace consul_canary::cli {
namespace {

std::vector<rollout::Decision> DecisionsOf(const std::vector<ReplayedTick>& ticks) {
  std::vector<rollout::Decision> decisions;
  for (const ReplayedTick& tick : ticks) {
    decisions.insert(decisions.end(), tick.decisions.begin(), tick.decisions.end());
  }
  return decisions;
}

// Reasons that name versions and callers are left out: no recording knows them.
std::string Told(const rollout::Decision& decision) {
  std::string text =
      fmt::format("{}/{} {:g}", decision.action, decision.cause, decision.weight_percent);
  const std::set<std::string> with_figures{"proven", "harm", "order", "alert"};
  return with_figures.contains(decision.cause) && decision.action != "start"
             ? text + ": " + decision.reason
             : text;
}

// A rollout in a mesh in memory, recorded as the analyzer does it.
struct Live {
  rollout::World world;
  control::Recorded recorded;
  std::string recording;
  rollout::State checkpoint;
  std::vector<double> log_harms, log_safes;  // of the ticks

  // Called after the world has decided.
  void Record(const rollout::State& before, const rollout::Observation& seen) {
    const auto piece = control::RecordLook("api", {world.spec, before, seen, world.last}, recorded);
    if (!world.last.decisions.empty()) checkpoint = world.state;
    if (!piece) return;
    recording += (recording.empty() ? piece->header : "") + piece->line;
    if (!seen.counts_known) return;
    log_harms.push_back(world.last.verdict.log_harm);
    log_safes.push_back(world.last.verdict.log_safe);
  }
  void Look() {
    const rollout::State before = world.state;
    rollout::Observation seen = world.seen;
    world.Look();  // writes
    seen.elapsed_seconds = 0;
    seen.counts_known = false;
    Record(before, seen);
  }
  void Tick() {
    const rollout::State before = world.state;
    rollout::Observation seen = world.seen;
    world.TickWithoutWriting();
    seen.elapsed_seconds = world.seen.elapsed_seconds;
    seen.wall_seconds = world.seen.wall_seconds;
    seen.counts_known = true;
    Record(before, seen);
    Look();
    Look();  // sees what was written
  }
  void Order(rollout::OrderKind kind, rollout::Order order = {}) {
    world.Give(kind, std::move(order));
    Look();
    Look();
  }
  void Checkpoint() { checkpoint = world.state; }
  // The analyzer is killed and started again: what it had in memory alone is lost.
  void Restart() {
    const auto loaded = control::StateFromJson(control::StateToJson(checkpoint));
    ASSERT_TRUE(loaded) << loaded.error().message;
    world.state = *loaded;
    control::NoteLoaded(world.state, recorded);
    constexpr double kAway = 3;
    world.seen.wall_seconds += kAway;
    world.seen.unruled_seconds = kAway;
  }
};

void DrawTraffic(std::mt19937& random, double canary_failing, int tick, rollout::World& world) {
  const auto failures = [&random](std::int64_t completed, double share) {
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < completed; ++i) {
      const double draw = static_cast<double>(random()) / static_cast<double>(std::mt19937::max());
      if (draw < share) ++count;
    }
    return count;
  };
  const double weight = world.seen.splitter->canary_percent / 100;
  const auto both = static_cast<std::int64_t>(900 + random() % 200);
  const auto canary = std::llround(static_cast<double>(both) * weight);
  world.Traffic({both - canary, failures(both - canary, .002)},
                {canary, failures(canary, canary_failing)});
  const std::int64_t half = (both - canary) / 2;
  world.seen.counts.primary_instances = {{"b", {half, failures(half, .002)}},
                                         {"a", {half, failures(half, .002)}}};
  if (tick % 5 != 0) return;
  const auto slow = [&failures](std::int64_t completed) {
    const std::int64_t above = failures(completed, .2);
    return stats::LatencyCounts{completed, {{.1, above}, {.25, above / 10}}};
  };
  world.seen.counts.primary.latency = slow(5 * (both - canary));
  world.seen.counts.canary.latency = slow(5 * canary);
}

void ExpectReplaysAsItWas(const Live& live) {
  const auto recording = config::ParseRecording(live.recording);
  ASSERT_TRUE(recording) << recording.error().message << "\n" << live.recording;
  const auto ticks = Replay(*recording);
  std::vector<std::string> decisions;
  for (const rollout::Decision& decision : DecisionsOf(ticks)) decisions.push_back(Told(decision));
  std::vector<std::string> lived;
  for (const rollout::Decision& decision : live.world.decisions) lived.push_back(Told(decision));
  EXPECT_EQ(decisions, lived) << live.recording;
}

Live Begin() {
  Live live;
  live.world.spec.steps[0].min_duration = rollout::Seconds(20);
  live.world.seen.primary_latency_history = {50000, {{.1, 10000}, {.25, 1000}, {1, 3}}};
  live.world.Deploy("v2");
  return live;
}

void TickSome(Live& live, std::mt19937& random, int ticks, double canary_failing = .002) {
  for (int tick = 0; tick < ticks; ++tick) {
    DrawTraffic(random, canary_failing, tick, live.world);
    live.Tick();
  }
}

TEST(Replay, DecidesAgainAsTheLiveRolloutDid) {
  for (const double failing_after : {15, 1000}) {
    Live live = Begin();
    live.world.callers_follow = false;
    std::mt19937 random(7);
    for (int tick = 0; tick < 60; ++tick) {
      if (tick == 6) {  // the callers can reach the canary at last
        live.world.callers_follow = true;
        live.world.CallersFollow();
      }
      DrawTraffic(random, tick >= failing_after ? .1 : .002, tick, live.world);
      live.Tick();
    }
    ExpectReplaysAsItWas(live);
    EXPECT_EQ(live.world.LastDecision(),
              failing_after < 100 ? "rolled-back/traffic-back" : "succeed/promoted");
    std::size_t tick = 0;
    for (const ReplayedTick& replayed : Replay(*config::ParseRecording(live.recording))) {
      if (replayed.look) continue;
      ASSERT_LT(tick, live.log_harms.size());
      EXPECT_EQ(replayed.verdict.log_harm, live.log_harms[tick]) << tick;
      EXPECT_EQ(replayed.verdict.log_safe, live.log_safes[tick]) << tick;
      ++tick;
    }
    EXPECT_EQ(tick, live.log_harms.size());
    EXPECT_GT(tick, 10U);
  }
}

TEST(Replay, TakesOrdersWhereTheLiveRolloutTookThem) {
  using enum rollout::OrderKind;
  Live live = Begin();
  std::mt19937 random(7);
  TickSome(live, random, 6);
  live.Order(kPause);
  TickSome(live, random, 2);
  live.Order(kRetry);  // refused
  live.Order(kResume);
  TickSome(live, random, 2);
  live.Order(kPromote);
  TickSome(live, random, 4);
  live.Order(kAbort);
  EXPECT_EQ(live.world.LastDecision(), "rolled-back/traffic-back");
  ExpectReplaysAsItWas(live);
}

TEST(Replay, TakesOrdersAtEachPlaceOfARollout) {
  using enum rollout::OrderKind;
  for (int before = 1; before < 4; ++before) {
    for (const rollout::OrderKind kind : {kPause, kPromote, kAbort, kRollbackAlert}) {
      Live live = Begin();
      live.world.callers_follow = before >= 2;  // else still in preparation
      std::mt19937 random(7);
      TickSome(live, random, before);
      live.Order(kind, {.full = true,
                        .alert = "x",
                        .alert_key = "k",
                        .alert_started_wall_seconds = live.world.seen.wall_seconds});
      live.world.callers_follow = true;
      live.world.CallersFollow();
      TickSome(live, random, 8);
      ExpectReplaysAsItWas(live);
    }
  }
}

TEST(Replay, RefusesAnOrderThatCameTooLateAsTheLiveRolloutDid) {
  Live live = Begin();
  std::mt19937 random(7);
  TickSome(live, random, 4);
  const std::uint64_t seen = live.world.state.decisions;
  live.Order(rollout::OrderKind::kPromote, {.seen_decisions = seen});
  TickSome(live, random, 1);
  live.Order(rollout::OrderKind::kPromote, {.seen_decisions = seen});
  EXPECT_EQ(live.world.LastDecision(), "refuse/outdated");
  TickSome(live, random, 4);
  ExpectReplaysAsItWas(live);
}

TEST(Replay, GoesOverAForeignEditAsTheLiveRolloutDid) {
  for (const int before : {1, 2, 6}) {  // the edit follows upon the step at once, or later
    Live live = Begin();
    std::mt19937 random(7);
    TickSome(live, random, before);
    live.world.EditSplitter(33);
    live.Look();
    TickSome(live, random, 3);
    live.Order(rollout::OrderKind::kPromote);  // refused
    live.Order(rollout::OrderKind::kResume);
    TickSome(live, random, 40);
    EXPECT_EQ(live.world.LastDecision(), "succeed/promoted");
    ExpectReplaysAsItWas(live);
  }
}

TEST(Replay, GoesOverRoutesThatSomebodyTookAwayAsTheLiveRolloutDid) {
  for (const auto edit : {rollout::RoutesSeen::kNone, rollout::RoutesSeen::kOther}) {
    Live live = Begin();
    live.world.spec.match = {{.header = "x-canary", .value = "always"}};
    live.world.seen.entries_known = true;
    std::mt19937 random(7);
    TickSome(live, random, 6);
    live.world.EditRoutes(edit);
    live.Look();
    TickSome(live, random, 3);
    live.Order(rollout::OrderKind::kPromote);  // refused
    live.Order(rollout::OrderKind::kResume);
    TickSome(live, random, 40);
    EXPECT_EQ(live.world.LastDecision(), "succeed/promoted");
    ExpectReplaysAsItWas(live);
  }
}

TEST(Replay, LeavesOutAsTheLiveRolloutDidWhatAThirdSplitTakes) {
  Live live = Begin();
  live.world.seen.splitter->other_percent = 30;
  live.world.seen.splitter->primary_percent = 70;
  std::mt19937 random(7);
  TickSome(live, random, 10);
  EXPECT_NE(live.world.last.verdict.kind, rollout::VerdictKind::kNoData);
  ExpectReplaysAsItWas(live);
}

TEST(Replay, FollowsASpecificationThatIsChangedOnTheWay) {
  Live live = Begin();
  std::mt19937 random(7);
  TickSome(live, random, 6);
  live.world.spec.steps[0].min_duration = rollout::Seconds(0);
  live.world.spec.steps[1].pause = true;
  TickSome(live, random, 20);
  ExpectReplaysAsItWas(live);
  const auto decisions = live.world.Log();
  EXPECT_NE(std::ranges::find(decisions, "advance/proven 50"), decisions.end());
}

TEST(Replay, ForgetsWhatAnAnalyzerThatWasKilledHadNotStored) {
  for (const bool fails : {false, true}) {
    Live live = Begin();
    std::mt19937 random(7);
    TickSome(live, random, 10);
    live.Checkpoint();
    TickSome(live, random, 4, .01);  // which the next tick counts again
    const auto unstored = live.log_harms.size();
    ASSERT_NO_FATAL_FAILURE(live.Restart());
    TickSome(live, random, 30, fails ? .1 : .002);
    ExpectReplaysAsItWas(live);
    const auto ticks = Replay(*config::ParseRecording(live.recording));
    std::vector<double> log_harms;
    for (const ReplayedTick& tick : ticks) {
      if (!tick.look) log_harms.push_back(tick.verdict.log_harm);
    }
    std::vector<double> lived = live.log_harms;
    lived.erase(lived.begin() + static_cast<std::ptrdiff_t>(unstored) - 4,
                lived.begin() + static_cast<std::ptrdiff_t>(unstored));
    EXPECT_EQ(log_harms, lived);
  }
}

}  // namespace
}  // namespace consul_canary::cli
