// Whatever is wrong in a file, a flag, the mesh or a permission is said in words that name the
// field and what would be right, with the exit code that the command line promises: 2 for files and
// flags, 1 for what the mesh or the analyzer refuses. A real Consul agent; no sidecars are needed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/daemons.h"
#include "tests/support/wait.h"

namespace consul_canary::testing {
namespace {

using nlohmann::json;

constexpr const char* kSpec = "service: api\nstrategy: {steps: [{weight: 10}, {weight: 50}]}\n";
constexpr const char* kManagementToken = "8a4f2f8e-0000-4000-8000-000000000006";
constexpr std::size_t kMostBodyBytes = 1U << 20U;

class WrongInput : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_NO_FATAL_FAILURE(StartConsul()); }

  void StartConsul(ConsulOptions options = {}) {
    auto consul = ConsulAgent::Start(std::move(options));
    ASSERT_TRUE(consul) << consul.error().message;
    consul_ = std::move(*consul);
  }

  void StartAnalyzerWith(std::vector<std::string> flags = {}) {
    auto analyzer = StartAnalyzer(*consul_, std::move(flags));
    ASSERT_TRUE(analyzer) << analyzer.error().message;
    analyzer_ = std::move(*analyzer);
  }

  void WriteDefaults(const std::string& protocol) {
    Write({{"Kind", "service-defaults"}, {"Name", "api"}, {"Protocol", protocol}});
  }

  void WriteResolver() {
    Write({{"Kind", "service-resolver"},
           {"Name", "api"},
           {"Subsets",
            {{"primary", {{"Filter", "Service.Meta.version == v1"}}},
             {"canary", {{"Filter", "Service.Meta.version == none"}}},
             {"beta", {{"Filter", "Service.Meta.version == beta"}}}}}});
  }

  void WriteSplitter(const json& splits) {
    Write({{"Kind", "service-splitter"}, {"Name", "api"}, {"Splits", splits}});
  }

  // All that a rollout needs of the mesh's entries.
  void WriteGoodMesh() {
    WriteDefaults("http");
    WriteResolver();
    WriteSplitter({{{"Weight", 100}, {"ServiceSubset", "primary"}},
                   {{"Weight", 0}, {"ServiceSubset", "canary"}}});
  }

  void Write(const json& entry) {
    const auto written = consul_->WriteEntry(entry.dump());
    ASSERT_TRUE(written) << written.error().message;
  }

  CtlResult Ctl(std::vector<std::string> arguments) {
    const std::string address = analyzer_ ? analyzer_->address() : "http://127.0.0.1:1";
    auto result = RunCtl(address, std::move(arguments));
    EXPECT_TRUE(result) << result.error().message;
    return result ? *result : CtlResult{};
  }

  std::string File(const std::string& text) {
    return consul_->folder().Write("spec.yaml", text).string();
  }

  void ExpectFails(std::vector<std::string> arguments, int code,
                   const std::vector<std::string>& says) {
    std::string shown;
    for (const std::string& argument : arguments) shown += argument + " ";
    const CtlResult result = Ctl(std::move(arguments));
    EXPECT_EQ(result.code, code) << shown << "\n" << result.output;
    for (const std::string& text : says) {
      EXPECT_NE(result.output.find(text), std::string::npos)
          << shown << "\ndoes not say: " << text << "\nbut: " << result.output;
    }
  }

  base::HttpResponse Call(const std::string& method, const std::string& path,
                          const std::string& body = "", std::vector<std::string> headers = {}) {
    const auto answer =
        consul_->http().Call(method, analyzer_->address() + path, body, std::move(headers));
    EXPECT_TRUE(answer) << answer.error().message;
    return answer ? *answer : base::HttpResponse{};
  }

  void ExpectAnswer(const std::string& method, const std::string& path, const std::string& body,
                    int status, const std::string& says) {
    const base::HttpResponse answer = Call(method, path, body);
    EXPECT_EQ(answer.status, status) << method << " " << path << ": " << answer.body;
    const json parsed = json::parse(answer.body, nullptr, false);
    ASSERT_TRUE(parsed.is_object()) << answer.body;
    EXPECT_NE(parsed.value("error", "").find(says), std::string::npos) << answer.body;
  }

  std::unique_ptr<ConsulAgent> consul_;
  std::unique_ptr<Daemon> analyzer_;
};

TEST_F(WrongInput, InAFileIsNamedWithItsLineAndExitsWithTwo) {
  struct Case {
    const char* text;
    std::vector<std::string> says;
  };
  const std::vector<Case> cases{
      {"service: api\nstratgy: {}\n", {"line 2: stratgy", "strategy"}},
      {"service: api\nstrategy:\n  steps: [{weight: 25}, {weight: 10}]\n",
       {"line 3: strategy.steps[1].weight", "must be greater than the step before (25), is 10"}},
      {"service: api\nstrategy: {steps: [{weight: 120}]}\n",
       {"line 2: strategy.steps[0].weight", "100"}},
      {"strategy: {}\n", {"service"}},
      {"service: api\nanalysis: {false_rollback: 2}\n", {"line 2: analysis.false_rollback"}},
      {"service: api\nstart: sometimes\nwarmup: 5s\n",
       {"line 2: start", "manual", "line 3: warmup"}},
      {"service: [\n", {"spec.yaml"}},
  };
  for (const Case& test : cases) {
    for (const char* command : {"validate", "apply"}) {
      ExpectFails({command, "-f", File(test.text)}, 2, test.says);
    }
  }
  ExpectFails({"validate", "-f", "/nowhere/spec.yaml"}, 2, {"/nowhere/spec.yaml: cannot be read"});
  ExpectFails({"replay", File("{}\n")}, 2, {"spec.yaml: line 1: the first line must be"});
  ExpectFails({"replay", File(R"({"recording": 1, "spec": {"service": "api"}})")}, 2,
              {"spec.yaml: has no tick"});
  ExpectFails({"replay", File(R"({"recording": 1, "spec": {"servic": "api", "start": 3}})")}, 2,
              {"spec.yaml: line 1: spec: servic: ", "spec.yaml: line 1: spec: start: "});
  ExpectFails({"replay", "/"}, 2, {"/: is a folder"});
}

TEST_F(WrongInput, OneBadFileOfTwoKeepsBothBack) {
  WriteGoodMesh();
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerWith());
  const std::string good = consul_->folder().Write("good.yaml", kSpec).string();
  ExpectFails({"apply", "-f", good, "-f", File("service: api\nbad: 1\n")}, 2, {"line 2: bad"});
  EXPECT_EQ(Ctl({"get", "api"}).code, 1);
}

TEST_F(WrongInput, InAFlagExitsWithTwo) {
  ExpectFails({"list", "--colour"}, 2, {"--colour"});
  ExpectFails({"explode", "api"}, 2, {});
  ExpectFails({}, 2, {"subcommand"});
  ExpectFails({"get"}, 2, {"SERVICE"});
  ExpectFails({"apply"}, 2, {"--filename"});
  ExpectFails({"get", "api", "more"}, 2, {"more"});
  ExpectFails({"get", "api", "-o", "xml"}, 2, {"xml"});
  ExpectFails({"replay", "a.jsonl", "-o", "yaml"}, 2, {"yaml"});
  for (const char* timeout : {"soon", "", "-5s", "5 m", "1d", "10ss", "999999999h"}) {
    ExpectFails({"status", "api", std::string("--timeout=") + timeout}, 2, {"--timeout"});
  }
  ExpectFails({"--token-file", "/nowhere/token", "list"}, 2,
              {"--token-file: /nowhere/token cannot be read"});
}

TEST_F(WrongInput, OfTheAnalyzersOwnFlagsIsRefusedTogether) {
  const std::string tokens = consul_->folder().Write("tokens", "operator:ann:my-secret\n").string();
  const auto analyzer =
      StartAnalyzer(*consul_, {"--auth.file", tokens, "--source", "carrier-pigeon", "--log.level",
                               "loud", "--web.telemetry-path", "/api/metrics", "--record", tokens});
  ASSERT_FALSE(analyzer);
  const std::string log = ReadFile(consul_->folder().path() / "analyzer.log");
  for (const char* text :
       {"--auth.file: ", "tokens:1: the hash is neither", "--record: ", "tokens: Not a directory",
        "--source: \"carrier-pigeon\"", "--log.level", "--web.telemetry-path"}) {
    EXPECT_NE(log.find(text), std::string::npos) << text << "\n" << log;
  }
  EXPECT_EQ(log.find("my-secret"), std::string::npos);
  EXPECT_FALSE(StartAnalyzer(*consul_, {"--auth.none-on-loopback", "--unknown"}));
}

TEST_F(WrongInput, OfTheMeshIsRefusedWithOneAndTheField) {
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerWith());
  const std::vector<std::string> apply{"apply", "-f", File(kSpec)};
  // Nothing there yet: a service without entries speaks tcp.
  ExpectFails(apply, 1,
              {"service: the protocol of \"api\" is tcp; a splitter needs http, http2 or grpc",
               "service: Consul has no service-resolver \"api\"; write one",
               "service: Consul has no service-splitter \"api\"; write one"});
  WriteDefaults("tcp");
  WriteResolver();
  ExpectFails(apply, 1, {"service: the protocol of \"api\" is tcp"});
  WriteGoodMesh();
  ExpectFails({"apply", "-f", File("service: api\nsubsets: {primary: primary, canary: next}\n")}, 1,
              {"subsets.canary: the service-resolver \"api\" has no subset \"next\" (it has: beta, "
               "canary, primary)"});
  WriteSplitter({{{"Weight", 40}, {"ServiceSubset", "primary"}},
                 {{"Weight", 60}, {"ServiceSubset", "beta"}}});
  ExpectFails({"apply", "-f", File(kSpec)}, 1,
              {"strategy.steps: the last step gives the canary 50%, and other splits of the "
               "service-splitter hold 60%",
               "at most 40 is left"});
  EXPECT_EQ(Ctl({"list"}).output.find("api"), std::string::npos);
  WriteGoodMesh();
  EXPECT_EQ(Ctl({"apply", "-f", File(kSpec)}).code, 0);
}

TEST_F(WrongInput, AServiceWithoutARolloutIsNamed) {
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerWith());
  // Of `status`, 1 would say that it was rolled back.
  ExpectFails({"status", "ghost"}, 3, {"there is no rollout of", "ghost"});
  for (const char* command :
       {"get", "history", "delete", "start", "pause", "resume", "promote", "abort", "retry"}) {
    ExpectFails({command, "ghost"}, 1, {"there is no rollout of", "ghost"});
  }
}

TEST_F(WrongInput, ADeletedRolloutIsGone) {
  WriteGoodMesh();
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerWith());
  ASSERT_EQ(Ctl({"apply", "-f", File(kSpec)}).code, 0);
  ASSERT_TRUE(WaitUntil([&] { return Ctl({"get", "api"}).code == 0; }, seconds(10)));
  ASSERT_EQ(Ctl({"delete", "api"}).code, 0);
  ASSERT_TRUE(WaitUntil([&] { return Ctl({"get", "api"}).code == 1; }, seconds(10)));
  EXPECT_EQ(Ctl({"list"}).output.find("api"), std::string::npos);
  EXPECT_EQ(json::parse(Call("GET", "/api/v1/rollouts").body),
            (json{{"rollouts", json::array()}, {"paused", ""}}));
}

TEST_F(WrongInput, AnAnalyzerThatIsDownOrNoneIsSaid) {
  ExpectFails({"list"}, 1, {"the analyzer does not answer", "127.0.0.1:1"});
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
           {"list"}, {"get", "api"}, {"status", "api", "--wait"}, {"history", "api"}}) {
    const auto consul = RunCtl(consul_->address() + "/v1/agent/self?", command);
    ASSERT_TRUE(consul);
    // A pipeline takes 1 for "rolled back".
    EXPECT_EQ(consul->code, command.front() == "status" ? 3 : 1) << consul->output;
    EXPECT_NE(consul->output.find("is no analyzer of this version"), std::string::npos)
        << consul->output;
  }
}

TEST_F(WrongInput, AMissingPermissionNamesTheRuleThatIsNeeded) {
  ASSERT_NO_FATAL_FAILURE(StartConsul({.token = kManagementToken}));
  WriteGoodMesh();
  const json policy = {{"Name", "reader"}, {"Rules", R"(service_prefix "" { policy = "read" }
                                    node_prefix "" { policy = "read" }
                                    key_prefix "consul-canary/" { policy = "write" }
                                    session_prefix "" { policy = "write" })"}};
  ASSERT_TRUE(consul_->Put("/v1/acl/policy", policy.dump()));
  const auto created =
      consul_->Put("/v1/acl/token", json{{"Policies", {{{"Name", "reader"}}}}}.dump());
  ASSERT_TRUE(created) << created.error().message;
  const std::string token = json::parse(*created).at("SecretID");
  ::setenv("CONSUL_HTTP_TOKEN_FILE", consul_->folder().Write("token", token).c_str(), 1);
  StartAnalyzerWith();
  ::unsetenv("CONSUL_HTTP_TOKEN_FILE");
  ASSERT_TRUE(analyzer_);
  ExpectFails({"apply", "-f", File(kSpec)}, 1,
              {"service: ", "give it service \"api\" { policy = \"write\" }"});
  EXPECT_EQ(Ctl({"list"}).output.find("api"), std::string::npos);
}

TEST_F(WrongInput, WritingIsOffUnlessItWasSetUp) {
  WriteGoodMesh();
  const std::string hooks_only =
      consul_->folder()
          .Write("tokens",
                 "hook:alertmanager:sha256:"
                 "4e3acc0eb2976bde9f51c7b6332af01535e3d863474acac276e1fcd60224c738\n")
          .string();
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerWith({"--auth.none-on-loopback=false"}));
  EXPECT_EQ(Call("GET", "/api/v1/rollouts").status, 200);
  ExpectAnswer("PUT", "/api/v1/rollouts/api", kSpec, 403,
               "writing is off: start the analyzer with");
  ExpectAnswer("POST", "/api/v1/rollouts/api/abort", "", 403, "writing is off");
  ExpectAnswer("DELETE", "/api/v1/rollouts/api", "", 403, "writing is off");
  ExpectAnswer("POST", "/hooks/alertmanager", R"({"version": "4", "alerts": []})", 403,
               "writing is off");
  ExpectFails({"apply", "-f", File(kSpec)}, 1, {"writing is off"});
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerWith({"--auth.file", hooks_only}));
  ExpectAnswer("GET", "/api/v1/rollouts", "", 403, "a bearer token with the role viewer is needed");
  EXPECT_EQ(Call("POST", "/hooks/alertmanager", R"({"version": "4", "alerts": []})",
                 {"Authorization: Bearer sha-secret"})
                .status,
            200);
  EXPECT_EQ(
      Call("POST", "/api/v1/rollouts/api/abort", "", {"Authorization: Bearer sha-secret"}).status,
      403);
}

TEST_F(WrongInput, InARequestIsAnsweredWithTheStatusThatFits) {
  WriteGoodMesh();
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerWith());
  ASSERT_EQ(Ctl({"apply", "-f", File(kSpec)}).code, 0);
  const std::string api = "/api/v1/rollouts/api";
  ExpectAnswer("POST", api + "/promote", "{", 400, "the body is no JSON object");
  ExpectAnswer("POST", api + "/promote", "[]", 400, "the body is no JSON object");
  ExpectAnswer("POST", api + "/promote", R"({"full": "yes"})", 400, "\"full\" is not understood");
  ExpectAnswer("POST", api + "/start", R"({"full": true})", 400, "\"full\" is not understood");
  ExpectAnswer("POST", api + "/explode", "", 404, "no such action: explode; there are start,");
  ExpectAnswer("POST", api + "/rollback-alert", "", 404, "no such action");
  ExpectAnswer("PUT", "/api/v1/rollouts/other", kSpec, 400, "is \"api\", but the request names");
  ExpectAnswer("PUT", api, "", 400, "the specification is wrong");
  ExpectAnswer("POST", "/hooks/alertmanager", "{}", 400, "version: \"4\" is expected");
  ExpectAnswer("GET", "/api/v1/nothing", "", 404, "no such page");
  ExpectAnswer("GET", "/api/v1/rolloutsapi", "", 404, "no such page");
  EXPECT_EQ(Call("POST", api).status, 405);
  EXPECT_EQ(Call("GET", api + "/abort").status, 405);
  EXPECT_EQ(Call("GET", "/hooks/alertmanager").status, 405);
  EXPECT_EQ(Call("PUT", api, std::string(kMostBodyBytes + 1, '#')).status, 413);
  EXPECT_EQ(Call("GET", api).status, 200);  // it goes on
}

}  // namespace
}  // namespace consul_canary::testing
