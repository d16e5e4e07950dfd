// A recording goes through the code that rules live rollouts, and gives the same lines each time.
#include "analyzer/cli/replay.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace consul_canary::cli {
namespace {

std::string Read(const std::string& name) {
  std::ifstream file(std::string(RECORDINGS) + "/" + name);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<ReplayedTick> ReplayText(const std::string& text) {
  const auto recording = config::ParseRecording(text);
  EXPECT_TRUE(recording) << recording.error().message;
  return recording ? Replay(*recording) : std::vector<ReplayedTick>{};
}

std::string Header(const std::string& strategy = R"("warmup": "0s")") {
  return R"({"recording": 1, "request_timeout": 0, "spec": {"service": "api", "strategy": {)" +
         strategy +
         R"(}}, "history": {"primary": {"completed": 30000, "failures": 30}}})"
         "\n";
}

std::string Tick(double t, const stats::Counts& primary, const stats::Counts& canary,
                 const std::string& more = "") {
  nlohmann::json json{
      {"t", t},
      {"primary", {{"completed", primary.completed}, {"failures", primary.failures}}},
      {"canary", {{"completed", canary.completed}, {"failures", canary.failures}}}};
  if (!more.empty()) json.update(nlohmann::json::parse(more));
  return json.dump() + "\n";
}

TEST(Replay, GivesTheTestValuesOfTheStatistics) {
  // docs/statistics.md: ln M of the plain mixture, by 40-digit arithmetic. The first epoch has a
  // mass of 3/4.
  const std::vector<double> plain{1.92219829684, 1.91373583254, 3.54928689831, 3.5424530672,
                                  6.01904600715};
  const auto ticks =
      ReplayText(Header() + Tick(1, {95, 0}, {5, 1}) + Tick(2, {93, 0}, {6, 0}) +
                 Tick(3, {97, 1}, {4, 1}) + Tick(4, {90, 0}, {5, 0}) + Tick(5, {96, 0}, {5, 1}));
  ASSERT_EQ(ticks.size(), plain.size());
  for (std::size_t i = 0; i < plain.size(); ++i) {
    EXPECT_NEAR(ticks[i].verdict.log_harm, std::log(0.75 * std::exp(plain[i]) + 0.25), 1e-10) << i;
  }
  EXPECT_NEAR(ticks[0].verdict.harm_bound, std::log(100), 1e-12);
  EXPECT_EQ(ticks[3].phase, rollout::Phase::kProgressing);
  EXPECT_EQ(ticks[4].phase, rollout::Phase::kRollingBack);
}

// When the rollback was decided; nullptr: never.
const ReplayedTick* RollBackOf(const std::vector<ReplayedTick>& ticks) {
  const auto is_rollback = [](const rollout::Decision& decision) {
    return decision.action == "rollback";
  };
  const auto found = std::ranges::find_if(ticks, [&](const ReplayedTick& tick) {
    return std::ranges::any_of(tick.decisions, is_rollback);
  });
  return found == ticks.end() ? nullptr : &*found;
}

std::vector<std::string> BlamedAt(const ReplayedTick& tick) {
  std::vector<std::string> blamed;
  for (const rollout::MetricVerdict& metric : tick.verdict.metrics) {
    if (metric.blamed) blamed.push_back(metric.name);
  }
  return blamed;
}

const rollout::MetricVerdict* Metric(const ReplayedTick& tick, const std::string& name) {
  const auto& metrics = tick.verdict.metrics;
  const auto found = std::ranges::find(metrics, name, &rollout::MetricVerdict::name);
  return found == metrics.end() ? nullptr : &*found;
}

const std::vector<std::string> kExamples{"healthy", "failing", "slow",       "hanging",
                                         "share",   "clumps",  "late-fault", "thresholds"};

TEST(Replay, PromotesTheHealthyRecording) {
  const auto ticks = ReplayText(Read("healthy.jsonl"));
  ASSERT_FALSE(ticks.empty());
  EXPECT_EQ(ticks.back().phase, rollout::Phase::kSucceeded);
  std::vector<double> weights;
  for (const ReplayedTick& tick : ticks) {
    if (weights.empty() || weights.back() != tick.weight_percent) {
      weights.push_back(tick.weight_percent);
    }
  }
  EXPECT_EQ(weights, (std::vector<double>{10, 50, 100, 0}));
}

TEST(Replay, RollsBackEachExampleOfAFaultSoonAfterItBegins) {
  struct Case {
    const char* name;
    double fault;  // the time from which on it shows
    double within;
    const char* cause;
    std::vector<std::string> blamed;
  };
  const std::vector<Case> cases{
      {"failing", 8, 1, "harm", {"failure_ratio"}},
      // Stalls are allowed for, and histograms move every five seconds.
      {"slow", 12, 30, "harm", {"latency_100ms"}},
      {"hanging", 12, 4, "harm", {"late"}},
      // After six minutes of health.
      {"late-fault", 361, 15, "harm", {"failure_ratio"}},
      {"thresholds", 20, 16, "threshold", {"failure_ratio"}},
  };
  for (const Case& test : cases) {
    const auto ticks = ReplayText(Read(std::string(test.name) + ".jsonl"));
    const ReplayedTick* rolled_back = RollBackOf(ticks);
    ASSERT_NE(rolled_back, nullptr) << test.name;
    EXPECT_GE(rolled_back->t, test.fault) << test.name;
    EXPECT_LE(rolled_back->t, test.fault + test.within) << test.name;
    EXPECT_EQ(rolled_back->decisions.back().cause, test.cause) << test.name;
    EXPECT_EQ(rolled_back->weight_percent, 0) << test.name;
    EXPECT_EQ(BlamedAt(*rolled_back), test.blamed) << test.name;
    EXPECT_EQ(ticks.back().phase, rollout::Phase::kRolledBack) << test.name;
  }
}

TEST(Replay, ThresholdsWaitForTheirFailedChecksWhereTheEvidenceDoesNot) {
  const auto ticks = ReplayText(Read("thresholds.jsonl"));
  const auto proven = std::ranges::find_if(ticks, [](const ReplayedTick& tick) {
    return tick.verdict.log_harm >= tick.verdict.harm_bound;
  });
  ASSERT_NE(proven, ticks.end());
  EXPECT_GE(RollBackOf(ticks)->t, proven->t + 5);
}

TEST(Replay, NeverAdvancesACanaryWhoseShareIsLost) {
  const auto ticks = ReplayText(Read("share.jsonl"));
  ASSERT_EQ(ticks.size(), 60U);
  for (const ReplayedTick& tick : ticks) {
    EXPECT_EQ(tick.weight_percent, 10) << tick.t;
    if (tick.t < 20) continue;
    EXPECT_EQ(tick.verdict.kind, rollout::VerdictKind::kUntrusted) << tick.t;
  }
  const rollout::Verdict& verdict = ticks.back().verdict;
  EXPECT_GT(verdict.log_safe, verdict.safe_bound);
  EXPECT_NEAR(verdict.observed_share.value(), .05, .005);
  EXPECT_NE(ticks.back().reason.find("outlier detection has ejected instances"), std::string::npos)
      << ticks.back().reason;
}

TEST(Replay, FailuresThatClumpAreNoHarmOnceThePrimarysInstancesHaveShownIt) {
  auto recording = config::ParseRecording(Read("clumps.jsonl"));
  ASSERT_TRUE(recording);
  const auto ticks = Replay(*recording);
  EXPECT_EQ(RollBackOf(ticks), nullptr);
  EXPECT_TRUE(ticks.back().verdict.overdispersion_learned);
  EXPECT_GT(ticks.back().verdict.overdispersion, 5);
  for (config::RecordedTick& tick : recording->ticks) tick.counts.primary_instances.clear();
  const auto untempered = Replay(*recording);
  EXPECT_NE(RollBackOf(untempered), nullptr);
  EXPECT_EQ(untempered.back().verdict.overdispersion, 1);
}

TEST(Replay, RecordedWeightsAreThoseThatTheReplayWants) {
  for (const std::string& name : kExamples) {
    const auto recording = config::ParseRecording(Read(name + ".jsonl"));
    ASSERT_TRUE(recording) << name;
    const auto ticks = Replay(*recording);
    for (std::size_t i = 1; i < ticks.size(); ++i) {
      const double recorded = recording->ticks[i].weight_percent.value();
      if (ticks[i].weight_percent > 0 && ticks[i - 1].weight_percent == 0) continue;  // it starts
      EXPECT_EQ(recorded, ticks[i - 1].weight_percent) << name << i;
    }
  }
}

// Written by make.py --decisions, to be read before they are committed.
TEST(Replay, DecidesTheExamplesAsItAlwaysDid) {
  for (const std::string& name : kExamples) {
    std::string decisions;
    for (const ReplayedTick& tick : ReplayText(Read(name + ".jsonl"))) {
      for (const rollout::Decision& decision : tick.decisions) {
        decisions += fmt::format("{:g} {} {} {:g}: {}\n", tick.t, decision.action, decision.cause,
                                 decision.weight_percent, decision.reason);
      }
    }
    EXPECT_EQ(decisions, Read(name + ".decisions")) << name;
  }
}

TEST(Replay, IsTheSameByteForByte) {
  for (const std::string& name : kExamples) {
    const std::string text = Read(name + ".jsonl");
    EXPECT_EQ(ReplayJson(ReplayText(text)), ReplayJson(ReplayText(text)));
    EXPECT_EQ(ReplayTable(ReplayText(text)), ReplayTable(ReplayText(text)));
  }
}

TEST(Replay, WatchesNothingButFailuresWhereNothingElseWasRecorded) {
  for (const char* name : {"healthy.jsonl", "failing.jsonl", "share.jsonl"}) {
    for (const ReplayedTick& tick : ReplayText(Read(name))) {
      ASSERT_EQ(tick.verdict.metrics.size(), 1U) << name;
      EXPECT_EQ(tick.verdict.metrics[0].log_harm, tick.verdict.log_harm) << name << tick.t;
    }
  }
}

TEST(Replay, WithoutALatencyHistoryWatchesEveryEdgeThatIsRecordedFromTheStart) {
  const std::string late_edge =
      R"({"primary": {"completed": 95, "failures": 0, "slower": {"1s": 1, "100ms": 9}}})";
  const auto ticks =
      ReplayText(Header() + Tick(1, {95, 0}, {5, 0}) + Tick(2, {95, 0}, {5, 0}, late_edge));
  ASSERT_EQ(ticks.size(), 2U);
  std::vector<std::string> names;
  for (const auto& metric : ticks[0].verdict.metrics) names.push_back(metric.name);
  EXPECT_EQ(names, (std::vector<std::string>{"failure_ratio", "latency_100ms", "latency_1000ms"}));
}

TEST(Replay, WatchesHangingRequestsWhereItIsSaidWhatIsLate) {
  const std::string header =
      R"({"recording": 1, "spec": {"service": "api", "strategy": {"warmup": "0s"}}, "late_after": 3})"
      "\n";
  const auto ticks =
      ReplayText(header + Tick(1, {95, 0}, {5, 0}, R"({"late": {"started": 100, "late": 90}})"));
  ASSERT_EQ(ticks.size(), 1U);
  ASSERT_NE(Metric(ticks[0], "late"), nullptr);
  EXPECT_EQ(BlamedAt(ticks[0]), (std::vector<std::string>{"late"}));
  EXPECT_NE(ticks[0].reason.find("at least 90 of its requests took longer than 3 s"),
            std::string::npos)
      << ticks[0].reason;
}

TEST(Replay, CounterDoubtErrsOnTheSafeSideBothWays) {
  const std::string doubt = R"({"canary": {"completed": 50, "failures": 0, "failures_high": 25}})";
  const auto with = ReplayText(Header() + Tick(1, {950, 1}, {50, 0}, doubt));
  const auto low = ReplayText(Header() + Tick(1, {950, 1}, {50, 0}));
  const auto high = ReplayText(Header() + Tick(1, {950, 1}, {50, 25}));
  EXPECT_EQ(with[0].verdict.log_harm, low[0].verdict.log_harm);
  EXPECT_EQ(with[0].verdict.log_safe, high[0].verdict.log_safe);
}

TEST(Replay, BeforeTheCanaryHasAWeightThePrimaryTeachesAlone) {
  const std::string waits = R"({"weight": 0})";
  const auto ticks =
      ReplayText(Header() + Tick(1, {95, 0}, {0, 0}, waits) + Tick(2, {95, 0}, {0, 0}, waits) +
                 Tick(3, {94, 0}, {1, 0}, R"({"weight": 1})"));
  ASSERT_EQ(ticks.size(), 3U);
  EXPECT_EQ(ticks[1].step, 0);
  EXPECT_EQ(ticks[1].reason,
            "waits for the canary: its instances are not routable yet from recording");
  EXPECT_EQ(ticks[2].step, 1);
  EXPECT_EQ(ticks[2].verdict.kind, rollout::VerdictKind::kUndecided);
}

TEST(Replay, AStepsFirstTickCountsTowardsItsWarmUp) {
  const auto ticks =
      ReplayText(Header(R"("steps": [{"weight": 10}, {"weight": 50}], "warmup": "1s")") +
                 Tick(1, {90, 0}, {10, 0}) + Tick(2, {45000, 0}, {5000, 0}) +
                 Tick(3, {50, 0}, {50, 0}) + Tick(4, {5000, 0}, {5000, 0}));
  ASSERT_EQ(ticks.size(), 4U);
  EXPECT_EQ(ticks[1].weight_percent, 50);
  EXPECT_EQ(ticks[2].verdict.kind, rollout::VerdictKind::kWarmup);
  EXPECT_EQ(ticks[3].verdict.kind, rollout::VerdictKind::kSafe);
}

TEST(Replay, TakesTheMeasuredTimeOfATick) {
  const auto verdict = [](const std::string& more) {
    return ReplayText(Header(R"("warmup": "5s", "deadline": "60s")") + Tick(1, {95, 0}, {5, 0}) +
                      Tick(2, {95, 0}, {5, 0}, more));
  };
  EXPECT_TRUE(verdict("").back().decisions.empty());
  // Time during which nobody ruled counts towards deadlines, not towards warm-up.
  const auto unruled = verdict(R"({"unruled": 60})");
  EXPECT_EQ(unruled.back().verdict.kind, rollout::VerdictKind::kWarmup);
  ASSERT_EQ(unruled.back().decisions.size(), 1U);
  EXPECT_EQ(unruled.back().decisions[0].cause, "deadline");
  const auto ruled = verdict(R"({"elapsed": 60})");
  EXPECT_EQ(ruled.back().decisions.at(0).cause, "deadline");
}

TEST(Replay, AnAlertFromBeforeTheRolloutIsRefused) {
  const auto cause = [](const std::string& started) {
    const auto ticks = ReplayText(
        Header() +
        Tick(1, {95, 0}, {5, 0},
             R"({"orders": [{"order": "rollback-alert", "alert_started_wall_seconds": )" + started +
                 "}]}"));
    return ticks.at(0).decisions.back().action;
  };
  EXPECT_EQ(cause("-1"), "refuse");
  EXPECT_EQ(cause("1"), "rollback");
}

TEST(Replay, PrintsOneObjectALineWithEachMetricsOwnEvidence) {
  const std::string lines = ReplayJson(ReplayText(Header() + Tick(1, {95, 0}, {5, 1})));
  ASSERT_EQ(lines.find('\n'), lines.size() - 1);
  const auto line = nlohmann::json::parse(lines);
  EXPECT_EQ(line["t"], 1);
  EXPECT_EQ(line["log_harm"], line["metrics"]["failure_ratio"]["log_harm"]);
  EXPECT_EQ(line["log_safe"], line["metrics"]["failure_ratio"]["log_safe"]);
  EXPECT_EQ(line["blamed"], nlohmann::json::array());
  EXPECT_EQ(line["verdict"], "undecided");
  EXPECT_EQ(line["overdispersion"], 1);
  EXPECT_EQ(line["observed_share"], nullptr);
  for (const char* interval : {"difference", "rate_ratio"}) {
    ASSERT_EQ(line[interval].size(), 3U) << interval;
    EXPECT_LE(line[interval][0], line[interval][1]) << interval;
    EXPECT_LE(line[interval][1], line[interval][2]) << interval;
  }
  EXPECT_FALSE(line["notes"].empty());
  EXPECT_EQ(line["phase"], "progressing");
  EXPECT_EQ(line["step"], 1);
  EXPECT_EQ(line["weight"], 1);
  // What happened before its first requests is told with it.
  ASSERT_EQ(line["decisions"].size(), 2U);
  EXPECT_EQ(line["decisions"][0]["action"], "start");
  EXPECT_EQ(line["decisions"][1]["cause"], "ready");
}

TEST(Replay, TakesWhatATickSaysOfTheMesh) {
  struct Case {
    const char* more;
    const char* phase;
    const char* says;
  };
  const std::vector<Case> cases{
      {R"({"healthy": false})", "rolling-back",
       "the canary subset has no passing instance left in Consul"},
      {R"({"age": 3.6})", "progressing",
       "holds: no fresh data from recording (last read 3.6 s ago)"},
      {R"({"orders": ["abort"]})", "rolling-back", "aborted by recording"},
      {R"({"orders": [{"order": "pause", "by": "ann"}]})", "paused", "paused by ann"},
      {R"({"applied": false})", "progressing", "holds: recording has not taken the new route"},
  };
  for (const Case& test : cases) {
    const auto ticks = ReplayText(Header() + Tick(1, {5000, 5}, {5000, 5}, test.more));
    ASSERT_EQ(ticks.size(), 1U);
    EXPECT_EQ(rollout::ToString(ticks[0].phase), test.phase) << test.more;
    EXPECT_EQ(ticks[0].reason, test.says) << test.more;
  }
}

TEST(Replay, StartsWhatIsStartedByHand) {
  const auto ticks = ReplayText(R"({"recording": 1, "spec": {"service": "api", "start": "manual"}})"
                                "\n" +
                                Tick(1, {95, 0}, {5, 0}));
  ASSERT_EQ(ticks.size(), 1U);
  EXPECT_EQ(ticks[0].phase, rollout::Phase::kProgressing);
}

TEST(Replay, CountsTheTimeBetweenTicks) {
  const auto ticks = ReplayText(Header(R"("warmup": "10s", "deadline": "60s")") +
                                Tick(1, {95, 0}, {5, 0}) + Tick(70, {95, 0}, {5, 0}));
  ASSERT_EQ(ticks.size(), 2U);
  EXPECT_EQ(ticks[0].verdict.kind, rollout::VerdictKind::kWarmup);
  ASSERT_EQ(ticks[1].decisions.size(), 1U);
  EXPECT_EQ(ticks[1].decisions[0].cause, "deadline");
}

}  // namespace
}  // namespace consul_canary::cli
