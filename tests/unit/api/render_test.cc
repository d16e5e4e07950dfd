// What the API shows of a rollout, and how it says that something is wrong.
#include "analyzer/api/render.h"

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "tests/support/temp_dir.h"

namespace consul_canary::api {
namespace {

using nlohmann::json;

control::RolloutView View() {
  control::RolloutView view;
  view.id = "api";
  view.spec = rollout::Spec{};
  view.spec->service = "api";
  view.spec->steps = {{.weight_percent = 10}, {.weight_percent = 50}};
  view.leading = true;
  view.state.phase = rollout::Phase::kProgressing;
  view.state.stage = rollout::Stage::kStepping;
  view.state.step = 1;
  view.state.canary_version = "v2";
  view.state.primary_version = "v1";
  view.state.wanted.canary_percent = 50;
  view.state.started_wall_seconds = 1795539600;
  view.state.evidence.step_canary = {120, 3};
  view.state.reason = "collects evidence";
  view.verdict = {.kind = rollout::VerdictKind::kUndecided, .log_harm = 0.5, .harm_bound = 4.6};
  view.splitter = rollout::SplitterView{.canary_percent = 10, .primary_percent = 90};
  view.callers = 2;
  return view;
}

TEST(RolloutJson, ShowsStepsFromOneAndWantedBesideObservedWeight) {
  const json shown = json::parse(RolloutJson(View()));
  EXPECT_EQ(shown["service"], "api");
  EXPECT_EQ(shown["phase"], "progressing");
  EXPECT_EQ(shown["step"], 2);
  EXPECT_EQ(shown["steps"], 2);
  EXPECT_EQ(shown["weight"], 50);
  EXPECT_EQ(shown["observed_weight"], 10);
  EXPECT_EQ(shown["verdict"], "undecided");
  EXPECT_EQ(shown["started"], "2026-11-24T17:00:00Z");
  EXPECT_EQ(shown["evidence"]["step"]["canary"], (json{{"completed", 120}, {"failures", 3}}));
  EXPECT_EQ(shown["evidence"]["log_harm"], 0.5);
  EXPECT_EQ(shown["spec"]["service"], "api");
}

// What programs read stays as it is: a field that is renamed, moved or dropped shows here, and
// belongs into docs/api.md and CHANGELOG.md.
TEST(RolloutJson, IsTheGoldenFile) {
  control::RolloutView view = View();
  view.holder = "analyzer-1:9656";
  view.state.evidence.step_primary = {900, 3};
  view.state.evidence.rollout_canary = {300, 4};
  view.state.evidence.rollout_primary = {2500, 9};
  view.state.evidence.canary_latency = {200, {{.25, 20}}};
  view.state.stage_seconds = 12.5;
  view.state.confirmed = true;
  view.state.confirmed_seconds = 12;
  view.state.decisions = 3;
  view.state.last_order = 2;
  view.verdict.log_safe = 1.5;
  view.verdict.safe_bound = 3;
  view.verdict.overdispersion = 1.25;
  view.verdict.observed_share = 0.125;
  view.verdict.metrics = {{.name = "failure_ratio", .weight = 1, .log_harm = 0.5, .log_safe = 1.5}};
  view.verdict.notes = {"a note"};
  view.canary_passing = 1;
  view.primary_passing = 2;
  view.stragglers = "web-1 applies 10%";
  view.requests_per_second = 100.5;
  view.outcomes_age_seconds = 0.5;
  const auto golden = testing::ReadFile(GOLDEN_FILES "/rollout.json");
  auto shown = nlohmann::ordered_json::parse(RolloutJson(view));
  shown.erase("spec");  // has tests of its own
  EXPECT_EQ(shown.dump(2) + "\n", golden);
}

TEST(RolloutJson, WhatIsNotKnownIsNullAndNoNumber) {
  control::RolloutView view;
  view.id = "api";
  view.problem = "stored specification: line 1: service: is missing";
  const json shown = json::parse(RolloutJson(view));
  EXPECT_TRUE(shown["observed_weight"].is_null());
  EXPECT_TRUE(shown["started"].is_null());
  EXPECT_EQ(shown["step"], 0);
  EXPECT_EQ(shown["phase"], "idle");
  EXPECT_EQ(shown["problem"], view.problem);
  EXPECT_FALSE(shown.contains("spec"));
}

TEST(RolloutsJson, ListsThem) {
  const auto view = std::make_shared<const control::RolloutView>(View());
  const json shown = json::parse(RolloutsJson({view, view}, "paused by ann"));
  EXPECT_EQ(shown["rollouts"].size(), 2U);
  EXPECT_EQ(shown["paused"], "paused by ann");
  EXPECT_EQ(json::parse(RolloutsJson({}, "")), (json{{"rollouts", json::array()}, {"paused", ""}}));
}

TEST(DecisionsJson, PassesStoredTextsOnAndSkipsWhatIsNone) {
  EXPECT_EQ(json::parse(DecisionsJson({R"({"sequence": 1})", "garbage", R"({"sequence": 2})"})),
            (json{{"decisions", {{{"sequence", 1}}, {{"sequence", 2}}}}}));
}

TEST(AppliedJson, HasWhatWasStoredWhatWasWrittenForItAndWarnings) {
  rollout::Spec spec;
  spec.service = "api";
  spec.steps = {{.weight_percent = 5}};
  const json plain = json::parse(AppliedJson(spec, {}, {}));
  EXPECT_EQ(plain["spec"]["service"], "api");
  EXPECT_EQ(plain["created"], json::array());
  EXPECT_EQ(plain["warnings"], json::array());
  const json answer = json::parse(AppliedJson(spec, {.splitter = R"({"Kind": "service-splitter"})"},
                                              {{"service", "is blind"}}));
  EXPECT_EQ(answer["created"], (json{{{"Kind", "service-splitter"}}}));
  EXPECT_EQ(answer["warnings"], (json{{{"field", "service"}, {"problem", "is blind"}}}));
}

TEST(DecisionsJson, LeavesOutWhatIsOlderAndAllButTheNewest) {
  const std::vector<std::string> stored{R"({"sequence": 1, "wall_seconds": 10})",
                                        R"({"sequence": 2, "wall_seconds": 20})",
                                        R"({"sequence": 3, "wall_seconds": 30})"};
  const auto sequences = [&stored](const DecisionRange& range) {
    std::string shown;
    const json answer = json::parse(DecisionsJson(stored, range));
    for (const json& decision : answer["decisions"]) {
      shown += std::to_string(decision["sequence"].get<int>());
    }
    return shown;
  };
  EXPECT_EQ(sequences({}), "123");
  EXPECT_EQ(sequences({.since_wall_seconds = 20}), "23");
  EXPECT_EQ(sequences({.limit = 2}), "23");
  EXPECT_EQ(sequences({.since_wall_seconds = 10, .limit = 1}), "3");
  EXPECT_EQ(sequences({.since_wall_seconds = 31, .limit = 1}), "");
}

TEST(SpecErrors, AreABadRequestWithEachFieldAndLine) {
  const auto response = SpecErrors(
      {{3, "strategy.steps[1].weight", "must be above 10"}, {0, "service", "is missing"}});
  EXPECT_EQ(response.status, 400);
  const json shown = json::parse(response.body);
  EXPECT_EQ(
      shown["fields"][0],
      (json{{"field", "strategy.steps[1].weight"}, {"problem", "must be above 10"}, {"line", 3}}));
  EXPECT_EQ(shown["fields"].size(), 2U);
  EXPECT_NE(shown["error"].get<std::string>().find("service"), std::string::npos);
}

TEST(MeshErrors, AreAConflictWithEachField) {
  const auto response = MeshErrors({{"subsets.canary", "is not there"}});
  EXPECT_EQ(response.status, 409);
  EXPECT_EQ(json::parse(response.body),
            (json{{"error", "the mesh cannot carry this rollout; subsets.canary: is not there"},
                  {"fields", {{{"field", "subsets.canary"}, {"problem", "is not there"}}}}}));
}

}  // namespace
}  // namespace consul_canary::api
