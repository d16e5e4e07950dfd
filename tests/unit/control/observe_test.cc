// From a snapshot of the mesh to what Decide() looks at.
#include "analyzer/control/observe.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "analyzer/control/take_counts.h"

namespace consul_canary::control {
namespace {

using base::milliseconds;
using collect::MeshSnapshot;
using collect::ServiceSnapshot;

const base::MonotonicTime kNow = base::MonotonicTime{} + std::chrono::hours(1);

consul::Instance Instance(const std::string& id, const std::string& version, bool passing = true,
                          std::uint64_t index = 1) {
  return {.id = id, .meta = {{"version", version}}, .create_index = index, .passing = passing};
}

rollout::Spec ApiSpec() {
  rollout::Spec spec;
  spec.service = "api";
  spec.steps = {{.weight_percent = 10}};
  return spec;
}

MeshSnapshot ReadyMesh() {
  MeshSnapshot mesh;
  mesh.ready = true;
  return mesh;
}

// v1 behind the primary, two of v2 (one not passing) behind the canary, one caller read just now.
ServiceSnapshot ApiSnapshot() {
  ServiceSnapshot service;
  service.service = "api";
  service.splitter = consul::Splitter{.name = "api",
                                      .splits = {{.weight = 90, .service_subset = "primary"},
                                                 {.weight = 10, .service_subset = "canary"}},
                                      .meta = {{"consul-canary-epoch", "42"}}};
  service.resolver = consul::Resolver{
      .name = "api", .subset_filters = {{"primary", "is v1"}, {"canary", "is v2"}}};
  service.instances = {Instance("a", "v1", true, 10), Instance("b", "v2", true, 20),
                       Instance("c", "v2", false, 30)};
  service.subset_instances = {{"primary", {service.instances[0]}},
                              {"canary", {service.instances[1], service.instances[2]}}};
  service.instances_known = true;
  collect::CallerReading caller;
  caller.id = "n/web";
  caller.passing = true;
  caller.scraped_at = kNow - milliseconds(500);
  caller.subsets["primary"] = {
      .completed = 100, .responses = {{500, 1}}, .membership_healthy = 1, .membership_change = 4};
  caller.subsets["canary"] = {.completed = 10, .membership_healthy = 2, .membership_change = 5};
  caller.route_reloads = 6;
  service.callers = {caller};
  return service;
}

rollout::Observation ObserveApi(const ServiceSnapshot& service) {
  return Observe(ApiSpec(), ReadyMesh(), &service, kNow);
}

TEST(Observe, ShowsSplitterSubsetsVersionsAndCallers) {
  const rollout::Observation seen = ObserveApi(ApiSnapshot());
  EXPECT_EQ(seen.unknown, "");
  EXPECT_EQ(seen.splitter,
            (rollout::SplitterView{
                .canary_percent = 10, .primary_percent = 90, .other_percent = 0, .epoch = 42}));
  EXPECT_EQ(seen.primary_filter, "is v1");
  EXPECT_EQ(seen.canary_filter, "is v2");
  EXPECT_TRUE(seen.instances_known);
  EXPECT_EQ(seen.versions, (std::vector<rollout::VersionSeen>{{"v1", 1, 10}, {"v2", 1, 20}}));
  EXPECT_EQ(seen.primary_versions, std::vector<std::string>{"v1"});
  EXPECT_EQ(seen.primary_passing, 1);
  EXPECT_EQ(seen.canary_passing, 1);
  const rollout::CallerFacts web{.id = "n/web",
                                 .fresh = true,
                                 .canary_healthy = 2,
                                 .canary_changes = 5,
                                 .primary_healthy = 1,
                                 .primary_changes = 4,
                                 .route_reloads = 6};
  EXPECT_EQ(seen.callers, std::vector<rollout::CallerFacts>{web});
  EXPECT_EQ(seen.primary_history, (stats::Counts{100, 1}));
}

// Tags instead of Meta; the second tag is none of a version.
ServiceSnapshot TaggedSnapshot() {
  ServiceSnapshot service = ApiSnapshot();
  const auto tag = [](std::vector<consul::Instance> instances) {
    for (consul::Instance& instance : instances) {
      instance.tags = {"http", "v" + instance.meta.at("version").substr(1)};
      instance.meta.clear();
    }
    return instances;
  };
  service.instances = tag(service.instances.get());
  for (auto& [subset, members] : service.subset_instances) members = tag(members.get());
  return service;
}

TEST(Observe, TakesVersionsFromTags) {
  rollout::Spec spec = ApiSpec();
  spec.version_key = "";
  spec.version_tag_prefix = "v";
  const ServiceSnapshot service = TaggedSnapshot();
  const auto seen = Observe(spec, ReadyMesh(), &service, kNow);
  EXPECT_EQ(seen.versions, (std::vector<rollout::VersionSeen>{{"1", 1, 10}, {"2", 1, 20}}));
  EXPECT_EQ(seen.primary_versions, std::vector<std::string>{"1"});
  EXPECT_EQ(seen.canary_versions, std::vector<std::string>{"2"});
}

TEST(Observe, AnInstanceWithoutSuchATagHasNoVersion) {
  rollout::Spec spec = ApiSpec();
  spec.version_key = "";
  spec.version_tag_prefix = "release-";
  const ServiceSnapshot service = TaggedSnapshot();
  EXPECT_EQ(Observe(spec, ReadyMesh(), &service, kNow).primary_versions,
            std::vector<std::string>{""});
}

TEST(Observe, AFilterStandsForAVersionWhereNothingTellsThem) {
  rollout::Spec spec = ApiSpec();
  spec.version_key = "";
  ServiceSnapshot service = ApiSnapshot();
  const auto seen = Observe(spec, ReadyMesh(), &service, kNow);
  EXPECT_EQ(seen.versions, (std::vector<rollout::VersionSeen>{{"is v1", 1, 0}, {"is v2", 1, 1}}));
  EXPECT_EQ(seen.primary_versions, std::vector<std::string>{"is v1"});
  EXPECT_EQ(seen.canary_versions, std::vector<std::string>{"is v2"});
  service.subset_instances["canary"] = {};
  EXPECT_EQ(Observe(spec, ReadyMesh(), &service, kNow).versions.size(), 1U);
}

TEST(Observe, KnowsThatEntriesAreGoneOnlyWhereConsulSaysSo) {
  ServiceSnapshot service = ApiSnapshot();
  service.splitter.reset();
  MeshSnapshot mesh = ReadyMesh();
  EXPECT_TRUE(Observe(ApiSpec(), mesh, &service, kNow).entries_known);
  EXPECT_FALSE(Observe(ApiSpec(), mesh, nullptr, kNow).entries_known);
  mesh.consul_failures["service-splitter"] = {base::ErrorCode::kForbidden, "no"};
  EXPECT_FALSE(Observe(ApiSpec(), mesh, &service, kNow).entries_known);
  mesh = ReadyMesh();
  mesh.consul_error = base::Error{base::ErrorCode::kUnavailable, "away"};
  EXPECT_FALSE(Observe(ApiSpec(), mesh, &service, kNow).entries_known);
  EXPECT_FALSE(Observe(ApiSpec(), MeshSnapshot{}, &service, kNow).entries_known);
}

// A token that lost a rule must not pass for a canary that is gone or a splitter that was deleted.
TEST(Observe, WhatConsulLeavesOutIsNotGone) {
  const ServiceSnapshot service = ApiSnapshot();
  MeshSnapshot mesh = ReadyMesh();
  mesh.left_out = {"GET /v1/health/connect/other"};
  EXPECT_TRUE(Observe(ApiSpec(), mesh, &service, kNow).instances_known);
  for (const char* request : {"GET /v1/health/connect/api", "GET /v1/health/service/api"}) {
    mesh.left_out = {request};
    const auto seen = Observe(ApiSpec(), mesh, &service, kNow);
    EXPECT_FALSE(seen.instances_known) << request;
    EXPECT_EQ(seen.unknown,
              "Consul leaves out instances of the service that the token may not read");
  }
  for (const char* request :
       {"GET /v1/config/service-splitter", "GET /v1/config/service-resolver"}) {
    mesh.left_out = {request};
    EXPECT_FALSE(Observe(ApiSpec(), mesh, &service, kNow).entries_known) << request;
  }
}

TEST(Observe, AServiceThatIsNotFollowedYetIsUnknown) {
  EXPECT_EQ(Observe(ApiSpec(), ReadyMesh(), nullptr, kNow).unknown,
            "the mesh has not been read yet");
  const ServiceSnapshot service = ApiSnapshot();
  EXPECT_EQ(Observe(ApiSpec(), MeshSnapshot{}, &service, kNow).unknown,
            "the mesh has not been read yet");
}

TEST(Observe, ConsulsSilenceIsUnknownAndItsInstancesToo) {
  MeshSnapshot mesh = ReadyMesh();
  mesh.consul_error = base::Error{base::ErrorCode::kUnavailable, "GET /v1/config: timeout"};
  const ServiceSnapshot service = ApiSnapshot();
  const auto seen = Observe(ApiSpec(), mesh, &service, kNow);
  EXPECT_EQ(seen.unknown, "Consul does not answer: GET /v1/config: timeout");
  EXPECT_FALSE(seen.instances_known);
  EXPECT_TRUE(seen.splitter);  // as last seen
}

TEST(Observe, MissingEntriesAndFailoverAreUnknown) {
  ServiceSnapshot service = ApiSnapshot();
  service.resolver->has_failover = true;
  EXPECT_EQ(ObserveApi(service).unknown.substr(0, 34), "the service-resolver has Failover:");
  service.resolver.reset();
  EXPECT_EQ(ObserveApi(service).unknown, "the service has no service-resolver entry");
  EXPECT_EQ(ObserveApi(service).primary_filter, std::nullopt);
  service.splitter.reset();
  EXPECT_EQ(ObserveApi(service).unknown, "the service has no service-splitter entry");
  EXPECT_EQ(ObserveApi(service).splitter, std::nullopt);
}

TEST(Observe, AddsUpOtherSplitsAndTakesBadEpochsForNone) {
  ServiceSnapshot service = ApiSnapshot();
  service.splitter->splits = {{.weight = 60, .service_subset = "primary"},
                              {.weight = 10, .service_subset = "canary"},
                              {.weight = 20, .service_subset = "beta"},
                              {.weight = 10, .service = "other", .service_subset = "canary"}};
  service.splitter->meta["consul-canary-epoch"] = "x";
  const auto seen = ObserveApi(service);
  EXPECT_EQ(seen.splitter->canary_percent, 10);
  EXPECT_EQ(seen.splitter->other_percent, 30);
  EXPECT_EQ(seen.splitter->epoch, 0U);
}

TEST(Observe, ACallerIsLateAfterThreeAndAHalfSecondsAndSaysWhy) {
  ServiceSnapshot service = ApiSnapshot();
  service.callers[0].scraped_at = kNow - milliseconds(3500);
  EXPECT_TRUE(ObserveApi(service).callers[0].fresh);
  service.callers[0].scraped_at = kNow - milliseconds(3501);
  service.callers[0].error = "GET http://10.0.0.7:9102/metrics: timeout";
  const auto late = ObserveApi(service).callers[0];
  EXPECT_FALSE(late.fresh);
  EXPECT_EQ(late.trouble, "last read 3.5 s ago: GET http://10.0.0.7:9102/metrics: timeout");
  service.callers[0].scraped_at.reset();
  EXPECT_EQ(ObserveApi(service).callers[0].trouble,
            "never read: GET http://10.0.0.7:9102/metrics: timeout");
}

TEST(Observe, OnlyPassingCallersCount) {
  ServiceSnapshot service = ApiSnapshot();
  service.callers[0].passing = false;
  EXPECT_TRUE(ObserveApi(service).callers.empty());
}

TEST(Observe, AppliedWeightsAreThoseOfTheAdminPort) {
  ServiceSnapshot service = ApiSnapshot();
  service.callers[0].applied_shares = {{"primary", 0.9}, {"canary", 0.1}};
  EXPECT_EQ(ObserveApi(service).callers[0].applied_canary_percent, 10);
  service.callers[0].applied_shares = {{"primary", 1.0}};  // a split of 0 is left out
  EXPECT_EQ(ObserveApi(service).callers[0].applied_canary_percent, 0);
}

TEST(Observe, SeesSeveralVersionsInThePrimarySubset) {
  ServiceSnapshot service = ApiSnapshot();
  service.subset_instances["primary"].Own().push_back(Instance("d", "v0"));
  service.subset_instances["primary"].Own().push_back(Instance("e", "v9", false));
  EXPECT_EQ(ObserveApi(service).primary_versions, (std::vector<std::string>{"v1", "v0"}));
}

TEST(TakeCounts, ADifferenceOnlyAndOnce) {
  ServiceSnapshot service = ApiSnapshot();
  rollout::State state;
  EXPECT_EQ(TakeCounts(ApiSpec(), service, state), rollout::TickCounts{});
  service.callers[0].subsets["primary"].completed = 150;
  service.callers[0].subsets["primary"].responses[500] = 4;
  service.callers[0].subsets["canary"].completed = 15;
  const auto tick = TakeCounts(ApiSpec(), service, state);
  EXPECT_EQ(tick.primary.high, (stats::Counts{50, 3}));
  EXPECT_EQ(tick.canary.low, (stats::Counts{5, 0}));
  EXPECT_EQ(TakeCounts(ApiSpec(), service, state), rollout::TickCounts{});
}

TEST(TakeCounts, DoubtfulFailuresAreBoundedOnTheSafeSideOfEachUse) {
  ServiceSnapshot service = ApiSnapshot();
  service.router = consul::Router{.name = "api", .retries = {{.status_codes = {503}}}};
  rollout::State state;
  (void)TakeCounts(ApiSpec(), service, state);
  for (const char* subset : {"primary", "canary"}) {
    envoy::SubsetCounters& counters = service.callers[0].subsets[subset];
    counters.completed += 100;
    counters.retries += 10;
    counters.retry_success += 10;
    counters.responses[500] += 10;  // retried before, or not: nobody can tell
    counters.retried_responses[503] += 10;
  }
  const auto tick = TakeCounts(ApiSpec(), service, state);
  EXPECT_EQ(tick.canary.low, (stats::Counts{100, 10}));
  EXPECT_EQ(tick.primary.high, (stats::Counts{100, 20}));
  EXPECT_EQ(tick.canary.high, (stats::Counts{100, 20}));
  EXPECT_EQ(tick.primary.low, (stats::Counts{100, 10}));
}

TEST(TakeCounts, HistogramsSayHowManyWereSlower) {
  ServiceSnapshot service = ApiSnapshot();
  service.callers[0].subsets["canary"].request_time = {
      {{5, 3}, {250, 9}, {1e300 * 1e10, 10}}, 0, 10};
  rollout::State state;
  (void)TakeCounts(ApiSpec(), service, state);
  service.callers[0].subsets["canary"].request_time = {
      {{5, 4}, {250, 12}, {1e300 * 1e10, 20}}, 0, 20};
  EXPECT_EQ(TakeCounts(ApiSpec(), service, state).canary.latency,
            (stats::LatencyCounts{10, {{0.005, 9}, {0.25, 7}}}));
}

TEST(TakeCounts, InstancesOfThePrimaryTellTheirOwnAttempts) {
  ServiceSnapshot service = ApiSnapshot();
  service.servers = {{.id = "n/a", .subsets = {"primary"}, .local_app = envoy::SubsetCounters{}},
                     {.id = "n/b", .subsets = {"canary"}, .local_app = envoy::SubsetCounters{}}};
  rollout::State state;
  EXPECT_TRUE(TakeCounts(ApiSpec(), service, state).primary_instances.empty());
  service.servers[0].local_app->completed = 30;
  service.servers[0].local_app->responses[503] = 2;
  service.servers[1].local_app->completed = 5;
  EXPECT_EQ(TakeCounts(ApiSpec(), service, state).primary_instances,
            (stats::InstanceCounts{{"n/a", {30, 2}}}));
}

// Two seconds later the canary has so many more under way, and the primary so many.
void Later(collect::CallerReading& caller, std::uint64_t canary_active,
           std::uint64_t primary_active) {
  caller.scraped_at = *caller.scraped_at + std::chrono::seconds(2);
  caller.subsets["canary"].active = canary_active;
  caller.subsets["primary"].active = primary_active;
  caller.subsets["primary"].completed += 100;
}

rollout::State StateWithLate() {
  rollout::State state;
  state.phase = rollout::Phase::kProgressing;
  state.confirmed = true;
  state.confirmed_seconds = 60;
  state.evidence.late_after_seconds = 2;
  return state;
}

TEST(TakeCounts, RequestsUnderWayBetrayACanaryThatHangs) {
  ServiceSnapshot service = ApiSnapshot();
  rollout::State state = StateWithLate();
  state.evidence.late_after_seconds = 0;
  (void)TakeCounts(ApiSpec(), service, state);
  EXPECT_TRUE(state.late_blocks.empty());  // nothing is late as long as nobody knows what late is
  state.evidence.late_after_seconds = 2;
  state.confirmed_seconds = 0;
  (void)TakeCounts(ApiSpec(), service, state);
  EXPECT_TRUE(state.late_blocks.empty());  // nor in the warm-up
  state.confirmed_seconds = 60;
  (void)TakeCounts(ApiSpec(), service, state);
  Later(service.callers[0], 6, 1);
  (void)TakeCounts(ApiSpec(), service, state);
  Later(service.callers[0], 9, 1);
  EXPECT_EQ(TakeCounts(ApiSpec(), service, state).canary.late, (stats::LateCounts{9, 6}));
  EXPECT_FALSE(state.evidence.late_left_out);
}

// Ten streams that were answered before end, and ten calls begin: Envoy has completed nothing.
TEST(TakeCounts, StreamsThatEndAreNotTakenForCallsThatHang) {
  ServiceSnapshot service = ApiSnapshot();
  rollout::State state = StateWithLate();
  (void)TakeCounts(ApiSpec(), service, state);
  const auto later = [&](int seconds, std::uint64_t ended, std::uint64_t active) {
    envoy::SubsetCounters canary = service.callers[0].subsets.at("canary");
    canary.grpc_statuses[0] = ended;
    canary.active = active;
    envoy::SubsetCounters primary = service.callers[0].subsets.at("primary");
    service.callers[0].subsets = {{"canary", canary}, {"primary", primary}};
    service.callers[0].scraped_at = *service.callers[0].scraped_at + base::seconds(seconds);
  };
  later(3, 0, 10);
  (void)TakeCounts(ApiSpec(), service, state);
  later(3, 10, 10);
  EXPECT_EQ(TakeCounts(ApiSpec(), service, state).canary.late.late, 0);
}

TEST(TakeCounts, WhatHangsForThePrimaryTooIsNoFaultOfTheCanary) {
  ServiceSnapshot service = ApiSnapshot();
  rollout::State state = StateWithLate();
  (void)TakeCounts(ApiSpec(), service, state);
  Later(service.callers[0], 6, 120);
  (void)TakeCounts(ApiSpec(), service, state);
  Later(service.callers[0], 9, 130);
  EXPECT_EQ(TakeCounts(ApiSpec(), service, state).canary.late, stats::LateCounts());
  EXPECT_TRUE(state.evidence.late_left_out);
}

TEST(TakeCounts, ACallerThatWasNeverReadAddsNothing) {
  ServiceSnapshot service = ApiSnapshot();
  service.callers[0].scraped_at.reset();
  rollout::State state;
  (void)TakeCounts(ApiSpec(), service, state);
  EXPECT_TRUE(state.baselines.empty());
}

}  // namespace
}  // namespace consul_canary::control
