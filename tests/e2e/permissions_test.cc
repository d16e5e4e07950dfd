// With the ACL policies of deploy/acl/ and nothing more, on a mesh that denies by default, the
// programs do all of their work; and they may do little else.
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tests/observability/monitoring_files.h"
#include "tests/support/daemons.h"
#include "tests/support/load.h"
#include "tests/support/mesh.h"

namespace consul_canary::testing {
namespace {

using nlohmann::json;

constexpr const char* kManagementToken = "8a4f2f8e-0000-4000-8000-000000000005";

// A token that has the policy of a file of deploy/acl/; empty when Consul refuses it.
std::string TokenFor(const ConsulAgent& consul, const std::string& file) {
  const json policy = {{"Name", file.substr(0, file.find('.'))},
                       {"Rules", RepositoryFile("deploy/acl/" + file)}};
  const auto created = consul.Put("/v1/acl/policy", policy.dump());
  EXPECT_TRUE(created) << created.error().message;
  const json token = {{"Policies", {{{"Name", policy["Name"]}}}}};
  const auto answer = consul.Put("/v1/acl/token", token.dump());
  EXPECT_TRUE(answer) << answer.error().message;
  return answer ? json::parse(*answer).at("SecretID").get<std::string>() : "";
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

}  // namespace
}  // namespace consul_canary::testing
