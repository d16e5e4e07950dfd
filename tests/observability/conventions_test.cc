// What a reader of dashboards and alerts may count on, as far as it shows without a running system.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <regex>
#include <set>

#include "tests/observability/monitoring_files.h"

namespace consul_canary::testing {
namespace {

using nlohmann::json;

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

TEST(Dashboards, CanBeProvisionedAsTheyAre) {
  ASSERT_FALSE(Dashboards().empty());
  for (const Dashboard& dashboard : Dashboards()) {
    SCOPED_TRACE(dashboard.file);
    ASSERT_TRUE(dashboard.json.is_object());
    EXPECT_EQ(dashboard.json.at("schemaVersion"), 39);
    EXPECT_EQ(dashboard.json.at("editable"), false);
    EXPECT_FALSE(dashboard.json.at("uid").get<std::string>().empty());
    EXPECT_TRUE(dashboard.json.at("id").is_null());
    std::set<std::string> variables;
    for (const json& variable : dashboard.json.at("templating").at("list")) {
      variables.insert(variable.at("name").get<std::string>());
    }
    EXPECT_TRUE(std::ranges::includes(
        variables, std::set<std::string>{"datasource", "instance", "job", "service_name"}));
  }
}

TEST(Dashboards, SayOnEveryPanelWhatItShows) {
  for (const Dashboard& dashboard : Dashboards()) {
    for (const json& panel : dashboard.json.at("panels")) {
      if (panel.at("type") == "row") continue;
      SCOPED_TRACE(dashboard.file + ": " + panel.at("title").get<std::string>());
      EXPECT_FALSE(panel.at("description").get<std::string>().empty());
      EXPECT_FALSE(panel.at("fieldConfig").at("defaults").at("unit").get<std::string>().empty());
      EXPECT_EQ(panel.at("datasource").at("uid"), "${datasource}");
      for (const json& target : panel.at("targets")) {
        EXPECT_EQ(target.at("datasource").at("uid"), "${datasource}");
      }
    }
  }
}

TEST(Dashboards, HavePanelsThatDoNotOverlap) {
  for (const Dashboard& dashboard : Dashboards()) {
    std::set<std::pair<int, int>> taken;
    std::set<int> ids;
    for (const json& panel : dashboard.json.at("panels")) {
      SCOPED_TRACE(dashboard.file + ": " + panel.at("title").get<std::string>());
      EXPECT_TRUE(ids.insert(panel.at("id").get<int>()).second);
      const json& at = panel.at("gridPos");
      const int x = at.at("x");
      const int y = at.at("y");
      EXPECT_LE(x + at.at("w").get<int>(), 24);
      for (int column = x; column < x + at.at("w").get<int>(); ++column) {
        for (int line = y; line < y + at.at("h").get<int>(); ++line) {
          EXPECT_TRUE(taken.emplace(column, line).second) << column << ", " << line;
        }
      }
    }
  }
}

TEST(Alerts, AreExplainedUnderTheirNames) {
  const std::string runbook = RepositoryFile("docs/alerts.md");
  const std::set<std::string> severities = {"critical", "warning", "info"};
  for (const Rule& rule : Rules()) {
    if (!rule.is_alert) continue;
    SCOPED_TRACE(rule.name);
    EXPECT_TRUE(std::regex_match(rule.name, std::regex("ConsulCanary([A-Z][a-z]+)+")));
    EXPECT_TRUE(severities.contains(rule.labels.at("severity")));
    EXPECT_FALSE(rule.annotations.at("summary").empty());
    EXPECT_FALSE(rule.annotations.at("description").empty());
    EXPECT_EQ(rule.annotations.at("runbook_url"), "docs/alerts.md#" + Lower(rule.name));
    EXPECT_NE(runbook.find("\n## " + rule.name + "\n"), std::string::npos);
  }
}

TEST(Alerts, OfWhichOneOrdersARollback) {
  const auto rules = Rules();
  EXPECT_TRUE(std::ranges::any_of(rules, [](const Rule& rule) {
    const auto action = rule.labels.find("canary_action");
    return action != rule.labels.end() && action->second == "rollback";
  }));
}

TEST(Selectors, AreFoundWithTheirMatchersOnceEach) {
  EXPECT_EQ(SelectorsIn("sum by (job) (rate(consul_canary_a_total{x=\"1\", y=~\"2|3\"}[5m])) > 2 * "
                        "service_role:consul_canary_b:p99_2m and consul_canary_a_total{x=\"1\", "
                        "y=~\"2|3\"}"),
            (std::vector<std::string>{"consul_canary_a_total{x=\"1\", y=~\"2|3\"}",
                                      "service_role:consul_canary_b:p99_2m"}));
}

}  // namespace
}  // namespace consul_canary::testing
