// Routes to a subset that are put into a router and taken out of it.
#include "exporter/consul/match_routes.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace consul_canary::consul {
namespace {

using Json = nlohmann::ordered_json;

const MatchRoutes kWanted{
    .subset = "canary",
    .conditions = {{"x-canary", "Exact", "always"}, {"cookie", "Regex", "(.*; *)?canary=1(;.*)?"}}};

Router Read(const Json& entry) {
  auto router = ParseRouter(entry.dump());
  EXPECT_TRUE(router) << router.error().message;
  return router ? *router : Router{};
}

Router Read(const base::Result<std::string>& json) {
  EXPECT_TRUE(json) << json.error().message;
  return Read(json ? Json::parse(*json) : Json());
}

Json Owners() {
  return Json::parse(R"({"Kind": "service-router", "Name": "api", "Meta": {"owner": "a"},
    "Routes": [
      {"Match": {"HTTP": {"PathPrefix": "/admin"}}, "Destination": {"Service": "admin"}},
      {"Match": {"HTTP": {"PathPrefix": "/"}}, "Destination":
        {"Service": "api", "ServiceSubset": "", "NumRetries": 3, "RequestTimeout": "10s"}}],
    "ModifyIndex": 7})");
}

Json RoutesIn(const Router& router) { return Json::parse(router.raw)["Routes"]; }

TEST(WithRoutes, PutsThemBeforeAllOthersAndKeepsEverythingElse) {
  const Router router = Read(WithRoutes(Read(Owners()), kWanted, {{"consul-canary-epoch", "3"}}));
  const Json routes = RoutesIn(router);
  ASSERT_EQ(routes.size(), 4U);
  EXPECT_EQ(routes[0]["Match"].dump(),
            R"({"HTTP":{"Header":[{"Name":"x-canary","Exact":"always"}]}})");
  EXPECT_EQ(routes[1]["Match"]["HTTP"]["Header"][0]["Regex"], "(.*; *)?canary=1(;.*)?");
  EXPECT_EQ(routes[2], Owners()["Routes"][0]);
  EXPECT_EQ(routes[3], Owners()["Routes"][1]);
  EXPECT_EQ(router.meta.at("owner"), "a");
  EXPECT_EQ(router.meta.at("consul-canary-epoch"), "3");
}

TEST(WithRoutes, TreatsTheRequestsAsTheRouteForAllWould) {
  const Json own = RoutesIn(Read(WithRoutes(Read(Owners()), kWanted, {})))[0]["Destination"];
  EXPECT_EQ(own.dump(), R"({"ServiceSubset":"canary","NumRetries":3,"RequestTimeout":"10s"})");
  Json elsewhere = Owners();
  elsewhere["Routes"][1]["Destination"]["Service"] = "web";
  const Json bare = RoutesIn(Read(WithRoutes(Read(elsewhere), kWanted, {})))[0]["Destination"];
  EXPECT_EQ(bare.dump(), R"({"ServiceSubset":"canary"})") << "what leads elsewhere is no model";
}

TEST(WithoutRoutes, LeavesTheRouterAsItWas) {
  const Router with = Read(WithRoutes(Read(Owners()), kWanted, {}));
  const Router without = Read(WithoutRoutes(with, kWanted, {}));
  EXPECT_EQ(Json::parse(without.raw), Owners());
  EXPECT_EQ(FindRoutes(without, kWanted), (FoundRoutes{.others_by_path = 1}));
}

TEST(WithoutRoutes, TakesOutThoseOfAFormerMatchToo) {
  const Router with = Read(WithRoutes(Read(Owners()), kWanted, {}));
  EXPECT_EQ(RoutesIn(Read(WithoutRoutes(with, {"canary", {}}, {}))), Owners()["Routes"]);
}

TEST(WithRoutes, PutsThemInOnceAndBringsThemToTheHeadAgain) {
  const Router with = Read(WithRoutes(Read(Owners()), kWanted, {}));
  EXPECT_EQ(RoutesIn(Read(WithRoutes(with, kWanted, {}))), RoutesIn(with));
  Json moved = Json::parse(with.raw);
  std::swap(moved["Routes"][0], moved["Routes"][2]);
  EXPECT_EQ(RoutesIn(Read(WithRoutes(Read(moved), kWanted, {}))), RoutesIn(with));
}

TEST(FindRoutes, TellsWhatBecameOfThem) {
  const Router with = Read(WithRoutes(Read(Owners()), kWanted, {}));
  EXPECT_EQ(FindRoutes(Read(Owners()), kWanted).ours, RoutesFound::kNone);
  EXPECT_EQ(FindRoutes(with, kWanted).ours, RoutesFound::kWhole);
  Json edited = Json::parse(with.raw);
  edited["Routes"][0]["Destination"]["NumRetries"] = 9;
  edited["Routes"].push_back(Owners()["Routes"][0]);
  EXPECT_EQ(FindRoutes(Read(edited), kWanted).ours, RoutesFound::kWhole)
      << "what is added to them or after them leaves them whole";
  Json before = Json::parse(with.raw);
  before["Routes"].insert(before["Routes"].begin(), Owners()["Routes"][0]);
  EXPECT_EQ(FindRoutes(Read(before), kWanted).ours, RoutesFound::kOther);
  Json fewer = Json::parse(with.raw);
  fewer["Routes"].erase(0);
  EXPECT_EQ(FindRoutes(Read(fewer), kWanted).ours, RoutesFound::kOther);
  Json narrower = Json::parse(with.raw);
  narrower["Routes"][0]["Match"]["HTTP"]["PathPrefix"] = "/a";
  EXPECT_EQ(FindRoutes(Read(narrower), kWanted).ours, RoutesFound::kOther);
}

TEST(FindRoutes, NamesARouteOfSomebodyElsesThatSaysTheSame) {
  Json entry = Json::parse(Read(WithRoutes(Read(Owners()), kWanted, {})).raw);
  EXPECT_EQ(FindRoutes(Read(entry), kWanted).unnamed, "");
  entry["Meta"].erase(kRoutesMetaKey);
  EXPECT_EQ(FindRoutes(Read(entry), kWanted).unnamed, "x-canary Exact always");
}

TEST(RouterForRoutes, IsOneThatGoesWithThem) {
  const Router made = Read(Json::parse(RouterForRoutes("api", {{"consul-canary-epoch", "3"}})));
  EXPECT_TRUE(FindRoutes(made, kWanted).made_for_ours);
  const Router filled = Read(WithRoutes(made, kWanted, {}));
  EXPECT_TRUE(FindRoutes(filled, kWanted).made_for_ours);
  EXPECT_EQ(FindRoutes(filled, kWanted).ours, RoutesFound::kWhole);
  EXPECT_FALSE(FindRoutes(Read(Owners()), kWanted).made_for_ours);
  Json adopted = Json::parse(filled.raw);
  adopted["Routes"].push_back(Owners()["Routes"][0]);
  EXPECT_FALSE(FindRoutes(Read(adopted), kWanted).made_for_ours) << "it is somebody's by now";
  const Router left = Read(WithoutRoutes(Read(adopted), kWanted, {}));
  EXPECT_FALSE(left.meta.contains(kMadeMetaKey));
}

}  // namespace
}  // namespace consul_canary::consul
