// What is stored comes back as it was; what this release cannot read whole is refused whole.
#include "analyzer/control/stored_json.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace consul_canary::control {
namespace {

using nlohmann::json;
using rollout::State;

// Every field differs from its default, and no double is a short decimal.
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
  state.wanted = {.canary_percent = 100.0 / 3, .canary_filter = "c", .primary_filter = "p"};
  state.settled_percent = 0.1 + 0.2;
  state.foreign_edit = true;
  state.started_wall_seconds = 1795539600.1234567;
  state.saved_wall_seconds = 1795539700.7654321;
  state.stage_seconds = 1.0 / 7;
  state.confirmed_seconds = 2.0 / 7;
  state.confirmed = true;
  state.deadline_passed = true;
  state.proven_wait = true;
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
  state.evidence.rollout_primary = {13, 3};
  state.evidence.rollout_canary = {14, 4};
  state.baselines["node/web-sidecar-proxy"]["canary"] = {.completed = 18446744073709551615U,
                                                         .retries = 2,
                                                         .retry_success = 3,
                                                         .responses = {{500, 4}, {404, 5}},
                                                         .retried_responses = {{503, 6}}};
  state.baselines["node/idle"];
  state.reload_baseline = {{"web", 7}};
  state.membership_baseline = {{"web", 8}};
  state.await_reload = true;
  state.await_membership = true;
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
  for (const auto& [key, value] : stored.items()) {
    json without = stored;
    without.erase(key);
    const auto missing = StateFromJson(without.dump());
    ASSERT_FALSE(missing) << key;
    EXPECT_NE(missing.error().message.find(key), std::string::npos) << missing.error().message;
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
                                   .reason = "ln M 3.2"};
  const auto read = DecisionFromJson(DecisionToJson(decision));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, decision);
  const json stored = json::parse(DecisionToJson(decision));
  EXPECT_EQ(stored["time"], "2026-11-24T17:00:00Z");
  EXPECT_EQ(stored["step"], 2);
}

TEST(StoredOrder, OfEachKindComesBackButForItsSequence) {
  for (int kind = 0; kind <= static_cast<int>(rollout::OrderKind::kRollbackAlert); ++kind) {
    const rollout::Order order{.kind = static_cast<rollout::OrderKind>(kind),
                               .by = "ann",
                               .version = "v2",
                               .full = true,
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

}  // namespace
}  // namespace consul_canary::control
