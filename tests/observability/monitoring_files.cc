#include "tests/observability/monitoring_files.h"

#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <regex>

#include "tests/support/temp_dir.h"

namespace consul_canary::testing {
namespace {

using nlohmann::json;

std::vector<std::filesystem::path> FilesIn(std::string_view folder, std::string_view extension) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(RepositoryPath(folder))) {
    if (entry.path().extension() == extension) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::size_t ReplaceAll(std::string& text, std::string_view from, std::string_view to) {
  std::size_t count = 0;
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at)) {
    text.replace(at, from.size(), to);
    at += to.size();
    ++count;
  }
  return count;
}

// label_values(METRIC{…}, LABEL)
std::string VariablePromql(const std::string& query) {
  static const std::regex kLabelValues(R"(label_values\((.*), *(\w+)\))");
  return std::regex_replace(query, kLabelValues, "count by ($2) ($1)");
}

std::map<std::string, std::string> Texts(const YAML::Node& node) {
  std::map<std::string, std::string> texts;
  for (const auto& item : node) texts[item.first.as<std::string>()] = item.second.as<std::string>();
  return texts;
}

}  // namespace

std::string RepositoryPath(std::string_view path) {
  return std::string(CONSUL_CANARY_SOURCE_DIR "/") + std::string(path);
}

std::string RepositoryFile(std::string_view path) {
  std::string content = ReadFile(RepositoryPath(path));
  EXPECT_FALSE(content.empty()) << path;
  return content;
}

std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  EXPECT_GT(ReplaceAll(text, from, to), 0U) << "there is no \"" << from << "\" in:\n" << text;
  return text;
}

std::vector<Dashboard> Dashboards() {
  std::vector<Dashboard> dashboards;
  for (const auto& file : FilesIn("dashboards", ".json")) {
    dashboards.push_back({file.filename().string(), json::parse(ReadFile(file), nullptr, false)});
  }
  return dashboards;
}

std::vector<Expression> ExpressionsOf(const Dashboard& dashboard) {
  std::vector<Expression> expressions;
  const json& root = dashboard.json;
  for (const json& panel : root.at("panels")) {
    for (const json& target : panel.value("targets", json::array())) {
      expressions.push_back({dashboard.file + ": " + panel.at("title").get<std::string>(),
                             target.at("expr").get<std::string>(), target.value("instant", false)});
    }
  }
  for (const json& annotation : root.at("annotations").at("list")) {
    if (!annotation.contains("expr")) continue;  // Grafana's own
    expressions.push_back(
        {dashboard.file + ": annotation " + annotation.at("name").get<std::string>(),
         annotation.at("expr").get<std::string>()});
  }
  for (const json& variable : root.at("templating").at("list")) {
    if (variable.at("type") != "query") continue;
    expressions.push_back({dashboard.file + ": variable " + variable.at("name").get<std::string>(),
                           VariablePromql(variable.at("query").at("query").get<std::string>()),
                           true});
  }
  return expressions;
}

std::string WithVariables(std::string promql, const std::map<std::string, std::string>& variables) {
  // The longest names first: $job must not take part of $job_name.
  for (auto it = variables.rbegin(); it != variables.rend(); ++it) {
    ReplaceAll(promql, "$" + it->first, it->second);
  }
  return promql;
}

std::vector<Rule> Rules() {
  std::vector<Rule> rules;
  for (const auto& file : FilesIn("alerts/rules", ".yaml")) {
    for (const auto& group : YAML::LoadFile(file.string())["groups"]) {
      for (const auto& rule : group["rules"]) {
        const bool is_alert = rule["alert"].IsDefined();
        rules.push_back({is_alert, rule[is_alert ? "alert" : "record"].as<std::string>(),
                         rule["expr"].as<std::string>(), Texts(rule["labels"]),
                         Texts(rule["annotations"])});
      }
    }
  }
  return rules;
}

std::vector<std::string> SelectorsIn(const std::string& promql) {
  static const std::regex kSelector(R"(([a-z_]+:)?consul_canary_[a-z0-9_:]+(\{[^}]*\})?)");
  std::vector<std::string> selectors;
  for (std::sregex_iterator it(promql.begin(), promql.end(), kSelector);
       it != std::sregex_iterator(); ++it) {
    if (std::find(selectors.begin(), selectors.end(), it->str()) == selectors.end()) {
      selectors.push_back(it->str());
    }
  }
  return selectors;
}

}  // namespace consul_canary::testing
