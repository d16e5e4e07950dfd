// With the ACL policies of deploy/acl/ and nothing more, on a mesh that denies by default, the
// programs do all of their work; and they may do little else.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/observability/monitoring_files.h"
#include "tests/support/daemons.h"
#include "tests/support/load.h"
#include "tests/support/mesh.h"
#include "tests/support/places.h"
#include "tests/support/wait.h"

namespace consul_canary::testing {
namespace {

using nlohmann::json;

constexpr const char* kManagementToken = "8a4f2f8e-0000-4000-8000-000000000005";

// A token that has these policies, by name and rules; empty when Consul refuses it.
std::string TokenWith(const ConsulAgent& consul, const std::map<std::string, std::string>& rules) {
  json policies = json::array();
  for (const auto& [name, text] : rules) {
    const json policy = {{"Name", name}, {"Rules", text}};
    const auto created = consul.Put("/v1/acl/policy", policy.dump());
    EXPECT_TRUE(created) << created.error().message;
    policies.push_back({{"Name", name}});
  }
  const auto answer = consul.Put("/v1/acl/token", json{{"Policies", policies}}.dump());
  EXPECT_TRUE(answer) << answer.error().message;
  return answer ? json::parse(*answer).at("SecretID").get<std::string>() : "";
}

// The same of the policy of a file of deploy/acl/.
std::string TokenFor(const ConsulAgent& consul, const std::string& file) {
  return TokenWith(consul,
                   {{file.substr(0, file.find('.')), RepositoryFile("deploy/acl/" + file)}});
}

// The rules of a policy file, as `key_prefix "consul-canary/" { policy = "write" }`. Each begins at
// a line's begin and ends with a line that is a brace.
std::vector<std::string> RulesOf(const std::string& text) {
  std::vector<std::string> rules;
  std::istringstream lines(text);
  bool inside = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.starts_with('#')) continue;
    if (!inside) rules.emplace_back();
    inside = line != "}";
    const std::size_t first = line.find_first_not_of(' ');
    rules.back() += (rules.back().empty() ? "" : " ") + line.substr(first);
  }
  return rules;
}

std::string Joined(const std::vector<std::string>& rules, const std::string& without) {
  std::string text;
  for (const std::string& rule : rules) {
    if (rule != without)
      text += rule.substr(0, rule.find('{') + 1) + "\n" +
              rule.substr(rule.find('{') + 1, rule.rfind('}') - rule.find('{') - 1) + "\n}\n";
  }
  return text;
}

// While it lives, programs that are started speak to Consul with this token.
class WithToken {
 public:
  WithToken(ConsulAgent& consul, const std::string& token) {
    const auto file = consul.folder().Write("token-" + token.substr(0, 8), token);
    ::setenv("CONSUL_HTTP_TOKEN_FILE", file.c_str(), 1);
  }
  ~WithToken() { ::unsetenv("CONSUL_HTTP_TOKEN_FILE"); }
  WithToken(const WithToken&) = delete;
  WithToken& operator=(const WithToken&) = delete;
};

class Permissions : public ::testing::Test {
 protected:
  void SetUp() override {
    auto mesh = Mesh::Start({.consul = {.token = kManagementToken}});
    ASSERT_TRUE(mesh) << mesh.error().message;
    mesh_ = std::move(*mesh);
  }

  [[nodiscard]] int StatusOfPut(const std::string& token, const std::string& path,
                                const std::string& body) {
    const auto answer =
        consul().http().Call("PUT", consul().address() + path, body, {"X-Consul-Token: " + token});
    return answer ? answer->status : 0;
  }
  ConsulAgent& consul() { return mesh_->consul(); }

  std::unique_ptr<Mesh> mesh_;
};

constexpr std::string_view kOtherResolver = R"({"Kind": "service-resolver", "Name": "other"})";

TEST_F(Permissions, OfTheAnalyzerSufficeForAWholeRollout) {
  const std::string token = TokenFor(consul(), "analyzer.hcl");
  const WithToken with(consul(), token);
  const auto analyzer = StartAnalyzer(consul());
  ASSERT_TRUE(analyzer) << analyzer.error().message;
  const Load load({.url = mesh_->url(), .rate = 200});
  const std::string url = (*analyzer)->address() + "/api/v1/rollouts/api";
  const auto applied =
      BodyOf(consul().http().Call("PUT", url,
                                  "service: api\nstrategy: {steps: [{weight: 50}], warmup: 1s}\n"),
             "PUT the specification");
  ASSERT_TRUE(applied) << applied.error().message;
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  const auto phase = [&] {
    const auto body = consul().http().Get(url);
    return body ? json::parse(*body).at("phase").get<std::string>() : body.error().message;
  };
  EXPECT_TRUE(WaitUntil([&] { return phase() == "succeeded"; }, seconds(60))) << phase();
  EXPECT_EQ(ReadFile((*analyzer)->process().output()).find("ermission denied"), std::string::npos);

  EXPECT_EQ(StatusOfPut(token, "/v1/config", std::string(kOtherResolver)), 403);
  EXPECT_EQ(StatusOfPut(token, "/v1/kv/other", ""), 403);

  // Another one goes back, and its instance into maintenance mode.
  ASSERT_TRUE(mesh_->RemoveInstance(mesh_->InstancesOf("v1").front()));
  const auto changed = BodyOf(
      consul().http().Call("PUT", url,
                           "service: api\nstrategy: {steps: [{weight: 50, min_duration: 10m}], "
                           "warmup: 1s}\non_rollback: {maintenance: true}\n"),
      "PUT the specification");
  ASSERT_TRUE(changed) << changed.error().message;
  const auto bad = mesh_->AddInstance("v3");
  ASSERT_TRUE(bad) << bad.error().message;
  ASSERT_TRUE(mesh_->Control("v3", "failure_ratio=1"));
  EXPECT_TRUE(WaitUntil([&] { return phase() == "rolled-back"; }, seconds(60))) << phase();
  const auto checks = [&] {
    return consul().Get("/v1/health/checks/api").value_or("").find("_service_maintenance:" + *bad);
  };
  EXPECT_TRUE(WaitUntil([&] { return checks() != std::string::npos; }, seconds(15)));
  EXPECT_EQ(ReadFile((*analyzer)->process().output()).find("ermission denied"), std::string::npos);
  EXPECT_EQ(ReadFile((*analyzer)->process().output()).find("lacks a rule"), std::string::npos);
}

TEST_F(Permissions, OfTheExporterSufficeForAllItsMetrics) {
  const std::string token = TokenFor(consul(), "exporter.hcl");
  const WithToken with(consul(), token);
  const auto exporter = StartExporter(consul());
  ASSERT_TRUE(exporter) << exporter.error().message;
  const Load load({.url = mesh_->url(), .rate = 100});
  const auto shows = [&](const std::string& series) {
    const auto page = consul().http().Get((*exporter)->address() + "/metrics");
    return page && page->find("\n" + series) != std::string::npos;
  };
  const std::string primary = R"({service_name="api",subset="primary")";
  for (const std::string& series : {"consul_canary_split_weight_ratio" + primary,
                                    "consul_canary_applied_weight_ratio" + primary + "} 1",
                                    "consul_canary_responses_total" + primary,
                                    "consul_canary_instances" + primary + R"(,health="passing"} 1)",
                                    std::string(R"(consul_canary_sidecars{state="read"} 2)")}) {
    EXPECT_TRUE(WaitUntil([&] { return shows(series); }, seconds(10))) << series;
  }
  const auto page = consul().http().Get((*exporter)->address() + "/metrics");
  ASSERT_TRUE(page);
  EXPECT_EQ(page->find("result=\"forbidden\""), std::string::npos) << *page;

  const std::string splitter =
      R"({"Kind": "service-splitter", "Name": "api", "Splits": [{"Weight": 100}]})";
  EXPECT_EQ(StatusOfPut(token, "/v1/config", splitter), 403);
  EXPECT_EQ(StatusOfPut(token, "/v1/kv/consul-canary/x", ""), 403);
}

// Where a person meets the want of a rule, and what is said there.
struct Lack {
  std::string file;
  std::string rule;                 // of the file, as RulesOf() has it
  std::vector<std::string> places;  // log, ready, apply, get
  std::string named{};              // what is to be given, where that is not the rule itself
};

const std::vector<Lack>& Lacks() {
  static const std::vector<Lack> kLacks{
      {"analyzer.hcl", R"(service "api" { policy = "write" })", {"apply"}},
      {"analyzer.hcl", R"(service_prefix "" { policy = "read" })", {"log", "get"}},
      {"analyzer.hcl", R"(node_prefix "" { policy = "read" })", {"log", "get"}},
      {"analyzer.hcl", R"(service "consul-canary-analyzer" { policy = "write" })", {"log"}},
      {"analyzer.hcl",
       R"(key_prefix "consul-canary/" { policy = "write" })",
       {"log", "ready", "apply"}},
      // Of the one node is enough, and the one is known.
      {"analyzer.hcl",
       R"(session_prefix "" { policy = "write" })",
       {"log", "ready"},
       R"(session "node-1" { policy = "write" })"},
      {"exporter.hcl", R"(service_prefix "" { policy = "read" })", {"log"}},
      {"exporter.hcl", R"(node_prefix "" { policy = "read" })", {"log"}},
      {"register.hcl", R"(service "consul-canary-exporter" { policy = "write" })", {"log"}},
  };
  return kLacks;
}

TEST(PolicyFiles, HaveARowForEachRule) {
  std::set<std::string> shipped;
  for (const auto& entry : std::filesystem::directory_iterator(RepositoryPath("deploy/acl"))) {
    const std::string file = entry.path().filename();
    for (const std::string& rule : RulesOf(RepositoryFile("deploy/acl/" + file))) {
      shipped.insert(file + ": " + rule);
    }
  }
  std::set<std::string> tried;
  for (const Lack& lack : Lacks()) tried.insert(lack.file + ": " + lack.rule);
  EXPECT_EQ(shipped, tried);
}

// With one rule less than is shipped.
class OneRuleLess : public Permissions {
 protected:
  // Does not wait until it is ready, since it may never be.
  void Begin(const Lack& lack, int number) {
    const auto rules = [&lack](const std::string& file) {
      return Joined(RulesOf(RepositoryFile("deploy/acl/" + file)),
                    file == lack.file ? lack.rule : "");
    };
    const bool analyzes = lack.file == "analyzer.hcl";
    std::map<std::string, std::string> policies;
    const std::string name = "less-" + std::to_string(number);
    policies[name] = rules(analyzes ? "analyzer.hcl" : "exporter.hcl");
    if (lack.file == "register.hcl") policies[name + "-register"] = rules("register.hcl");
    std::erase_if(policies, [](const auto& policy) { return policy.second.empty(); });
    Daemon::Options options{.name = name, .ready_path = "/-/healthy"};
    options.address = "http://127.0.0.1:" + std::to_string(consul().ports().Next());
    options.command.argv = {analyzes ? AnalyzerProgram() : ExporterProgram(),
                            "--web.listen-address", options.address.substr(7)};
    options.command.argv.emplace_back(analyzes ? "--auth.none-on-loopback" : "--consul.register");
    options.command.env = consul().Environment();
    options.command.env["CONSUL_HTTP_TOKEN"] = TokenWith(consul(), policies);
    options.command.output = consul().folder().path() / (name + ".log");
    auto daemon = Daemon::Start(consul().http(), std::move(options));
    ASSERT_TRUE(daemon) << daemon.error().message;
    daemon_ = std::move(*daemon);
  }

  [[nodiscard]] std::string Ctl(std::vector<std::string> arguments) const {
    const auto result = RunCtl(daemon_->address(), std::move(arguments));
    return result ? result->output : result.error().message;
  }

  // The line that says it; empty: none does.
  [[nodiscard]] std::string Said(const std::string& place, const std::string& words) {
    std::string text;
    if (place == "log") text = ReadFile(daemon_->process().output());
    if (place == "ready") {
      const auto answer = consul().http().Call("GET", daemon_->address() + "/-/ready");
      if (answer && answer->status == 503) text = answer->body;
    }
    if (place == "apply") {
      text = Ctl({"apply", "-f", consul().folder().Write("spec.yaml", "service: api\n").string()});
    }
    if (place == "get") text = Ctl({"get", "api"});
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.find(words) != std::string::npos) return line;
    }
    return "";
  }

  std::unique_ptr<Daemon> daemon_;
};

// As in a log, where quotation marks are escaped.
std::string Escaped(std::string text) {
  for (std::size_t at = 0; (at = text.find('"', at)) != std::string::npos; at += 2) {
    text.insert(at, "\\");
  }
  return text;
}

TEST_F(OneRuleLess, IsNamedWhereItIsMissed) {
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  int number = 0;
  for (const Lack& lack : Lacks()) {
    SCOPED_TRACE(lack.file + " without " + lack.rule);
    Begin(lack, ++number);
    if (HasFatalFailure()) return;
    const auto asks = [&lack](const char* place) {
      return std::find(lack.places.begin(), lack.places.end(), place) != lack.places.end();
    };
    if (asks("get")) (void)Said("apply", "");
    std::cout << "without " << lack.rule << " of " << lack.file << ":\n";
    for (const std::string& place : lack.places) {
      const std::string rule = lack.named.empty() ? lack.rule : lack.named;
      const std::string words = place == "log" ? Escaped(rule) : rule;
      std::string line;
      EXPECT_TRUE(WaitUntil([&] { return !(line = Said(place, words)).empty(); }, seconds(20)))
          << place << " does not name it: " << ReadFile(daemon_->process().output())
          << Ctl({"get", "api"});
      std::cout << "  " << place << ": " << line << "\n";
    }
    daemon_.reset();
    (void)consul().Delete("/v1/kv/consul-canary/?recurse");
  }
}

// What was allowed at the start may not be so when it is needed most.
TEST_F(Permissions, ThatGoInTheMiddleAreNamedAndAwaitedByTheRollback) {
  const std::string rules = RepositoryFile("deploy/acl/analyzer.hcl");
  const std::string needed = R"(service "api" { policy = "write" })";
  const std::string token = TokenWith(consul(), {{"going", rules}});
  const json policies = json::parse(consul().Get("/v1/acl/policies").value_or("[]"));
  const auto going = std::find_if(policies.begin(), policies.end(),
                                  [](const json& each) { return each["Name"] == "going"; });
  ASSERT_NE(going, policies.end());
  const auto give = [&](const std::string& text) {
    const json policy = {{"Name", "going"}, {"Rules", text}};
    const auto put =
        consul().Put("/v1/acl/policy/" + (*going)["ID"].get<std::string>(), policy.dump());
    EXPECT_TRUE(put) << put.error().message;
  };
  const WithToken with(consul(), token);
  const auto analyzer = StartAnalyzer(consul());
  ASSERT_TRUE(analyzer) << analyzer.error().message;
  const Load load({.url = mesh_->url(), .rate = 200});
  const auto file = consul().folder().Write(
      "spec.yaml", "service: api\nstrategy: {steps: [{weight: 50, min_duration: 10m}]}\n");
  const auto applied = RunCtl((*analyzer)->address(), {"apply", "-f", file.string()});
  ASSERT_TRUE(applied && applied->code == 0) << applied->output;
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitUntil([&] { return mesh_->Weights()["canary"] == 50; }, seconds(30)));

  give(Joined(RulesOf(rules), needed));
  ASSERT_TRUE(RunCtl((*analyzer)->address(), {"abort", "api"}));
  const auto says = [&] {
    const auto got = RunCtl((*analyzer)->address(), {"get", "api"});
    return got && got->output.find("the token's policy lacks " + needed) != std::string::npos;
  };
  EXPECT_TRUE(WaitUntil(says, seconds(20))) << ReadFile((*analyzer)->process().output());
  EXPECT_EQ(mesh_->Weights()["canary"], 50);

  give(rules);
  EXPECT_TRUE(WaitUntil([&] { return mesh_->Weights()["canary"] == 0; }, seconds(20)));
}

}  // namespace
}  // namespace consul_canary::testing
