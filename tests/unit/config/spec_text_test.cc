#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "analyzer/config/spec_file.h"
#include "tests/unit/config/verdict.h"

namespace consul_canary::config {
namespace {

using rollout::JudgeMode;
using rollout::NoDataPolicy;
using rollout::OnDeadline;
using rollout::OutcomeView;
using rollout::PromoteMode;
using rollout::Proof;
using rollout::Seconds;
using rollout::Spec;
using rollout::StartMode;
using rollout::ThresholdMetric;

Spec Small() {
  Spec spec;
  spec.service = "api";
  spec.steps = {{.weight_percent = 5}};
  return spec;
}

TEST(ToJson, WritesEveryBuiltKeyOnOneLine) {
  EXPECT_EQ(
      ToJson(Small()),
      R"({"service":"api","namespace":null,"partition":null,"datacenter":null,)"
      R"("subsets":{"primary":"primary","canary":"canary"},"act":true,"start":"new-version",)"
      R"("version_key":"version","version_tag_prefix":null,)"
      R"("subset_filter":"Service.Meta.version == \"{{version}}\"",)"
      R"("strategy":{"steps":[{"weight":5.0,"min_duration":"0s","pause":false}],"match":[],)"
      R"("ready_deadline":"10m","warmup":"5s","deadline":"1h","on_deadline":"hold",)"
      R"("after_promotion":"0s"},)"
      R"("analysis":{"judge":"sequential","proof":"each-step","outcomes":"first-try",)"
      R"("overdispersion":{"floor":1.0,"stall":"500ms"},"false_rollback":0.01,)"
      R"("false_advance":0.05,"failure_ratio":{"margin":{"ratio":1.0,"absolute":0.01},)"
      R"("rollback_margin":{"ratio":1.0,"absolute":0.0}},"latency":[],"thresholds":[],)"
      R"("on_insufficient_data":"hold"},)"
      R"("shield":"auto","promote":"swap-subsets","rollback_window":"0s","on_rollback":{"maintenance":false}})");
}

TEST(ToYaml, WritesEveryBuiltKey) {
  EXPECT_EQ(ToYaml(Small()), R"(service: 'api'
namespace: null
partition: null
datacenter: null
subsets: {primary: 'primary', canary: 'canary'}
act: true
start: new-version
version_key: 'version'
version_tag_prefix: null
subset_filter: 'Service.Meta.version == "{{version}}"'
strategy:
  steps:
    - {weight: 5, min_duration: 0s, pause: false}
  match: []
  ready_deadline: 10m
  warmup: 5s
  deadline: 1h
  on_deadline: hold
  after_promotion: 0s
analysis:
  judge: sequential
  proof: each-step
  outcomes: first-try
  overdispersion: {floor: 1, stall: 500ms}
  false_rollback: 0.01
  false_advance: 0.05
  failure_ratio: {margin: {ratio: 1, absolute: 0.01}, rollback_margin: {ratio: 1, absolute: 0}}
  latency: []
  thresholds: []
  on_insufficient_data: hold
shield: auto
promote: swap-subsets
rollback_window: 0s
on_rollback: {maintenance: false}
)");
}

Spec WithThresholds() {
  Spec spec = Small();
  spec.judge = JudgeMode::kBoth;
  spec.latency = {{.edge = Seconds(.25)}, {.edge = Seconds(90), .margin = {1.5, .001}}};
  spec.thresholds = {{.min = .99},
                     {.metric = ThresholdMetric::kLatency, .quantile = .99999, .max = .5},
                     {.metric = ThresholdMetric::kMannWhitney, .window = Seconds(600)}};
  return spec;
}

TEST(ToYaml, WritesALineForEachEdgeAndThreshold) {
  const std::string yaml = ToYaml(WithThresholds());
  EXPECT_EQ(yaml.substr(yaml.find("  latency:")), R"(  latency:
    - {edge: 250ms, margin: {ratio: 1, absolute: 0.02}}
    - {edge: 90s, margin: {ratio: 1.5, absolute: 0.001}}
  thresholds:
    - {metric: success_ratio, min: 0.99, window: 1m, failures: 5}
    - {metric: latency_p99.999, max: 500ms, window: 1m, failures: 5}
    - {metric: mann_whitney, bin: 1m, confidence: 0.98, tolerance: 0.25, window: 10m, failures: 5}
  on_insufficient_data: hold
shield: auto
promote: swap-subsets
rollback_window: 0s
on_rollback: {maintenance: false}
)");
}

std::vector<Spec> Samples() {
  std::vector<Spec> specs = {Small(), Small(), Small(), WithThresholds()};
  specs[1].service = "null";
  specs[1].primary_subset = "123";
  specs[1].canary_subset = "true";
  specs[1].version_key = "1e5";
  specs[1].subset_filter = "'{{version}}' in Service.Tags or \\ # : é";
  specs[1].start = StartMode::kManual;
  specs[1].on_deadline = OnDeadline::kRollBack;
  specs[1].outcomes = OutcomeView::kAttempts;
  specs[1].promote = PromoteMode::kNone;
  specs[2].steps = {{.weight_percent = .01, .min_duration = Seconds(.001), .pause = true},
                    {.weight_percent = .29, .min_duration = Seconds(61)},
                    {.weight_percent = 33.33, .min_duration = Seconds(7200)},
                    {.weight_percent = 99.99}};
  specs[2].deadline = Seconds(90000.125);
  specs[2].warmup = Seconds(0);
  specs[2].ready_deadline = Seconds(31536000);
  specs[2].outcomes = OutcomeView::kRequests;
  specs[2].overdispersion_floor = 1.0000000000000002;
  specs[2].false_rollback = 1e-7;
  specs[2].false_advance = .1 + .2;
  specs[2].failure_margin = {1.0 / 3.0, 5e-324};
  specs[2].rollback_margin = {1.0000000000000002, 0.99999999999999989};
  specs[2].proof = Proof::kOnce;
  specs[2].steps.back().min_duration = Seconds(1);
  specs[2].latency = {{.edge = Seconds(.001), .margin = {999, 1.0 / 3.0}}};
  specs[2].stall = Seconds(0);
  specs[3].judge = JudgeMode::kThresholds;
  specs[3].latency.clear();
  specs[3].on_insufficient_data = NoDataPolicy::kAdvance;
  for (const double quantile : {.01, .05, .5, .9, .95, .999, .9999, .12345}) {
    specs[3].thresholds.push_back({.metric = ThresholdMetric::kLatency,
                                   .quantile = quantile,
                                   .max = .001,
                                   .window = Seconds(1.001),
                                   .failures = 1000});
  }
  specs[3].thresholds.push_back({.metric = ThresholdMetric::kMannWhitney,
                                 .window = Seconds(3),
                                 .bin = Seconds(1.001),
                                 .confidence = 1.0 / 3.0,
                                 .tolerance = 0});
  specs.insert(specs.end(), 3, Small());
  specs[4].version_key = "";
  specs[4].version_tag_prefix = "v'";
  specs[4].subset_filter = "\"v'{{version}}\" in Service.Tags";
  specs[4].promote = PromoteMode::kExternal;
  specs[4].rollback_window = Seconds(90);
  specs[4].after_promotion = Seconds(150);
  specs[4].maintenance_on_rollback = true;
  specs[5].version_key = "";
  specs[5].start = StartMode::kManual;
  specs[5].promote = PromoteMode::kNone;
  specs[5].act = false;
  specs[6].namespace_name = "default";
  specs[6].partition = "1";
  specs[6].datacenter = "null";
  return specs;
}

TEST(ToJson, IsReadBackToAnEqualSpec) {
  for (const Spec& spec : Samples()) {
    EXPECT_EQ(Verdict(ToJson(spec)), "ok");
    const auto read = ParseSpec(ToJson(spec));
    ASSERT_TRUE(read) << ToString(read.error().front()) << ToJson(spec);
    EXPECT_EQ(*read, spec) << ToJson(spec);
  }
}

TEST(ToYaml, IsReadBackToAnEqualSpec) {
  for (const Spec& spec : Samples()) {
    EXPECT_EQ(Verdict(ToYaml(spec)), "ok");
    const auto read = ParseSpec(ToYaml(spec));
    ASSERT_TRUE(read) << ToString(read.error().front()) << ToYaml(spec);
    EXPECT_EQ(*read, spec) << ToYaml(spec);
  }
}

}  // namespace
}  // namespace consul_canary::config
