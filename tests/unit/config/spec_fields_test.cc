// What each field of a specification refuses, and how it says so.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/unit/config/verdict.h"

namespace consul_canary::config {
namespace {

TEST(ParseSpec, RefusesNumbersThatAreNone) {
  const std::string range = "must be a number from 0.000000001 on and below 0.5, is ";
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
  EXPECT_EQ(verdict("[0.1]"),
            field + "must be a number from 0.000000001 on and below 0.5, is a list\n");
  EXPECT_EQ(verdict("null"),
            field + "must be a number from 0.000000001 on and below 0.5, is empty\n");
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
  EXPECT_EQ(
      verdict("[{weight: 0}]"),
      steps +
          "[0].weight: must be greater than 0 where strategy.match is empty, since the canary "
          "then gets no requests, is 0\n");
  EXPECT_EQ(verdict("[{weight: -1}]"), steps + "[0]" + weight + "-1\n");
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

TEST(ParseSpec, RefusesBadLinearSteps) {
  const auto verdict = [](const std::string& linear) {
    return Verdict("service: api\nstrategy:\n  linear: {" + linear + "}\n");
  };
  const std::string field = "line 3: strategy.linear.";
  EXPECT_EQ(verdict("step: 10"), field + "max: is missing; it has no default\n");
  EXPECT_EQ(verdict("max: 10"), field + "step: is missing; it has no default\n");
  EXPECT_EQ(verdict("step: 20, max: 10"),
            field + "step: must be at most strategy.linear.max (10), is 20\n");
  EXPECT_EQ(verdict("step: 0.5, max: 90"),
            field + "step: makes more than 100 steps up to 90, is 0.5\n");
  EXPECT_EQ(verdict("step: 10, max: 50, interval: 1h"),
            field + "interval: must be shorter than strategy.deadline (3600 s), is 3600 s\n");
  EXPECT_EQ(verdict("step: 50, max: 100"),
            "line 3: strategy.steps[1].weight: leaves the primary no requests to compare the "
            "canary with, so that nothing is proven; leave the step out (a promotion gives the "
            "canary all traffic by itself), or use analysis.judge: thresholds, is 100\n");
  EXPECT_EQ(
      Verdict("service: api\nstrategy:\n  linear: {step: 5, max: 10}\n  steps: [{weight: 5}]\n"),
      "line 3: strategy.linear: stands beside strategy.steps; give one of the two\n");
}

TEST(ParseSpec, RefusesVersionsThatNobodyCanTell) {
  ExpectErrors({
      {"service: api\nversion_key: version\nversion_tag_prefix: v\n",
       "line 2: version_key: stands beside version_tag_prefix; give one of the two, or "
       "version_key: null\n"},
      {"service: api\nversion_tag_prefix: 'v '\n",
       "line 2: version_tag_prefix: must be the beginning of a tag (1 to 64 printable ASCII "
       "characters, no space, \" or \\), or null, is \"v \"\n"},
      {"service: api\nversion_key: null\n",
       "line 2: start: must be manual with version_key: null, since nothing then tells a new "
       "version\n"
       "line 2: promote: must be none with version_key: null, since nothing then tells which "
       "version the primary subset holds\n"},
      {"service: api\nversion_key: null\nstart: manual\npromote: none\nsubset_filter: "
       "'x{{version}}'\n",
       "line 5: subset_filter: would be ignored with version_key: null; leave it out\n"},
  });
}

TEST(ParseSpec, RefusesWhatWouldBeIgnored) {
  ExpectErrors({
      {"service: api\npromote: external\nsubset_filter: 'x{{version}}'\n",
       "line 3: subset_filter: would be ignored with promote: external, which writes no filter; "
       "leave it out\n"},
      {"service: api\nact: false\nrollback_window: 1h\non_rollback: {maintenance: true}\n",
       "line 3: rollback_window: would be ignored with act: false; leave it out\n"
       "line 4: on_rollback.maintenance: would be ignored with act: false; leave it out\n"},
      {"service: api\nact: false\nstrategy: {after_promotion: 10m}\n",
       "line 3: strategy.after_promotion: would be ignored with act: false; leave it out\n"},
      {"service: api\npromote: none\nstrategy: {after_promotion: 10m}\n",
       "line 3: strategy.after_promotion: would be ignored with promote: none, which keeps the "
       "last "
       "step; leave it out\n"},
      {"service: api\npromote: none\nrollback_window: 1h\n",
       "line 3: rollback_window: would be ignored with promote: none, which makes no version the "
       "primary; leave it out\n"},
      {"service: api\nnamespace: a/b\n",
       "line 2: namespace: must be a name (up to 64 letters, digits, - and _), or null for the "
       "analyzer's own, is a/b\n"},
  });
}

TEST(ParseSpec, RefusesWhatIsNotBuiltYet) {
  const std::string not_built =
      "is not built yet in this version; leave it out or at its default, ";
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"analysis: {interval: 5s}", "analysis.interval: " + not_built + "1s"},
      {"webhooks: [{on: promote}]", "webhooks: " + not_built + "[]"},
      {"notify: [{type: slack}]", "notify: " + not_built + "[]"},
  };
  for (const auto& [text, error] : rows) {
    EXPECT_EQ(Verdict("service: api\n" + text + "\n"), "line 2: " + error + "\n");
  }
}

TEST(ParseSpec, RefusesUnknownChoices) {
  ExpectErrors({
      {"service: api\npromote: swap\n",
       "line 2: promote: must be swap-subsets or external or none, is swap\n"},
      {"service: api\nstart: true\n", "line 2: start: must be new-version or manual, is true\n"},
      {"service: api\nanalysis: {outcomes: []}\n",
       "line 2: analysis.outcomes: must be first-try or attempts or requests, is a list\n"},
      {"service: api\nstrategy: {on_deadline: advance}\n",
       "line 2: strategy.on_deadline: must be hold or rollback, is advance\n"},
  });
}

}  // namespace
}  // namespace consul_canary::config
