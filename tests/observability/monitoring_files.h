// What dashboards/ and alerts/ hold, read for tests: every PromQL expression with the place where
// it stands.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace consul_canary::testing {

struct Dashboard {
  std::string file;  // rollout.json
  nlohmann::json json;
};

// All of dashboards/*.json, by name. A file that is no JSON is discarded JSON (is_discarded()).
[[nodiscard]] std::vector<Dashboard> Dashboards();

struct Expression {
  std::string place;  // "rollout.json: Phase", "rule ConsulCanaryHeld"
  std::string promql;
  bool instant = false;  // asked for one moment and not for a range
};

// Of panels, annotations and variables, Grafana's own variables as they are. label_values(X, L)
// becomes count by (L) (X).
[[nodiscard]] std::vector<Expression> ExpressionsOf(const Dashboard& dashboard);

// `promql` as Grafana would send it, with these values for its variables ($name), and all jobs and
// instances.
[[nodiscard]] std::string WithVariables(std::string promql,
                                        const std::map<std::string, std::string>& variables);

struct Rule {
  bool is_alert = false;
  std::string name;
  std::string promql;
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> annotations;
};

// All of alerts/rules/*.yaml.
[[nodiscard]] std::vector<Rule> Rules();

// The selectors of our metrics in an expression, each once:
// consul_canary_leader{service_name="api"}.
[[nodiscard]] std::vector<std::string> SelectorsIn(const std::string& promql);

// A file of this repository; fails the test when there is none.
[[nodiscard]] std::string RepositoryFile(std::string_view path);
[[nodiscard]] std::string RepositoryPath(std::string_view path);

// `text` with all of `from` replaced; fails the test when there is none: the test rests on what is
// no longer there.
[[nodiscard]] std::string Replaced(std::string text, std::string_view from, std::string_view to);

}  // namespace consul_canary::testing
