// What is stored comes back as it was; what this release cannot read whole is refused whole.
#include "analyzer/control/stored_json.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "analyzer/config/spec_file.h"

namespace consul_canary::control {
namespace {

using nlohmann::json;
using rollout::State;

// What releases have written, as it stands in Consul's KV.
std::string StoredFile(const std::string& name) {
  std::ifstream file(std::string(STORED_FILES) + "/" + name);
  EXPECT_TRUE(file.is_open()) << name;
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

template <class Grid>
void Fill(Grid& grid, double numerator) {
  for (std::size_t i = 0; i < grid.size(); ++i) {
    grid[i] = numerator / (static_cast<double>(i) + 3);
  }
}

rollout::EdgeEvidence FullEdge(double edge_seconds) {
  rollout::EdgeEvidence edge{.edge_seconds = edge_seconds, .limit = edge_seconds / 3};
  edge.harm.primary = {100, 10};
  Fill(edge.harm.log_sums, edge_seconds);
  edge.harm.spent = 1.0 / 9;
  edge.harm.epoch = 2;
  edge.harm.epoch_seconds = 1.0 / 11;
  Fill(edge.dispersion.excess, 1.1);
  Fill(edge.dispersion.expected, 1.3);
  return edge;
}

rollout::ThresholdState FullThreshold() {
  return {.seconds = 1.0 / 3,
          .canary_low = {21, 1},
          .canary_high = {21, 2},
          .canary_latency = {.timed = 20, .slower = {{.25, 3}, {1.0 / 3, 2}}},
          .primary_bin = {22, 1},
          .canary_bin = {23, 2},
          .primary_bins = {1.0 / 3, 0},
          .canary_bins = {1.0 / 9},
          .failed = 4,
          .last = rollout::CheckResult::kFailed,
          .last_value = 0.1 + 0.2};
}

void FillMetrics(rollout::Evidence& evidence) {
  evidence.proven = true;
  evidence.metrics_fixed = true;
  evidence.primary_latency = {.timed = 31, .slower = {{.005, 30}, {.25, 4}, {1.0 / 3, 1}}};
  evidence.late_left_out = true;
  evidence.canary_latency = {.timed = 9, .slower = {{.25, 2}}};
  evidence.latency = {FullEdge(.25), FullEdge(1.0 / 3)};
  evidence.objectives = {{.25, {.primary = {7, 6}, .log_sums = {1.0 / 3, 0, -1}}}, {1.0 / 3, {}}};
  evidence.late_after_seconds = 2.5;
  Fill(evidence.late.log_sums, -1.7);
  evidence.late.spent = 1.0 / 13;
  evidence.late.epoch = 6;
  evidence.late.epoch_seconds = 1.0 / 17;
  Fill(evidence.dispersion.excess, 1.9);
  Fill(evidence.dispersion.expected, 2.3);
  evidence.harm.open = {
      .primary = {5, 1}, .canary = {2, 1}, .seconds = 1.0 / 11, .overdispersion = 1.0 / 0.7};
  evidence.overdispersion_floor = 4.0 / 3;
  evidence.canary_rate = 1000.0 / 3;
  evidence.silent_requests = 10.0 / 3;
  Fill(evidence.share.log_above, 2.9);
  Fill(evidence.share.log_below, 3.1);
  evidence.share.seconds = 1.0 / 19;
  evidence.share.mismatch = true;
  evidence.share.untrusted = true;
  evidence.share.totals = {300, 30};
  evidence.share_applied = true;
  Fill(evidence.ratio.log_likelihood, -3.7);
  evidence.difference.primary = {41, 2};
  evidence.difference.canary = {43, 3};
  Fill(evidence.difference.log_evidence, 4.1);
  evidence.thresholds = {FullThreshold(), {}};
  evidence.rollout_late = 47;
  evidence.silent_instances = {{"node-1/api-2-sidecar-proxy", 1.0 / 43}};
  evidence.ejected_harm.primary = {51, 5};
  Fill(evidence.ejected_harm.log_sums, -4.3);
  evidence.ejected_harm.spent = 1.0 / 23;
  evidence.ejected_harm.epoch = 5;
  evidence.ejected_harm.epoch_seconds = 1.0 / 29;
  evidence.ejected_harm.missed = 1.0 / 41;
  evidence.ejected_harm.returns = 6;
  evidence.ejected_harm.open = {.tick = {.primary = {6, 1},
                                         .canary = {3, 2},
                                         .weight_ratio = 1.0 / 3,
                                         .active_instances = 4,
                                         .retried = true,
                                         .failures_in_a_row = 2},
                                .seconds = 1.0 / 31,
                                .overdispersion = 1.0 / 0.7};
  evidence.ejected_safe = {.primary = {52, 6}, .log_sums = {1.0 / 3, -1.0 / 7, 0}};
  evidence.shielded = true;
  evidence.ejected_share = 1.0 / 37;
  evidence.failed_for_callers = 48;
  evidence.saved_requests = 49;
  evidence.failed_over = 53;
}

// Every field that is stored differs from its default, and no double is a short decimal.
State FullState() {
  State state;
  state.phase = rollout::Phase::kPromoting;
  state.stage = rollout::Stage::kPrimaryFilter;
  state.step = 3;
  state.canary_version = "v2 \"quoted\" \u00e4";
  state.primary_version = "v1";
  state.old_primary_filter = "Service.Meta.version == \"v1\"";
  state.past_versions = {"v0", "v1"};
  state.rolled_back_versions = {"v1.5"};
  state.former_primaries = {
      {.version = "v0", .until_wall_seconds = 1.0 / 3, .until_index = 77, .left = true}, {}};
  state.revert = true;
  state.maintenance_due = true;
  state.unwritable = true;
  state.spec = rollout::Spec{.service = "api", .act = false, .steps = {{.weight_percent = 12.5}}};
  state.new_spec_said = true;
  state.would_act_said = true;
  state.stage_decision = 41;
  state.wanted = {.canary_percent = 100.0 / 3,
                  .canary_filter = "c",
                  .primary_filter = "p",
                  .routes = rollout::Routes::kPlaced};
  state.settled_routes = rollout::RoutesSeen::kOther;
  state.foreign_routes = true;
  state.settled_percent = 0.1 + 0.2;
  state.foreign_edit = true;
  state.started_wall_seconds = 1795539600.1234567;
  state.saved_wall_seconds = 1795539700.7654321;
  state.stage_seconds = 1.0 / 7;
  state.confirmed_seconds = 2.0 / 7;
  state.confirmed = true;
  state.deadline_passed = true;
  state.proven_wait = true;
  state.watched_seconds = 5.0 / 7;
  state.stranded = true;
  state.evidence.failure_limit = 1.0 / 9;
  state.evidence.harm.primary = {9007199254740993, 17};
  for (std::size_t i = 0; i < state.evidence.harm.log_sums.size(); ++i) {
    state.evidence.harm.log_sums[i] = -1.0 / (static_cast<double>(i) + 3);
  }
  state.evidence.harm.spent = 0.75 + 1.0 / 3;
  state.evidence.harm.epoch = 4;
  state.evidence.harm.epoch_seconds = 59.99999999999999;
  state.evidence.safe.primary = {5, 4};
  state.evidence.safe.log_sums = {5e-324, -1.7976931348623157e308, 3.141592653589793};
  state.evidence.step_primary = {11, 1};
  state.evidence.step_canary = {12, 2};
  state.evidence.stage_primary = {15, 5};
  state.evidence.stage_canary = {16, 6};
  state.evidence.rollout_primary = {13, 3};
  state.evidence.rollout_canary = {14, 4};
  FillMetrics(state.evidence);
  state.baselines["node/web-sidecar-proxy"]["canary"] = {.completed = 18446744073709551615U,
                                                         .retries = 2,
                                                         .retry_success = 3,
                                                         .responses = {{500, 4}, {404, 5}},
                                                         .retried_responses = {{503, 6}},
                                                         .timed = 18446744073709551614U,
                                                         .faster = {{.5, 0}, {250, 7}, {1e7, 7}},
                                                         .failed_over = 4};
  state.baselines["node/web-sidecar-proxy"]["primary"] = {
      .grpc_statuses = {{0, 8}, {14, 2}}, .timed = 9, .faster = {{.5, 1}, {250, 8}, {1e7, 9}}};
  state.baselines["node/other"]["primary"].faster = {{.5, 0}, {1, 0}};
  state.baselines["node/idle"];
  state.reload_baseline = {{"web", 7}};
  state.membership_baseline = {{"web", 8}};
  state.await_reload = true;
  state.await_membership = true;
  state.pending_retries = {3, 5, 9};
  state.reason = "because";
  state.decisions = 42;
  state.last_order = 43;
  state.handled_alerts = {"f@2026-11-24T17:00:00Z"};
  return state;
}

TEST(StoredState, ComesBackBitForBit) {
  for (const State& state : {FullState(), State{}}) {
    const auto read = StateFromJson(StateToJson(state));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, state);
    EXPECT_EQ(StateToJson(*read), StateToJson(state));
  }
}

TEST(StoredState, AnEpochThatHasNotBegunComesBackToo) {
  State state;
  state.evidence.harm.log_sums.fill(-std::numeric_limits<double>::infinity());
  const auto read = StateFromJson(StateToJson(state));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, state);
}

TEST(StoredState, OpenWindowsAndBlocksAreNotPartOfIt) {
  State state = FullState();
  state.evidence.dispersion.open[1] = {.seconds = 3, .instances = {{"a", {5, 1}}}};
  state.evidence.latency[0].dispersion.open[0].seconds = 1;
  state.instance_baselines["a"].completed = 5;
  state.late_blocks["web"].canary.late = 5;
  const auto read = StateFromJson(StateToJson(state));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, FullState());
}

State OldState() {
  State state;
  state.phase = rollout::Phase::kProgressing;
  state.stage = rollout::Stage::kStepping;
  state.step = 1;
  state.canary_version = "v2";
  state.primary_version = "v1";
  state.past_versions = {"v0"};
  state.wanted = {.canary_percent = 5, .canary_filter = "Service.Meta.version == \"v2\""};
  state.settled_percent = 5;
  state.started_wall_seconds = 1795539600.25;
  state.saved_wall_seconds = 1795539661.5;
  state.stage_seconds = 30.5;
  state.confirmed_seconds = 30;
  state.confirmed = true;
  state.evidence.harm.primary = {31000, 31};
  Fill(state.evidence.harm.log_sums, -1);
  state.evidence.harm.spent = .75;
  state.evidence.harm.epoch = 0;
  state.evidence.harm.epoch_seconds = 25;
  state.evidence.safe = {.primary = {31000, 30}, .log_sums = {.1, .2, .1 + .2}};
  state.evidence.step_primary = {950, 1};
  state.evidence.step_canary = {50, 0};
  state.evidence.stage_primary = {1140, 1};
  state.evidence.stage_canary = {60, 0};
  state.evidence.rollout_primary = {3000, 3};
  state.evidence.rollout_canary = {90, 0};
  envoy::SubsetOutcomes& web = state.baselines["n1/web-sidecar-proxy"];
  web["canary"] = {.completed = 90, .responses = {{503, 1}}};
  web["primary"] = {.completed = 34000,
                    .retries = 2,
                    .retry_success = 1,
                    .responses = {{404, 5}},
                    .retried_responses = {{503, 2}}};
  state.reload_baseline = {{"n1/web-sidecar-proxy", 4}};
  state.await_reload = true;
  state.await_membership = true;
  state.reason = "collects evidence";
  state.decisions = 4;
  state.last_order = 2;
  state.handled_alerts = {"f@2026-11-24T17:00:00Z"};
  return state;
}

TEST(StoredState, OfTheReleaseBeforeIsReadWithDefaultsForWhatItDidNotKnow) {
  const auto read = StateFromJson(StoredFile("before-0.1.0/state.json"));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, OldState());
}

// What a caller's sidecar has counted after an hour or so, with Envoy's own buckets.
envoy::OutcomeCounters TypicalCounters(std::uint64_t scale) {
  envoy::OutcomeCounters counters{.completed = 34159 * scale,
                                  .retries = 31 * scale,
                                  .retry_success = 30 * scale,
                                  .responses = {{404, 12 * scale}, {503, scale}},
                                  .retried_responses = {{503, 31 * scale}},
                                  .timed = 34159 * scale};
  const std::map<double, std::uint64_t> between{{5, 61},     {10, 2430}, {25, 19712}, {50, 9874},
                                                {100, 1960}, {250, 118}, {500, 4}};
  std::uint64_t faster = 0;
  for (const double edge : {.5, 1., 5., 10., 25., 50., 100., 250., 500., 1000., 2500., 5000., 1e4,
                            3e4, 6e4, 3e5, 6e5, 1.8e6, 3.6e6}) {
    if (const auto found = between.find(edge); found != between.end()) faster += found->second;
    counters.faster[edge] = faster * scale;
  }
  return counters;
}

// A rollout with eight edges after some evidence.
State TypicalState(int callers) {
  State state = OldState();
  rollout::Evidence& evidence = state.evidence;
  FillMetrics(evidence);
  evidence.thresholds.clear();
  evidence.objectives.clear();
  evidence.latency.clear();
  for (int edge = 1; edge <= 8; ++edge) evidence.latency.push_back(FullEdge(edge / 3.0));
  state.baselines.clear();
  for (int i = 0; i < callers; ++i) {
    envoy::SubsetOutcomes& caller =
        state.baselines["node-" + std::to_string(i) + "/web-sidecar-proxy"];
    caller["primary"] = TypicalCounters(10);
    caller["canary"] = TypicalCounters(1);
  }
  return state;
}

TEST(StoredState, OfEightEdgesAndAnHourHasLessThan16Kilobytes) {
  EXPECT_LT(StateToJson(TypicalState(1)).size(), 16'000U);
}

TEST(StoredState, OfNineHundredCallersFitsIntoOneOfConsulsTransactions) {
  // Consul's txn_max_req_len is 512 KiB, in base64; a tenth is left to what else is written.
  EXPECT_LT(StateToJson(TypicalState(900)).size(), 512U * 1024 * 3 / 4 * 9 / 10);
}

TEST(StoredState, GridsOnWhichNothingHappenedTakeNoRoom) {
  const std::string stored = StateToJson(OldState());
  EXPECT_LT(stored.size(), 3'000U);
  EXPECT_FALSE(json::parse(stored)["evidence"].contains("ratio"));
}

TEST(StoredState, AHistogramThatIsNotWholeIsRefused) {
  for (const char* wrong :
       {"[9, 1]", "[0]", "[]", "5", R"(["0", 1])", "[0, 1, 2, 3, 4, 5]", R"([0, 1, "1"])"}) {
    json stored = json::parse(StateToJson(FullState()));
    stored["baselines"]["node/web-sidecar-proxy"]["canary"]["times"] = json::parse(wrong);
    EXPECT_FALSE(StateFromJson(stored.dump())) << wrong;
  }
}

TEST(StoredState, TextThatIsNotUtf8IsStoredWithoutItsWrongBytes) {
  State state;
  state.reason = "a\xFFz";
  const auto read = StateFromJson(StateToJson(state));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->reason, "a\xEF\xBF\xBDz");
}

TEST(StoredState, AnotherVersionIsRefused) {
  json stored = json::parse(StateToJson(FullState()));
  stored["version"] = 2;
  const auto read = StateFromJson(stored.dump());
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().message,
            "stored state: version 2 is not known to this release (it reads 1); nothing is "
            "overwritten");
}

TEST(StoredState, EachFieldIsNeededAndOfItsType) {
  const json stored = json::parse(StateToJson(FullState()));
  // What the release before did not store.
  const std::set<std::string> newer{
      "former_primaries", "revert",          "maintenance_due", "spec",           "new_spec_said",
      "would_act_said",   "watched_seconds", "stranded",        "stage_decision", "unwritable",
      "settled_routes",   "foreign_routes",  "pending_retries"};
  for (const auto& [key, value] : stored.items()) {
    json without = stored;
    without.erase(key);
    const auto missing = StateFromJson(without.dump());
    ASSERT_EQ(missing.has_value(), newer.contains(key)) << key;
    if (!missing) {
      EXPECT_NE(missing.error().message.find(key), std::string::npos) << missing.error().message;
    }
    json wrong = stored;
    wrong[key] = json::array({json::object()});
    EXPECT_FALSE(StateFromJson(wrong.dump())) << key;
  }
}

TEST(StoredState, GarbageIsRefusedWithoutAThrow) {
  const std::vector<std::string> texts{
      "", "{", "null", "[]", "{}", "{\"version\": \"1\"}", "true", "{\"version\": 1}", "\xff\xfe"};
  for (const std::string& text : texts) {
    const auto read = StateFromJson(text);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, base::ErrorCode::kInvalid);
    EXPECT_EQ(read.error().message.substr(0, 13), "stored state:") << read.error().message;
  }
}

TEST(StoredState, AnUnknownWordIsNamed) {
  json stored = json::parse(StateToJson(FullState()));
  stored["phase"] = "waiting";
  EXPECT_EQ(StateFromJson(stored.dump()).error().message, "stored state: unknown word \"waiting\"");
}

TEST(StoredDecision, ComesBackAndIsReadByPeople) {
  const rollout::Decision decision{.sequence = 42,
                                   .wall_seconds = 1795539600.1234567,
                                   .action = "advance",
                                   .cause = "proven",
                                   .from = rollout::Phase::kPaused,
                                   .to = rollout::Phase::kProgressing,
                                   .step = 1,
                                   .weight_percent = 12.34,
                                   .canary_version = "v2",
                                   .reason = "ln M 3.2",
                                   .order = 7};
  const auto read = DecisionFromJson(DecisionToJson(decision));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, decision);
  const json stored = json::parse(DecisionToJson(decision));
  EXPECT_EQ(stored["time"], "2026-11-24T17:00:00Z");
  EXPECT_EQ(stored["step"], 2);
  EXPECT_EQ(stored["order"], 7);
  EXPECT_TRUE(json::parse(DecisionToJson({.sequence = 1}))["order"].is_null());
}

TEST(StoredOrder, OfEachKindComesBackButForItsSequence) {
  for (int kind = 0; kind <= static_cast<int>(rollout::OrderKind::kRollbackAlert); ++kind) {
    const rollout::Order order{.kind = static_cast<rollout::OrderKind>(kind),
                               .by = "ann",
                               .version = "v2",
                               .full = true,
                               .seen_decisions = 42,
                               .alert = "Errors: many",
                               .alert_key = "f@t",
                               .alert_started_wall_seconds = 1795539600.5};
    const auto read = OrderFromJson(OrderToJson(order));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, order);
  }
}

TEST(StoredOrder, OfAnUnknownKindIsRefused) {
  json stored = json::parse(OrderToJson({}));
  stored["order"] = "explode";
  EXPECT_EQ(OrderFromJson(stored.dump()).error().message, "stored order: unknown word \"explode\"");
}

TEST(StoredSpec, IsWrappedWithItsVersion) {
  EXPECT_EQ(json::parse(StoredSpec(R"({"service": "api"})")),
            (json{{"version", 1}, {"spec", {{"service", "api"}}}}));
  EXPECT_EQ(SpecTextFromStored(R"({"version": 1, "spec": {"service": "api"}})").value(),
            R"({"service":"api"})");
  EXPECT_FALSE(SpecTextFromStored(R"({"version": 9, "spec": {"service": "api"}})"));
  EXPECT_FALSE(SpecTextFromStored(R"({"version": 1})"));
}

TEST(StoredJson, KeepsThePauseOfTheFleetAndSaysItInWords) {
  const FleetPause pause{.by = "kim", .reason = "incident 42", .wall_seconds = 1795539600};
  const auto read = FleetPauseFromJson(FleetPauseToJson(pause));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, pause);
  EXPECT_EQ(InWords(pause),
            "every rollout is paused by kim since 2026-11-24T17:00:00Z: incident 42");
  EXPECT_EQ(InWords({.by = "kim"}), "every rollout is paused by kim since 1970-01-01T00:00:00Z");
  EXPECT_EQ(FleetPauseFromJson("").value(), std::nullopt);
  for (const char* wrong : {"yes", "{}", R"({"version": 2, "by": "", "reason": ""})"}) {
    EXPECT_FALSE(FleetPauseFromJson(wrong)) << wrong;
  }
}

// --- numbers that cannot be

TEST(StoredState, ANumberThatCannotBeIsRefusedByItsName) {
  const struct {
    const char* key;
    json value;
  } rows[] = {{"started_wall_seconds", 1e300},
              {"started_wall_seconds", -1e300},
              {"saved_wall_seconds", 253402300800.0},
              {"stage_seconds", -1},
              {"stage_seconds", 1e300},
              {"confirmed_seconds", -0.5},
              {"settled_percent", 101},
              {"settled_percent", -1},
              {"step", -1},
              {"step", 100},
              {"step", 1e300}};
  for (const auto& [key, value] : rows) {
    json stored = json::parse(StateToJson(FullState()));
    stored[key] = value;
    const auto read = StateFromJson(stored.dump());
    ASSERT_FALSE(read) << key << value;
    const std::string named = "stored state: " + std::string(key) + " must be from ";
    EXPECT_TRUE(read.error().message.starts_with(named)) << read.error().message;
  }
  json stored = json::parse(StateToJson(FullState()));
  stored["wanted"]["canary_percent"] = 1e300;
  EXPECT_FALSE(StateFromJson(stored.dump()));
  stored = json::parse(StateToJson(FullState()));
  stored["former_primaries"][0]["until_wall_seconds"] = 1e300;
  EXPECT_FALSE(StateFromJson(stored.dump()));
}

// 100 less what other splits hold may come out a rounding error above 100.
TEST(StoredState, WhatItHasWrittenItselfIsReadThoughItIsRounded) {
  State state;
  state.wanted.canary_percent = state.settled_percent = 100.00000000000001;
  EXPECT_EQ(StateFromJson(StateToJson(state)).value(), state);
  state.wanted.canary_percent = state.settled_percent = -1e-14;
  EXPECT_EQ(StateFromJson(StateToJson(state)).value(), state);
}

TEST(StoredJson, TimesWeightsAndVersionsThatCannotBeAreRefusedEverywhere) {
  json decision = json::parse(DecisionToJson({.sequence = 1}));
  EXPECT_TRUE(DecisionFromJson(decision.dump()));
  for (const auto& [key, value] : {std::pair("wall_seconds", json(1e300)),
                                   {"weight", json(-1)},
                                   {"step", json(0)},
                                   {"step", json(1e300)},
                                   {"version", json(1e300)}}) {
    json wrong = decision;
    wrong[key] = value;
    EXPECT_FALSE(DecisionFromJson(wrong.dump())) << key << value;
  }
  json order = json::parse(OrderToJson({}));
  order["alert_started_wall_seconds"] = 1e300;
  EXPECT_FALSE(OrderFromJson(order.dump()));
  const auto pause =
      FleetPauseFromJson(R"({"version": 1, "by": "kim", "reason": "", "wall_seconds": 1e300})");
  ASSERT_FALSE(pause);
  EXPECT_TRUE(pause.error().message.starts_with("stored pause: wall_seconds must be from "))
      << pause.error().message;
  EXPECT_FALSE(
      FleetPauseFromJson(R"({"version": 1, "by": "kim", "reason": "", "wall_seconds": 1e999})"));
}

// --- what this release has written

constexpr const char* kThisRelease = "0.1.0/";

rollout::Decision FullDecision() {
  return {.sequence = 42,
          .wall_seconds = 1795539600.1234567,
          .action = "advance",
          .cause = "proven",
          .from = rollout::Phase::kPaused,
          .to = rollout::Phase::kProgressing,
          .step = 1,
          .weight_percent = 12.34,
          .canary_version = "v2",
          .reason = "ln M 3.2",
          .order = 7};
}

rollout::Order FullOrder() {
  return {.kind = rollout::OrderKind::kRollbackAlert,
          .by = "alertmanager",
          .version = "v2",
          .full = true,
          .seen_decisions = 41,
          .alert = "HighErrors: many",
          .alert_key = "f@2026-11-24T17:00:00Z",
          .alert_started_wall_seconds = 1795539600.5};
}

FleetPause FullPause() {
  return {.by = "kim", .reason = "incident 42", .wall_seconds = 1795539600.25};
}

rollout::Spec FullSpec() {
  rollout::Spec spec{.service = "api",
                     .steps = {{.weight_percent = 12.5}, {.weight_percent = 50, .pause = true}}};
  spec.start = rollout::StartMode::kManual;
  spec.on_deadline = rollout::OnDeadline::kRollBack;
  spec.maintenance_on_rollback = true;
  return spec;
}

std::string FullStoredSpec() { return StoredSpec(config::ToJson(FullSpec())); }

// As long as the release is not out, what it writes may change, and its files with it; once it is,
// the next one gets a folder of its own, and this one's is only read.
TEST(StoredFiles, AreWhatThisReleaseWrites) {
  const std::pair<const char*, std::string> files[] = {
      {"state.json", StateToJson(FullState())},
      {"decision.json", DecisionToJson(FullDecision())},
      {"order.json", OrderToJson(FullOrder())},
      {"pause.json", FleetPauseToJson(FullPause())},
      {"spec.json", FullStoredSpec()}};
  for (const auto& [name, text] : files) {
    if (std::getenv("CONSUL_CANARY_STORED_WRITE") != nullptr) {
      std::ofstream(std::string(STORED_FILES) + "/" + kThisRelease + name) << text << "\n";
    }
    EXPECT_EQ(StoredFile(std::string(kThisRelease) + name), text + "\n")
        << "CONSUL_CANARY_STORED_WRITE=1 writes " << name << " anew";
  }
}

TEST(StoredFiles, OfThisReleaseAreRead) {
  const auto file = [](const char* name) { return StoredFile(std::string(kThisRelease) + name); };
  const auto state = StateFromJson(file("state.json"));
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(*state, FullState());
  const auto decision = DecisionFromJson(file("decision.json"));
  ASSERT_TRUE(decision) << decision.error().message;
  EXPECT_EQ(*decision, FullDecision());
  const auto order = OrderFromJson(file("order.json"));
  ASSERT_TRUE(order) << order.error().message;
  EXPECT_EQ(*order, FullOrder());
  const auto pause = FleetPauseFromJson(file("pause.json"));
  ASSERT_TRUE(pause) << pause.error().message;
  EXPECT_EQ(**pause, FullPause());
  const auto spec = SpecTextFromStored(file("spec.json"));
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(config::ParseSpec(*spec).value(), FullSpec());
}

}  // namespace
}  // namespace consul_canary::control
