// The daemons in a real Consul's catalog: they register themselves, come back when they are
// forgotten, leave when they end, and go on where they may not.
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/observability/monitoring_files.h"
#include "tests/support/daemons.h"
#include "tests/support/places.h"
#include "tests/support/wait.h"

namespace consul_canary::testing {
namespace {

using nlohmann::json;

constexpr const char* kManagementToken = "8a4f2f8e-0000-4000-8000-000000000006";

// Web config files with the user prometheus, and the headers that let it in.
constexpr std::string_view kCorrectHorse =
    "basic_auth_users:\n"
    "  prometheus: $2b$04$qDl/3ZndaLfa7Jq4lJB.A.yOUXB1QNCojU89EGDZaJFWdSCtTAopu\n";
constexpr std::string_view kSecond =
    "basic_auth_users:\n"
    "  prometheus: $2b$04$RDJkM/.hG9p.BCevTmCNLuvRQXwCs9utZRqRdRnywJkRL/R8UbAjG\n";
constexpr const char* kByCorrectHorse = "Basic cHJvbWV0aGV1czpjb3JyZWN0IGhvcnNl";
constexpr const char* kBySecond = "Basic cHJvbWV0aGV1czpzZWNvbmQ=";

// Ends of lines of the file of bearer tokens, by sha256sum.
constexpr const char* kHashOfToken =
    "sha256:3c469e9d6c5875d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e0\n";
constexpr const char* kHashOfOther =
    "sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa\n";

class RegisteredDaemons : public ::testing::Test {
 protected:
  void StartConsul(ConsulOptions options = {}) {
    auto consul = ConsulAgent::Start(std::move(options));
    ASSERT_TRUE(consul) << consul.error().message;
    consul_ = std::move(*consul);
  }

  // What Consul tells of the service's instances, sound or not.
  [[nodiscard]] json Instances(const std::string& name, const std::string& query = "") const {
    const auto body = consul_->Get("/v1/health/service/" + name + query);
    return body ? json::parse(*body) : json();
  }
  [[nodiscard]] bool WaitForPassing(const std::string& name) const {
    return WaitUntil([&] { return Instances(name, "?passing").size() == 1; }, seconds(20));
  }

  // With this agent's environment and further flags; ready when it answers at all, since the other
  // pages may ask for a password.
  [[nodiscard]] DaemonResult StartGuarded(const std::string& name, const std::string& program,
                                          const std::vector<std::string>& flags) {
    const std::string port = std::to_string(consul_->ports().Next());
    Command command{.argv = {program, "--web.listen-address", "127.0.0.1:" + port},
                    .env = consul_->Environment(),
                    .output = consul_->folder().path() / (name + ".log")};
    command.argv.insert(command.argv.end(), flags.begin(), flags.end());
    return Daemon::Start(consul_->http(), {.name = name,
                                           .command = std::move(command),
                                           .address = "http://127.0.0.1:" + port,
                                           .ready_path = "/-/healthy"});
  }

  [[nodiscard]] int StatusOf(const Daemon& daemon, std::string_view method, const std::string& path,
                             const std::string& authorization) const {
    std::vector<std::string> headers;
    if (!authorization.empty()) headers.push_back("Authorization: " + authorization);
    const auto answer = consul_->http().Call(method, daemon.address() + path, "", headers);
    return answer ? answer->status : 0;
  }

  void CreatePolicy(const std::string& file) const {
    const json policy = {{"Name", file.substr(0, file.find('.'))},
                         {"Rules", RepositoryFile("deploy/acl/" + file)}};
    const auto created = consul_->Put("/v1/acl/policy", policy.dump());
    ASSERT_TRUE(created) << created.error().message;
  }

  std::unique_ptr<ConsulAgent> consul_;
};

TEST_F(RegisteredDaemons, StandInTheCatalogUntilTheyEnd) {
  StartConsul();
  const auto exporter =
      StartExporter(*consul_, {"--consul.register", "--web.telemetry-path", "/telemetry"});
  ASSERT_TRUE(exporter) << exporter.error().message;
  const auto analyzer =
      StartAnalyzer(*consul_, {"--consul.register", "--consul.register-name", "canary-judge"});
  ASSERT_TRUE(analyzer) << analyzer.error().message;
  ASSERT_TRUE(WaitForPassing("consul-canary-exporter")) << Instances("consul-canary-exporter");
  ASSERT_TRUE(WaitForPassing("canary-judge")) << Instances("canary-judge");

  const json service = Instances("consul-canary-exporter").at(0).at("Service");
  EXPECT_EQ(service.at("ID"), "consul-canary-exporter-127.0.0.1-" + (*exporter)->port());
  EXPECT_EQ(service.at("Port").dump(), (*exporter)->port());
  EXPECT_EQ(service.at("Address"), "127.0.0.1");
  EXPECT_EQ(service.at("Meta").at("metrics_path"), "/telemetry");
  EXPECT_FALSE(service.at("Meta").at("version").get<std::string>().empty());

  EXPECT_EQ((*exporter)->Stop(), 0);
  EXPECT_EQ(Instances("consul-canary-exporter").size(), 0u);
  EXPECT_EQ((*analyzer)->Stop(), 0);
  EXPECT_EQ(Instances("canary-judge").size(), 0u);
}

TEST_F(RegisteredDaemons, ComeBackWhenTheAgentForgetsThem) {
  StartConsul();
  const auto exporter = StartExporter(*consul_, {"--consul.register"});
  ASSERT_TRUE(exporter) << exporter.error().message;
  ASSERT_TRUE(WaitForPassing("consul-canary-exporter"));
  ASSERT_TRUE(consul_->Restart());  // in memory alone: it knows nobody any more
  EXPECT_TRUE(WaitForPassing("consul-canary-exporter")) << (*exporter)->process().OutputTail();
}

TEST_F(RegisteredDaemons, AreNotThereWithoutTheFlag) {
  StartConsul();
  const auto exporter = StartExporter(*consul_);
  ASSERT_TRUE(exporter) << exporter.error().message;
  EXPECT_EQ((*exporter)->Stop(), 0);
  EXPECT_EQ(ReadFile((*exporter)->process().output()).find("/v1/agent/service"), std::string::npos);
  EXPECT_EQ(Instances("consul-canary-exporter").size(), 0u);
}

// Checked without a password, although the web config file asks for one.
TEST_F(RegisteredDaemons, AreFoundSoundBehindAPassword) {
  StartConsul();
  const auto file = consul_->folder().Write("web.yaml", kCorrectHorse);
  const auto exporter = StartGuarded("exporter", ExporterProgram(),
                                     {"--web.config.file", file.string(), "--consul.register"});
  ASSERT_TRUE(exporter) << exporter.error().message;
  EXPECT_TRUE(WaitForPassing("consul-canary-exporter")) << Instances("consul-canary-exporter");
  EXPECT_EQ(StatusOf(**exporter, "GET", "/metrics", ""), 401);
  EXPECT_EQ(StatusOf(**exporter, "GET", "/metrics", kByCorrectHorse), 200);
}

TEST_F(RegisteredDaemons, ReadTheWebConfigFileAnewAndRefuseABadOne) {
  StartConsul();
  const auto file = consul_->folder().Write("web.yaml", kCorrectHorse);
  const auto exporter =
      StartGuarded("exporter", ExporterProgram(), {"--web.config.file", file.string()});
  ASSERT_TRUE(exporter) << exporter.error().message;
  EXPECT_EQ(StatusOf(**exporter, "POST", "/-/reload", ""), 401);
  consul_->folder().Write("web.yaml", "basic_auth_users:\n  a: plain\n");
  (*exporter)->process().Signal(SIGHUP);
  const auto logs = [&](const std::string& words) {
    return ReadFile((*exporter)->process().output()).find(words) != std::string::npos;
  };
  EXPECT_TRUE(WaitUntil([&] { return logs("web.yaml:2: basic_auth_users.a: must be a bcrypt"); },
                        seconds(10)));
  EXPECT_EQ(StatusOf(**exporter, "POST", "/-/reload", kByCorrectHorse), 400);
  EXPECT_EQ(StatusOf(**exporter, "GET", "/metrics", ""), 401);
  consul_->folder().Write("web.yaml", kSecond);
  EXPECT_EQ(StatusOf(**exporter, "POST", "/-/reload", kByCorrectHorse), 200);
  EXPECT_EQ(StatusOf(**exporter, "GET", "/metrics", kByCorrectHorse), 401);
  EXPECT_EQ(StatusOf(**exporter, "GET", "/metrics", kBySecond), 200);
}

// A bearer token goes to the check that knows such tokens, and to nothing else.
TEST_F(RegisteredDaemons, AskForThePasswordAtTheAnalyzersApiToo) {
  StartConsul();
  const auto file = consul_->folder().Write("web.yaml", kCorrectHorse);
  const auto tokens =
      consul_->folder().Write("tokens", "operator:test:" + std::string(kHashOfToken));
  const auto analyzer =
      StartGuarded("analyzer", AnalyzerProgram(),
                   {"--web.config.file", file.string(), "--auth.file", tokens.string()});
  ASSERT_TRUE(analyzer) << analyzer.error().message;
  const auto reads_rollouts = [&](const char* authorization, int status) {
    return StatusOf(**analyzer, "GET", "/api/v1/rollouts", authorization) == status;
  };
  EXPECT_TRUE(WaitUntil([&] { return reads_rollouts("Bearer token", 200); }, seconds(10)));
  EXPECT_TRUE(reads_rollouts("", 401));
  EXPECT_TRUE(reads_rollouts("Bearer other", 403));
  EXPECT_EQ(StatusOf(**analyzer, "GET", "/metrics", "Bearer token"), 401);
  EXPECT_EQ(StatusOf(**analyzer, "GET", "/metrics", kByCorrectHorse), 200);
  EXPECT_EQ(StatusOf(**analyzer, "POST", "/hooks/alertmanager", ""), 401);
}

// The analyzer's tokens and its web config file are taken together or not at all.
TEST_F(RegisteredDaemons, ReadTheFileOfTokensAnewAndRefuseABadOne) {
  StartConsul();
  const auto web = consul_->folder().Write("web.yaml", kCorrectHorse);
  const auto file = consul_->folder().Write("tokens", "operator:one:" + std::string(kHashOfToken));
  const auto analyzer =
      StartGuarded("analyzer", AnalyzerProgram(),
                   {"--web.config.file", web.string(), "--auth.file", file.string()});
  ASSERT_TRUE(analyzer) << analyzer.error().message;
  const auto reads_rollouts = [&](const char* authorization) {
    return StatusOf(**analyzer, "GET", "/api/v1/rollouts", authorization);
  };
  const auto logs = [&](const std::string& words) {
    return ReadFile((*analyzer)->process().output()).find(words) != std::string::npos;
  };
  const auto reload = [&](const char* authorization) {
    const auto answer = consul_->http().Call("POST", (*analyzer)->address() + "/-/reload", "",
                                             {std::string("Authorization: ") + authorization});
    return answer.value_or(base::HttpResponse());
  };
  ASSERT_TRUE(WaitUntil([&] { return reads_rollouts("Bearer token") == 200; }, seconds(10)));

  consul_->folder().Write("web.yaml", kSecond);
  consul_->folder().Write("tokens",
                          "operator:one:" + std::string(kHashOfOther) + "operator:two:plain\n");
  const base::HttpResponse refused = reload(kByCorrectHorse);
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused.body.find(file.string() + ":2: the hash is neither"), 0U) << refused.body;
  EXPECT_TRUE(logs("tokens:2: the hash is neither"));
  EXPECT_EQ(reads_rollouts("Bearer token"), 200);
  EXPECT_EQ(reads_rollouts("Bearer other"), 403);
  EXPECT_EQ(StatusOf(**analyzer, "GET", "/metrics", kByCorrectHorse), 200);

  std::filesystem::remove(file);
  EXPECT_EQ(reload(kByCorrectHorse).status, 500);
  EXPECT_EQ(reads_rollouts("Bearer token"), 200);

  consul_->folder().Write("tokens", "viewer:two:" + std::string(kHashOfOther));
  (*analyzer)->process().Signal(SIGHUP);
  EXPECT_TRUE(WaitUntil([&] { return reads_rollouts("Bearer other") == 200; }, seconds(10)));
  EXPECT_EQ(reads_rollouts("Bearer token"), 403);
  EXPECT_EQ(StatusOf(**analyzer, "DELETE", "/api/v1/rollouts/api", "Bearer other"), 403);
  EXPECT_EQ(StatusOf(**analyzer, "GET", "/metrics", kByCorrectHorse), 401);

  // What is wrong with the web config file keeps the tokens as they were, too.
  consul_->folder().Write("web.yaml", "basic_auth_users:\n  a: plain\n");
  consul_->folder().Write("tokens", "operator:one:" + std::string(kHashOfToken));
  EXPECT_EQ(reload(kBySecond).status, 400);
  EXPECT_EQ(reads_rollouts("Bearer token"), 403);
  EXPECT_EQ(reads_rollouts("Bearer other"), 200);
}

TEST_F(RegisteredDaemons, NeedNoMoreThanThePolicyForItAndGoOnWithout) {
  StartConsul({.token = kManagementToken});
  CreatePolicy("exporter.hcl");
  CreatePolicy("register.hcl");
  if (HasFatalFailure()) return;
  const auto created =
      consul_->Put("/v1/acl/token", json{{"Policies", {{{"Name", "exporter"}}}}}.dump());
  ASSERT_TRUE(created) << created.error().message;
  const json token = json::parse(*created);
  auto environment = consul_->Environment();
  environment["CONSUL_HTTP_TOKEN"] = token.at("SecretID").get<std::string>();
  const std::string port = std::to_string(consul_->ports().Next());
  const auto exporter = Daemon::Start(
      consul_->http(), {.name = "exporter",
                        .command = {.argv = {ExporterProgram(), "--web.listen-address",
                                             "127.0.0.1:" + port, "--consul.register"},
                                    .env = std::move(environment),
                                    .output = consul_->folder().path() / "exporter.log"},
                        .address = "http://127.0.0.1:" + port,
                        .ready_path = "/-/ready"});
  ASSERT_TRUE(exporter) << exporter.error().message;
  const auto complaints = [&] {
    const std::string log = ReadFile((*exporter)->process().output());
    const std::string words = "cannot register in Consul";
    std::size_t count = 0;
    for (std::size_t at = log.find(words); at != std::string::npos; at = log.find(words, at + 1)) {
      ++count;
    }
    return count;
  };
  ASSERT_TRUE(WaitUntil([&] { return complaints() > 0; }, seconds(20)));
  const json both = {{"AccessorID", token.at("AccessorID")},
                     {"Policies", {{{"Name", "exporter"}}, {{"Name", "register"}}}}};
  const auto widened =
      consul_->Put("/v1/acl/token/" + token.at("AccessorID").get<std::string>(), both.dump());
  ASSERT_TRUE(widened) << widened.error().message;
  // By its own next try; that it complained once, although it may have tried several times.
  EXPECT_TRUE(WaitForPassing("consul-canary-exporter")) << (*exporter)->process().OutputTail();
  EXPECT_EQ(complaints(), 1u);
  EXPECT_EQ((*exporter)->Stop(), 0);
  EXPECT_EQ(Instances("consul-canary-exporter").size(), 0u);
}

}  // namespace
}  // namespace consul_canary::testing
