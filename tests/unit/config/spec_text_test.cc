#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "analyzer/config/spec_file.h"

namespace consul_canary::config {
namespace {

using rollout::OnDeadline;
using rollout::OutcomeView;
using rollout::PromoteMode;
using rollout::Seconds;
using rollout::Spec;
using rollout::StartMode;

Spec Small() {
  Spec spec;
  spec.service = "api";
  spec.steps = {{.weight_percent = 5}};
  return spec;
}

TEST(ToJson, WritesEveryBuiltKeyOnOneLine) {
  EXPECT_EQ(
      ToJson(Small()),
      R"({"service":"api","subsets":{"primary":"primary","canary":"canary"},"start":"new-version",)"
      R"("version_key":"version","subset_filter":"Service.Meta.version == \"{{version}}\"",)"
      R"("strategy":{"steps":[{"weight":5.0,"min_duration":"0s","pause":false}],)"
      R"("ready_deadline":"10m","warmup":"5s","deadline":"1h","on_deadline":"hold"},)"
      R"("analysis":{"outcomes":"first-try","overdispersion":{"floor":1.0},"false_rollback":0.01,)"
      R"("false_advance":0.05,"failure_ratio":{"margin":{"ratio":1.0,"absolute":0.01}}},)"
      R"("promote":"swap-subsets"})");
}

TEST(ToYaml, WritesEveryBuiltKey) {
  EXPECT_EQ(ToYaml(Small()), R"(service: 'api'
subsets: {primary: 'primary', canary: 'canary'}
start: new-version
version_key: 'version'
subset_filter: 'Service.Meta.version == "{{version}}"'
strategy:
  steps:
    - {weight: 5, min_duration: 0s, pause: false}
  ready_deadline: 10m
  warmup: 5s
  deadline: 1h
  on_deadline: hold
analysis:
  outcomes: first-try
  overdispersion: {floor: 1}
  false_rollback: 0.01
  false_advance: 0.05
  failure_ratio: {margin: {ratio: 1, absolute: 0.01}}
promote: swap-subsets
)");
}

std::vector<Spec> Samples() {
  std::vector<Spec> specs = {Small(), Small(), Small()};
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
                    {.weight_percent = 100}};
  specs[2].deadline = Seconds(90000.125);
  specs[2].warmup = Seconds(0);
  specs[2].ready_deadline = Seconds(31536000);
  specs[2].outcomes = OutcomeView::kRequests;
  specs[2].overdispersion_floor = 1.0000000000000002;
  specs[2].false_rollback = 1e-7;
  specs[2].false_advance = .1 + .2;
  specs[2].failure_margin = {1.0 / 3.0, 5e-324};
  return specs;
}

TEST(ToJson, IsReadBackToAnEqualSpec) {
  for (const Spec& spec : Samples()) {
    const auto read = ParseSpec(ToJson(spec));
    ASSERT_TRUE(read) << ToString(read.error().front()) << ToJson(spec);
    EXPECT_EQ(*read, spec) << ToJson(spec);
  }
}

TEST(ToYaml, IsReadBackToAnEqualSpec) {
  for (const Spec& spec : Samples()) {
    const auto read = ParseSpec(ToYaml(spec));
    ASSERT_TRUE(read) << ToString(read.error().front()) << ToYaml(spec);
    EXPECT_EQ(*read, spec) << ToYaml(spec);
  }
}

}  // namespace
}  // namespace consul_canary::config
