// What `analysis` refuses, and how it says so: limits of its own, and contradictions.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/unit/config/verdict.h"

namespace consul_canary::config {
namespace {

std::string OfAnalysis(const std::string& keys) {
  return Verdict("service: api\nanalysis: {" + keys + "}\n");
}

TEST(Analysis, RefusesMarginsOutsideTheirLimits) {
  const std::string rollback = "line 2: analysis.failure_ratio.rollback_margin";
  const std::vector<std::pair<std::string, std::string>> rows{
      {"ratio: 0.99", ".ratio: must be a number from 1 on and below 1000, is 0.99\n"},
      {"ratio: 1000", ".ratio: must be a number from 1 on and below 1000, is 1000\n"},
      {"absolute: -0.1", ".absolute: must be a number from 0 on and below 1, is -0.1\n"},
      {"absolute: 1", ".absolute: must be a number from 0 on and below 1, is 1\n"},
      {"absolut: 0", ".absolut: is not a known key; did you mean absolute?\n"},
  };
  for (const auto& [key, error] : rows) {
    EXPECT_EQ(OfAnalysis("failure_ratio: {rollback_margin: {" + key + "}}"), rollback + error);
  }
  EXPECT_EQ(OfAnalysis("failure_ratio: {margin: {absolute: 0}}"),
            "line 2: analysis.failure_ratio.margin.absolute: must be a number above 0 and below 1, "
            "is 0\n");
  EXPECT_EQ(OfAnalysis("failure_ratio: {rollback_margin: {ratio: 1, absolute: 0}}"), "ok");
}

TEST(Analysis, RefusesBadEdges) {
  const auto verdict = [](const std::string& list) { return OfAnalysis("latency: " + list); };
  const std::string latency = "line 2: analysis.latency";
  EXPECT_EQ(verdict("250ms"), latency + ": must be a list, is 250ms\n");
  EXPECT_EQ(verdict("{edge: 250ms}"), latency + ": must be a list, is a map\n");
  EXPECT_EQ(verdict("[{margin: {absolute: 0.1}}]"),
            latency + "[0].edge: is missing; it has no default\n");
  EXPECT_EQ(verdict("[{edge: 0}]"), latency + "[0].edge: must be longer than 0, is 0\n");
  EXPECT_EQ(verdict("[{edge: 1s, margin: {absolute: 0}}]"),
            latency + "[0].margin.absolute: must be a number above 0 and below 1, is 0\n");
  EXPECT_EQ(verdict("[{edge: 1s}, {edge: 2s}, {edge: 1000ms}]"),
            latency + "[2].edge: must differ from analysis.latency[0].edge, both are 1 s\n");
  EXPECT_EQ(verdict("[{edge: 1s}, {edge: 1s}, {edge: 1s}]"),
            latency + "[1].edge: must differ from analysis.latency[0].edge, both are 1 s\n" +
                latency + "[2].edge: must differ from analysis.latency[0].edge, both are 1 s\n");
  EXPECT_EQ(verdict("[{}, {}]"), latency + "[0].edge: is missing; it has no default\n" + latency +
                                     "[1].edge: is missing; it has no default\n");
  std::string nine;
  for (int i = 1; i <= 9; ++i) nine += "{edge: " + std::to_string(i) + "s}, ";
  EXPECT_EQ(verdict("[" + nine + "]"), latency + ": must have at most 8 edges, has 9\n");
}

// A threshold among what else it needs.
std::string OfThreshold(const std::string& keys) {
  return Verdict("service: api\nanalysis:\n  judge: both\n  thresholds:\n  - {" + keys + "}\n");
}

TEST(Analysis, RefusesMetricsThatAreNone) {
  const std::string right = "success_ratio, latency_p99 (or another quantile) or mann_whitney";
  const std::string metric = "line 5: analysis.thresholds[0].metric: ";
  for (const char* name :
       {"latency", "latency_p", "latency_p0", "latency_p05", "latency_p100", "latency_p99.",
        "latency_p.9", "latency_p99.9999", "latency_p9x", "latency_p-9", "success_rate"}) {
    EXPECT_EQ(OfThreshold(std::string("metric: ") + name),
              metric + "must be " + right + ", is " + name + "\n");
  }
  EXPECT_EQ(OfThreshold("metric: [a]"), metric + "must be " + right + ", is a list\n");
  EXPECT_EQ(OfThreshold("min: 0.9"), metric + "is missing; it has no default\n");
  EXPECT_EQ(OfThreshold("metric: query, name: a, query: up, max: 1"),
            metric + "query is not built yet in this version, which has no source of PromQL; use " +
                right + "\n");
  EXPECT_EQ(Verdict("service: api\nstrategy: {deadline: 1m}\n"
                    "analysis: {judge: both, thresholds: [success_ratio]}\n"),
            "line 3: analysis.thresholds[0]: must be a map (key: value), is success_ratio\n");
}

TEST(Analysis, RefusesWhatAThresholdCannotMean) {
  const std::string at = "line 5: analysis.thresholds[0]";
  const std::vector<std::pair<std::string, std::string>> rows{
      {"metric: success_ratio", ".min: is missing; it has no default"},
      {"metric: success_ratio, min: 0", ".min: must be a number above 0 and at most 1, is 0"},
      {"metric: success_ratio, min: 99%", ".min: must be a number above 0 and at most 1, is 99%"},
      {"metric: success_ratio, min: 0.9, max: 1",
       ".max: is for latency quantiles; success_ratio takes min"},
      {"metric: latency_p99", ".max: is missing; it has no default"},
      {"metric: latency_p99, max: 0", ".max: must be longer than 0, is 0"},
      {"metric: latency_p99, max: 1s, min: 1s",
       ".min: is for success_ratio; a latency quantile takes max"},
      {"metric: mann_whitney, min: 0.9",
       ".min: is for success_ratio (min) and latency quantiles (max); mann_whitney takes "
       "confidence "
       "and tolerance"},
      {"metric: mann_whitney, confidence: 1",
       ".confidence: must be a number above 0 and below 1, is 1"},
      {"metric: mann_whitney, tolerance: 1",
       ".tolerance: must be a number from 0 on and below 1, is 1"},
      {"metric: success_ratio, min: 1, failures: 0",
       ".failures: must be a number from 1 to 1000, whole, is 0"},
      {"metric: success_ratio, min: 1, failures: 1.5",
       ".failures: must be a number from 1 to 1000, whole, is 1.5"},
      {"metric: success_ratio, min: 1, failures: 1001",
       ".failures: must be a number from 1 to 1000, whole, is 1001"},
      {"metric: success_ratio, min: 1, window: 0", ".window: must be longer than 0, is 0"},
      {"metric: success_ratio, min: 1, window: 999ms",
       ".window: must be from 1 s to 86400 s, is 999ms"},
      {"metric: mann_whitney, bin: 25h", ".bin: must be from 1 s to 86400 s, is 25h"},
  };
  for (const auto& [keys, error] : rows) EXPECT_EQ(OfThreshold(keys), at + error + "\n") << keys;
  std::string many;
  for (int i = 0; i < 17; ++i) many += "{metric: success_ratio, min: 1}, ";
  EXPECT_EQ(OfAnalysis("judge: both, thresholds: [" + many + "]"),
            "line 2: analysis.thresholds: must have at most 16 thresholds, has 17\n");
}

TEST(Analysis, RefusesWindowsThatNeverEnd) {
  ExpectErrors({
      {"service: api\nstrategy: {deadline: 1m}\nanalysis:\n  judge: both\n  thresholds:\n"
       "  - metric: success_ratio\n    min: 1\n    window: 60s\n  - {metric: latency_p9, max: "
       "1s}\n",
       "line 8: analysis.thresholds[0].window: must be shorter than strategy.deadline (60 s), is "
       "60 s\n"
       "line 9: analysis.thresholds[1].window: must be shorter than strategy.deadline (60 s), is "
       "60 s\n"},
      {"service: api\nanalysis:\n  judge: both\n  thresholds:\n"
       "  - {metric: mann_whitney, bin: 13s, window: 1m}\n  - {metric: mann_whitney, bin: 1s, "
       "window: 1h}\n"
       "  - {metric: mann_whitney, window: 1m}\n",
       "line 5: analysis.thresholds[0].bin: must be such that 5 to 1000 bins fit into the window "
       "(60 s), since fewer cannot tell at a confidence of 0.98, is 13 s\n"
       "line 6: analysis.thresholds[1].window: must be shorter than strategy.deadline (3600 s), is "
       "3600 s\n"
       "line 6: analysis.thresholds[1].bin: must be such that 5 to 1000 bins fit into the window "
       "(3600 s), since fewer cannot tell at a confidence of 0.98, is 1 s\n"
       "line 7: analysis.thresholds[2].bin: must be such that 5 to 1000 bins fit into the window "
       "(60 s), since fewer cannot tell at a confidence of 0.98, is 60 s\n"},
  });
}

TEST(Analysis, RefusesWhatItsJudgeWouldIgnoreOrLacks) {
  const std::string success = "thresholds: [{metric: success_ratio, min: 0.99}]";
  const std::vector<std::pair<std::string, std::string>> rows{
      {success,
       "analysis.thresholds: would be ignored with analysis.judge: sequential; use judge: both or "
       "thresholds"},
      {"judge: both",
       "analysis.judge: needs analysis.thresholds with at least one threshold, there is none"},
      {"judge: thresholds, thresholds: []",
       "analysis.judge: needs analysis.thresholds with at least one threshold, there is none"},
      {"on_insufficient_data: advance",
       "analysis.on_insufficient_data: advance is possible with analysis.judge: thresholds alone, "
       "since the sequential judge advances on nothing but proof; use hold"},
      {"judge: both, on_insufficient_data: advance, " + success,
       "analysis.on_insufficient_data: advance is possible with analysis.judge: thresholds alone, "
       "since the sequential judge advances on nothing but proof; use hold"},
      {"on_insufficient_data: rollback",
       "analysis.on_insufficient_data: rollback would be ignored with analysis.judge: sequential, "
       "since it is about the windows of thresholds; use hold, and strategy.on_deadline: rollback"},
      {"judge: thresholds, latency: [{edge: 1s}], " + success,
       "analysis.latency: would be ignored with analysis.judge: thresholds; use judge: both, or "
       "leave it out"},
      {"judge: thresholds, failure_ratio: {rollback_margin: {absolute: 0.01}}, " + success,
       "analysis.failure_ratio.rollback_margin: would be ignored with analysis.judge: thresholds; "
       "use judge: both, or leave it out"},
      {"judge: thresholds, false_rollback: 0.02, " + success,
       "analysis.false_rollback: would be ignored with analysis.judge: thresholds; use judge: "
       "both, or leave it out"},
      {"false_rollback: 1e-320",
       "analysis.false_rollback: must be a number from 0.000000001 on and below 0.5, is 1e-320"},
      {"overdispersion: {stall: 61s}",
       "analysis.overdispersion.stall: must be from 0 s to 60 s, is 61s"},
  };
  for (const auto& [keys, error] : rows) {
    EXPECT_EQ(OfAnalysis(keys), "line 2: " + error + "\n") << keys;
  }
  EXPECT_EQ(OfAnalysis("judge: thresholds, on_insufficient_data: advance, " + success), "ok");
  EXPECT_EQ(OfAnalysis("judge: both, on_insufficient_data: rollback, " + success), "ok");
  // Whether it would be ignored is not known while the judge is not.
  EXPECT_EQ(OfAnalysis("judge: all, " + success),
            "line 2: analysis.judge: must be sequential or thresholds or both, is all\n");
}

TEST(Analysis, RefusesAStepThatLeavesNothingToCompareWith) {
  const std::string steps = "service: api\nstrategy: {steps: [{weight: 50}, {weight: 100}]}\n";
  EXPECT_EQ(
      Verdict(steps),
      "line 2: strategy.steps[1].weight: leaves the primary no requests to compare the canary "
      "with, so that nothing is proven; leave the step out (a promotion gives the canary all "
      "traffic by itself), or use analysis.judge: thresholds, is 100\n");
  EXPECT_EQ(Verdict(steps + "analysis: {judge: thresholds, thresholds: [{metric: success_ratio, "
                            "min: 0.99}]}\n"),
            "ok");
}

TEST(Analysis, AsksForADurationOfStepsThatAreNotProvenAnew) {
  ExpectErrors({
      {"service: api\nanalysis:\n  proof: once\n",
       "line 3: analysis.proof: once needs strategy.steps, with a min_duration longer than 0 for "
       "each step after the first: they are not proven anew\n"},
      {"service: api\nanalysis: {proof: once}\nstrategy:\n  steps:\n  - {weight: 1}\n"
       "  - {weight: 2, min_duration: 1s}\n  - {weight: 3}\n  - weight: 4\n    min_duration: 0\n",
       "line 7: strategy.steps[2].min_duration: must be longer than 0 with analysis.proof: once, "
       "since this step is not proven anew, is 0 s\n"
       "line 9: strategy.steps[3].min_duration: must be longer than 0 with analysis.proof: once, "
       "since this step is not proven anew, is 0 s\n"},
      {"service: api\nanalysis: {proof: once}\nstrategy: {steps: [{weight: 1}]}\n", "ok"},
      {"service: api\nanalysis: {proof: twice}\n",
       "line 2: analysis.proof: must be each-step or once, is twice\n"},
  });
}

}  // namespace
}  // namespace consul_canary::config
