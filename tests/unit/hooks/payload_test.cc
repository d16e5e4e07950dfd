// Alertmanager's payload: which alerts order a rollback, and which payloads are none.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "analyzer/hooks/alertmanager.h"

namespace consul_canary::hooks {
namespace {

using nlohmann::json;

json Alert() {
  return {{"status", "firing"},
          {"labels",
           {{"alertname", "TooManyErrors"},
            {"service_name", "api"},
            {"canary_action", "rollback"},
            {"severity", "page"}}},
          {"annotations", {{"summary", "12% fail"}}},
          {"startsAt", "2026-11-24T17:00:00.5Z"},
          {"endsAt", "0001-01-01T00:00:00Z"},
          {"generatorURL", "http://prometheus"},
          {"fingerprint", "c0ffee"}};
}

std::string Payload(const std::vector<json>& alerts) {
  return json{{"version", "4"},
              {"groupKey", "{}"},
              {"status", "firing"},
              {"truncatedAlerts", 0},
              {"alerts", alerts}}
      .dump();
}

TEST(ParsePayload, ReadsARollbackAlert) {
  const auto alerts = ParsePayload(Payload({Alert()}));
  ASSERT_TRUE(alerts) << alerts.error().message;
  const RollbackAlert expected{.service = "api",
                               .name = "TooManyErrors: 12% fail",
                               .key = "c0ffee@2026-11-24T17:00:00.5Z",
                               .started_wall_seconds = 1795539600.5};
  EXPECT_EQ(*alerts, std::vector<RollbackAlert>{expected});
}

TEST(ParsePayload, LeavesOutWhatOrdersNoRollback) {
  json resolved = Alert();
  resolved["status"] = "resolved";
  json other = Alert();
  other["labels"]["canary_action"] = "page";
  json unlabelled = Alert();
  unlabelled["labels"].erase("canary_action");
  json no_labels = Alert();
  no_labels.erase("labels");
  json odd_labels = Alert();
  odd_labels["labels"] = "rollback";
  json odd_action = Alert();
  odd_action["labels"]["canary_action"] = true;
  const auto alerts = ParsePayload(
      Payload({resolved, other, unlabelled, no_labels, odd_labels, odd_action, Alert()}));
  ASSERT_TRUE(alerts) << alerts.error().message;
  EXPECT_EQ(alerts->size(), 1U);
}

TEST(ParsePayload, AnAlertWithoutAServiceOrSummaryIsStillRead) {
  json alert = Alert();
  alert["labels"].erase("service_name");
  alert.erase("annotations");
  const auto alerts = ParsePayload(Payload({alert}));
  ASSERT_TRUE(alerts);
  EXPECT_EQ(alerts->front().service, "");
  EXPECT_EQ(alerts->front().name, "TooManyErrors");
}

TEST(ParsePayload, NoAlertsAreNone) {
  const auto alerts = ParsePayload(Payload({}));
  ASSERT_TRUE(alerts);
  EXPECT_TRUE(alerts->empty());
}

TEST(ParsePayload, RefusesWhatIsNoPayloadOfOurs) {
  struct Case {
    std::string text;
    const char* problem;
  };
  json no_start = Alert();
  no_start.erase("startsAt");
  json bad_start = Alert();
  bad_start["startsAt"] = "yesterday";
  const std::vector<Case> cases{
      {"", "the body is no JSON object"},
      {"{", "the body is no JSON object"},
      {"[]", "the body is no JSON object"},
      {"{}", "version: \"4\" is expected, Alertmanager's webhook payload"},
      {R"({"version": 4, "alerts": []})",
       "version: \"4\" is expected, Alertmanager's webhook payload"},
      {R"({"version": "3", "alerts": []})",
       "version: \"4\" is expected, Alertmanager's webhook payload"},
      {R"({"version": "4"})", "alerts: a list is expected"},
      {R"({"version": "4", "alerts": {}})", "alerts: a list is expected"},
      {R"({"version": "4", "alerts": [1]})", "alerts[]: an object is expected"},
      {Payload({no_start}), "alerts[].startsAt: \"\" is not an RFC 3339 time"},
      {Payload({bad_start}), "alerts[].startsAt: \"yesterday\" is not an RFC 3339 time"},
  };
  for (const Case& test : cases) {
    const auto alerts = ParsePayload(test.text);
    ASSERT_FALSE(alerts) << test.text;
    EXPECT_EQ(alerts.error().message, test.problem) << test.text;
    EXPECT_EQ(alerts.error().code, base::ErrorCode::kInvalid);
  }
}

}  // namespace
}  // namespace consul_canary::hooks
