#include "exporter/collect/mesh_state.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "exporter/collect/gateways.h"

namespace consul_canary::collect {
namespace {

using consul::Client;
using consul::Instance;

constexpr const char* kPrimaryFilter = "Service.Meta.version == v1";
constexpr const char* kCanaryFilter = "Service.Meta.version == v2";

Instance Named(const std::string& id, bool passing = true) {
  Instance instance;
  instance.node = "n1";
  instance.id = id;
  instance.address = "10.0.0.5";
  instance.passing = passing;
  return instance;
}

Instance Proxy(const std::string& id, const std::string& of,
               std::vector<std::string> upstreams = {}) {
  Instance proxy = Named(id);
  proxy.kind = "connect-proxy";
  proxy.destination_service = of;
  proxy.destination_id = of + "-1";
  proxy.upstreams = std::move(upstreams);
  proxy.prometheus_bind_addr = "0.0.0.0:9102";
  return proxy;
}

// One service `api` with splitter and resolver; `web` calls it, `cron` calls nobody shown.
MeshState Example() {
  MeshState state;
  consul::Splitter splitter;
  splitter.name = "api";
  state.splitters.value = {{"api", splitter}};
  consul::Resolver resolver;
  resolver.name = "api";
  resolver.subset_filters = {{"primary", kPrimaryFilter}, {"canary", kCanaryFilter}};
  state.resolvers.value = {{"api", resolver}};
  state.routers.value.emplace();
  state.gateways.value.emplace();
  state.proxy_services.value = {"api-sidecar-proxy", "cron-sidecar-proxy", "web-sidecar-proxy"};
  state.health[Client::HealthPath("api")].value = {Named("api-1")};
  state.health[Client::ConnectPath("api", kPrimaryFilter)].value = {Proxy("api-1-proxy", "api")};
  state.health[Client::ConnectPath("api", kCanaryFilter)].value = std::vector<Instance>();
  state.health[Client::HealthPath("api-sidecar-proxy")].value = {Proxy("api-1-proxy", "api")};
  state.health[Client::HealthPath("web-sidecar-proxy")].value = {
      Proxy("web-proxy", "web", {"api", "db"})};
  state.health[Client::HealthPath("cron-sidecar-proxy")].value = {
      Proxy("cron-proxy", "cron", {"db"})};
  return state;
}

SidecarReading Reading(envoy::SidecarPage page) {
  SidecarReading reading;
  TakePage(std::move(page), base::MonotonicTime(base::seconds(5)), reading);
  return reading;
}

envoy::SubsetCounters Completed(std::uint64_t count) {
  envoy::SubsetCounters counters;
  counters.completed = count;
  return counters;
}

TEST(ShownServices, AreThoseWithASplitterAndTheFollowedOnes) {
  MeshState state = Example();
  state.followed = {"other"};
  EXPECT_EQ(ShownServices(state), (std::set<std::string>{"api", "other"}));
}

TEST(WantedPaths, AsksForServiceSubsetsAndEveryProxyService) {
  const std::vector<std::string> wanted = WantedPaths(Example());
  EXPECT_EQ(wanted.size(), 6U);
  // What concerns no shown service comes last.
  EXPECT_EQ(wanted.back(), Client::HealthPath("cron-sidecar-proxy"));
}

TEST(WantedPaths, PutsFollowedServicesAndTheirProxiesFirst) {
  MeshState state = Example();
  state.followed = {"db"};
  const std::vector<std::string> wanted = WantedPaths(state);
  ASSERT_EQ(wanted.size(), 7U);
  EXPECT_EQ(wanted[0], Client::HealthPath("db"));
  EXPECT_EQ(wanted[1], Client::HealthPath("cron-sidecar-proxy"));
  EXPECT_EQ(wanted[2], Client::HealthPath("web-sidecar-proxy"));
}

TEST(WantedPaths, AsksTheNewFilterWhenTheResolverChanges) {
  MeshState state = Example();
  state.resolvers.value->at("api").subset_filters["canary"] = "Service.Meta.version == v3";
  const std::vector<std::string> wanted = WantedPaths(state);
  const auto asks = [&wanted](const std::string& path) {
    return std::find(wanted.begin(), wanted.end(), path) != wanted.end();
  };
  EXPECT_TRUE(asks(Client::ConnectPath("api", "Service.Meta.version == v3")));
  EXPECT_FALSE(asks(Client::ConnectPath("api", kCanaryFilter)));
  const auto services = Assemble(Outline(state), {});
  EXPECT_FALSE(services.at("api")->subset_instances.contains("canary"));
  EXPECT_FALSE(services.at("api")->instances_known);
}

TEST(WantedTargets, AreSidecarsThatCallOrServeAShownService) {
  const std::map<std::string, ScrapeTarget> targets = WantedTargets(Example());
  EXPECT_EQ(targets.size(), 2U);
  EXPECT_TRUE(targets.contains("n1/web-proxy"));
  EXPECT_TRUE(targets.contains("n1/api-1-proxy"));
}

TEST(Assemble, GivesTheServiceItsCallersAndServers) {
  envoy::SidecarPage page;
  page.subsets[{"api", "canary"}] = Completed(7);
  page.subsets[{"db", ""}] = Completed(100);
  page.route_reloads["api"] = 3;
  envoy::SidecarPage own;
  own.local_app = Completed(9);
  const auto services = Assemble(
      Outline(Example()), {{"n1/web-proxy", Reading(page)}, {"n1/api-1-proxy", Reading(own)}});
  ASSERT_EQ(services.size(), 1U);
  const ServiceSnapshot& api = *services.at("api");
  EXPECT_TRUE(api.instances_known);
  EXPECT_EQ(api.instances.size(), 1U);
  EXPECT_EQ(api.subset_instances.at("primary").size(), 1U);
  EXPECT_TRUE(api.subset_instances.at("canary").empty());
  ASSERT_EQ(api.callers.size(), 1U);
  EXPECT_EQ(api.callers[0].id, "n1/web-proxy");
  EXPECT_EQ(api.callers[0].service, "web");
  EXPECT_EQ(api.callers[0].address, "10.0.0.5:9102");
  EXPECT_EQ(api.callers[0].subsets,
            (std::map<std::string, envoy::SubsetCounters>{{"canary", Completed(7)}}));
  EXPECT_EQ(api.callers[0].route_reloads, 3U);
  ASSERT_EQ(api.servers.size(), 1U);
  EXPECT_EQ(api.servers[0].instance_id, "api-1");
  EXPECT_EQ(api.servers[0].subsets, std::vector<std::string>{"primary"});
  EXPECT_EQ(api.servers[0].local_app, Completed(9));
}

class WithGateway : public ::testing::Test {
 protected:
  WithGateway() {
    state_.gateways.value = {"edge"};
    Instance gateway = Named("edge-1");
    gateway.service = "edge";
    gateway.kind = "ingress-gateway";
    gateway.prometheus_bind_addr = "0.0.0.0:9102";
    state_.health[Client::HealthPath("edge")].value = {gateway};
    state_.gateway_services[GatewayServicesPath("edge")].value = {"api", "db"};
  }

  MeshState state_ = Example();
};

TEST_F(WithGateway, ItIsACallerOfTheServicesThatConsulNames) {
  const auto services = Assemble(Outline(state_), {});
  ASSERT_EQ(services.at("api")->callers.size(), 2U);
  EXPECT_EQ(services.at("api")->callers[1].id, "n1/edge-1");
  EXPECT_EQ(services.at("api")->callers[1].service, "edge");
  EXPECT_TRUE(WantedTargets(state_).contains("n1/edge-1"));
  EXPECT_TRUE(IsComplete(state_));
}

TEST_F(WithGateway, TheMeshIsNotCompleteBeforeItsServicesAreKnown) {
  state_.gateway_services.clear();
  EXPECT_FALSE(IsComplete(state_));
  EXPECT_EQ(Assemble(Outline(state_), {}).at("api")->callers.size(), 1U);
}

TEST(ParseGatewayServices, ReadsNamesAndRefusesWhatIsNoList) {
  EXPECT_EQ(ParseGatewayServices(
                R"([{"Gateway":{"Name":"edge"},"Service":{"Name":"api"},"Port":8080},{},3])"),
            std::vector<std::string>{"api"});
  EXPECT_EQ(ParseGatewayServices("null"), std::vector<std::string>());
  EXPECT_FALSE(ParseGatewayServices("{}"));
  EXPECT_FALSE(ParseGatewayServices("oops"));
}

// api calls db: its sidecar is read once, as the server of the one and the caller of the other.
TEST(Assemble, TakesBothPartsOfASidecarFromOnePage) {
  MeshState state = Example();
  consul::Splitter splitter;
  splitter.name = "db";
  state.splitters.value->emplace("db", splitter);
  state.health[Client::HealthPath("api-sidecar-proxy")].value = {
      Proxy("api-1-proxy", "api", {"db"})};
  EXPECT_EQ(WantedTargets(state).size(), 3U);  // of api, web and cron
  envoy::SidecarPage page;
  page.local_app = Completed(9);
  page.subsets[{"db", ""}] = Completed(4);
  const auto services = Assemble(Outline(state), {{"n1/api-1-proxy", Reading(page)}});
  EXPECT_EQ(services.at("api")->servers.at(0).local_app, Completed(9));
  const auto& callers = services.at("db")->callers;
  const auto caller = std::ranges::find(callers, "n1/api-1-proxy", &CallerReading::id);
  ASSERT_NE(caller, callers.end());
  EXPECT_EQ(caller->subsets.at(""), Completed(4));
}

TEST(Outline, TellsWhoEjectsFailingInstances) {
  MeshState state = Example();
  const auto ejects_after = [&state] {
    return Outline(state).services.at("api").callers.at(0).ejects_after;
  };
  EXPECT_EQ(ejects_after(), 0);
  std::vector<Instance>& web = *state.health[Client::HealthPath("web-sidecar-proxy")].value;
  web[0].ejecting_upstreams = {{"api", 2}};
  EXPECT_EQ(ejects_after(), 2);
}

TEST_F(WithGateway, WhatItEjectsIsNotKnown) {
  EXPECT_EQ(Outline(state_).services.at("api").callers.back().ejects_after, std::nullopt);
}

TEST(Assemble, TakesNoPartitionForASubset) {
  envoy::SidecarPage page;
  page.subsets[{"api", "no-such-subset"}] = Completed(7);
  page.subsets[{"api", ""}] = Completed(1);
  const auto services = Assemble(Outline(Example()), {{"n1/web-proxy", Reading(page)}});
  EXPECT_EQ(services.at("api")->callers[0].subsets,
            (std::map<std::string, envoy::SubsetCounters>{{"", Completed(1)}}));
}

TEST(Assemble, KeepsInstancesButCallsThemUnknownWhileTheirPathErrs) {
  MeshState state = Example();
  state.health[Client::ConnectPath("api", kCanaryFilter)].error =
      base::Error{base::ErrorCode::kUnavailable, "GET: 503"};
  const auto services = Assemble(Outline(state), {});
  EXPECT_FALSE(services.at("api")->instances_known);
  EXPECT_EQ(services.at("api")->instances.size(), 1U);
  // One path is no reason to call Consul silent for every service; the heartbeat is.
  EXPECT_FALSE(FirstError(state));
  state.heartbeat.error = base::Error{base::ErrorCode::kUnavailable, "GET: 503"};
  EXPECT_TRUE(FirstError(state));
}

TEST(IsComplete, NeedsEveryQuestionAnsweredOrRefused) {
  MeshState state = Example();
  EXPECT_TRUE(IsComplete(state));
  const std::string path = Client::HealthPath("web-sidecar-proxy");
  state.health.erase(path);
  EXPECT_FALSE(IsComplete(state));
  state.health[path].error = base::Error{base::ErrorCode::kForbidden, "GET: 403"};
  EXPECT_TRUE(IsComplete(state));
  state.routers.value.reset();
  EXPECT_FALSE(IsComplete(state));
}

}  // namespace
}  // namespace consul_canary::collect
