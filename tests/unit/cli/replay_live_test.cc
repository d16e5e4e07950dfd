// A rollout that was recorded while it was ruled is decided again as it was.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "analyzer/cli/replay.h"
#include "analyzer/control/record.h"
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

// A rollout in a mesh in memory, recorded as the analyzer does it.
struct Live {
  std::string recording;
  std::vector<rollout::Decision> decisions;
  std::vector<double> log_harms, log_safes;
};

void TickLive(rollout::World& world, Live& live) {
  const rollout::State before = world.state;
  rollout::Observation seen = world.seen;
  world.TickWithoutWriting();
  seen.elapsed_seconds = world.seen.elapsed_seconds;
  seen.wall_seconds = world.seen.wall_seconds;
  seen.counts_known = true;
  if (IsActive(before.phase)) {
    const control::RecordPiece piece = control::RecordTick("api", world.spec, before, seen, 0);
    live.recording += (live.recording.empty() ? piece.header : "") + piece.line;
    live.log_harms.push_back(world.last.verdict.log_harm);
    live.log_safes.push_back(world.last.verdict.log_safe);
  }
  world.Look();  // writes
  world.Look();  // sees it
}

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

Live RunLive(double failing_after) {
  rollout::World world;
  world.spec.steps[0].min_duration = rollout::Seconds(20);
  world.seen.primary_latency_history = {50000, {{.1, 10000}, {.25, 1000}, {1, 3}}};
  world.Deploy("v2");
  world.callers_follow = false;
  Live live;
  std::mt19937 random(7);
  for (int tick = 0; tick < 60; ++tick) {
    if (tick == 6) {  // the callers can reach the canary at last
      world.callers_follow = true;
      world.CallersFollow();
    }
    DrawTraffic(random, tick >= failing_after ? .1 : .002, tick, world);
    TickLive(world, live);
  }
  live.decisions = world.decisions;
  return live;
}

TEST(Replay, DecidesAgainAsTheLiveRolloutDid) {
  for (const double failing_after : {15.0, 1e9}) {
    const Live live = RunLive(failing_after);
    const auto recording = config::ParseRecording(live.recording);
    ASSERT_TRUE(recording) << recording.error().message;
    const auto ticks = Replay(*recording);
    ASSERT_GT(ticks.size(), 10U);
    ASSERT_EQ(ticks.size(), live.log_harms.size());
    for (std::size_t i = 0; i < ticks.size(); ++i) {
      EXPECT_EQ(ticks[i].verdict.log_harm, live.log_harms[i]) << i;
      EXPECT_EQ(ticks[i].verdict.log_safe, live.log_safes[i]) << i;
    }
    const auto decisions = DecisionsOf(ticks);
    // What came after the last tick was not recorded.
    ASSERT_GE(decisions.size(), 3U);
    ASSERT_LE(decisions.size(), live.decisions.size());
    for (std::size_t i = 0; i < decisions.size(); ++i) {
      EXPECT_EQ(decisions[i].action, live.decisions[i].action) << i;
      EXPECT_EQ(decisions[i].cause, live.decisions[i].cause) << i;
      EXPECT_EQ(decisions[i].weight_percent, live.decisions[i].weight_percent) << i;
    }
    EXPECT_EQ(decisions.back().action, failing_after < 100 ? "rollback" : "promote");
  }
}

}  // namespace
}  // namespace consul_canary::cli
