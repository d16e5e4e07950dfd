#include "analyzer/shield/entry.h"

#include <gtest/gtest.h>

namespace consul_canary::shield {
namespace {

TEST(Entry, FieldsAreFoundPutAndTakenOutByPath) {
  Json entry = Json::parse(R"({"Name": "web", "UpstreamConfig": {"Overrides": [{"Name": "db"}]}})");
  const std::string path = "UpstreamConfig/Overrides/[Name=api]/PassiveHealthCheck/MaxFailures";
  EXPECT_FALSE(Find(entry, path));
  Put(entry, path, 1);
  EXPECT_EQ(Find(entry, path), Json(1));
  EXPECT_EQ(entry["UpstreamConfig"]["Overrides"][0]["Name"], "db");
  TakeOut(entry, path);
  EXPECT_EQ(entry["UpstreamConfig"]["Overrides"].dump(), R"([{"Name":"db"},{"Name":"api"}])");
  TakeOutIfBare(entry, "UpstreamConfig/Overrides/[Name=api]");
  EXPECT_EQ(entry["UpstreamConfig"]["Overrides"].dump(), R"([{"Name":"db"}])");
}

TEST(Entry, WhatIsEmptiedOnTheWayGoes) {
  Json entry = Json::parse(R"({"Name": "api", "Failover": {"canary": {"ServiceSubset": "x"}}})");
  TakeOut(entry, "Failover/canary");
  EXPECT_EQ(entry.dump(), R"({"Name":"api"})");
}

TEST(Entry, ElementThatSaysMoreThanItsNameStays) {
  Json entry = Json::parse(R"({"Overrides": [{"Name": "api", "Limits": {"MaxConnections": 3}}]})");
  const Json before = entry;
  TakeOutIfBare(entry, "Overrides/[Name=api]");
  EXPECT_EQ(entry, before);
}

// As Consul keeps them: one name may stand there several times.
TEST(Entry, WhatLiesElsewhereUnderTheSameNameIsAnotherService) {
  Json entry = Json::parse(R"({"Namespace": "team", "Overrides": [
      {"Name": "api", "Peer": "east"}, {"Name": "api", "Namespace": "other"},
      {"Name": "api", "Partition": "p2"}]})");
  const Json before = entry;
  EXPECT_FALSE(Find(entry, "Overrides/[Name=api]"));
  Put(entry, "Overrides/[Name=api]/MaxFailures", 1);
  ASSERT_EQ(entry["Overrides"].size(), 4U);
  EXPECT_EQ(entry["Overrides"][3].dump(), R"({"Name":"api","MaxFailures":1})");
  entry["Overrides"][3]["Namespace"] = "team";
  entry["Overrides"][3]["Partition"] = "default";
  TakeOut(entry, "Overrides/[Name=api]/MaxFailures");
  TakeOutIfBare(entry, "Overrides/[Name=api]");
  EXPECT_EQ(entry, before);
}

TEST(Entry, RoutesAreToldApartByWhatTheyMatch) {
  const Json routes = Json::parse(R"([{}, {"Match": {"HTTP": {"PathPrefix": "/"}}},
      {"Match": {"HTTP": {"PathPrefix": "/a", "Methods": null}}},
      {"Match": {"HTTP": {"PathPrefix": "/a"}}}, {"Match": {"HTTP": {"PathPrefix": "/b"}}}])");
  EXPECT_EQ(RouteMark(routes[0]), "all");
  EXPECT_EQ(RouteMark(routes[1]), "all");
  EXPECT_EQ(RouteMark(routes[2]), RouteMark(routes[3]));
  EXPECT_NE(RouteMark(routes[3]), RouteMark(routes[4]));
}

TEST(Entry, TheSameInOtherWords) {
  const struct {
    const char* a;
    const char* b;
    bool same;
  } kRows[] = {{R"({"x": 1})", R"({"y": "", "x": 1.0})", true},
               {R"("3s")", "3000000000", true},
               {R"("1500ms")", "1500000000", true},
               {R"("1m30s")", R"("90s")", true},
               {R"("3s")", "3", false},
               {"null", "{}", true},
               {"[500, 503]", "[503, 500]", false},
               {R"("v1")", R"("v2")", false}};
  for (const auto& row : kRows) {
    EXPECT_EQ(SaySame(Json::parse(row.a), Json::parse(row.b)), row.same) << row.a << " " << row.b;
  }
}

TEST(Entry, AnExtensionIsTheShieldsOnlyWithNothingElseInIt) {
  Json entry = Json::parse(R"({"EnvoyExtensions": [
    {"Name": "builtin/lua"},
    {"Name": "builtin/property-override", "Arguments": {"Patches": [
      {"ResourceFilter": {"Services": [{"Name": "api"}]}, "Path": "/http2_protocol_options"}]}},
    {"Name": "builtin/property-override", "Arguments": {"Patches": [
      {"ResourceFilter": {"Services": [{"Name": "api"}]},
       "Path": "/common_lb_config/update_merge_window/nanos"}]}}]})");
  EXPECT_EQ(Find(entry, "EnvoyExtensions/[extension=api]"), entry["EnvoyExtensions"][2]);
  EXPECT_FALSE(Find(entry, "EnvoyExtensions/[extension=web]"));
  TakeOut(entry, "EnvoyExtensions/[extension=api]");
  EXPECT_EQ(entry["EnvoyExtensions"].size(), 2U);
}

}  // namespace
}  // namespace consul_canary::shield
