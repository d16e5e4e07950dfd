#include "analyzer/config/spec_file.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

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
using rollout::Step;
using rollout::Threshold;
using rollout::ThresholdMetric;

std::vector<Step> DefaultSteps() {
  return {{.weight_percent = 1},
          {.weight_percent = 5},
          {.weight_percent = 10},
          {.weight_percent = 25},
          {.weight_percent = 50}};
}

TEST(ParseSpec, NeedsOnlyTheService) {
  Spec expected;
  expected.service = "api";
  expected.steps = DefaultSteps();
  const auto spec = ParseSpec("service: api\n");
  ASSERT_TRUE(spec);
  EXPECT_EQ(*spec, expected);
}

TEST(ParseSpec, ReadsEveryBuiltKey) {
  const auto spec = ParseSpec(R"(
service: api
namespace: team
partition: north
datacenter: dc2
subsets: {primary: stable, canary: next}
act: false
start: manual
version_key: release
version_tag_prefix: null
subset_filter: 'Service.Meta.release == "{{version}}"'
strategy:
  steps:
    - {weight: 0.5}
    - {weight: 25, min_duration: 1.5m}
    - {weight: 99.99, min_duration: 250ms, pause: true}
  ready_deadline: 5m
  warmup: 250ms
  deadline: 2h
  on_deadline: rollback
analysis:
  judge: both
  proof: once
  outcomes: requests
  overdispersion: {floor: 2.5, stall: 1s}
  false_rollback: 0.02
  false_advance: 1e-3
  failure_ratio:
    margin: {ratio: 1.5, absolute: 0.002}
    rollback_margin: {ratio: 1.25, absolute: 0.001}
  latency:
    - {edge: 2.5s, margin: {ratio: 2, absolute: 0.01}}
    - {edge: 250ms}
  thresholds:
    - {metric: success_ratio, min: 0.99, window: 30s, failures: 3}
    - {metric: latency_p99.9, max: 500ms}
    - {metric: mann_whitney, bin: 10s, window: 5m, confidence: 0.95, tolerance: 0, failures: 1}
  on_insufficient_data: rollback
promote: none
)");
  Spec expected;
  expected.service = "api";
  expected.primary_subset = "stable";
  expected.canary_subset = "next";
  expected.namespace_name = "team";
  expected.partition = "north";
  expected.datacenter = "dc2";
  expected.act = false;
  expected.start = StartMode::kManual;
  expected.version_key = "release";
  expected.subset_filter = "Service.Meta.release == \"{{version}}\"";
  expected.steps = {{.weight_percent = .5},
                    {.weight_percent = 25, .min_duration = Seconds(90)},
                    {.weight_percent = 99.99, .min_duration = Seconds(.25), .pause = true}};
  expected.ready_deadline = Seconds(300);
  expected.warmup = Seconds(.25);
  expected.deadline = Seconds(7200);
  expected.on_deadline = OnDeadline::kRollBack;
  expected.outcomes = OutcomeView::kRequests;
  expected.overdispersion_floor = 2.5;
  expected.false_rollback = .02;
  expected.false_advance = .001;
  expected.failure_margin = {1.5, .002};
  expected.rollback_margin = {1.25, .001};
  expected.stall = Seconds(1);
  expected.judge = JudgeMode::kBoth;
  expected.proof = Proof::kOnce;
  expected.latency = {{.edge = Seconds(.25)}, {.edge = Seconds(2.5), .margin = {2, .01}}};
  expected.thresholds = {{.min = .99, .window = Seconds(30), .failures = 3},
                         {.metric = ThresholdMetric::kLatency, .quantile = .999, .max = .5},
                         {.metric = ThresholdMetric::kMannWhitney,
                          .window = Seconds(300),
                          .failures = 1,
                          .bin = Seconds(10),
                          .confidence = .95,
                          .tolerance = 0}};
  expected.on_insufficient_data = NoDataPolicy::kRollBack;
  expected.promote = PromoteMode::kNone;
  ASSERT_TRUE(spec) << ToString(spec.error().front());
  EXPECT_EQ(*spec, expected);
}

TEST(ParseSpec, ReadsWhatFollowsAPromotionOrARollback) {
  const auto spec = ParseSpec(
      "service: api\nrollback_window: 30m\non_rollback: {maintenance: true}\npromote: external\n"
      "strategy: {after_promotion: 10m}\n");
  ASSERT_TRUE(spec) << ToString(spec.error().front());
  EXPECT_EQ(spec->rollback_window, Seconds(1800));
  EXPECT_TRUE(spec->maintenance_on_rollback);
  EXPECT_EQ(spec->after_promotion, Seconds(600));
  EXPECT_EQ(spec->promote, PromoteMode::kExternal);
}

TEST(ParseSpec, TakesVersionsFromTags) {
  const auto spec = ParseSpec("service: api\nversion_tag_prefix: release-\n");
  ASSERT_TRUE(spec) << ToString(spec.error().front());
  EXPECT_EQ(spec->version_key, "");
  EXPECT_EQ(spec->version_tag_prefix, "release-");
  EXPECT_EQ(spec->subset_filter, "\"release-{{version}}\" in Service.Tags");
  const auto other = ParseSpec(
      "service: api\nversion_key: null\nversion_tag_prefix: v\n"
      "subset_filter: '\"v{{version}}\" in Service.Tags and Service.Meta.live == yes'\n");
  ASSERT_TRUE(other) << ToString(other.error().front());
  EXPECT_EQ(other->subset_filter, "\"v{{version}}\" in Service.Tags and Service.Meta.live == yes");
}

TEST(ParseSpec, DoesWithoutVersionsWhereAPersonStartsAndNothingIsPromoted) {
  const auto spec = ParseSpec("service: api\nversion_key: null\nstart: manual\npromote: none\n");
  ASSERT_TRUE(spec) << ToString(spec.error().front());
  EXPECT_EQ(spec->version_key, "");
  EXPECT_EQ(rollout::FilterForVersion(*spec, "Service.Meta.color == green"),
            "Service.Meta.color == green");
}

std::vector<Step> LinearSteps(const std::string& linear) {
  const auto spec = ParseSpec("service: api\nstrategy: {linear: {" + linear + "}}\n");
  return spec ? spec->steps : std::vector<Step>();
}

TEST(ParseSpec, WritesLinearOutAsSteps) {
  const Seconds half(30);
  EXPECT_EQ(LinearSteps("step: 10, max: 30, interval: 30s"),
            (std::vector<Step>{{.weight_percent = 10, .min_duration = half},
                               {.weight_percent = 20, .min_duration = half},
                               {.weight_percent = 30, .min_duration = half}}));
  EXPECT_EQ(LinearSteps("step: 30, max: 50"),
            (std::vector<Step>{{.weight_percent = 30}, {.weight_percent = 50}}));
  EXPECT_EQ(
      LinearSteps("step: 0.1, max: 0.3"),
      (std::vector<Step>{{.weight_percent = .1}, {.weight_percent = .2}, {.weight_percent = .3}}));
  EXPECT_EQ(LinearSteps("step: 0.99, max: 99").size(), 100U);
  EXPECT_EQ(LinearSteps("step: 5, max: 5"), (std::vector<Step>{{.weight_percent = 5}}));
}

TEST(ParseSpec, ReadsJsonToTheSameSpec) {
  const auto json = ParseSpec(
      "{\"service\": \"api\",\n\t\"strategy\": {\"steps\": [{\"weight\": 5}, {\"weight\": 7.25}],"
      "\"warmup\": 0}}");
  const auto yaml =
      ParseSpec("service: api\nstrategy: {steps: [{weight: 5}, {weight: 7.25}], warmup: 0s}\n");
  ASSERT_TRUE(json && yaml);
  EXPECT_EQ(*json, *yaml);
}

TEST(ParseSpec, GivesEachThresholdItsDefaults) {
  const auto spec = ParseSpec(R"(
service: api
analysis:
  judge: thresholds
  thresholds:
    - {metric: success_ratio, min: 1}
    - {metric: latency_p5, max: 1s}
    - {metric: mann_whitney}
  on_insufficient_data: advance
)");
  ASSERT_TRUE(spec) << ToString(spec.error().front());
  EXPECT_EQ(spec->judge, JudgeMode::kThresholds);
  EXPECT_EQ(spec->on_insufficient_data, NoDataPolicy::kAdvance);
  const std::vector<Threshold> expected{
      {.min = 1, .window = Seconds(60), .failures = 5},
      {.metric = ThresholdMetric::kLatency, .quantile = .05, .max = 1, .window = Seconds(60)},
      {.metric = ThresholdMetric::kMannWhitney,
       .window = Seconds(600),
       .failures = 5,
       .bin = Seconds(60),
       .confidence = .98,
       .tolerance = .25}};
  EXPECT_EQ(spec->thresholds, expected);
}

TEST(ParseSpec, AcceptsTheDefaultsOfWhatIsNotBuilt) {
  EXPECT_EQ(Verdict(R"(
service: api
namespace: default
partition: default
datacenter: null
act: true
version_tag_prefix: null
analysis:
  interval: 1s
shield: auto
rollback_window: 0
on_rollback: {maintenance: false}
webhooks: []
notify: []
)"),
            "ok");
}

TEST(ParseSpec, AcceptsHarmlessVariety) {
  for (const char* text : {
           "\xEF\xBB\xBFservice: api\n",
           "service: api\r\nstrategy:\r\n  warmup: 1s\r\n",
           "---\nservice: api\n...\n",
           "# a comment\nservice: \"api\"\n",
           "{service: api}",
           "{\"service\": \"api\"}",
           "service: \"123\"\n",
           "service: 'true'\n",
           "service: Api_2\n",
           "service: api\nstrategy: {steps: [{weight: +5}, {weight: 1e1}, {weight: 33.33}]}\n",
           "service: api\nstrategy: {steps: [{weight: 0.29}, {weight: 0.57}]}\n",
           "service: api\nstrategy: {deadline: 8760h, warmup: 0.001s}\n",
           "service: api\nshield: ignore\n",
           "service: api\nnamespace: ''\npartition:\n",
           "service: api\nstrategy: {linear: null, steps: [{weight: 5}]}\n",
       }) {
    EXPECT_EQ(Verdict(text), "ok") << text;
  }
}

TEST(ParseSpec, RefusesWhatIsNoSpecification) {
  ExpectErrors({
      {"", "line 1: the document is empty; at least service is needed\n"},
      {"# nothing\n", "line 1: the document is empty; at least service is needed\n"},
      {"---\n", "line 2: the document is empty; at least service is needed\n"},
      {"- service: api\n", "line 1: must be a map (key: value), is a list\n"},
      {"api\n", "line 1: must be a map (key: value), is api\n"},
      {"[]", "line 1: must be a map (key: value), is a list\n"},
      {"{}", "line 1: service: is missing; it has no default\n"},
      {"promote: none\n", "line 1: service: is missing; it has no default\n"},
      {"service: api\nstrategy:\n\tsteps: []\n",
       "line 3: is not YAML: indented by a tab, where only spaces may be\n"},
      {"service: [api\n", "line 2: is not YAML: end of sequence flow not found\n"},
      {"service: api\npromote: *x\n",
       "line 2: is not YAML: the referenced anchor is not defined\n"},
      {"service: &x api\npromote: *x\n",
       "line 2: aliases (*name) are not supported; write the value\n"},
      {"service: !!str api\n", "line 1: tags (!name) are not supported\n"},
      {"? [a]\n: b\n", "line 1: a key must be a word, not a list or a map\n"},
      {"service: a\xFFpi\n", "line 1: is not text: a byte that is not valid UTF-8\n"},
      {"{\"service\": \"api\",\n\"promote\" \"none\"}",
       "line 2: is not JSON: syntax error while parsing object separator - unexpected string "
       "literal; "
       "expected ':'\n"},
  });
}

TEST(ParseSpec, RefusesUnknownKeysAndNamesTheNearest) {
  ExpectErrors({
      {"sevrice: api\n",
       "line 1: sevrice: is not a known key; did you mean service?\n"
       "line 1: service: is missing; it has no default\n"},
      {"service: api\nstrategy:\n  steps:\n  - {weight: 5, puase: true}\n",
       "line 4: strategy.steps[0].puase: is not a known key; did you mean pause?\n"},
      {"service: api\nsubsets: {old: a}\n",
       "line 2: subsets.old: is not a known key; known here: primary, canary\n"},
      {"service: api\n<<: {promote: none}\n",
       "line 2: <<: is not a known key; known here: service, namespace, partition, datacenter, "
       "subsets, act, start, version_key, version_tag_prefix, subset_filter, strategy, analysis, "
       "shield, promote, rollback_window, on_rollback, webhooks, notify\n"},
  });
}

TEST(ParseSpec, RefusesKeysThatAreGivenTwice) {
  ExpectErrors({
      {"service: api\npromote: none\nservice: web\n",
       "line 3: service: is given twice, first in line 1\n"},
      {"{\"service\": \"api\",\n\"service\": \"web\"}",
       "line 2: service: is given twice, first in line 1\n"},
      {"service: api\nstrategy:\n  steps:\n  - weight: 5\n    weight: 6\n",
       "line 5: strategy.steps[0].weight: is given twice, first in line 4\n"},
  });
}

TEST(ParseSpec, ReportsEverythingTogetherInTheOrderOfTheLines) {
  ExpectErrors(
      {{"strategy:\n  deadline: soon\n  steps:\n  - {weight: 200}\n  - {weight: 5}\n"
        "promot: none\nact: never\nsubsets: {primary: canary}\n",
        "line 1: service: is missing; it has no default\n"
        "line 2: strategy.deadline: must be a duration such as 30s, 1.5m, 1h or 250ms, of "
        "whole milliseconds and at most a year, is soon\n"
        "line 4: strategy.steps[0].weight: must be a number greater than 0, at most 100, "
        "with at most two decimals, is 200\n"
        "line 6: promot: is not a known key; did you mean promote?\n"
        "line 7: act: must be true or false, is never\n"
        "line 8: subsets.primary: must differ from the other subset's name, both are "
        "canary\n"}});
}

TEST(ParseSpecs, ReadsADocumentForEachService) {
  const auto specs = ParseSpecs("service: api\n---\nservice: web\npromote: none\n");
  ASSERT_TRUE(specs);
  ASSERT_EQ(specs->size(), 2U);
  EXPECT_EQ((*specs)[0].service, "api");
  EXPECT_EQ((*specs)[1].service, "web");
}

TEST(ParseSpecs, CountsTheLinesOfTheFile) {
  ExpectErrors({
      {"service: api\n---\nservice: web\npromote: later\n---\nservice: api\n",
       "line 4: promote: must be swap-subsets or external or none, is later\n"
       "line 6: service: api has a document already, in line 1\n"},
      {"service: api\n---\n---\nservice: web\n",
       "line 3: the document is empty; at least service is needed\n"},
      {"promote: later\n---\nservice: [web\n",
       "line 1: promote: must be swap-subsets or external or none, is later\n"
       "line 1: service: is missing; it has no default\n"
       "line 4: is not YAML: end of sequence flow not found\n"},
  });
}

TEST(ParseSpec, RefusesSeveralDocuments) {
  const auto spec = ParseSpec("service: api\n---\nservice: web\n");
  ASSERT_FALSE(spec);
  EXPECT_EQ(
      spec.error(),
      (std::vector<FieldError>{{3, "", "only one document is expected here, the text holds 2"}}));
}

TEST(FieldError, IsWrittenWithoutWhatIsNotKnown) {
  EXPECT_EQ(ToString({7, "a.b", "is wrong"}), "line 7: a.b: is wrong");
  EXPECT_EQ(ToString({0, "a.b", "is wrong"}), "a.b: is wrong");
  EXPECT_EQ(ToString({0, "", "is wrong"}), "is wrong");
}

}  // namespace
}  // namespace consul_canary::config
