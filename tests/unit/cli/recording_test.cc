// The format of recordings: what is read, and how each wrong line is named.
#include "analyzer/config/recording.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

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
  EXPECT_EQ(recording->ticks[0].counts.canary_instances, (stats::InstanceCounts{{"c1", {5, 0}}}));
  EXPECT_EQ(recording->ticks[0].ejections, 1U);
}

TEST(ParseRecording, ReadsWhatALiveRolloutNeedsToReplayAsItWas) {
  const auto recording = ParseRecording(
      kHeader + "\n" +
      TickWith(
          R"("elapsed": 0.75, "unruled": 30, "doubtful": true, "unknown": "Consul is away", "healthy": 3, "fleet_pause": "by kim")") +
      "\n" + R"({"t": 3, "primary": {"completed": 9, "failures": 1, "failures_high": 4},)" +
      R"( "canary": {"completed": 0, "failures": 0}})");
  ASSERT_TRUE(recording) << recording.error().message;
  const RecordedTick& live = recording->ticks[0];
  EXPECT_EQ(live.elapsed_seconds, .75);
  EXPECT_EQ(live.unruled_seconds, 30);
  EXPECT_TRUE(live.doubtful);
  EXPECT_EQ(live.unknown, "Consul is away");
  EXPECT_EQ(live.fleet_pause, "by kim");
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
      {R"({"recording": 1.0, "spec": {"service": "api"}})", first.c_str()},
      {R"({"recording": 1, "spec": "api"})",
       "line 1: spec: must be a map (key: value), is \"api\""},
      {R"({"recording": 1})", "line 1: spec: is missing"},
      {R"({"recording": 1, "spec": {"service": "api"}, "more": 1})",
       "line 1: more: is not known in the first line; there are attempts_together, history, "
       "late_after, recording, request_timeout, spec, started_by"},
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
       "line 1: late_after: must be a number from 0 to 1e+09"},
      {R"({"recording": 1, "spec": {"service": "api"}, "late_after": 1, "history": {"primary": {"completed": 1, "failures": 0, "timed": 1}}})",
       "line 1: late_after: follows from history.primary; leave it out"},
  };
  for (const Case& test : cases) {
    const auto recording = ParseRecording(test.text);
    ASSERT_FALSE(recording) << test.text;
    EXPECT_EQ(recording.error().message, test.problem) << test.text;
  }
}

TEST(ParseRecording, NamesEachWrongFieldOfTheSpecificationOnItsLine) {
  const auto recording = ParseRecording(
      R"({"recording": 1, "spec": {"service": "api", "stratgy": {}, "start": "now"}})");
  ASSERT_FALSE(recording);
  const std::string& problems = recording.error().message;
  EXPECT_EQ(problems.substr(0, 22), "line 1: spec: stratgy:") << problems;
  EXPECT_NE(problems.find("\nline 1: spec: start: "), std::string::npos) << problems;
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
      {TickWith(R"("speed": 1)"),
       "speed: is not known in a tick; there are back_to, age, applied, attempts_together, "
       "callers, canary, "
       "confirmed, doubtful, ejections, elapsed, fenced, filters, fleet_pause, healthy, instances, "
       "instances_known, late, look, orders, other, primary, primary_healthy, ready, "
       "request_timeout, resolver_unwritable, restarted, router_unwritable, routes, seq, "
       "shield, spec, splitter, splitter_unwritable, t, unknown, unruled, weight"},
      {TickWith(R"("weight": "5")"), "weight: must be a number from 0 to 100"},
      {TickWith(R"("weight": 1000)"), "weight: must be a number from 0 to 100"},
      {TickWith(R"("elapsed": 1e308)"), "elapsed: must be a number from 0 to 1e+09"},
      {TickWith(R"("elapsed": 1e400)"), "is not JSON: number overflow parsing '1e400'"},
      {TickWith(R"("t": 5)"), "t: is given twice"},
      {TickWith(R"("applied": "no")"), "applied: must be true, false or a whole number"},
      {TickWith(R"("look": true)"), "primary: a look has no counts"},
      {R"({"look": true})", "t: is missing"},
      {R"({"look": true, "t": 1, "late": {"started": 1, "late": 0}})",
       "late: a look has no counts"},
      {TickWith(R"("splitter": {"canary": 33})"),
       "splitter: must be {\"canary\": 33, \"primary\": 67}"},
      {TickWith(R"("splitter": {"canary": 33, "primary": 167})"),
       "splitter.primary: must be a number from 0 to 100"},
      {TickWith(R"("filters": {"other": "x"})"),
       "filters.other: is not known; there are canary, primary"},
      {TickWith(R"("filters": {"canary": 1})"), "filters.canary: must be text"},
      {TickWith(R"("back_to": {"t": 1})"), "back_to.seq: is missing"},
      {TickWith(R"("back_to": {"t": 1.5, "seq": 0})"), "t: must not be less than back_to.t"},
      {TickWith(R"("spec": {"service": "api", "start": "now"})"),
       "spec: start: must be new-version or manual, is \"now\""},
      {TickWith(R"("orders": [{"order": "abort", "why": "x"}])"),
       "orders.why: is not known; there are alert, alert_key, alert_started_wall_seconds, by, "
       "full, "
       "order, outdated, version"},
      {TickWith(R"("weight": -1)"), "weight: must be a number from 0 to 100"},
      {TickWith(R"("age": null)"), "age: must be a number from 0 to 1e+09"},
      {TickWith(R"("healthy": "yes")"), "healthy: must be true, false or a whole number"},
      {TickWith(R"("applied": 0.5)"), "applied: must be true, false or a whole number"},
      {TickWith(R"("elapsed": -1)"), "elapsed: must be a number from 0 to 1e+09"},
      {TickWith(R"("unruled": true)"), "unruled: must be a number from 0 to 1e+09"},
      {TickWith(R"("doubtful": 1)"), "doubtful: must be true or false"},
      {TickWith(R"("unknown": true)"), "unknown: must be text"},
      {TickWith(R"("ejections": 0.5)"), "ejections: must be a whole number from 0 to 10^12"},
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
       "orders.alert_started_wall_seconds: must be a number of seconds"},
      {TickWith(R"("orders": "abort")"), "orders: must be a list such as [\"abort\"]"},
      {TickWith(R"("orders": ["explode"])"),
       "orders: \"explode\" is no order; there are start, pause, resume, promote, abort, retry, "
       "rollback-alert"},
      {TickWith(R"("orders": [{"by": "ann"}])"),
       "orders: what has no \"order\" in words is no order; there are start, pause, resume, "
       "promote, abort, retry, rollback-alert"},
      {"{\"t\": -1, " + counts + R"("canary": {"completed": 1, "failures": 0}})",
       "t: must be a number from 0 to 1e+09"},
      {"{\"t\": 1, " + counts + R"("canary": 5})",
       "canary: must be {\"completed\": n, \"failures\": x}"},
      {"{\"t\": 1, " + counts + R"("canary": {"completed": 1}})", "canary.failures: is missing"},
      {"{\"t\": 1, " + counts + R"("canary": {"completed": 1.5, "failures": 0}})",
       "canary.completed: must be a whole number from 0 to 10^12"},
      {"{\"t\": 1, " + counts + R"("canary": {"completed": -1, "failures": 0}})",
       "canary.completed: must be a whole number from 0 to 10^12"},
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
  const auto problem = [](const std::string& rest) {
    const auto recording = ParseRecording(kHeader + "\n" + kTick + "\n" + rest);
    return recording ? "" : recording.error().message;
  };
  EXPECT_EQ(problem("not json\n").substr(0, 43), "line 3: is not JSON: syntax error while par");
  EXPECT_EQ(problem("not json\n").find("cut off"), std::string::npos);
  EXPECT_NE(problem(kTick.substr(0, 40)).find("; the line looks cut off"), std::string::npos);
}

TEST(ParseRecording, RefusesWhatWouldOverflowOrExhaustIt) {
  const auto problem = [](const std::string& rest) {
    const auto recording = ParseRecording(kHeader + "\n" + rest);
    return recording ? "" : recording.error().message;
  };
  const std::string deep(3000, '[');
  EXPECT_EQ(problem(TickWith("\"orders\": " + deep)), "line 2: is nested too deeply");
  EXPECT_EQ(problem(TickWith("\"unknown\": \"" + std::string(9 << 20, 'a') + "\"")),
            "line 2: is longer than 8 MiB");
  // 10^12 a line is much, but no more than what a million lines may come to.
  const std::string much =
      R"({"t": 1, "primary": {"completed": 1000000000000, "failures": 1000000000000},)"
      R"( "canary": {"completed": 1000000000000, "failures": 0}})"
      "\n";
  std::string lines;
  for (int i = 0; i < 33333; ++i) lines += much;
  EXPECT_EQ(problem(lines), "");
  EXPECT_EQ(problem(lines + much + much),
            "line 33335: the counts of the lines so far come to more than 1e17");
}

// --- lines that were forgotten

std::vector<double> TimesOf(const std::string& lines) {
  const auto recording = ParseRecording(kHeader + "\n" + lines);
  EXPECT_TRUE(recording) << recording.error().message;
  std::vector<double> times;
  if (!recording) return times;
  for (const RecordedTick& tick : recording->ticks) times.push_back(tick.t);
  return times;
}

std::string Line(double t, const std::string& more = "") {
  return "{\"t\": " + std::to_string(t) + more +
         R"(, "primary": {"completed": 9, "failures": 0}, "canary": {"completed": 1, "failures": 0}})"
         "\n";
}

TEST(ParseRecording, DropsWhatAnAnalyzerHadForgottenWhenItWentOn) {
  using Times = std::vector<double>;
  const std::string look = R"({"look": true, "t": 2.5, "seq": 4})"
                           "\n";
  const auto back = [](double t, double to, int sequence) {
    return Line(t, ", \"back_to\": {\"t\": " + std::to_string(to) +
                       ", \"seq\": " + std::to_string(sequence) + "}");
  };
  const std::string begin = Line(1, R"(, "seq": 3)") + Line(2) + look + Line(3);
  EXPECT_EQ(TimesOf(begin + back(9, 2, 4)), (Times{1, 2, 2.5, 9}));
  // The decision was recorded, but not committed.
  EXPECT_EQ(TimesOf(begin + back(9, 2, 3)), (Times{1, 2, 9}));
  EXPECT_EQ(TimesOf(begin + back(9, 3, 4)), (Times{1, 2, 2.5, 3, 9}));
  EXPECT_EQ(TimesOf(begin + back(9, 0, 2)), (Times{9}));
  // A wall clock that was set meanwhile: what is not later.
  EXPECT_EQ(TimesOf(begin + back(9, 1.5, 3)), (Times{1, 9}));
  // The commit had succeeded after all; only its answer was lost.
  EXPECT_EQ(TimesOf(begin + back(9, 2, 3) + back(10, 2, 4)), (Times{1, 2, 2.5, 10}));
}

TEST(ParseRecording, RefusesToGoOnFromWhatItDoesNotHold) {
  const auto problem = [](const std::string& back) {
    const auto recording = ParseRecording(kHeader + "\n" + Line(1, R"(, "seq": 3)") +
                                          Line(9, ", \"back_to\": " + back));
    return recording ? "" : recording.error().message;
  };
  const std::string missing =
      " before this line: another analyzer has ruled meanwhile, or lines were lost";
  EXPECT_EQ(problem(R"({"t": 1, "seq": 3})"), "");
  EXPECT_EQ(problem(R"({"t": 1, "seq": 5})"),
            "line 3: back_to.seq: is later than any decision" + missing);
  EXPECT_EQ(problem(R"({"t": 8, "seq": 3})"),
            "line 3: back_to.t: is later than any tick" + missing);
}

}  // namespace
}  // namespace consul_canary::config
