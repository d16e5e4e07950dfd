// A gRPC service on a real mesh: its calls are counted and judged by their status, since their code
// is 200 whatever happens.
#include <fmt/format.h>

#include "tests/e2e/rollout_mesh.h"
#include "tests/support/places.h"
#include "tests/support/real_parts.h"

namespace consul_canary::testing {
namespace {

class GrpcTest : public RolloutTest {
 protected:
  void Begin(std::vector<std::string> versions, std::string canary_version = "") {
    const auto python = FindPart("python");
    ASSERT_TRUE(python) << python.error().message;
    program_ = {*python, SourceFolder() + "/tests/support/grpc_app.py"};
    auto mesh = Mesh::Start({.versions = std::move(versions),
                             .canary_version = canary_version,
                             .canary_weight = canary_version.empty() ? 0. : 50.,
                             .protocol = "grpc",
                             .app = program_});
    ASSERT_TRUE(mesh) << mesh.error().message;
    mesh_ = std::move(*mesh);
    auto analyzer = StartAnalyzer(mesh_->consul());
    ASSERT_TRUE(analyzer) << analyzer.error().message;
    analyzer_ = std::move(*analyzer);
  }

  // The client, with what else it is told.
  [[nodiscard]] std::vector<std::string> Call(std::vector<std::string> options) const {
    std::vector<std::string> argv = program_;
    argv.insert(argv.end(), {"--call", mesh_->url().substr(std::string("http://").size())});
    argv.back().pop_back();  // the slash
    argv.insert(argv.end(), options.begin(), options.end());
    return argv;
  }

  [[nodiscard]] std::string MetricsPage() const {
    return mesh_->consul().http().Get(analyzer_->address() + "/metrics").value_or("");
  }

  // Of the series `name` of api's subset, with what is left of its labels; -1: there is none.
  [[nodiscard]] double Metric(std::string_view name, std::string_view subset,
                              std::string_view labels) const {
    const std::string page = MetricsPage();
    const std::string series =
        fmt::format(R"(consul_canary_{}{{service_name="api",subset="{}",role="{}",{}}} )", name,
                    subset, subset, labels);
    const std::size_t at = page.find("\n" + series);
    return at == std::string::npos ? -1 : std::stod(page.substr(at + 1 + series.size()));
  }

 private:
  std::vector<std::string> program_;
};

TEST_F(GrpcTest, CallsAreCountedByTheStatusThatTheirCallersGot) {
  ASSERT_NO_FATAL_FAILURE(Begin({"v1", "v2"}, "v2"));
  const auto all_read = [&] {
    return MetricsPage().find("\nconsul_canary_sidecars{state=\"read\"} 3\n") != std::string::npos;
  };
  ASSERT_TRUE(WaitUntil(all_read, seconds(15)));  // where counting starts
  ASSERT_TRUE(mesh_->consul().WriteEntry(
      R"({"Kind": "service-router", "Name": "api", "Routes": [{"Destination":
          {"NumRetries": 1, "RetryOn": ["unavailable"]}}]})"));
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=0.5&status=13"));  // INTERNAL is not retried
  ASSERT_TRUE(mesh_->Control("v1", "failure_ratio=0.5&status=5"));   // NOT_FOUND is an answer
  const auto printed = RunCommand({.argv = Call({"--rate", "200", "--count", "600"})}, seconds(30));
  ASSERT_TRUE(printed) << printed.error().message;
  json seen = json::parse(*printed);
  const auto count = [&](const char* status) { return seen.value(status, 0.); };
  EXPECT_EQ(count("OK") + count("INTERNAL") + count("NOT_FOUND"), 600) << *printed;
  EXPECT_GT(count("INTERNAL"), 50);
  EXPECT_GT(count("NOT_FOUND"), 50);
  const auto total = [&](const char* name, std::string_view labels) {
    return Metric(name, "primary", labels) + Metric(name, "canary", labels);
  };
  ASSERT_TRUE(
      WaitUntil([&] { return total("requests_total", R"(view="requests")") == 600; }, seconds(15)))
      << total("requests_total", R"(view="requests")");
  EXPECT_EQ(Metric("grpc_responses_total", "canary", R"(status="INTERNAL")"), count("INTERNAL"));
  EXPECT_EQ(Metric("grpc_responses_total", "primary", R"(status="NOT_FOUND")"), count("NOT_FOUND"));
  EXPECT_EQ(total("grpc_responses_total", R"(status="OK")"), count("OK"));
  EXPECT_EQ(total("responses_total", R"(code="200")"), 600);
  for (const char* view : {R"(view="first-try")", R"(view="attempts")", R"(view="requests")"}) {
    EXPECT_EQ(Metric("request_failures_total", "canary", view), count("INTERNAL")) << view;
    EXPECT_EQ(Metric("request_failures_total", "primary", view), 0) << view;
  }

  // UNAVAILABLE is retried, once: the views part.
  const AppCounts before = mesh_->CountsOf("v2");
  const double canary_calls = Metric("requests_total", "canary", R"(view="requests")");
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=0.3&status=14"));
  const auto more = RunCommand({.argv = Call({"--rate", "50", "--count", "300"})}, seconds(30));
  ASSERT_TRUE(more) << more.error().message;
  const double internal = count("INTERNAL");
  seen = json::parse(*more);
  const AppCounts after = mesh_->CountsOf("v2");
  ASSERT_TRUE(
      WaitUntil([&] { return total("requests_total", R"(view="requests")") == 900; }, seconds(15)));
  const auto failures = [&](const char* view) {
    return Metric("request_failures_total", "canary", view) - internal;
  };
  EXPECT_EQ(failures(R"(view="requests")"), count("UNAVAILABLE"));
  EXPECT_EQ(failures(R"(view="attempts")"), static_cast<double>(after.failed - before.failed));
  const double retries = static_cast<double>(after.served - before.served) + canary_calls -
                         Metric("requests_total", "canary", R"(view="requests")");
  EXPECT_GT(retries, 10);
  const double saved = failures(R"(view="first-try")") - count("UNAVAILABLE");
  EXPECT_LE(saved, retries);
  EXPECT_GE(saved, retries - count("UNAVAILABLE"));
}

TEST_F(GrpcTest, ACanaryWhoseCallsFailWithCode200IsRolledBack) {
  ASSERT_NO_FATAL_FAILURE(Begin({"v1"}));
  const auto calls = Process::Start(
      {.argv = Call({"--rate", "150"}), .output = mesh_->consul().folder().path() / "calls.log"});
  ASSERT_TRUE(calls) << calls.error().message;
  const auto known = [&] {
    return Metric("requests_total", "primary", R"(view="requests")") > 300;
  };
  ASSERT_TRUE(WaitUntil(known, seconds(30)));
  ASSERT_NO_FATAL_FAILURE(ApplySpec());
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForStep(1));
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=0.3&status=13"));
  ASSERT_TRUE(WaitForPhase("rolled-back"));
  EXPECT_NE(Rollout().value("reason", "").find("failure_ratio"), std::string::npos)
      << Rollout().dump();
  EXPECT_EQ((*calls)->Stop(seconds(20)), 0) << (*calls)->OutputTail();
  const json seen = json::parse((*calls)->OutputTail(1));
  EXPECT_GT(seen.value("INTERNAL", 0), 0);
  EXPECT_GT(seen.value("OK", 0), 10 * seen.value("INTERNAL", 0)) << seen;
}

}  // namespace
}  // namespace consul_canary::testing
