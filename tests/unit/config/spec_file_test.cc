#include "analyzer/config/spec_file.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace consul_canary::config {
namespace {

using rollout::OnDeadline;
using rollout::OutcomeView;
using rollout::PromoteMode;
using rollout::Seconds;
using rollout::Spec;
using rollout::StartMode;
using rollout::Step;

// What ParseSpecs says, one line an error; "ok" where it accepts.
std::string Verdict(const std::string& text) {
  const auto specs = ParseSpecs(text);
  if (specs) return "ok";
  std::string lines;
  for (const FieldError& error : specs.error()) lines += ToString(error) + "\n";
  return lines;
}

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
subsets: {primary: stable, canary: next}
start: manual
version_key: release
subset_filter: 'Service.Meta.release == "{{version}}"'
strategy:
  steps:
    - {weight: 0.5}
    - {weight: 25, min_duration: 1.5m}
    - {weight: 100, pause: true}
  ready_deadline: 5m
  warmup: 250ms
  deadline: 2h
  on_deadline: rollback
analysis:
  outcomes: requests
  overdispersion: {floor: 2.5}
  false_rollback: 0.02
  false_advance: 1e-3
  failure_ratio: {margin: {ratio: 1.5, absolute: 0.002}}
promote: none
)");
  Spec expected;
  expected.service = "api";
  expected.primary_subset = "stable";
  expected.canary_subset = "next";
  expected.start = StartMode::kManual;
  expected.version_key = "release";
  expected.subset_filter = "Service.Meta.release == \"{{version}}\"";
  expected.steps = {{.weight_percent = .5},
                    {.weight_percent = 25, .min_duration = Seconds(90)},
                    {.weight_percent = 100, .pause = true}};
  expected.ready_deadline = Seconds(300);
  expected.warmup = Seconds(.25);
  expected.deadline = Seconds(7200);
  expected.on_deadline = OnDeadline::kRollBack;
  expected.outcomes = OutcomeView::kRequests;
  expected.overdispersion_floor = 2.5;
  expected.false_rollback = .02;
  expected.false_advance = .001;
  expected.failure_margin = {1.5, .002};
  expected.promote = PromoteMode::kNone;
  ASSERT_TRUE(spec) << Verdict("");
  EXPECT_EQ(*spec, expected);
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

TEST(ParseSpec, AcceptsTheDefaultsOfWhatIsNotBuilt) {
  EXPECT_EQ(Verdict(R"(
service: api
namespace: default
partition: default
datacenter: null
act: true
version_tag_prefix: null
analysis:
  judge: sequential
  interval: 1s
  proof: each-step
  failure_ratio: {rollback_margin: {ratio: 1.0, absolute: 0}}
  latency: []
  thresholds: []
  on_insufficient_data: hold
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
       }) {
    EXPECT_EQ(Verdict(text), "ok") << text;
  }
}

struct BadDocument {
  const char* text;
  const char* errors;
};

void ExpectErrors(const std::vector<BadDocument>& documents) {
  for (const BadDocument& document : documents) {
    EXPECT_EQ(Verdict(document.text), document.errors) << document.text;
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

TEST(ParseSpec, RefusesNumbersThatAreNone) {
  const std::string range = "must be a number above 0 and below 0.5, is ";
  const auto verdict = [](const std::string& value) {
    return Verdict("service: api\nanalysis: {false_rollback: " + value + "}\n");
  };
  const std::string field = "line 2: analysis.false_rollback: ";
  EXPECT_EQ(verdict(".nan"), field + "must be finite, is .nan\n");
  EXPECT_EQ(verdict("-.INF"), field + "must be finite, is -.INF\n");
  EXPECT_EQ(verdict("nan"), field + "must be finite, is nan\n");
  EXPECT_EQ(verdict("1e999"), field + "must be finite, is 1e999\n");
  EXPECT_EQ(verdict("00.1"),
            field + "must not begin with 0, is 00.1: YAML's readers disagree on its value\n");
  EXPECT_EQ(verdict("0x1"), field + range + "0x1\n");
  EXPECT_EQ(verdict("0.1.1"), field + range + "0.1.1\n");
  EXPECT_EQ(verdict("'0.1'"), field + range + "\"0.1\"\n");
  EXPECT_EQ(verdict("0"), field + range + "0\n");
  EXPECT_EQ(verdict("0.5"), field + range + "0.5\n");
  EXPECT_EQ(verdict("-0.1"), field + range + "-0.1\n");
  EXPECT_EQ(verdict("true"), field + range + "true\n");
  EXPECT_EQ(verdict("[0.1]"), field + "must be a number above 0 and below 0.5, is a list\n");
  EXPECT_EQ(verdict("null"), field + "must be a number above 0 and below 0.5, is empty\n");
}

TEST(ParseSpec, RefusesBadDurations) {
  for (const char* value : {"30", "-1s", "s", "1.s", ".5s", "1 s", "1d", "0.1ms", "1e3s", "8761h",
                            "99999999999999999999s", "1.0000000001s", "true"}) {
    EXPECT_EQ(Verdict(std::string("service: api\nstrategy: {warmup: ") + value + "}\n"),
              std::string("line 2: strategy.warmup: must be a duration such as 30s, 1.5m, 1h or "
                          "250ms, of whole milliseconds and at most a year, is ") +
                  value + "\n");
  }
  ExpectErrors({
      {"service: api\nstrategy: {deadline: 0}\n",
       "line 2: strategy.deadline: must be longer than 0, is 0\n"},
      {"service: api\nstrategy: {ready_deadline: 0s}\n",
       "line 2: strategy.ready_deadline: must be longer than 0, is 0s\n"},
  });
}

TEST(ParseSpec, RefusesBadSteps) {
  const auto verdict = [](const std::string& steps) {
    return Verdict("service: api\nstrategy:\n  steps: " + steps + "\n");
  };
  const std::string weight =
      ".weight: must be a number greater than 0, at most 100, with at most two decimals, is ";
  const std::string steps = "line 3: strategy.steps";
  EXPECT_EQ(verdict("[]"), steps + ": must have 1 to 100 steps, has 0\n");
  EXPECT_EQ(verdict("5"), steps + ": must be a list, is 5\n");
  EXPECT_EQ(verdict("[5]"), steps + "[0]: must be a map (key: value), is 5\n");
  EXPECT_EQ(verdict("[{pause: true}]"), steps + "[0].weight: is missing; it has no default\n");
  EXPECT_EQ(verdict("[{weight: 5, pause: yes}]"),
            steps + "[0].pause: must be true or false, is yes\n");
  EXPECT_EQ(verdict("[{weight: 0}]"), steps + "[0]" + weight + "0\n");
  EXPECT_EQ(verdict("[{weight: 100.01}]"), steps + "[0]" + weight + "100.01\n");
  EXPECT_EQ(verdict("[{weight: 1.234}]"), steps + "[0]" + weight + "1.234\n");
  EXPECT_EQ(verdict("[{weight: 5%}]"), steps + "[0]" + weight + "5%\n");
  EXPECT_EQ(verdict("[{weight: 25}, {weight: 10}]"),
            steps + "[1].weight: must be greater than the step before (25), is 10\n");
  EXPECT_EQ(verdict("[{weight: 10}, {weight: 10}]"),
            steps + "[1].weight: must be greater than the step before (10), is 10\n");
}

TEST(ParseSpec, RefusesBadNames) {
  const std::string subset =
      "must be a subset's name (1 to 63 lower-case letters, digits and -, no - at either end), is ";
  const std::string service =
      "line 1: service: must be a service's name (1 to 63 letters, digits, - and _, no - at either "
      "end), is ";
  EXPECT_EQ(Verdict("service: -api\n"), service + "-api\n");
  EXPECT_EQ(Verdict("service: a.b\n"), service + "a.b\n");
  EXPECT_EQ(Verdict("service: ''\n"), service + "\"\"\n");
  EXPECT_EQ(Verdict("service: 12\n"), service + "12; put it in quotes if it is meant as text\n");
  EXPECT_EQ(Verdict("service: {name: api}\n"), service + "a map\n");
  EXPECT_EQ(Verdict("service: \"a\\nb\"\n"), service + "\"a?b\"\n");
  EXPECT_EQ(Verdict("service: " + std::string(100, 'a') + "\n"),
            service + std::string(60, 'a') + "…\n");
  EXPECT_EQ(Verdict("service: api\nsubsets: {canary: V2}\n"),
            "line 2: subsets.canary: " + subset + "V2\n");
  ExpectErrors({
      {"service: api\nversion_key: app.version\n",
       "line 2: version_key: must be a key of Service.Meta (1 to 128 letters, digits, - and _), is "
       "app.version\n"},
      {"service: api\nversion_key: null\n",
       "line 2: version_key: must be a key of Service.Meta (1 to 128 letters, digits, - and _), is "
       "empty\n"},
      {"service: api\nsubset_filter: 'Service.Meta.version == v2'\n",
       "line 2: subset_filter: must be a filter expression on one line that contains {{version}}, "
       "is "
       "\"Service.Meta.version == v2\"\n"},
  });
}

TEST(ParseSpec, RefusesContradictions) {
  ExpectErrors({
      {"service: api\nsubsets:\n  primary: a\n  canary: a\n",
       "line 4: subsets.canary: must differ from the other subset's name, both are a\n"},
      {"service: api\nsubsets: {primary: canary}\n",
       "line 2: subsets.primary: must differ from the other subset's name, both are canary\n"},
      {"service: api\nstrategy:\n  deadline: 10s\n  warmup: 10s\n",
       "line 4: strategy.warmup: must be shorter than strategy.deadline (10 s), is 10 s\n"},
      {"service: api\nstrategy:\n  deadline: 4s\n",
       "line 3: strategy.warmup: must be shorter than strategy.deadline (4 s), is 5 s\n"},
      {"service: api\nstrategy:\n  steps:\n  - weight: 5\n    min_duration: 2h\n",
       "line 5: strategy.steps[0].min_duration: must be shorter than strategy.deadline (3600 s), "
       "is "
       "7200 s\n"},
  });
}

TEST(ParseSpec, RefusesWhatIsNotBuiltYet) {
  const std::string not_built =
      "is not built yet in this version; leave it out or at its default, ";
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"namespace: team-a", "namespace: " + not_built + "default"},
      {"partition: p", "partition: " + not_built + "default"},
      {"datacenter: dc2", "datacenter: " + not_built + "null"},
      {"act: false", "act: " + not_built + "true"},
      {"version_tag_prefix: v", "version_tag_prefix: " + not_built + "null"},
      {"strategy: {linear: {step: 10}}", "strategy.linear: " + not_built + "null"},
      {"analysis: {judge: both}", "analysis.judge: " + not_built + "sequential"},
      {"analysis: {interval: 5s}", "analysis.interval: " + not_built + "1s"},
      {"analysis: {proof: once}", "analysis.proof: " + not_built + "each-step"},
      {"analysis: {latency: [{edge: 250ms}]}", "analysis.latency: " + not_built + "[]"},
      {"analysis: {thresholds: [{metric: success_ratio}]}",
       "analysis.thresholds: " + not_built + "[]"},
      {"analysis: {on_insufficient_data: advance}",
       "analysis.on_insufficient_data: " + not_built + "hold"},
      {"analysis: {failure_ratio: {rollback_margin: {absolute: 0.1}}}",
       "analysis.failure_ratio.rollback_margin.absolute: " + not_built + "0"},
      {"shield: require", "shield: " + not_built + "auto"},
      {"promote: external",
       "promote: external is not built yet in this version; use swap-subsets or none"},
      {"rollback_window: 60", "rollback_window: " + not_built + "0"},
      {"on_rollback: {maintenance: true}", "on_rollback.maintenance: " + not_built + "false"},
      {"webhooks: [{on: promote}]", "webhooks: " + not_built + "[]"},
      {"notify: [{type: slack}]", "notify: " + not_built + "[]"},
  };
  for (const auto& [text, error] : rows) {
    EXPECT_EQ(Verdict("service: api\n" + text + "\n"), "line 2: " + error + "\n");
  }
}

TEST(ParseSpec, RefusesUnknownChoices) {
  ExpectErrors({
      {"service: api\npromote: swap\n", "line 2: promote: must be swap-subsets or none, is swap\n"},
      {"service: api\nstart: true\n", "line 2: start: must be new-version or manual, is true\n"},
      {"service: api\nanalysis: {outcomes: []}\n",
       "line 2: analysis.outcomes: must be first-try or attempts or requests, is a list\n"},
      {"service: api\nstrategy: {on_deadline: advance}\n",
       "line 2: strategy.on_deadline: must be hold or rollback, is advance\n"},
  });
}

TEST(ParseSpec, ReportsEverythingTogetherInTheOrderOfTheLines) {
  ExpectErrors(
      {{"strategy:\n  deadline: soon\n  steps:\n  - {weight: 200}\n  - {weight: 5}\n"
        "promot: none\nact: false\nsubsets: {primary: canary}\n",
        "line 1: service: is missing; it has no default\n"
        "line 2: strategy.deadline: must be a duration such as 30s, 1.5m, 1h or 250ms, of "
        "whole milliseconds and at most a year, is soon\n"
        "line 4: strategy.steps[0].weight: must be a number greater than 0, at most 100, "
        "with at most two decimals, is 200\n"
        "line 6: promot: is not a known key; did you mean promote?\n"
        "line 7: act: is not built yet in this version; leave it out or at its default, "
        "true\n"
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
       "line 4: promote: must be swap-subsets or none, is later\n"
       "line 6: service: api has a document already, in line 1\n"},
      {"service: api\n---\n---\nservice: web\n",
       "line 3: the document is empty; at least service is needed\n"},
      {"promote: later\n---\nservice: [web\n",
       "line 1: promote: must be swap-subsets or none, is later\n"
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
