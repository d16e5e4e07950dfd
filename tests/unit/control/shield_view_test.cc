// What of a mesh is taken for a shield, and what is counted behind one.
#include "analyzer/control/shield_view.h"

#include <gtest/gtest.h>

#include <string>

#include "analyzer/control/observe.h"
#include "analyzer/control/take_counts.h"

namespace consul_canary::control {
namespace {

using base::milliseconds;
using collect::ServerReading;
using collect::ServiceSnapshot;

const base::MonotonicTime kNow = base::MonotonicTime{} + std::chrono::hours(1);

rollout::Spec ApiSpec() {
  rollout::Spec spec;
  spec.service = "api";
  spec.steps = {{.weight_percent = 10}};
  return spec;
}

consul::Instance Sidecar(const std::string& id) {
  return {.node = "n", .id = id, .passing = true, .destination_id = id + "-app"};
}

ServerReading Server(const std::string& id, const std::string& subset) {
  ServerReading server{.id = "n/" + id, .instance_id = id + "-app", .subsets = {subset}};
  server.passing = true;
  server.address = "10.0.0.1:9102";
  server.scraped_at = kNow - milliseconds(500);
  server.local_app = envoy::SubsetCounters{};
  return server;
}

constexpr const char* kRetrying =
    R"({"RetryOnStatusCodes": [500, 502, 503, 504], "RetryOnConnectFailure": true})";

// A route for all that retries, behind those of `before`: "{…}, {…}, ".
consul::Router RouterOf(const std::string& before) {
  return *consul::ParseRouter(R"({"Kind": "service-router", "Name": "api", "Routes": [)" + before +
                              R"({"Destination": )" + kRetrying + "}]}");
}

// Two instances of the canary and one of the primary; one caller, whose sidecar ejects.
ServiceSnapshot Shielded() {
  ServiceSnapshot service;
  service.service = "api";
  service.splitter = consul::Splitter{.name = "api",
                                      .splits = {{.weight = 90, .service_subset = "primary"},
                                                 {.weight = 10, .service_subset = "canary"}}};
  service.resolver = consul::Resolver{.name = "api",
                                      .subset_filters = {{"primary", "is v1"}, {"canary", "is v2"}},
                                      .has_failover = true,
                                      .failover_subsets = {{"canary", "primary"}},
                                      .with_failover = {"canary"}};
  service.router = RouterOf({});
  service.subset_instances = {{"primary", {Sidecar("a")}},
                              {"canary", {Sidecar("b"), Sidecar("c")}}};
  service.instances_known = true;
  collect::CallerReading caller;
  caller.id = "n/web";
  caller.passing = true;
  caller.ejects_after = 2;
  caller.scraped_at = kNow - milliseconds(500);
  caller.subsets["canary"] = {};
  caller.subsets["primary"] = {};
  service.callers = {caller};
  service.servers = {Server("a", "primary"), Server("b", "canary"), Server("c", "canary")};
  return service;
}

TEST(ShieldOf, IsAFailoverOfTheCanaryToThePrimaryAlone) {
  ServiceSnapshot service = Shielded();
  const auto shield = ShieldOf(ApiSpec(), service, kNow);
  ASSERT_TRUE(shield);
  EXPECT_EQ(*shield, (rollout::ShieldView{.ejecting = 2, .retried = true, .failures_in_a_row = 2}));
  rollout::Spec ignoring = ApiSpec();
  ignoring.shield = rollout::ShieldUse::kIgnore;
  EXPECT_FALSE(ShieldOf(ignoring, service, kNow));
  service.resolver->with_failover.insert("primary");  // to wherever
  EXPECT_FALSE(ShieldOf(ApiSpec(), service, kNow));
  service.resolver->with_failover.erase("primary");
  service.resolver->failover_subsets = {{"canary", "beta"}};
  EXPECT_FALSE(ShieldOf(ApiSpec(), service, kNow));
  service.resolver.reset();
  EXPECT_FALSE(ShieldOf(ApiSpec(), service, kNow));
}

TEST(ShieldOf, SaysWhatItLacks) {
  ServiceSnapshot service = Shielded();
  service.callers[0].ejects_after = 0;
  EXPECT_EQ(ShieldOf(ApiSpec(), service, kNow)->lacks,
            "caller n/web does not eject instances that fail");
  service.router.reset();
  EXPECT_EQ(ShieldOf(ApiSpec(), service, kNow)->lacks, "the service-router retries nothing");
  EXPECT_FALSE(ShieldOf(ApiSpec(), service, kNow)->retried);
}

TEST(ShieldOf, LacksWhatARouteThatMeetsTheSplitterDoesNotRetry) {
  const struct {
    const char* before;  // the route for all, which retries
    const char* lacks;
  } kRows[] = {
      {R"({"Match": {"HTTP": {"PathPrefix": "/admin"}}}, )",
       "the service-router's route /admin retries nothing"},
      {R"({"Match": {"HTTP": {"PathExact": "/a", "Methods": ["GET", "POST"]}},
           "Destination": {"Service": "api"}}, )",
       "the service-router's route = /a, Methods GET POST retries nothing"},
      {R"({"Match": {"HTTP": {"PathPrefix": "/a"}},
           "Destination": {"RetryOnStatusCodes": [500, 502, 503, 504]}}, )",
       "the service-router's route /a retries without RetryOnConnectFailure"},
      {R"({"Match": {"HTTP": {"PathPrefix": "/a"}},
           "Destination": {"RetryOnStatusCodes": [503], "RetryOnConnectFailure": true}}, )",
       "the service-router's route /a does not retry all of 500, 502, 503 and 504"},
      // Not retried on purpose, led past the splitter, or without any request.
      {R"({"Match": {"HTTP": {"Methods": ["POST", "PATCH"]}}}, )", ""},
      {R"({"Match": {"HTTP": {"PathPrefix": "/b"}}, "Destination": {"Service": "other"}}, )", ""},
      {R"({"Match": {"HTTP": {"PathPrefix": "/b"}}, "Destination": {"ServiceSubset": "canary"}}, )",
       ""},
      {R"({"Destination": {"RetryOnStatusCodes": [500, 502, 503, 504],
           "RetryOnConnectFailure": true}}, {"Match": {"HTTP": {"PathPrefix": "/late"}}}, )",
       ""},
  };
  for (const auto& row : kRows) {
    ServiceSnapshot service = Shielded();
    service.router = RouterOf(row.before);
    EXPECT_EQ(ShieldOf(ApiSpec(), service, kNow)->lacks, row.lacks) << row.before;
  }
  // Consul adds a route for what no other takes.
  ServiceSnapshot service = Shielded();
  service.router = *consul::ParseRouter(
      std::string(R"({"Name": "api", "Routes": [{"Match": {"HTTP": {"PathPrefix": "/a"}},
                      "Destination": )") +
      kRetrying + "}]}");
  EXPECT_EQ(ShieldOf(ApiSpec(), service, kNow)->lacks,
            "the service-router's default route retries nothing");
}

TEST(ShieldOf, MakesAnInstanceThatIsNotReadUnknown) {
  collect::MeshSnapshot mesh;
  mesh.ready = true;
  ServiceSnapshot service = Shielded();
  EXPECT_EQ(Observe(ApiSpec(), mesh, &service, kNow).unknown, "");
  service.servers[1].scraped_at = kNow - std::chrono::seconds(9);
  EXPECT_EQ(Observe(ApiSpec(), mesh, &service, kNow).unknown,
            "behind the shield the instances' own sidecars are judged, and of b-app nothing is "
            "known: its sidecar was not read for 9 s");
}

// What the instances have counted counts a tick later.
rollout::TickCounts TakeNext(const ServiceSnapshot& service, rollout::State& state) {
  (void)TakeCounts(ApiSpec(), service, state);
  return TakeCounts(ApiSpec(), service, state);
}

TEST(TakeCounts, BehindAShieldAttemptsAtTheInstancesAreWhatCounts) {
  ServiceSnapshot service = Shielded();
  rollout::State state;
  (void)TakeCounts(ApiSpec(), service, state);
  service.servers[0].local_app->completed = 90;
  service.servers[1].local_app->completed = 3;
  service.servers[1].local_app->responses[500] = 1;
  service.servers[2].local_app->completed = 4;
  service.callers[0].subsets["canary"].completed = 50;
  service.callers[0].subsets["canary"].responses[503] = 1;
  service.callers[0].subsets["canary"].retry_success = 2;
  const auto now = TakeCounts(ApiSpec(), service, state);
  EXPECT_EQ(now.canary_instances, (stats::InstanceCounts{{"n/b", {3, 1}}, {"n/c", {4, 0}}}));
  EXPECT_EQ(now.failed_for_callers, 1);
  EXPECT_EQ(now.saved_requests, 2);
  const auto taken = TakeCounts(ApiSpec(), service, state);
  EXPECT_EQ(taken.primary.low, (stats::Counts{90, 0}));
  EXPECT_EQ(taken.canary.low, (stats::Counts{7, 1}));
  EXPECT_EQ(taken.canary.high, (stats::Counts{7, 1}));
}

// Three tries of one request failed at the canary before it was ejected, the fourth at the primary.
TEST(TakeCounts, BehindAShieldARequestThatFailsAtEachTryIsOneFailureOfTheCanary) {
  ServiceSnapshot service = Shielded();
  rollout::State state;
  (void)TakeCounts(ApiSpec(), service, state);
  service.servers[1].local_app->completed = 12;
  service.servers[1].local_app->responses[500] = 3;
  service.servers[0].local_app->completed = 91;
  service.servers[0].local_app->responses[500] = 1;
  service.callers[0].subsets["canary"].completed = 10;
  service.callers[0].subsets["canary"].retries = 6;
  service.callers[0].subsets["canary"].retried_responses = {{500, 3}, {429, 3}};
  service.callers[0].subsets["canary"].responses[500] = 1;
  const auto taken = TakeNext(service, state);
  EXPECT_EQ(taken.canary.low, (stats::Counts{10, 1}));
  EXPECT_EQ(taken.canary.high, (stats::Counts{10, 3})) << "they may have been the primary's";
  EXPECT_EQ(taken.primary.low, (stats::Counts{91, 1}));
  EXPECT_EQ(state.pending_retries.canary_repeats, 1) << "the one at the primary";
}

// The instances' own histograms move at other moments than one another's.
TEST(TakeCounts, BehindAShieldTheCallersTellHowLongItTook) {
  ServiceSnapshot service = Shielded();
  rollout::State state;
  (void)TakeCounts(ApiSpec(), service, state);
  service.servers[1].local_app->request_time = {{{25, 9}}, 0, 9};
  service.callers[0].subsets["primary"].request_time = {{{25, 8}}, 0, 10};
  service.callers[0].subsets["canary"].request_time = {{{25, 1}}, 0, 4};
  service.callers[0].subsets["canary"].failed_over = 3;
  const auto taken = TakeCounts(ApiSpec(), service, state);
  EXPECT_EQ(taken.primary.latency, (stats::LatencyCounts{10, {{.025, 2}}}));
  EXPECT_EQ(taken.canary.latency, (stats::LatencyCounts{4, {{.025, 3}}}));
  EXPECT_EQ(taken.failed_over, 3);
  EXPECT_EQ(PrimaryHistory(ApiSpec(), service).latency, (stats::LatencyCounts{10, {{.025, 2}}}));
}

// One request that failed at each of its three tries, and one that did not at its second.
TEST(TakeCounts, BehindAShieldARetriedRequestOfThePrimaryIsOneRequest) {
  ServiceSnapshot service = Shielded();
  rollout::State state;
  (void)TakeCounts(ApiSpec(), service, state);
  service.servers[0].local_app->completed = 103;
  service.servers[0].local_app->responses[500] = 4;
  envoy::SubsetCounters& primary = service.callers[0].subsets["primary"];
  primary.completed = 100;
  primary.retries = 3;
  primary.retry_success = 1;
  primary.retried_responses[500] = 3;
  primary.responses[500] = 1;
  const auto taken = TakeNext(service, state);
  EXPECT_EQ(taken.primary.low, (stats::Counts{100, 2}));
  EXPECT_EQ(taken.primary.high, (stats::Counts{100, 4})) << "pages are not of one moment";
}

// Else the time without a shield, which the callers have counted, would be counted again.
TEST(TakeCounts, AShieldThatIsTakenAwayLeavesNoBaselines) {
  ServiceSnapshot service = Shielded();
  rollout::State state;
  (void)TakeCounts(ApiSpec(), service, state);
  ServiceSnapshot without = service;
  without.resolver->with_failover.clear();
  without.resolver->failover_subsets.clear();
  without.resolver->has_failover = false;
  (void)TakeCounts(ApiSpec(), without, state);
  service.servers[1].local_app->completed = 70;
  EXPECT_EQ(TakeNext(service, state).canary.low.completed, 0);
  service.servers[1].local_app->completed = 75;
  EXPECT_EQ(TakeNext(service, state).canary.low.completed, 5);
}

// Two seconds later so many more are under way at each instance, and none has ended.
void Hang(ServiceSnapshot& service, std::uint64_t canary, std::uint64_t primary) {
  for (ServerReading& server : service.servers) {
    server.scraped_at = *server.scraped_at + std::chrono::seconds(2);
    server.local_app->active += server.subsets.front() == "canary" ? canary : primary;
  }
}

TEST(TakeCounts, BehindAShieldWhatHangsAtBothSubsetsIsNoHarm) {
  for (const bool both : {false, true}) {
    ServiceSnapshot service = Shielded();
    rollout::State state;
    state.phase = rollout::Phase::kProgressing;
    state.confirmed = true;
    state.confirmed_seconds = 60;
    state.evidence.late_after_seconds = 2;
    (void)TakeCounts(ApiSpec(), service, state);
    std::int64_t late = 0;
    for (int i = 0; i < 10; ++i) {
      Hang(service, 10, both ? 10 : 0);
      service.servers[0].local_app->completed += both ? 0 : 1000;
      late += TakeCounts(ApiSpec(), service, state).canary.late.late;
    }
    EXPECT_EQ(late > 0, !both) << late;
  }
}

// What it did as a canary is nothing of the primary's.
TEST(TakeCounts, AnInstanceThatChangesItsSubsetBeginsAnew) {
  ServiceSnapshot service = Shielded();
  rollout::State state;
  (void)TakeCounts(ApiSpec(), service, state);
  service.servers[1].local_app->completed = 3;
  (void)TakeNext(service, state);
  service.servers[1].subsets = {"canary", "primary"};
  service.servers[1].local_app->completed = 5;
  EXPECT_EQ(TakeNext(service, state).canary.low.completed, 2);
  service.servers[1].subsets = {"primary"};
  service.servers[1].local_app->completed = 9;
  EXPECT_EQ(TakeNext(service, state).primary.low.completed, 0);
  service.servers[1].local_app->completed = 10;
  EXPECT_EQ(TakeNext(service, state).primary.low.completed, 1);
}

// Sidecars learn of it later than we do, and their counters begin anew when they do.
TEST(TakeCounts, ACallerWhoseSidecarStillFailsOverCountsForNothing) {
  ServiceSnapshot service = Shielded();
  service.resolver->has_failover = false;
  service.resolver->failover_subsets.clear();
  service.resolver->with_failover.clear();
  rollout::State state;
  (void)TakeCounts(ApiSpec(), service, state);
  envoy::SubsetCounters& canary = service.callers[0].subsets["canary"];
  canary.has_failover = true;
  canary.completed = 40;
  canary.responses[500] = 2;
  EXPECT_EQ(TakeCounts(ApiSpec(), service, state).canary.low.completed, 0);
  collect::MeshSnapshot mesh;
  mesh.ready = true;
  EXPECT_EQ(Observe(ApiSpec(), mesh, &service, kNow).unknown,
            "the sidecar n/web still fails over between the subsets, as the service-resolver does "
            "not any more: its counters mix them");
  canary.has_failover = false;
  canary.completed = 44;
  EXPECT_EQ(TakeCounts(ApiSpec(), service, state).canary.low.completed, 0) << "its baseline";
  canary.completed = 50;
  EXPECT_EQ(TakeCounts(ApiSpec(), service, state).canary.low, (stats::Counts{6, 0}));
}

}  // namespace
}  // namespace consul_canary::control
