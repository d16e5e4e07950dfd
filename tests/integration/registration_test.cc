// The daemons in a real Consul's catalog: they register themselves, come back when they are
// forgotten, leave when they end, and go on where they may not.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/observability/monitoring_files.h"
#include "tests/support/daemons.h"
#include "tests/support/places.h"
#include "tests/support/wait.h"

namespace consul_canary::testing {
namespace {

using nlohmann::json;

constexpr const char* kManagementToken = "8a4f2f8e-0000-4000-8000-000000000006";

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
  const auto file = consul_->folder().Write(
      "web.yaml",
      "basic_auth_users:\n"
      "  prometheus: $2b$04$qDl/3ZndaLfa7Jq4lJB.A.yOUXB1QNCojU89EGDZaJFWdSCtTAopu\n");
  const std::string port = std::to_string(consul_->ports().Next());
  auto environment = consul_->Environment();
  // StartExporter waits for /-/ready, which asks for the password.
  const auto exporter = Daemon::Start(
      consul_->http(),
      {.name = "exporter",
       .command = {.argv = {ExporterProgram(), "--web.listen-address", "127.0.0.1:" + port,
                            "--web.config.file", file.string(), "--consul.register"},
                   .env = std::move(environment),
                   .output = consul_->folder().path() / "exporter.log"},
       .address = "http://127.0.0.1:" + port,
       .ready_path = "/-/healthy"});
  ASSERT_TRUE(exporter) << exporter.error().message;
  EXPECT_TRUE(WaitForPassing("consul-canary-exporter")) << Instances("consul-canary-exporter");
  const auto status = [&](std::vector<std::string> headers) {
    const auto answer =
        consul_->http().Call("GET", (*exporter)->address() + "/metrics", "", std::move(headers));
    return answer ? answer->status : 0;
  };
  EXPECT_EQ(status({}), 401);
  EXPECT_EQ(status({"Authorization: Basic cHJvbWV0aGV1czpjb3JyZWN0IGhvcnNl"}), 200);
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
