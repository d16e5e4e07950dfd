// A recording goes through the code that rules live rollouts, and gives the same lines each time.
#include "analyzer/cli/replay.h"

#include <gtest/gtest.h>

#include <cmath>
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
  return R"({"recording": 1, "spec": {"service": "api", "strategy": {)" + strategy +
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

TEST(Replay, RollsTheFailingRecordingBackWithinTwoSecondsOfItsFault) {
  const auto ticks = ReplayText(Read("failing.jsonl"));
  ASSERT_GE(ticks.size(), 9U);
  EXPECT_EQ(ticks[6].phase, rollout::Phase::kProgressing);
  EXPECT_EQ(ticks[6].t, 7);  // the fault begins at 8
  EXPECT_EQ(ticks[8].phase, rollout::Phase::kRollingBack);
  EXPECT_EQ(ticks[8].weight_percent, 0);
  EXPECT_EQ(ticks.back().phase, rollout::Phase::kRolledBack);
  EXPECT_GE(ticks[8].verdict.log_harm, ticks[8].verdict.harm_bound);
}

TEST(Replay, RecordedWeightsAreThoseThatTheReplayWants) {
  for (const char* name : {"healthy.jsonl", "failing.jsonl"}) {
    const auto recording = config::ParseRecording(Read(name));
    ASSERT_TRUE(recording);
    const auto ticks = Replay(*recording);
    for (std::size_t i = 1; i < ticks.size(); ++i) {
      EXPECT_EQ(recording->ticks[i].weight_percent, ticks[i - 1].weight_percent) << name << i;
    }
  }
}

TEST(Replay, IsTheSameByteForByte) {
  for (const char* name : {"healthy.jsonl", "failing.jsonl"}) {
    const std::string text = Read(name);
    EXPECT_EQ(ReplayJson(ReplayText(text)), ReplayJson(ReplayText(text)));
    EXPECT_EQ(ReplayTable(ReplayText(text)), ReplayTable(ReplayText(text)));
  }
}

TEST(Replay, PrintsOneObjectALineWithEachMetricsOwnEvidence) {
  const std::string lines = ReplayJson(ReplayText(Header() + Tick(1, {95, 0}, {5, 1})));
  ASSERT_EQ(lines.find('\n'), lines.size() - 1);
  const auto line = nlohmann::json::parse(lines);
  EXPECT_EQ(line["t"], 1);
  EXPECT_EQ(line["log_harm"], line["metrics"]["failure_ratio"]["log_harm"]);
  EXPECT_EQ(line["log_safe"], line["metrics"]["failure_ratio"]["log_safe"]);
  EXPECT_EQ(line["phase"], "progressing");
  EXPECT_EQ(line["step"], 1);
  EXPECT_EQ(line["weight"], 1);
  EXPECT_EQ(line["decisions"], nlohmann::json::array());
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
