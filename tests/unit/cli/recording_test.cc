// The format of recordings: what is read, how each wrong line is named, and that what is written is
// read back.
#include "analyzer/config/recording.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "analyzer/config/spec_file.h"

namespace consul_canary::config {
namespace {

const std::string kHeader = R"({"recording": 1, "spec": {"service": "api"}})";
const std::string kTick =
    R"({"t": 1, "primary": {"completed": 95, "failures": 1}, "canary": {"completed": 5, "failures": 0}})";

// kTick with the text after its opening brace replaced by `more`, which comes first.
std::string TickWith(const std::string& more) { return "{" + more + ", " + kTick.substr(1); }

TEST(ParseRecording, ReadsHeaderHistoryAndTicks) {
  const auto recording = ParseRecording(
      R"({"recording": 1, "spec": {"service": "api"}, "history": {"primary": {"completed": 9, "failures": 2}}})"
      "\n\n" +
      kTick + "\r\n" +
      TickWith(
          R"("weight": 5.5, "applied": false, "healthy": 0, "age": 2.5, "orders": ["abort"])"));
  ASSERT_TRUE(recording) << recording.error().message;
  EXPECT_EQ(recording->spec.service, "api");
  EXPECT_EQ(recording->primary_history, (stats::Counts{9, 2}));
  ASSERT_EQ(recording->ticks.size(), 2U);
  RecordedTick plain{.t = 1, .elapsed_seconds = 1};
  plain.counts.primary = {.low = {95, 1}, .high = {95, 1}};
  plain.counts.canary = {.low = {5, 0}, .high = {5, 0}};
  EXPECT_EQ(recording->ticks[0], plain);
  const RecordedTick& full = recording->ticks[1];
  EXPECT_EQ(full.weight_percent, 5.5);
  EXPECT_FALSE(full.applied);
  EXPECT_EQ(full.canary_passing, 0);
  EXPECT_EQ(full.age_seconds, 2.5);
  ASSERT_EQ(full.orders.size(), 1U);
  EXPECT_EQ(full.orders[0].kind, rollout::OrderKind::kAbort);
  EXPECT_EQ(full.orders[0].by, "recording");
}

TEST(ParseRecording, SaysWhatItReadsButDoesNotJudge) {
  const std::string tick = TickWith(
      R"("instances": {"canary": {"c1": {"completed": 5, "failures": 0}}}, "ejections": 1)");
  const auto recording = ParseRecording(kHeader + "\n" + tick + "\n" + tick);
  ASSERT_TRUE(recording) << recording.error().message;
  EXPECT_EQ(recording->not_judged, (std::vector<std::string>{"instances.canary"}));
  EXPECT_EQ(recording->ticks[0].canary_instances, (stats::InstanceCounts{{"c1", {5, 0}}}));
  EXPECT_EQ(recording->ticks[0].ejections, 1U);
}

TEST(ParseRecording, ReadsWhatALiveRolloutNeedsToReplayAsItWas) {
  const auto recording = ParseRecording(
      kHeader + "\n" +
      TickWith(
          R"("elapsed": 0.75, "unruled": 30, "doubtful": true, "unknown": "Consul is away", "healthy": 3)") +
      "\n" + R"({"t": 3, "primary": {"completed": 9, "failures": 1, "failures_high": 4},)" +
      R"( "canary": {"completed": 0, "failures": 0}})");
  ASSERT_TRUE(recording) << recording.error().message;
  const RecordedTick& live = recording->ticks[0];
  EXPECT_EQ(live.elapsed_seconds, .75);
  EXPECT_EQ(live.unruled_seconds, 30);
  EXPECT_TRUE(live.doubtful);
  EXPECT_EQ(live.unknown, "Consul is away");
  EXPECT_EQ(live.canary_passing, 3);
  EXPECT_EQ(recording->ticks[1].elapsed_seconds, 2);
  EXPECT_EQ(recording->ticks[1].counts.primary.low, (stats::Counts{9, 1}));
  EXPECT_EQ(recording->ticks[1].counts.primary.high, (stats::Counts{9, 4}));
}

TEST(ParseRecording, ReadsLatencyInTheOrderOfItsEdges) {
  const auto recording = ParseRecording(
      R"({"recording": 1, "spec": {"service": "api"}, "history": {"primary": {"completed": 9, "failures": 2, "slower": {"2.5s": 1, "0.5ms": 8}}}})"
      "\n"
      R"({"t": 1, "primary": {"completed": 7, "failures": 0, "timed": 40, "slower": {"1e3ms": 2, "250ms": 30}}, "canary": {"completed": 5, "failures": 0, "slower": {"250ms": 0}}})");
  ASSERT_TRUE(recording) << recording.error().message;
  using Latency = stats::LatencyCounts;
  EXPECT_EQ(recording->primary_latency_history, (Latency{9, {{.0005, 8}, {2.5, 1}}}));
  const rollout::TickCounts& counts = recording->ticks[0].counts;
  EXPECT_EQ(counts.primary.latency, (Latency{40, {{.25, 30}, {1, 2}}}));
  EXPECT_EQ(counts.canary.latency, (Latency{5, {{.25, 0}}}));
}

TEST(ParseRecording, ReadsLateRequestsWhereItIsKnownWhatThatMeans) {
  const std::string tick = TickWith(R"("late": {"started": 12, "late": 3})");
  for (const char* more :
       {R"("late_after": 2.5)",
        R"("history": {"primary": {"completed": 9, "failures": 0, "timed": 0}})"}) {
    const auto recording = ParseRecording(
        std::string(R"({"recording": 1, "spec": {"service": "api"}, )") + more + "}\n" + tick);
    ASSERT_TRUE(recording) << recording.error().message;
    EXPECT_EQ(recording->ticks[0].counts.canary.late, (stats::LateCounts{12, 3}));
    EXPECT_EQ(recording->ticks[0].counts.canary.low, (stats::Counts{5, 0}));
  }
}

TEST(ParseRecording, ReadsInstancesInTheirOrder) {
  const auto recording = ParseRecording(
      kHeader + "\n" +
      TickWith(
          R"("instances": {"primary": {"z": {"completed": 9, "failures": 1, "timed": 4, "slower": {"10ms": 2}}, "a": {"completed": 8, "failures": 0}, "t": {"timed": 1}}})"));
  ASSERT_TRUE(recording) << recording.error().message;
  EXPECT_TRUE(recording->not_judged.empty());
  const rollout::TickCounts& counts = recording->ticks[0].counts;
  EXPECT_EQ(counts.primary_instances, (stats::InstanceCounts{{"z", {9, 1}}, {"a", {8, 0}}}));
  const decltype(counts.primary_instance_latency) latency{{"z", {4, {{.01, 2}}}}, {"t", {1, {}}}};
  EXPECT_EQ(counts.primary_instance_latency, latency);
}

TEST(ParseRecording, ReadsAnOrdersParts) {
  const auto recording = ParseRecording(
      kHeader + "\n" +
      TickWith(
          R"("orders": [{"order": "promote", "by": "ann", "full": true}, {"order": "rollback-alert", "alert": "x", "alert_key": "k", "alert_started_wall_seconds": -7}])"));
  ASSERT_TRUE(recording) << recording.error().message;
  const auto& orders = recording->ticks[0].orders;
  ASSERT_EQ(orders.size(), 2U);
  EXPECT_TRUE(orders[0].full);
  EXPECT_EQ(orders[0].by, "ann");
  EXPECT_EQ(orders[1].alert_key, "k");
  EXPECT_EQ(orders[1].alert_started_wall_seconds, -7);
}

TEST(ParseRecording, NamesTheFirstLinesFaults) {
  struct Case {
    const char* text;
    const char* problem;
  };
  const std::string first = "line 1: the first line must be {\"recording\": 1, \"spec\": {…}}";
  const std::vector<Case> cases{
      {"", "line 1: the recording is empty"},
      {"\n \n", "line 1: the recording is empty"},
      {"[]", first.c_str()},
      {"{}", first.c_str()},
      {R"({"recording": 2, "spec": {"service": "api"}})", first.c_str()},
      {R"({"recording": "1", "spec": {"service": "api"}})", first.c_str()},
      {R"({"recording": 1})", "line 1: spec: is missing"},
      {R"({"recording": 1, "spec": {"service": "api"}, "more": 1})",
       "line 1: more: is not known in the first line"},
      {R"({"recording": 1, "spec": {"service": "api"}, "history": 5})",
       "line 1: history: must be {\"primary\": {\"completed\": n, \"failures\": x}}"},
      {R"({"recording": 1, "spec": {"service": "api"}, "history": {"primary": {"completed": 1}}})",
       "line 1: history.primary.failures: is missing"},
      {R"({"recording": 1, "spec": {"service": "api"}, "history": {"primary": {"completed": 1, "failures": 0, "failures_high": 1}}})",
       "line 1: history.primary.failures_high: is not known; there are completed, "
       "dispersion, failures, slower, timed"},
      {R"({"recording": 1, "spec": {"service": "api"}, "history": {"primary": {"completed": 1, "failures": 0}, "canary": {}}})",
       "line 1: history.canary: is not known; there are primary"},
      {R"({"recording": 1, "spec": {"service": "api"}, "late_after": -1})",
       "line 1: late_after: must be a number from 0 on"},
      {R"({"recording": 1, "spec": {"service": "api"}, "late_after": 1, "history": {"primary": {"completed": 1, "failures": 0, "timed": 1}}})",
       "line 1: late_after: follows from history.primary; leave it out"},
  };
  for (const Case& test : cases) {
    const auto recording = ParseRecording(test.text);
    ASSERT_FALSE(recording) << test.text;
    EXPECT_EQ(recording.error().message, test.problem) << test.text;
  }
}

TEST(ParseRecording, NamesTheSpecificationsField) {
  const auto recording =
      ParseRecording(R"({"recording": 1, "spec": {"service": "api", "stratgy": {}}})");
  ASSERT_FALSE(recording);
  EXPECT_EQ(recording.error().message.substr(0, 22), "line 1: spec: stratgy:")
      << recording.error().message;
}

TEST(ParseRecording, NamesTheLineAndTheFieldOfAWrongTick) {
  struct Case {
    std::string line;
    const char* problem;
  };
  const std::string counts = R"("primary": {"completed": 1, "failures": 0}, )";
  const std::vector<Case> cases{
      {"[]", "a tick must be a JSON object"},
      {"{}", "t: is missing"},
      {R"({"t": 1})", "primary: is missing"},
      {"{\"t\": 1, " + counts + "\"x\": 1}", "canary: is missing"},
      {TickWith(R"("speed": 1)"), "speed: is not known in a tick"},
      {TickWith(R"("weight": "5")"), "weight: must be a number from 0 on"},
      {TickWith(R"("weight": -1)"), "weight: must be a number from 0 on"},
      {TickWith(R"("age": null)"), "age: must be a number from 0 on"},
      {TickWith(R"("healthy": "yes")"), "healthy: must be a whole number from 0 to 2^53"},
      {TickWith(R"("applied": 0.5)"), "applied: must be a whole number from 0 to 2^53"},
      {TickWith(R"("elapsed": -1)"), "elapsed: must be a number from 0 on"},
      {TickWith(R"("unruled": true)"), "unruled: must be a number from 0 on"},
      {TickWith(R"("doubtful": 1)"), "doubtful: must be true or false"},
      {TickWith(R"("unknown": true)"), "unknown: must be text"},
      {TickWith(R"("ejections": 0.5)"), "ejections: must be a whole number from 0 to 2^53"},
      {TickWith(R"("late": 3)"), "late: must be {\"started\": n, \"late\": k}"},
      {TickWith(R"("late": {"started": 3})"), "late.late: is missing"},
      {TickWith(R"("late": {"started": 3, "late": 4})"), "late.late: must not exceed started"},
      {TickWith(R"("late": {"started": 3, "late": 3})"),
       "late: needs late_after in the first line, or history.primary.slower"},
      {TickWith(R"("instances": [])"), "instances: must be {\"primary\": {…}, \"canary\": {…}}"},
      {TickWith(R"("instances": {"other": {}})"),
       "instances.other: is not known; there are canary, primary"},
      {TickWith(R"("instances": {"primary": []})"), "instances.primary: must be {\"<id>\": {…}}"},
      {TickWith(R"("instances": {"primary": {"a": {}}})"),
       "instances.primary.a.completed: is missing"},
      {TickWith(R"("instances": {"primary": {"a": {"slower": {"1s": 1}}}})"),
       "instances.primary.a.slower.1000ms: must not exceed timed"},
      {TickWith(R"("orders": [{"order": "start", "version": 2}])"), "orders.version: must be text"},
      {TickWith(R"("orders": [{"order": "rollback-alert", "alert_started_wall_seconds": "x"}])"),
       "orders.alert_started_wall_seconds: must be a number"},
      {TickWith(R"("orders": "abort")"), "orders: must be a list such as [\"abort\"]"},
      {TickWith(R"("orders": ["explode"])"), "orders: \"explode\" is no order"},
      {TickWith(R"("orders": [{"by": "ann"}])"), "orders: {\"by\":\"ann\"} is no order"},
      {"{\"t\": -1, " + counts + R"("canary": {"completed": 1, "failures": 0}})",
       "t: must be a number from 0 on"},
      {"{\"t\": 1, " + counts + R"("canary": 5})",
       "canary: must be {\"completed\": n, \"failures\": x}"},
      {"{\"t\": 1, " + counts + R"("canary": {"completed": 1}})", "canary.failures: is missing"},
      {"{\"t\": 1, " + counts + R"("canary": {"completed": 1.5, "failures": 0}})",
       "canary.completed: must be a whole number from 0 to 2^53"},
      {"{\"t\": 1, " + counts + R"("canary": {"completed": -1, "failures": 0}})",
       "canary.completed: must be a whole number from 0 to 2^53"},
      {"{\"t\": 1, " + counts + R"("canary": {"completed": 1, "failures": 2}})",
       "canary.failures: must not exceed completed"},
      {"{\"t\": 1, " + counts + R"("canary": {"completed": 1, "failures": 0, "errors": 1}})",
       "canary.errors: is not known; there are completed, failures, failures_high, slower, timed"},
      {"{\"t\": 1, " + counts + R"("canary": {"completed": 2, "failures": 1, "failures_high": 0}})",
       "canary.failures_high: must lie between failures and completed"},
      {"{\"t\": 1, " + counts + R"("canary": {"completed": 2, "failures": 1, "failures_high": 3}})",
       "canary.failures_high: must lie between failures and completed"},
      {"{\"t\": 1, " + counts + R"("canary": {"completed": 2, "failures": 1, "slower": 3}})",
       "canary.slower: must be {\"250ms\": k}"},
      {"{\"t\": 1, " + counts +
           R"("canary": {"completed": 2, "failures": 1, "slower": {"1m": 1}}})",
       "canary.slower.1m: must be an edge such as 250ms or 2.5s"},
      {"{\"t\": 1, " + counts +
           R"("canary": {"completed": 2, "failures": 1, "slower": {"0s": 1}}})",
       "canary.slower.0s: must be an edge such as 250ms or 2.5s"},
      {"{\"t\": 1, " + counts +
           R"("canary": {"completed": 2, "failures": 1, "slower": {"ms": 1}}})",
       "canary.slower.ms: must be an edge such as 250ms or 2.5s"},
      {"{\"t\": 1, " + counts +
           R"("canary": {"completed": 2, "failures": 1, "slower": {"1s": 1, "1000ms": 1}}})",
       "canary.slower.1000ms: is given twice"},
      {"{\"t\": 1, " + counts +
           R"("canary": {"completed": 2, "failures": 1, "slower": {"1s": 3}}})",
       "canary.slower.1000ms: must not exceed timed"},
      {"{\"t\": 1, " + counts +
           R"("canary": {"completed": 2, "failures": 1, "slower": {"1s": 0, "2s": 1}}})",
       "canary.slower.2000ms: must not exceed that of the edge before"},
      {"{\"t\": 0.5, " + counts + R"("canary": {"completed": 1, "failures": 0}})",
       "t: must not be less than in the line before"},
  };
  for (const Case& test : cases) {
    const auto recording = ParseRecording(kHeader + "\n" + kTick + "\n" + test.line + "\n");
    ASSERT_FALSE(recording) << test.line;
    EXPECT_EQ(recording.error().message, std::string("line 3: ") + test.problem) << test.line;
  }
}

TEST(ParseRecording, NamesTheLineThatIsNoJson) {
  const auto recording = ParseRecording(kHeader + "\n" + kTick + "\nnot json\n");
  ASSERT_FALSE(recording);
  EXPECT_EQ(recording.error().message.substr(0, 8), "line 3: ");
}

// --- what is written

class Draw {
 public:
  explicit Draw(unsigned seed) : random_(seed) {}

  bool Yes() { return random_() % 2 == 0; }
  std::int64_t UpTo(std::int64_t most) { return static_cast<std::int64_t>(random_()) % (most + 1); }
  // Any finite number from 0 on, tiny and huge ones included.
  double Number() {
    const int exponent = static_cast<int>(UpTo(80)) - 40;
    return std::ldexp(static_cast<double>(random_()), exponent);
  }
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
          .alert = draw.Text(),
          .alert_key = draw.Text(),
          .alert_started_wall_seconds = draw.Number() - draw.Number()};
}

void AddInstances(Draw& draw, RecordedTick& tick) {
  for (std::int64_t i = draw.UpTo(3); i > 0; --i) {
    const std::string id = std::to_string(9 - i) + draw.Text();
    tick.counts.primary_instances.emplace_back(id, AnyCounts(draw));
    if (draw.Yes()) tick.counts.primary_instance_latency.emplace_back(id, AnyLatency(draw));
    if (draw.Yes()) tick.canary_instances.emplace_back(id, AnyCounts(draw));
  }
  if (draw.Yes()) tick.counts.primary_instance_latency.emplace_back("slow", AnyLatency(draw));
}

RecordedTick AnyTick(Draw& draw, double after) {
  RecordedTick tick{.t = after + draw.Number(), .elapsed_seconds = draw.Number()};
  if (draw.Yes()) tick.unruled_seconds = draw.Number();
  tick.counts.primary = AnySubset(draw);
  tick.counts.canary = AnySubset(draw);
  const std::int64_t started = draw.UpTo(100);
  tick.counts.canary.late = {started, draw.UpTo(started)};
  AddInstances(draw, tick);
  if (draw.Yes()) tick.weight_percent = draw.Number();
  tick.applied = draw.Yes();
  tick.canary_passing = static_cast<int>(draw.UpTo(9));
  tick.ejections = static_cast<std::uint64_t>(draw.UpTo(9));
  if (draw.Yes()) tick.age_seconds = draw.Number();
  tick.doubtful = draw.Yes();
  tick.unknown = draw.Text();
  for (std::int64_t i = draw.UpTo(2); i > 0; --i) tick.orders.push_back(AnyOrder(draw));
  return tick;
}

TEST(RecordingText, IsReadBackToEqualValues) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    Draw draw(seed);
    Recording recording;
    recording.spec = *ParseSpec("service: api\nanalysis: {latency: [{edge: 250ms}]}\n");
    recording.primary_history = AnyCounts(draw);
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
