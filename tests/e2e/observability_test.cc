// Dashboards and rules against what they are about: every expression is asked of a real Prometheus
// that scrapes a real mesh, with exporter and analyzer, in the middle of a rollout. And the chain
// Prometheus → Alertmanager → analyzer → splitter, with the shipped rule that orders a rollback for
// something that the analyzer does not judge by itself.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>

#include "tests/e2e/observability_prometheus.h"
#include "tests/observability/monitoring_files.h"
#include "tests/support/daemons.h"
#include "tests/support/load.h"
#include "tests/support/mesh.h"

namespace consul_canary::testing {
namespace {

using nlohmann::json;

constexpr std::string_view kPausedAtOneStep = R"(service: api
strategy:
  steps:
    - {weight: 25, pause: true}
    - {weight: 50}
  warmup: 1s
# Latency is left to the alert.
analysis:
  judge: thresholds
  thresholds: [{metric: success_ratio, min: 0.5, window: 5s}]
)";

// A mesh with traffic, and an analyzer that rolls version v2 out to a step at which it stays.
struct Rollout {
  std::unique_ptr<Mesh> mesh;
  std::unique_ptr<Daemon> analyzer;
  std::unique_ptr<Load> load;
  std::string operator_token;  // empty: none is needed

  [[nodiscard]] base::Result<base::HttpResponse> Call(std::string_view method,
                                                      const std::string& path,
                                                      const std::string& body = "",
                                                      const std::string& token = "") const {
    std::vector<std::string> headers;
    if (!token.empty()) headers.push_back("Authorization: Bearer " + token);
    return mesh->consul().http().Call(method, analyzer->address() + path, body, headers);
  }
  [[nodiscard]] json Get(const std::string& path) const {
    return Parsed(BodyOf(Call("GET", path, "", operator_token), path));
  }
  [[nodiscard]] json State() const { return Get("/api/v1/rollouts/api"); }
  [[nodiscard]] bool IsAtWeight(double percent) const {
    const json state = State();
    return state.is_object() && state.value("weight", -1.0) == percent &&
           mesh->AppliedWeights()["canary"] == percent;
  }
  [[nodiscard]] bool IsIn(std::string_view phase) const {
    const json state = State();
    return state.is_object() && state.value("phase", "") == phase;
  }
};

// Until v2 has its 25% and the step is proven, which leaves it paused there.
void Begin(Rollout& rollout, std::vector<std::string> analyzer_flags = {}) {
  auto mesh = Mesh::Start();
  ASSERT_TRUE(mesh) << mesh.error().message;
  rollout.mesh = std::move(*mesh);
  auto analyzer = StartAnalyzer(rollout.mesh->consul(), std::move(analyzer_flags));
  ASSERT_TRUE(analyzer) << analyzer.error().message;
  rollout.analyzer = std::move(*analyzer);
  rollout.load = std::make_unique<Load>(LoadOptions{.url = rollout.mesh->url(), .rate = 200});
  const auto applied = BodyOf(rollout.Call("PUT", "/api/v1/rollouts/api",
                                           std::string(kPausedAtOneStep), rollout.operator_token),
                              "PUT the specification");
  ASSERT_TRUE(applied) << applied.error().message;
  ASSERT_TRUE(rollout.mesh->AddInstance("v2"));
  ASSERT_TRUE(WaitUntil([&] { return rollout.IsAtWeight(25); }, seconds(40))) << rollout.State();
}

// Expects data, and prints the line that shows it.
void ExpectData(const std::string& place, const std::string& promql, std::optional<int> series) {
  fmt::print("{:>6}  {:<60}  {}\n", series ? std::to_string(*series) : "error", place,
             std::regex_replace(promql, std::regex("\\s+"), " "));
  EXPECT_TRUE(series) << place << ": refused: " << promql;
  // An HTTP service has no gRPC statuses; grpc_test.cc sees them.
  const bool of_grpc = promql.find("consul_canary_grpc_responses_total") != std::string::npos;
  EXPECT_EQ(series.value_or(0) > 0, !of_grpc) << place << ": " << promql;
}

void ExpectDataOnDashboards(const Prometheus& prometheus, double since) {
  const std::map<std::string, std::string> variables = {
      {"__rate_interval", "20s"}, {"job", ".+"}, {"instance", ".+"}, {"service_name", "api"}};
  for (const Dashboard& dashboard : Dashboards()) {
    for (const Expression& expression : ExpressionsOf(dashboard)) {
      const std::string promql = WithVariables(expression.promql, variables);
      EXPECT_EQ(promql.find('$'), std::string::npos) << promql;
      ExpectData(expression.place, promql,
                 expression.instant ? prometheus.CountSeries(promql)
                                    : prometheus.CountSeriesSince(since, promql));
    }
  }
}

// An alert has no data where nothing is wrong. So of an alert each selector must have data, with
// all its matchers, and the whole must be an expression that Prometheus takes; whether it fires
// when it should is shown by alerts/tests.
void ExpectDataInRules(const Prometheus& prometheus, double since) {
  for (const Rule& rule : Rules()) {
    if (!rule.is_alert) {
      ExpectData("rule " + rule.name, rule.promql, prometheus.CountSeries(rule.promql));
      ExpectData("rule " + rule.name + ", recorded", rule.name, prometheus.CountSeries(rule.name));
      continue;
    }
    EXPECT_TRUE(prometheus.CountSeries(rule.promql)) << rule.name << ": " << rule.promql;
    for (const std::string& selector : SelectorsIn(rule.promql)) {
      ExpectData("alert " + rule.name, selector, prometheus.CountSeriesSince(since, selector));
    }
  }
}

TEST(Observability, HasDataForEveryExpressionInTheMiddleOfARollout) {
  const double since = WallSeconds();
  Rollout rollout;
  Begin(rollout);
  if (HasFatalFailure()) return;
  ConsulAgent& consul = rollout.mesh->consul();
  const auto exporter = StartExporter(consul);
  ASSERT_TRUE(exporter) << exporter.error().message;
  const auto daemon = StartPrometheus(
      consul,
      PrometheusConfiguration({{"consul-canary-exporter", "127.0.0.1:" + (*exporter)->port()},
                               {"consul-canary-analyzer", "127.0.0.1:" + rollout.analyzer->port()}},
                              {RepositoryPath("alerts/rules/consul-canary.yaml")}, "", 1));
  ASSERT_TRUE(daemon) << daemon.error().message;
  const Prometheus prometheus(consul.http(), (*daemon)->address());
  // The canary's latency comes last: Envoy adds to it every 5 s, and a rate needs two of
  // Prometheus' scrapes.
  const std::string last =
      R"(service_role:consul_canary_request_duration_seconds:p99_2m{role="canary"})";
  ASSERT_TRUE(WaitUntil([&] { return prometheus.CountSeries(last).value_or(0) > 0; }, seconds(40)));
  // The one thing that an alert is about and that a good rollout does not show.
  ASSERT_TRUE(rollout.mesh->WriteSplitter(40));
  const std::string edited = R"(ALERTS{alertname="ConsulCanaryForeignEdit", service_name="api"})";
  EXPECT_TRUE(
      WaitUntil([&] { return prometheus.CountSeries(edited).value_or(0) > 0; }, seconds(20)));

  fmt::print("series  where{:57}expression\n", "");
  ExpectDataOnDashboards(prometheus, since);
  ExpectDataInRules(prometheus, since);
  EXPECT_TRUE(rollout.IsIn("progressing") || rollout.IsIn("paused")) << rollout.State();
}

// --- Prometheus → Alertmanager → analyzer → splitter

constexpr std::string_view kOperatorToken = "an operator's token, of this test alone";
constexpr std::string_view kHookToken = "the hook's token, of this test alone";

// Their hashes, by `printf %s "$TOKEN" | sha256sum`.
constexpr std::string_view kTokens =
    "operator:test:sha256:3e6d3d67fea23e55215697698053cc21659341745c13f9e090e116cb4ee2462d\n"
    "hook:alertmanager:sha256:f8254f401c28138a974e02bc422e42edb3f4b91faf390b7f6403d07782c9fb92\n";

// The shipped rules and the shipped example, in windows that a test can wait for.
std::string QuickRules() {
  std::string rules = RepositoryFile("alerts/rules/consul-canary.yaml");
  rules = Replaced(std::move(rules), "[2m]", "[15s]");
  rules = Replaced(std::move(rules), "for: 1m", "for: 1s");
  return Replaced(std::move(rules), ">= 500", ">= 50");
}

std::string QuickAlertmanager(const Daemon& analyzer) {
  std::string text = RepositoryFile("alerts/alertmanager.yaml");
  text = Replaced(std::move(text), "http://127.0.0.1:9656", analyzer.address());
  text = Replaced(std::move(text), "send_resolved: false", "send_resolved: true");
  return Replaced(std::move(text), "group_interval: 30s", "group_interval: 1s");
}

struct Chain {
  std::unique_ptr<Daemon> alertmanager;
  std::unique_ptr<Daemon> prometheus;
};

void Start(Chain& chain, Rollout& rollout) {
  ConsulAgent& consul = rollout.mesh->consul();
  consul.folder().Write("consul-canary-hook-token", kHookToken);
  auto alertmanager = StartAlertmanager(consul, QuickAlertmanager(*rollout.analyzer));
  ASSERT_TRUE(alertmanager) << alertmanager.error().message;
  chain.alertmanager = std::move(*alertmanager);
  const auto rules = consul.folder().Write("rules.yaml", QuickRules());
  auto prometheus = StartPrometheus(
      consul,
      PrometheusConfiguration({{"consul-canary-analyzer", "127.0.0.1:" + rollout.analyzer->port()}},
                              {rules.string()}, "127.0.0.1:" + chain.alertmanager->port(), 1));
  ASSERT_TRUE(prometheus) << prometheus.error().message;
  chain.prometheus = std::move(*prometheus);
}

// The payload that Alertmanager sends for what it holds, with another status.
std::string Payload(const json& alert, std::string_view status) {
  const json sent = {{"status", status},
                     {"labels", alert.at("labels")},
                     {"annotations", alert.at("annotations")},
                     {"startsAt", alert.at("startsAt")},
                     {"endsAt", alert.at("endsAt")},
                     {"fingerprint", alert.at("fingerprint")}};
  return json{
      {"version", "4"}, {"status", status}, {"receiver", "consul-canary"}, {"alerts", {sent}}}
      .dump();
}

// A series as the analyzer shows it now; -1 when it does not.
double Shown(const Rollout& rollout, const std::string& series) {
  const auto page = rollout.mesh->consul().http().Get(rollout.analyzer->address() + "/metrics");
  const std::size_t at = page ? page->find("\n" + series + " ") : std::string::npos;
  if (at == std::string::npos) return -1;
  return std::strtod(page->c_str() + at + 1 + series.size(), nullptr);
}

// The rollback alert that Alertmanager holds; null when there is none.
json HeldAlert(const Rollout& rollout, const Chain& chain) {
  const json alerts = Parsed(rollout.mesh->consul().http().Get(
      chain.alertmanager->address() + "/api/v2/alerts?filter=canary_action%3D%22rollback%22"));
  return alerts.is_array() && !alerts.empty() ? alerts.front() : json();
}

std::string CauseOfRollback(const Rollout& rollout) {
  const json answer = rollout.Get("/api/v1/rollouts/api/decisions");
  if (!answer.is_object()) return "";
  for (const json& decision : answer.at("decisions")) {
    if (decision.at("action") == "rollback") return decision.at("cause").get<std::string>();
  }
  return "";
}

// What the hook answers to Alertmanager's payload.
base::Result<base::HttpResponse> Deliver(const Rollout& rollout, const std::string& payload,
                                         std::string_view token) {
  return rollout.Call("POST", "/hooks/alertmanager", payload, std::string(token));
}

// Nothing is decided while the analyzer looks three more times.
void ExpectNothingMoves(const Rollout& rollout) {
  const json before = rollout.State();
  const auto looks = [&] { return Shown(rollout, "consul_canary_tick_duration_seconds_count"); };
  const double first = looks();
  EXPECT_TRUE(WaitUntil([&] { return looks() >= first + 3; }, seconds(20)));
  const json after = rollout.State();
  ASSERT_TRUE(before.is_object() && after.is_object());
  for (const char* field : {"phase", "weight", "step", "decisions", "observed_weight"}) {
    EXPECT_EQ(after.at(field), before.at(field)) << field;
  }
}

// Makes the canary slow and returns the alert that rolled it back.
void ExpectRollbackOfASlowCanary(const Rollout& rollout, const Chain& chain, json& alert) {
  const auto slow_since = std::chrono::steady_clock::now();
  ASSERT_TRUE(rollout.mesh->Control("v2", "delay_ms=300"));
  const auto rolled_back = [&] {
    if (alert.is_null()) alert = HeldAlert(rollout, chain);
    return !alert.is_null() && rollout.IsIn("rolled-back");
  };
  ASSERT_TRUE(WaitUntil(rolled_back, seconds(60))) << rollout.State();
  fmt::print("rolled back {:.1f} s after the canary became slow\n",
             std::chrono::duration<double>(std::chrono::steady_clock::now() - slow_since).count());
  EXPECT_EQ(rollout.mesh->Weights(),
            (std::map<std::string, double>{{"primary", 100}, {"canary", 0}}));
  EXPECT_EQ(CauseOfRollback(rollout), "alert");
  EXPECT_EQ(rollout.load->Counts().failed, 0);
}

void ExpectNoEffect(const Rollout& rollout, const json& alert) {
  for (const char* status : {"firing", "firing", "resolved"}) {
    const auto answer = Deliver(rollout, Payload(alert, status), kHookToken);
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->status, 200) << answer->body;
    EXPECT_EQ(answer->body.find("acted"), std::string::npos) << answer->body;
  }
  ExpectNothingMoves(rollout);
}

TEST(Observability, AnAlertOnWhatTheAnalyzerDoesNotJudgeRollsBack) {
  Rollout rollout{
      .mesh = {}, .analyzer = {}, .load = {}, .operator_token = std::string(kOperatorToken)};
  const TempDir folder("auth");
  Begin(rollout, {"--auth.file", folder.Write("tokens", kTokens).string()});
  if (HasFatalFailure()) return;
  Chain chain;
  Start(chain, rollout);
  if (HasFatalFailure()) return;
  json alert;
  ExpectRollbackOfASlowCanary(rollout, chain, alert);
  if (HasFatalFailure()) return;

  // Alertmanager itself tells when it is over. That, and what is delivered again, moves nothing.
  const std::string ignored = R"(consul_canary_hook_requests_total{result="ignored"})";
  EXPECT_TRUE(WaitUntil([&] { return Shown(rollout, ignored) >= 1; }, seconds(40)));
  ExpectNoEffect(rollout, alert);

  // Tried again, the version is neither harmed by the alert of the time before nor pushed by its
  // end.
  ASSERT_TRUE(rollout.mesh->Control("v2", "delay_ms=0"));
  chain.prometheus->Stop();
  const auto retried =
      rollout.Call("POST", "/api/v1/rollouts/api/retry", "", rollout.operator_token);
  ASSERT_TRUE(retried && retried->status == 202);
  ASSERT_TRUE(WaitUntil([&] { return rollout.IsIn("paused"); }, seconds(60))) << rollout.State();
  ExpectNoEffect(rollout, alert);
  EXPECT_EQ(rollout.mesh->Weights(),
            (std::map<std::string, double>{{"primary", 75}, {"canary", 25}}));
}

TEST(Observability, NobodyElseMayOrderARollback) {
  Rollout rollout{
      .mesh = {}, .analyzer = {}, .load = {}, .operator_token = std::string(kOperatorToken)};
  const TempDir folder("auth");
  Begin(rollout, {"--auth.file", folder.Write("tokens", kTokens).string()});
  if (HasFatalFailure()) return;
  const json alert = {{"labels", {{"canary_action", "rollback"}, {"service_name", "api"}}},
                      {"annotations", json::object()},
                      {"startsAt", "2999-01-01T00:00:00Z"},
                      {"endsAt", "0001-01-01T00:00:00Z"},
                      {"fingerprint", "0123456789abcdef"}};
  for (const std::string token : {"", "a guess"}) {
    EXPECT_EQ(Deliver(rollout, Payload(alert, "firing"), token).value().status, 403);
  }
  EXPECT_EQ(Deliver(rollout, "[]", kHookToken).value().status, 400);
  EXPECT_EQ(Shown(rollout, R"(consul_canary_hook_requests_total{result="refused"})"), 2);
  EXPECT_EQ(Shown(rollout, R"(consul_canary_hook_requests_total{result="invalid"})"), 1);
  ExpectNothingMoves(rollout);
  // The same, by whom it may.
  EXPECT_EQ(Deliver(rollout, Payload(alert, "firing"), kHookToken).value().status, 200);
  EXPECT_TRUE(WaitUntil([&] { return rollout.IsIn("rolled-back"); }, seconds(10)));
}

}  // namespace
}  // namespace consul_canary::testing
