// A gRPC service on a real mesh: its calls are counted and judged by their status, since their code
// is 200 whatever happens.
#include <algorithm>

#include "tests/e2e/metrics_page.h"
#include "tests/e2e/observability_prometheus.h"
#include "tests/e2e/rollout_mesh.h"
#include "tests/observability/monitoring_files.h"
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

  [[nodiscard]] Page Metrics() const {
    return Page(mesh_->consul().http().Get(analyzer_->address() + "/metrics").value_or(""));
  }

  // Of api's subset, what one more label tells apart; -1: there is none.
  [[nodiscard]] double Metric(const std::string& name, std::string_view subset,
                              std::string_view label, std::string_view value) const {
    return Metrics()
        .Sum("consul_canary_" + name,
             {{"service_name", "api"}, {"subset", subset}, {"role", subset}, {label, value}})
        .value_or(-1);
  }

  // Calls without end, from now on.
  void StartCalls() {
    auto calls = Process::Start(
        {.argv = Call({"--rate", "150"}), .output = mesh_->consul().folder().path() / "calls.log"});
    ASSERT_TRUE(calls) << calls.error().message;
    calls_ = std::move(*calls);
    ASSERT_TRUE(
        WaitUntil([&] { return Metric("requests_total", "primary", "view", "requests") > 300; },
                  seconds(30)));
  }

  std::unique_ptr<Process> calls_;

 private:
  std::vector<std::string> program_;
};

// Of what other services have no data for.
void ExpectDataOnDashboards(const Prometheus& prometheus) {
  int asked = 0;
  for (const Dashboard& dashboard : Dashboards()) {
    for (const Expression& expression : ExpressionsOf(dashboard)) {
      if (expression.promql.find("consul_canary_grpc_responses_total") == std::string::npos)
        continue;
      ++asked;
      const std::string promql = WithVariables(
          expression.promql,
          {{"__rate_interval", "1m"}, {"job", ".+"}, {"instance", ".+"}, {"service_name", "api"}});
      EXPECT_TRUE(
          WaitUntil([&] { return prometheus.CountSeries("(" + promql + ") > 0").value_or(0) > 0; },
                    seconds(20)))
          << expression.place << ": " << promql;
    }
  }
  EXPECT_GT(asked, 0);
}

TEST_F(GrpcTest, CallsAreCountedByTheStatusThatTheirCallersGot) {
  ASSERT_NO_FATAL_FAILURE(Begin({"v1", "v2"}, "v2"));
  const auto all_read = [&] {
    return Metrics().Sum("consul_canary_sidecars", {{"state", "read"}}) == 3;
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
  const auto total = [&](const char* name, std::string_view label, std::string_view value) {
    return Metric(name, "primary", label, value) + Metric(name, "canary", label, value);
  };
  ASSERT_TRUE(
      WaitUntil([&] { return total("requests_total", "view", "requests") == 600; }, seconds(15)))
      << total("requests_total", "view", "requests");
  EXPECT_EQ(Metric("grpc_responses_total", "canary", "status", "INTERNAL"), count("INTERNAL"));
  EXPECT_EQ(Metric("grpc_responses_total", "primary", "status", "NOT_FOUND"), count("NOT_FOUND"));
  EXPECT_EQ(total("grpc_responses_total", "status", "OK"), count("OK"));
  EXPECT_EQ(total("responses_total", "code", "200"), 600);
  for (const char* view : {"first-try", "attempts", "requests"}) {
    EXPECT_EQ(Metric("request_failures_total", "canary", "view", view), count("INTERNAL")) << view;
    EXPECT_EQ(Metric("request_failures_total", "primary", "view", view), 0) << view;
  }

  // UNAVAILABLE is retried, once: the views part.
  const AppCounts before = mesh_->CountsOf("v2");
  const double canary_calls = Metric("requests_total", "canary", "view", "requests");
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=0.3&status=14"));
  const auto more = RunCommand({.argv = Call({"--rate", "50", "--count", "300"})}, seconds(30));
  ASSERT_TRUE(more) << more.error().message;
  const double internal = count("INTERNAL");
  seen = json::parse(*more);
  const AppCounts after = mesh_->CountsOf("v2");
  ASSERT_TRUE(
      WaitUntil([&] { return total("requests_total", "view", "requests") == 900; }, seconds(15)));
  const auto failures = [&](const char* view) {
    return Metric("request_failures_total", "canary", "view", view) - internal;
  };
  EXPECT_EQ(failures("requests"), count("UNAVAILABLE"));
  EXPECT_EQ(failures("attempts"), static_cast<double>(after.failed - before.failed));
  const double retries = static_cast<double>(after.served - before.served) + canary_calls -
                         Metric("requests_total", "canary", "view", "requests");
  EXPECT_GT(retries, 10);
  const double saved = failures("first-try") - count("UNAVAILABLE");
  EXPECT_LE(saved, retries);
  EXPECT_GE(saved, retries - count("UNAVAILABLE"));
  ExpectNothingToSayForPromtool(Metrics(), mesh_->consul().folder());
}

TEST_F(GrpcTest, ACanaryWhoseCallsFailWithCode200IsRolledBack) {
  ASSERT_NO_FATAL_FAILURE(Begin({"v1"}));
  ASSERT_NO_FATAL_FAILURE(StartCalls());
  const auto daemon = StartPrometheus(
      mesh_->consul(),
      PrometheusConfiguration({{"analyzer", "127.0.0.1:" + analyzer_->port()}}, {}, "", 1));
  ASSERT_TRUE(daemon) << daemon.error().message;
  ASSERT_NO_FATAL_FAILURE(ApplySpec());
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForStep(1));
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=0.3&status=13"));
  ASSERT_TRUE(WaitForPhase("rolled-back"));
  EXPECT_NE(Rollout().value("reason", "").find("failure_ratio"), std::string::npos)
      << Rollout().dump();
  ExpectDataOnDashboards(Prometheus(mesh_->consul().http(), (*daemon)->address()));
  EXPECT_EQ(calls_->Stop(seconds(20)), 0) << calls_->OutputTail();
  const json seen = json::parse(calls_->OutputTail(1));
  EXPECT_GT(seen.value("INTERNAL", 0), 0);
  EXPECT_GT(seen.value("OK", 0), 10 * seen.value("INTERNAL", 0)) << seen;
}

// By codes all is well whatever becomes of the calls.
TEST_F(GrpcTest, ApplyWarnsOfAProtocolThatHidesFailures) {
  ASSERT_NO_FATAL_FAILURE(Begin({"v1"}));
  ASSERT_TRUE(mesh_->consul().WriteEntry(
      json{{"Kind", "service-defaults"}, {"Name", "api"}, {"Protocol", "http2"}}.dump()));
  const CtlResult applied = Ctl({"apply", "-f", SpecFile("service: api\n")});
  EXPECT_EQ(applied.code, 0);
  EXPECT_NE(applied.output.find("warning: service: the protocol of \"api\" is http2"),
            std::string::npos)
      << applied.output;
}

}  // namespace
}  // namespace consul_canary::testing
