// That what is written of a recording is read back.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "analyzer/config/recording.h"
#include "analyzer/config/spec_file.h"

namespace consul_canary::config {
namespace {

const std::string kHeader = R"({"recording": 1, "spec": {"service": "api"}})";

class Draw {
 public:
  explicit Draw(unsigned seed) : random_(seed) {}

  bool Yes() { return random_() % 2 == 0; }
  std::int64_t UpTo(std::int64_t most) { return static_cast<std::int64_t>(random_()) % (most + 1); }
  // From 0 on, tiny ones included.
  double Number() {
    const int exponent = static_cast<int>(UpTo(20)) - 40;
    return std::ldexp(static_cast<double>(random_()), exponent);
  }
  double Percent() { return std::fmod(Number(), 100); }
  std::string Text() {
    std::string text;
    for (std::int64_t i = UpTo(6); i > 0; --i) text += static_cast<char>(' ' + UpTo(94));
    return text + (Yes() ? "\"\\é\n" : "");
  }

 private:
  std::mt19937 random_;
};

stats::Counts AnyCounts(Draw& draw) {
  const std::int64_t completed = draw.UpTo(std::int64_t{1} << 31);
  return {completed, draw.UpTo(completed)};
}

stats::LatencyCounts AnyLatency(Draw& draw) {
  stats::LatencyCounts latency{.timed = draw.UpTo(1000)};
  std::set<double> edges;
  for (std::int64_t i = draw.UpTo(4); i > 0; --i) edges.insert(draw.Number() + 1e-300);
  std::int64_t most = latency.timed;
  for (const double edge : edges) {
    most = draw.UpTo(most);
    latency.slower.emplace_back(edge, most);
  }
  return latency;
}

rollout::SubsetTick AnySubset(Draw& draw) {
  rollout::SubsetTick subset{.low = AnyCounts(draw)};
  subset.high = {subset.low.completed,
                 subset.low.failures + draw.UpTo(subset.low.completed - subset.low.failures)};
  if (draw.Yes()) subset.latency = AnyLatency(draw);
  return subset;
}

rollout::Order AnyOrder(Draw& draw) {
  return {.kind = static_cast<rollout::OrderKind>(draw.UpTo(6)),
          .by = draw.Text(),
          .version = draw.Text(),
          .full = draw.Yes(),
          .seen_decisions = draw.Yes() ? std::optional<std::uint64_t>(0) : std::nullopt,
          .alert = draw.Text(),
          .alert_key = draw.Text(),
          .alert_started_wall_seconds = draw.Number() - draw.Number()};
}

void AddInstances(Draw& draw, RecordedTick& tick) {
  for (std::int64_t i = draw.UpTo(3); i > 0; --i) {
    const std::string id = std::to_string(9 - i) + draw.Text();
    tick.counts.primary_instances.emplace_back(id, AnyCounts(draw));
    if (draw.Yes()) tick.counts.primary_instance_latency.emplace_back(id, AnyLatency(draw));
    if (draw.Yes()) tick.counts.canary_instances.emplace_back(id, AnyCounts(draw));
  }
  if (draw.Yes()) tick.counts.primary_instance_latency.emplace_back("slow", AnyLatency(draw));
}

void AddShield(Draw& draw, RecordedTick& tick) {
  tick.shield = rollout::ShieldView{.ejecting = 1 + static_cast<int>(draw.UpTo(9)),
                                    .retried = draw.Yes(),
                                    .failures_in_a_row = 1 + static_cast<int>(draw.UpTo(9)),
                                    .ejected = draw.Percent() / 100,
                                    .lacks = draw.Text()};
  tick.counts.failed_for_callers = draw.UpTo(9);
  tick.counts.saved_requests = draw.UpTo(9);
  tick.counts.failed_over = draw.UpTo(9);
}

void AddDifferences(Draw& draw, RecordedTick& tick) {
  if (draw.Yes()) tick.other_percent = draw.Percent();
  if (draw.Yes()) tick.splitter = {draw.Percent(), draw.Percent()};
  if (draw.Yes()) tick.canary_filter = draw.Text();
  if (draw.Yes()) tick.primary_filter = draw.Text();
  tick.fenced = draw.Yes();
  tick.instances_known = draw.Yes();
  tick.primary_passing = static_cast<int>(draw.UpTo(2));
  if (draw.Yes()) tick.confirmed = draw.Yes();
  if (draw.Yes()) tick.spec = *ParseSpec("service: api\nstrategy: {steps: [{weight: 7}]}\n");
  if (draw.Yes()) tick.attempts_together = 1 + draw.Percent();
  if (draw.Yes()) tick.request_timeout_seconds = draw.Percent();
  tick.sequence = static_cast<std::uint64_t>(draw.UpTo(9));
  tick.restarted = draw.Yes();
  tick.ready = draw.Yes();
}

RecordedTick AnyTick(Draw& draw, double after) {
  RecordedTick tick{.t = after + draw.Number(), .elapsed_seconds = draw.Number()};
  if (draw.Yes()) tick.unruled_seconds = draw.Number();
  tick.counts.primary = AnySubset(draw);
  tick.counts.canary = AnySubset(draw);
  const std::int64_t started = draw.UpTo(100);
  tick.counts.canary.late = {started, draw.UpTo(started)};
  AddInstances(draw, tick);
  if (draw.Yes()) AddShield(draw, tick);
  if (draw.Yes()) tick.weight_percent = draw.Percent();
  AddDifferences(draw, tick);
  tick.applied = draw.Yes();
  tick.canary_passing = static_cast<int>(draw.UpTo(9));
  tick.ejections = static_cast<std::uint64_t>(draw.UpTo(9));
  if (draw.Yes()) tick.age_seconds = draw.Number();
  tick.doubtful = draw.Yes();
  tick.unknown = draw.Text();
  tick.fleet_pause = draw.Text();
  tick.splitter_unwritable = draw.Text();
  tick.resolver_unwritable = draw.Text();
  tick.router_unwritable = draw.Text();
  for (std::int64_t i = draw.UpTo(2); i > 0; --i) tick.orders.push_back(AnyOrder(draw));
  return tick;
}

TEST(RecordingText, IsReadBackToEqualValues) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    Draw draw(seed);
    Recording recording;
    recording.spec = *ParseSpec("service: api\nanalysis: {latency: [{edge: 250ms}]}\n");
    recording.primary_history = AnyCounts(draw);
    recording.started_by = draw.Text();
    if (draw.Yes()) {
      recording.primary_latency_history = AnyLatency(draw);
    } else {
      recording.late_after_seconds = 1 + draw.Number();
    }
    std::string text = RecordingHeader(recording);
    for (int i = 0; i < 5; ++i) {
      const double after = recording.ticks.empty() ? 0 : recording.ticks.back().t;
      recording.ticks.push_back(AnyTick(draw, after));
      text += RecordingLine(recording.ticks.back());
    }
    auto read = ParseRecording(text);
    ASSERT_TRUE(read) << read.error().message << "\n" << text;
    read->not_judged.clear();
    ASSERT_EQ(*read, recording) << text;
  }
}

TEST(RecordingText, LeavesOutWhatHasItsDefault) {
  RecordedTick tick{.t = 2, .elapsed_seconds = 1};
  tick.counts.primary = {.low = {95, 1}, .high = {95, 1}};
  tick.counts.canary = {.low = {5, 0}, .high = {5, 0}};
  tick.weight_percent = 5;
  EXPECT_EQ(RecordingLine(tick),
            R"({"t":2.0,"elapsed":1.0,"primary":{"completed":95,"failures":1},)"
            R"("canary":{"completed":5,"failures":0},"weight":5.0})"
            "\n");
}

TEST(RecordingText, WritesALookWithoutCounts) {
  const RecordedTick look{
      .look = true, .t = 2.5, .orders = {{.kind = rollout::OrderKind::kAbort, .by = "ann"}}};
  const std::string line = RecordingLine(look, RecordedReturn{2, 7});
  EXPECT_EQ(line, R"({"look":true,"t":2.5,"orders":[{"order":"abort","by":"ann"}],)"
                  R"("back_to":{"t":2.0,"seq":7}})"
                  "\n");
  const RecordedTick tick{.t = 2, .elapsed_seconds = 1, .sequence = 7};
  const auto read = ParseRecording(kHeader + "\n" + RecordingLine(tick) + line);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->ticks, (std::vector<RecordedTick>{tick, look}));
}

TEST(RecordingText, NamesEdgesAsPeopleDo) {
  EXPECT_EQ(EdgeText(.0005), "0.5ms");
  EXPECT_EQ(EdgeText(.035), "35ms");
  EXPECT_EQ(EdgeText(.25), "250ms");
  EXPECT_EQ(EdgeText(2.5), "2500ms");
  EXPECT_EQ(EdgeText(3600), "3600000ms");
}

TEST(RecordingText, ReplacesBytesThatAreNoText) {
  RecordedTick tick{.t = 1, .elapsed_seconds = 1, .unknown = "a\xFFz"};
  const auto read = ParseRecording(kHeader + "\n" + RecordingLine(tick));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->ticks[0].unknown, "a\xEF\xBF\xBDz");
}

}  // namespace
}  // namespace consul_canary::config
