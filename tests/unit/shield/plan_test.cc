#include "analyzer/shield/plan.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "exporter/consul/match_routes.h"
#include "tests/unit/shield/shield_mesh.h"

namespace consul_canary::shield {
namespace {

std::vector<std::string> Names(const Plan& plan) {
  std::vector<std::string> names;
  for (const Write& write : plan.writes) names.push_back(write.kind + "/" + write.name);
  return names;
}

Json WantedRoutes(const Plan& plan) {
  for (const Write& write : plan.writes) {
    if (write.kind == "service-router") return AsWritten(*write.wanted)["Routes"];
  }
  return {};
}

TEST(PlanShield, WritesCallersFirstThenFailoverThenRetriesAndTakesThemOutTheOtherWay) {
  MeshView view = PlainMesh();
  view.callers.push_back({.name = "shop"});
  const Plan plan = Planned(view);
  EXPECT_EQ(Names(plan), (std::vector<std::string>{"service-defaults/web", "service-defaults/shop",
                                                   "service-resolver/api", "service-router/api"}));
  const MeshView after = After(view, plan);
  EXPECT_TRUE(Planned(after).writes.empty());
  const Plan removal = *PlanRemoval(after);
  EXPECT_EQ(Names(removal),
            (std::vector<std::string>{"service-router/api", "service-resolver/api",
                                      "service-defaults/web", "service-defaults/shop"}));
  EXPECT_FALSE(removal.writes[0].wanted);
  EXPECT_EQ(removal.writes[1].wanted, view.resolver);
  EXPECT_FALSE(removal.writes[2].wanted);
}

TEST(PlanShield, TakesCallersThatAppearLater) {
  MeshView view = PlainMesh();
  view = After(view, Planned(view));
  view.callers.push_back({.name = "later"});
  EXPECT_EQ(Names(Planned(view)), std::vector<std::string>{"service-defaults/later"});
}

TEST(PlanShield, RetriesNothingOnARouteForMethodsThatMustNotBeRepeated) {
  MeshView view = PlainMesh();
  view.router = Parsed(R"({"Kind": "service-router", "Name": "api", "Routes": [
      {"Match": {"HTTP": {"Methods": ["POST", "PATCH"]}}},
      {"Match": {"HTTP": {"Methods": ["POST", "GET"]}}}]})");
  const Json routes = WantedRoutes(Planned(view));
  ASSERT_EQ(routes.size(), 3U);
  EXPECT_FALSE(routes[0].contains("Destination"));
  EXPECT_EQ(routes[1]["Destination"]["NumRetries"], 3);
}

TEST(PlanShield, KeepsTheNumberOfFailuresThatWasAskedForBefore) {
  MeshView view = PlainMesh();
  view.max_failures = 2;
  view = After(view, Planned(view));
  view.max_failures.reset();
  EXPECT_TRUE(Planned(view).writes.empty());
  EXPECT_EQ((*HealthCheckOf("api", view.callers[0].defaults))["MaxFailures"], 2);
  view.max_failures = 1;
  EXPECT_EQ(Planned(view).writes.size(), 1U);
}

TEST(PlanShield, BothPatchesComeInOneEntryWithTheEjection) {
  const Plan plan = Planned(PlainMesh());
  const std::optional<Json> web = plan.writes[0].wanted;
  EXPECT_TRUE(PatchesFor("api", web, std::nullopt).both());
  EXPECT_FALSE(PatchesFor("db", web, std::nullopt).merge_window) << "api's alone";
  const Json check = *HealthCheckOf("api", web);
  EXPECT_EQ(check["MaxEjectionPercent"], 100);
}

TEST(PlanShield, WhatIsSaidOfAPeersServiceIsNotSaidOfOurs) {
  MeshView view = PlainMesh();
  view = After(view, Planned(view));
  Json& web = *view.callers[0].defaults;
  web["UpstreamConfig"]["Overrides"][0]["Peer"] = "east";
  for (Json& patch : web["EnvoyExtensions"][0]["Arguments"]["Patches"]) {
    patch["ResourceFilter"]["Services"][0]["Namespace"] = "other";
  }
  EXPECT_FALSE(HealthCheckOf("api", web));
  EXPECT_FALSE(PatchesFor("api", web, std::nullopt).merge_window);
  const Plan plan = Planned(view);
  ASSERT_EQ(Names(plan), std::vector<std::string>{"service-defaults/web"});
  const Json wanted = *plan.writes[0].wanted;
  EXPECT_EQ(wanted["UpstreamConfig"]["Overrides"].size(), 2U) << wanted.dump();
  EXPECT_EQ(wanted["UpstreamConfig"]["Overrides"][0], web["UpstreamConfig"]["Overrides"][0]);
}

TEST(PlanShield, PatchesThatCameAsHclAreSeen) {
  MeshView view = PlainMesh();
  view = After(view, Planned(view));
  for (Json& patch : (*view.callers[0].defaults)["EnvoyExtensions"][0]["Arguments"]["Patches"]) {
    patch["ResourceFilter"] = Json::array({patch["ResourceFilter"]});
  }
  EXPECT_TRUE(PatchesFor("api", view.callers[0].defaults, std::nullopt).both());
  EXPECT_TRUE(Planned(view).writes.empty());
}

TEST(PlanShield, PatchesOfProxyDefaultsAreEnough) {
  MeshView view = PlainMesh();
  const Json extensions = (*Planned(view).writes[0].wanted)["EnvoyExtensions"];
  view.proxy_defaults = Json{{"Kind", "proxy-defaults"}, {"EnvoyExtensions", extensions}};
  EXPECT_FALSE(Planned(view).writes[0].wanted->contains("EnvoyExtensions"));
}

TEST(PlanShield, EjectsForNobodyWhoseOtherPatchSomebodyTookOut) {
  MeshView view = PlainMesh();
  view = After(view, Planned(view));
  Json& web = *view.callers[0].defaults;
  web["EnvoyExtensions"][0]["Arguments"]["Patches"].erase(1);
  TakeOut(web, "UpstreamConfig/Overrides/[Name=api]/PassiveHealthCheck/MaxEjectionPercent");
  const Plan plan = Planned(view);
  ASSERT_EQ(Names(plan), std::vector<std::string>{"service-defaults/web"});
  EXPECT_NE(plan.writes[0].not_possible.find("one of the two patches alone"), std::string::npos);
}

TEST(PlanShield, TheRetriesOf5xxAndOfAGatewayErrorAreEnvoysOwn) {
  MeshView view = PlainMesh();
  view.router = Parsed(R"({"Kind": "service-router", "Name": "api", "Routes": [
      {"Destination": {"NumRetries": 3, "RetryOn": ["gateway-error"],
                       "RetryOnStatusCodes": [500]}}]})");
  EXPECT_TRUE(WantedRoutes(Planned(view)).is_null()) << WantedRoutes(Planned(view)).dump();
}

TEST(PlanShield, RetriesGoIntoEveryRouteThatMeetsTheSplitterAndIntoTheDefaultOne) {
  MeshView view = PlainMesh();
  view.router = Parsed(R"({"Kind": "service-router", "Name": "api", "Routes": [
      {"Match": {"HTTP": {"PathPrefix": "/a"}},
       "Destination": {"NumRetries": 5, "RetryOnStatusCodes": [429, 503]}},
      {"Match": {"HTTP": {"PathPrefix": "/b"}}, "Destination": {"Service": "other"}},
      {"Match": {"HTTP": {"PathPrefix": "/c"}}, "Destination": {"ServiceSubset": "canary"}},
      {"Match": {"HTTP": {"PathPrefix": "/d"}}, "Destination": {"Service": "api", "NumRetries": 1,
       "RetryOn": ["5xx"]}}]})");
  auto plan = PlanShield(view, Moment::kNow);
  ASSERT_TRUE(plan);
  const Json routes = WantedRoutes(*plan);
  ASSERT_EQ(routes.size(), 5U) << routes.dump();
  EXPECT_EQ(routes[0]["Destination"],
            Parsed(R"({"NumRetries": 5, "RetryOnStatusCodes": [429, 503, 500, 502, 504],
                       "RetryOnConnectFailure": true})"));
  EXPECT_EQ(routes[1], (*view.router)["Routes"][1]);
  EXPECT_EQ(routes[2], (*view.router)["Routes"][2]);
  EXPECT_EQ(routes[3]["Destination"],
            Parsed(R"({"Service": "api", "NumRetries": 3, "RetryOn": ["5xx"]})"));
  EXPECT_TRUE(TakesAll(routes[4]));
  const Plan removal = *PlanRemoval(After(view, *plan));
  EXPECT_EQ(AsWritten(*removal.writes[0].wanted), *view.router);
}

consul::MatchRoutes MatchOfARollout() {
  return {"canary", {{.name = "x-canary", .key = "Exact", .value = "always"}}};
}

std::optional<Json> Routed(const std::optional<Json>& router, bool in) {
  const auto parsed =
      consul::ParseRouter(router ? Dump(*router) : consul::RouterForRoutes("api", {}));
  const auto text = in ? consul::WithRoutes(*parsed, MatchOfARollout(), {})
                       : consul::WithoutRoutes(*parsed, MatchOfARollout(), {});
  return ParseEntry(*text);
}

TEST(PlanShield, ARolloutsRoutesTakeItsRetriesAndLeaveItWhole) {
  MeshView view = PlainMesh();
  view = After(view, Planned(view));
  const std::optional<Json> shielded = view.router;
  view.router = Routed(view.router, true);
  EXPECT_EQ((*view.router)["Routes"][0]["Destination"]["NumRetries"], 3);
  EXPECT_TRUE(Planned(view).writes.empty()) << "the route to the canary is the rollout's";
  view.router = Routed(view.router, false);
  EXPECT_EQ(AsWritten(*view.router), AsWritten(*shielded));
  EXPECT_FALSE(PlanRemoval(view)->writes[0].wanted);
}

TEST(PlanShield, TakenOutDuringARolloutItLeavesTheRoutesAndTheirEndTakesTheRouter) {
  MeshView view = PlainMesh();
  view = After(view, Planned(view));
  view.router = Routed(view.router, true);
  view.router = PlanRemoval(view)->writes[0].wanted;
  ASSERT_TRUE(view.router);
  EXPECT_EQ((*view.router)["Routes"].size(), 1U);
  const auto found =
      consul::FindRoutes(*consul::ParseRouter(Dump(*view.router)), MatchOfARollout());
  EXPECT_EQ(found.ours, consul::RoutesFound::kWhole);
  EXPECT_TRUE(found.made_for_ours);
}

TEST(PlanShield, PutInDuringARolloutItStaysWhenTheRoutesGo) {
  MeshView view = PlainMesh();
  view.router = Routed(std::nullopt, true);
  auto plan = PlanShield(view, Moment::kNow);
  ASSERT_TRUE(plan);
  view = After(view, *plan);
  EXPECT_EQ((*view.router)["Routes"].size(), 2U);
  const auto found =
      consul::FindRoutes(*consul::ParseRouter(Dump(*view.router)), MatchOfARollout());
  EXPECT_EQ(found.ours, consul::RoutesFound::kWhole);
  EXPECT_FALSE(found.made_for_ours);
  view.router = Routed(view.router, false);
  EXPECT_TRUE(Planned(view).writes.empty());
}

TEST(PlanShield, PutsNoFailoverInWhileTheCanaryGetsRequestsUnlessAsked) {
  MeshView view = PlainMesh();
  (*view.splitter)["Splits"][1]["Weight"] = 5;
  const Plan plan = Planned(view);
  EXPECT_NE(plan.writes[1].not_possible.find("gives the canary 5%"), std::string::npos);
  EXPECT_EQ(plan.writes[0].not_possible + plan.writes[2].not_possible, "");
  EXPECT_EQ(PlanShield(view, Moment::kNow)->writes[1].not_possible, "");
}

TEST(PlanShield, ARouteWhoseMatchSomebodyChangedIsHisAndIsNamed) {
  MeshView view = PlainMesh();
  view.router = Parsed(R"({"Kind": "service-router", "Name": "api", "Routes": [
      {"Match": {"HTTP": {"PathPrefix": "/a"}}},
      {"Match": {"HTTP": {"PathPrefix": "/b"}}, "Destination": {"NumRetries": 9}}]})");
  view = After(view, Planned(view));
  Json& routes = (*view.router)["Routes"];
  routes[0]["Match"]["HTTP"]["PathPrefix"] = "/v2/a";
  const std::vector<std::string> named = {"route /v2/a (its Match; it has the shield's retries)"};
  ASSERT_EQ(Names(Planned(view)), std::vector<std::string>{"service-router/api"});
  EXPECT_EQ(Planned(view).writes[0].left, named);
  const Plan removal = *PlanRemoval(view);
  EXPECT_EQ(removal.writes[0].left, named);
  EXPECT_EQ((*removal.writes[0].wanted)["Routes"][0], routes[0]) << "as it is";
  EXPECT_EQ((*removal.writes[0].wanted)["Routes"][1]["Destination"],
            Parsed(R"({"NumRetries": 9})"));
  routes.erase(0);
  EXPECT_TRUE(PlanRemoval(view)->writes[0].left.empty()) << "he took it out";
}

TEST(PlanShield, WritesNothingBesideMemoryThatIsDamaged) {
  const MeshView shielded = After(PlainMesh(), Planned(PlainMesh()));
  const auto refusals = [&shielded](auto change) {
    MeshView view = shielded;
    change(view);
    const auto removal = PlanRemoval(view);
    const auto again = PlanShield(view, Moment::kNow);
    EXPECT_TRUE(removal || again || removal.error().message == again.error().message);
    return removal ? std::string() : removal.error().message;
  };
  constexpr const char* kKey = "consul-canary-shield-1";
  EXPECT_EQ(refusals([](MeshView&) {}), "");
  EXPECT_NE(refusals([](MeshView& v) { (*v.router)["Meta"][kKey] = "{"; })
                .find("service-router/api: how it was before the shield cannot be read: "
                      "consul-canary-shield-1 in its Meta is damaged"),
            std::string::npos);
  EXPECT_NE(refusals([](MeshView& v) {
              v.remembering[0]["Meta"]["consul-canary-shield-9"] = "x";
            }).find("without consul-canary-shield-"),
            std::string::npos);
  EXPECT_NE(refusals([](MeshView& v) {
              (*v.resolver)["Meta"][kKey] = R"({"edits": [{}]})";
            }).find("service-resolver/api"),
            std::string::npos);
  // Of another service's caller nothing is asked.
  EXPECT_EQ(refusals([](MeshView& v) {
              v.remembering.push_back(Parsed(R"({"Kind": "service-defaults", "Name": "shop",
                  "Meta": {"consul-canary-shield-1": "[Name=db]/"}})"));
            }),
            "");
}

TEST(PlanShield, SaysWhereThereCanBeNone) {
  const auto refusal = [](auto change) {
    MeshView view = PlainMesh();
    change(view);
    const auto plan = PlanShield(view, Moment::kNow);
    return plan ? std::string() : plan.error().message;
  };
  EXPECT_NE(refusal([](MeshView& v) { v.consul_version = "1.15.9"; }).find("from 1.16 on"),
            std::string::npos);
  EXPECT_NE(refusal([](MeshView& v) { v.protocol = "tcp"; }).find("is tcp"), std::string::npos);
  EXPECT_NE(refusal([](MeshView& v) { v.resolver.reset(); }).find("no subset \"primary\""),
            std::string::npos);
  EXPECT_NE(refusal([](MeshView& v) {
              Put(*v.resolver, "Failover/canary", Json{{"Datacenters", {"dc2"}}});
            }).find("dc2"),
            std::string::npos);
  EXPECT_EQ(refusal([](MeshView& v) { v.consul_version = "1.22.0+ent"; }), "");
  EXPECT_EQ(refusal([](MeshView& v) { v.consul_version = ""; }), "");
}

}  // namespace
}  // namespace consul_canary::shield
