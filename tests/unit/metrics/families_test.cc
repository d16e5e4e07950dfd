#include "exporter/metrics/families.h"

#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "tests/unit/metrics/example.h"

namespace consul_canary::metrics {
namespace {

// What `write` writes.
template <class Write>
std::string PageOf(const Write& write) {
  TextWriter page(base::MetricsSyntax::kText);
  write(page);
  return page.Finish();
}

// The sample lines of a page.
std::set<std::string> Lines(const std::string& page) {
  std::set<std::string> lines;
  std::istringstream text(page);
  std::string line;
  while (std::getline(text, line)) {
    if (!line.starts_with('#')) lines.insert(line);
  }
  return lines;
}

bool HasSeries(const std::set<std::string>& lines, const std::string& name) {
  const auto it = lines.lower_bound(name);
  return it != lines.end() && it->starts_with(name);
}

std::set<std::string> MeshLines(const collect::MeshSnapshot& mesh, const Totals& totals = {}) {
  return Lines(PageOf([&](TextWriter& page) { WriteMesh(mesh, totals, Roles(), page); }));
}

std::set<std::string> ReadingLines(const collect::MeshSnapshot& mesh,
                                   const collect::ScrapeStats& scrapes,
                                   const ConsulRequests& requests, const Now& now) {
  return Lines(PageOf([&](TextWriter& page) { WriteReading(mesh, scrapes, requests, now, page); }));
}

TEST(MeshSeries, ShowTheSplittersWeights) {
  const auto lines = MeshLines(Mesh(Api({})));
  EXPECT_TRUE(lines.contains(
      R"(consul_canary_split_weight_ratio{service_name="api",subset="canary",role="canary"} 0.1)"));
  EXPECT_TRUE(lines.contains(
      R"(consul_canary_split_weight_ratio{service_name="api",subset="primary",role="primary"} 0.9)"));
  EXPECT_TRUE(lines.contains(R"(consul_canary_split_modify_index{service_name="api"} 49)"));
}

TEST(MeshSeries, HaveNoWeightsWithoutASplitter) {
  collect::ServiceSnapshot api = Api({});
  api.splitter.reset();
  const auto lines = MeshLines(Mesh(api));
  EXPECT_FALSE(HasSeries(lines, "consul_canary_split_"));
  EXPECT_FALSE(HasSeries(lines, "consul_canary_sidecars_applied_ratio"));
}

TEST(MeshSeries, ShowASubsetWithoutSplitAsZero) {
  collect::ServiceSnapshot api = Api({});
  api.splitter->splits = {{100, "", "primary"}};
  EXPECT_TRUE(MeshLines(Mesh(api)).contains(
      R"(consul_canary_split_weight_ratio{service_name="api",subset="canary",role="canary"} 0)"));
}

TEST(MeshSeries, ShowTheLeastAppliedWeightOfPassingSidecars) {
  collect::CallerReading applied = Caller("a", Counters(0), Counters(0));
  applied.applied_shares = {{"primary", 0.9}, {"canary", 0.1}};
  collect::CallerReading behind = Caller("b", Counters(0), Counters(0));
  behind.applied_shares = {{"primary", 0.95}, {"canary", 0.05}};
  collect::CallerReading dead = Caller("c", Counters(0), Counters(0));
  dead.passing = false;
  dead.applied_shares = {{"primary", 1.0}, {"canary", 0.0}};
  const collect::CallerReading silent = Caller("d", Counters(0), Counters(0));
  const auto lines = MeshLines(Mesh(Api({applied, behind, dead, silent})));
  EXPECT_TRUE(lines.contains(
      R"(consul_canary_applied_weight_ratio{service_name="api",subset="canary"} 0.05)"));
  EXPECT_TRUE(lines.contains(
      R"(consul_canary_applied_weight_ratio{service_name="api",subset="primary"} 0.9)"));
  EXPECT_TRUE(lines.contains(R"(consul_canary_sidecars_applied_ratio{service_name="api"} 0.5)"));
}

// 99.47/0.53 reaches Envoy as 9947/52.
TEST(MeshSeries, TakeAWeightThatConsulRoundedForApplied) {
  collect::CallerReading caller = Caller("a", Counters(0), Counters(0));
  caller.applied_shares = {{"primary", 9947.0 / 9999}, {"canary", 52.0 / 9999}};
  collect::ServiceSnapshot api = Api({caller});
  api.splitter->splits = {{99.47, "", "primary"}, {0.53, "", "canary"}};
  EXPECT_TRUE(MeshLines(Mesh(api)).contains(
      R"(consul_canary_sidecars_applied_ratio{service_name="api"} 1)"));
}

TEST(MeshSeries, SayNothingOfAppliedWeightsThatNobodyTells) {
  const auto lines = MeshLines(Mesh(Api({Caller("a", Counters(0), Counters(0))})));
  EXPECT_FALSE(HasSeries(lines, "consul_canary_applied_weight_ratio"));
  EXPECT_FALSE(HasSeries(lines, "consul_canary_sidecars_applied_ratio"));
}

// The retry trap of docs/outcomes.md: 192 requests, one of them failed; 51 attempts were retried.
TEST(MeshSeries, ShowRequestsAndFailuresInAllThreeViews) {
  Totals totals;
  totals.Observe(Mesh(Api({Caller("a", Counters(0), Counters(0))})));
  envoy::SubsetCounters canary = Counters(192, 1);
  canary.retries = 51;
  canary.retry_success = 39;
  canary.retried_responses = {{500, 51}};
  canary.active = 4;
  canary.timeouts = 5;
  canary.connect_failures = 6;
  canary.ejections_enforced = 7;
  canary.ejections_active = 2;
  collect::ServiceSnapshot api = Api({Caller("a", Counters(0), canary)});
  api.router.emplace();
  api.router->retries = {{{500, 503}, false}};
  const collect::MeshSnapshot mesh = Mesh(api);
  totals.Observe(mesh);
  const auto lines = MeshLines(mesh, totals);
  const auto has = [&lines](const std::string& name, const std::string& more,
                            const std::string& value) {
    return lines.contains("consul_canary_" + name +
                          R"({service_name="api",subset="canary",role="canary")" + more + "} " +
                          value);
  };
  EXPECT_TRUE(has("requests_total", R"(,view="first-try")", "192"));
  EXPECT_TRUE(has("requests_total", R"(,view="attempts")", "243"));
  EXPECT_TRUE(has("requests_total", R"(,view="requests")", "192"));
  EXPECT_TRUE(has("request_failures_total", R"(,view="first-try")", "40"));
  EXPECT_TRUE(has("request_failures_total", R"(,view="attempts")", "52"));
  EXPECT_TRUE(has("request_failures_total", R"(,view="requests")", "1"));
  EXPECT_TRUE(has("responses_total", R"(,code="200")", "191"));
  EXPECT_TRUE(has("responses_total", R"(,code="500")", "1"));
  EXPECT_TRUE(has("retries_total", "", "51"));
  EXPECT_TRUE(has("active_requests", "", "4"));
  EXPECT_TRUE(has("timeouts_total", "", "5"));
  EXPECT_TRUE(has("connect_failures_total", "", "6"));
  EXPECT_TRUE(has("ejections_total", "", "7"));
  EXPECT_TRUE(has("active_ejections", "", "2"));
  EXPECT_TRUE(has("request_duration_seconds_count", "", "192"));
  EXPECT_TRUE(has("request_duration_seconds_sum", "", "1.92"));
  EXPECT_TRUE(has("request_duration_seconds_bucket", R"(,le="0.025")", "192"));
}

// What a real mesh showed: docs/outcomes.md#grpc. By codes, 200 alone, nothing would have failed.
TEST(MeshSeries, ShowGrpcCallsByTheirStatus) {
  Totals totals;
  totals.Observe(Mesh(Api({Caller("a", Counters(0), Counters(0))})));
  envoy::SubsetCounters canary = Counters(198);
  canary.retries = canary.retry_success = 49;
  canary.retried_responses = {{200, 49}};
  canary.grpc_statuses = {{0, 99}, {2, 50}, {5, 48}, {17, 1}};
  collect::ServiceSnapshot api = Api({Caller("a", Counters(0), canary)});
  api.router.emplace();
  api.router->retries = {{.grpc_statuses = {2, 14}}};
  const collect::MeshSnapshot mesh = Mesh(api);
  totals.Observe(mesh);
  const auto lines = MeshLines(mesh, totals);
  const auto has = [&lines](const std::string& name, const std::string& more, int value) {
    return lines.contains("consul_canary_" + name +
                          R"({service_name="api",subset="canary",role="canary",)" + more + "} " +
                          std::to_string(value));
  };
  EXPECT_TRUE(has("requests_total", R"(view="first-try")", 198));
  EXPECT_TRUE(has("request_failures_total", R"(view="first-try")", 100));
  EXPECT_TRUE(has("request_failures_total", R"(view="attempts")", 100));
  EXPECT_TRUE(has("request_failures_total", R"(view="requests")", 51));
  EXPECT_TRUE(has("grpc_responses_total", R"(status="OK")", 99));
  EXPECT_TRUE(has("grpc_responses_total", R"(status="UNKNOWN")", 50));
  EXPECT_TRUE(has("grpc_responses_total", R"(status="NOT_FOUND")", 48));
  EXPECT_TRUE(has("grpc_responses_total", R"(status="17")", 1));
}

// The canary answers without a status: its codes of 200 say nothing, so it has answered nothing.
TEST(MeshSeries, DoNotTakeAnswersWithoutAStatusForGrpcCalls) {
  Totals totals;
  totals.Observe(Mesh(Api({Caller("a", Counters(0), Counters(0))})));
  envoy::SubsetCounters primary = Counters(100);
  primary.grpc_statuses = {{0, 100}};
  const collect::MeshSnapshot mesh = Mesh(Api({Caller("a", primary, Counters(50))}));
  totals.Observe(mesh);
  const auto lines = MeshLines(mesh, totals);
  EXPECT_TRUE(lines.contains(R"(consul_canary_requests_total{service_name="api",subset="primary",)"
                             R"(role="primary",view="requests"} 100)"));
  EXPECT_TRUE(lines.contains(R"(consul_canary_requests_total{service_name="api",subset="canary",)"
                             R"(role="canary",view="requests"} 0)"));
}

TEST(MeshSeries, StartEverySubsetsCountersAtZero) {
  EXPECT_TRUE(MeshLines(Mesh(Api({})))
                  .contains("consul_canary_requests_total{service_name=\"api\",subset=\"canary\","
                            "role=\"canary\",view=\"first-try\"} 0"));
}

TEST(MeshSeries, ShowAttemptsAloneWithFailover) {
  collect::ServiceSnapshot api = Api({});
  api.resolver->has_failover = true;
  const collect::MeshSnapshot mesh = Mesh(api);
  const std::string text = PageOf([&](TextWriter& page) { WriteMesh(mesh, {}, Roles(), page); });
  EXPECT_NE(text.find(R"(view="attempts")"), std::string::npos);
  EXPECT_EQ(text.find(R"(view="requests")"), std::string::npos);
  EXPECT_EQ(text.find(R"(view="first-try")"), std::string::npos);
}

collect::ServerReading Server(const std::string& id, const std::string& instance_id,
                              envoy::SubsetCounters counters) {
  collect::ServerReading server;
  server.id = id;
  server.instance_id = instance_id;
  server.subsets = {"canary"};
  server.passing = true;
  server.scraped_at = At(100);
  server.local_app = std::move(counters);
  return server;
}

// Two sidecars of one instance, one of another, and one that only a file names.
TEST(MeshSeries, ShowAttemptsByInstanceWithFailover) {
  const auto mesh = [](std::uint64_t counted, std::uint64_t failed) {
    collect::ServiceSnapshot api = Api({});
    api.resolver->has_failover = true;
    api.servers = {Server("n1/api-2-proxy", "api-2", Counters(counted, failed)),
                   Server("n1/api-2-other", "api-2", Counters(counted, failed)),
                   Server("n2/api-2-proxy", "api-2", Counters(counted)),
                   Server("static/10.0.0.7:9102", "", Counters(counted))};
    return Mesh(api);
  };
  Totals totals;
  totals.Observe(mesh(100, 0));
  totals.Observe(mesh(110, 3));
  const auto lines = MeshLines(mesh(110, 3), totals);
  const auto series = [](const std::string& name, const std::string& instance,
                         const std::string& more = "") {
    return "consul_canary_" + name + "{service_name=\"api\",subset=\"canary\",role=\"canary\"," +
           "instance_id=\"" + instance + "\"" + more + "} ";
  };
  const std::string k2xx = ",code_class=\"2xx\"";
  const std::string k5xx = ",code_class=\"5xx\"";
  EXPECT_TRUE(lines.contains(series("instance_attempts_total", "n1/api-2", k2xx) + "14"));
  EXPECT_TRUE(lines.contains(series("instance_attempts_total", "n1/api-2", k5xx) + "6"));
  EXPECT_TRUE(lines.contains(series("instance_attempts_total", "n2/api-2", k5xx) + "0"));
  EXPECT_TRUE(lines.contains(series("instance_attempt_failures_total", "n1/api-2") + "6"));
  EXPECT_TRUE(lines.contains(series("instance_attempt_failures_total", "n2/api-2") + "0"));
  EXPECT_TRUE(
      lines.contains(series("instance_attempts_total", "static/10.0.0.7:9102", k2xx) + "10"));
}

TEST(MeshSeries, ShowNoInstancesWithoutFailover) {
  collect::ServiceSnapshot api = Api({});
  api.servers = {Server("n1/api-2-proxy", "api-2", Counters(5))};
  Totals totals;
  totals.Observe(Mesh(api));
  EXPECT_FALSE(HasSeries(MeshLines(Mesh(api), totals), "consul_canary_instance_attempts_total"));
}

TEST(MeshSeries, CountCallersByWhatOfTheShieldTheyHave) {
  const auto caller = [](const std::string& id, bool has_failover,
                         std::optional<int> ejects_after) {
    envoy::SubsetCounters canary = Counters(0);
    canary.has_failover = has_failover;
    collect::CallerReading reading = Caller(id, Counters(0), std::move(canary));
    reading.ejects_after = ejects_after;
    return reading;
  };
  collect::CallerReading failing = caller("f", true, 2);
  failing.error = "timeout";
  collect::CallerReading critical = caller("g", true, 2);
  critical.passing = false;
  collect::ServiceSnapshot api =
      Api({caller("a", true, 1), caller("b", true, 2), caller("c", false, 2), caller("d", true, 0),
           caller("e", true, std::nullopt), failing, critical});
  const auto callers = [](const std::string& state) {
    return "consul_canary_shield_callers{service_name=\"api\",subset=\"canary\","
           "role=\"canary\",state=\"" +
           state + "\"} ";
  };
  const auto failover = [](const std::string& subset) {
    return "consul_canary_shield_failover{service_name=\"api\",subset=\"" + subset + "\",role=\"" +
           subset + "\"} ";
  };
  EXPECT_FALSE(HasSeries(MeshLines(Mesh(api)), "consul_canary_shield_callers"));
  EXPECT_TRUE(MeshLines(Mesh(api)).contains(failover("canary") + "0"));
  api.resolver->has_failover = true;
  api.resolver->failover_subsets = {{"canary", "primary"}};
  const auto lines = MeshLines(Mesh(api));
  EXPECT_TRUE(lines.contains(failover("canary") + "1"));
  EXPECT_TRUE(lines.contains(failover("primary") + "0"));
  EXPECT_TRUE(lines.contains(callers("shielded") + "2"));
  EXPECT_TRUE(lines.contains(callers("without-failover") + "1"));
  EXPECT_TRUE(lines.contains(callers("without-ejection") + "1"));
  EXPECT_TRUE(lines.contains(callers("unknown") + "2"));
}

TEST(MeshSeries, ShowWhatCallersSawOfTheServiceAsAWhole) {
  Totals totals;
  totals.Observe(Mesh(Api({Caller("a", Counters(0), Counters(0))})));
  const collect::MeshSnapshot mesh = Mesh(Api({Caller("a", Counters(10, 1), Counters(5, 2))}));
  totals.Observe(mesh);
  const auto lines = MeshLines(mesh, totals);
  EXPECT_TRUE(lines.contains("consul_canary_caller_requests_total{service_name=\"api\"} 15"));
  EXPECT_TRUE(
      lines.contains("consul_canary_caller_request_failures_total{service_name=\"api\"} 3"));
}

TEST(MeshSeries, CountInstancesByHealth) {
  const auto lines = MeshLines(Mesh(Api({})));
  const auto count = [](const std::string& subset, const std::string& health) {
    return "consul_canary_instances{service_name=\"api\",subset=\"" + subset + "\",health=\"" +
           health + "\"} ";
  };
  EXPECT_TRUE(lines.contains(count("primary", "passing") + "1"));
  EXPECT_TRUE(lines.contains(count("primary", "critical") + "1"));
  EXPECT_TRUE(lines.contains(count("canary", "passing") + "1"));
  EXPECT_TRUE(lines.contains(count("canary", "critical") + "0"));
}

TEST(MeshSeries, SayNothingOfInstancesThatAreNotKnown) {
  collect::ServiceSnapshot api = Api({});
  api.instances_known = false;
  EXPECT_FALSE(HasSeries(MeshLines(Mesh(api)), "consul_canary_instances"));
}

TEST(MeshSeries, CountEachSidecarOnce) {
  collect::CallerReading failing = Caller("b", Counters(0), Counters(0));
  failing.error = "timed out";
  collect::CallerReading critical = Caller("c", Counters(0), Counters(0));
  critical.passing = false;
  collect::CallerReading unknown = Caller("d", Counters(0), Counters(0));
  unknown.address.clear();
  collect::MeshSnapshot mesh =
      Mesh(Api({Caller("a", Counters(0), Counters(0)), failing, critical, unknown}));
  collect::ServiceSnapshot other = Api({Caller("a", Counters(0), Counters(0))});
  other.service = "other";
  mesh.services["other"] = std::make_shared<const collect::ServiceSnapshot>(other);
  const auto lines = MeshLines(mesh);
  for (const char* state : {"read", "failing", "critical", "without-address"}) {
    EXPECT_TRUE(lines.contains(std::string("consul_canary_sidecars{state=\"") + state + "\"} 1"))
        << state;
  }
}

TEST(Roles, FollowTheNamesOfTheService) {
  const Roles roles{{}, {{"api", {"stable", "next"}}}};
  EXPECT_EQ(roles.RoleOf("api", "stable"), "primary");
  EXPECT_EQ(roles.RoleOf("api", "next"), "canary");
  EXPECT_EQ(roles.RoleOf("api", "canary"), "other");
  EXPECT_EQ(roles.RoleOf("db", "canary"), "canary");
  EXPECT_EQ(roles.RoleOf("db", ""), "other");
}

TEST(ReadingSeries, ShowHowReadingGoes) {
  collect::MeshSnapshot mesh = Mesh(Api({Caller("a", Counters(0), Counters(0))}));
  mesh.consul_answered_at = At(90);
  collect::ScrapeStats scrapes;
  scrapes.errors_by_reason = {{"timeout", 3}};
  scrapes.duration_buckets = {{0.01, 5}, {kInfinity, 7}};
  scrapes.duration_sum_seconds = 0.5;
  scrapes.scrapes = 7;
  const Now now{At(110), base::WallTime(base::seconds(1'000'000))};
  const auto lines =
      ReadingLines(mesh, scrapes, {{{"health", "ok"}, 12}, {{"kv", "conflict"}, 1}}, now);
  for (const char* line :
       {R"(consul_canary_sidecar_scrape_errors_total{reason="timeout"} 3)",
        R"(consul_canary_sidecar_scrape_errors_total{reason="connect"} 0)",
        "consul_canary_sidecar_scrape_duration_seconds_count 7",
        R"(consul_canary_sidecar_scrape_duration_seconds_bucket{le="0.01"} 5)",
        R"(consul_canary_consul_requests_total{operation="health",result="ok"} 12)",
        R"(consul_canary_consul_requests_total{operation="kv",result="conflict"} 1)",
        R"(consul_canary_last_success_timestamp_seconds{source="consul"} 999980)",
        R"(consul_canary_last_success_timestamp_seconds{source="sidecars"} 999990)"}) {
    EXPECT_TRUE(lines.contains(line)) << line;
  }
}

TEST(ReadingSeries, HaveNoTimeOfASuccessThatNeverCame) {
  const auto lines = ReadingLines({}, {}, {}, {});
  EXPECT_FALSE(HasSeries(lines, "consul_canary_last_success_timestamp_seconds"));
}

TEST(ProcessSeries, NameTheProgramAndWhatItWasBuiltFrom) {
  const auto lines = Lines(PageOf([](TextWriter& page) {
    WriteProcess("consul-canary-test", {"1.2.3", "abc", "main", "gcc 12"}, {}, page);
  }));
  EXPECT_TRUE(
      lines.contains(R"(consul_canary_build_info{program="consul-canary-test",)"
                     R"(version="1.2.3",revision="abc",branch="main",compiler="gcc 12"} 1)"));
}

TEST(ProcessSeries, AreThoseOfEveryPrometheusClient) {
  const base::ProcessStats process{.cpu_seconds = 1.5,
                                   .start_time_seconds = 1700000000.25,
                                   .resident_bytes = 1024,
                                   .virtual_bytes = 4096,
                                   .max_virtual_bytes = 1u << 20u,
                                   .open_fds = 7,
                                   .max_fds = 1024};
  const std::string build =
      R"(consul_canary_build_info{program="x",version="",revision="",branch="",compiler=""} 1)";
  EXPECT_EQ(
      Lines(PageOf([&](TextWriter& page) { WriteProcess("x", {}, process, page); })),
      (std::set<std::string>{
          build, "process_cpu_seconds_total 1.5", "process_max_fds 1024", "process_open_fds 7",
          "process_resident_memory_bytes 1024", "process_start_time_seconds 1700000000.25",
          "process_virtual_memory_bytes 4096", "process_virtual_memory_max_bytes 1048576"}));
}

TEST(MeshSeries, EscapeLabelValues) {
  collect::ServiceSnapshot api = Api({});
  api.service = "a\"b\\c\nd";
  EXPECT_TRUE(HasSeries(MeshLines(Mesh(api)),
                        R"(consul_canary_split_modify_index{service_name="a\"b\\c\nd"} 49)"));
}

}  // namespace
}  // namespace consul_canary::metrics
