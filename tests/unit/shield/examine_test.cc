#include "analyzer/shield/examine.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "tests/unit/shield/shield_mesh.h"

namespace consul_canary::shield {
namespace {

// "state: why" of the first finding on the part that has this state.
std::string Said(const MeshView& view, const std::string& part, State state) {
  for (const Finding& finding : Examine(view).findings) {
    if (finding.part == part && finding.state == state) return finding.what + ": " + finding.why;
  }
  return "nothing";
}

MeshView Shielded() { return After(PlainMesh(), Planned(PlainMesh())); }

constexpr const char* kCheck = "UpstreamConfig/Overrides/[Name=api]/PassiveHealthCheck";

TEST(Examine, AMeshWithoutAShieldLacksEachPartAndGetsTheEntries) {
  const Examination examination = Examine(PlainMesh());
  EXPECT_FALSE(IsWhole(examination));
  EXPECT_EQ(examination.entries.size(), 3U);
  for (const char* part :
       {"failover", "default route", "caller web: ejection", "caller web: patches"}) {
    EXPECT_NE(Said(PlainMesh(), part, State::kMissing), "nothing") << part;
  }
}

TEST(Examine, AShieldedMeshIsWholeAndItsMethodsAreNamed) {
  const Examination examination = Examine(Shielded());
  EXPECT_TRUE(IsWhole(examination));
  EXPECT_TRUE(examination.entries.empty());
  EXPECT_NE(Said(Shielded(), "route for all", State::kNote).find("POST"), std::string::npos);
}

TEST(Examine, ACallerThatCameLaterIsReported) {
  MeshView view = Shielded();
  view.callers.push_back({.name = "later"});
  EXPECT_NE(Said(view, "caller later: ejection", State::kMissing), "nothing");
  EXPECT_EQ(Examine(view).entries.size(), 1U);
}

TEST(Examine, WhatIsDangerousIsSoWhoeverWroteIt) {
  const struct {
    const char* part;
    const char* words;
    std::function<void(MeshView&)> change;
  } kRows[] = {
      {"caller web: ejection", "all that fails over to it",
       [](MeshView& v) { v.callers[0].defaults->erase("EnvoyExtensions"); }},
      {"caller web: patches", "a merge window without",
       [](MeshView& v) {
         (*v.callers[0].defaults)["EnvoyExtensions"][0]["Arguments"]["Patches"].erase(1);
       }},
      {"caller web: patches", "a panic threshold without",
       [](MeshView& v) {
         (*v.callers[0].defaults)["EnvoyExtensions"][0]["Arguments"]["Patches"].erase(0);
       }},
      {"route for all", "RetryOnConnectFailure",
       [](MeshView& v) { (*v.router)["Routes"][0]["Destination"].erase("RetryOnConnectFailure"); }},
      {"subset primary", "is empty while instances pass",
       [](MeshView& v) { v.primary_passing = 0; }},
      {"subset canary", "holds every instance",
       [](MeshView& v) { (*v.resolver)["Subsets"]["canary"]["Filter"] = ""; }},
  };
  for (const auto& row : kRows) {
    MeshView view = Shielded();
    row.change(view);
    const std::string said = Said(view, row.part, State::kDangerous);
    EXPECT_NE(said.find(row.words), std::string::npos) << row.words << " in " << said;
    EXPECT_FALSE(IsWhole(Examine(view)));
  }
}

TEST(Examine, MethodsThatARouteIsLimitedToAreLookedAt) {
  MeshView view = Shielded();
  Json& routes = (*view.router)["Routes"];
  routes.insert(routes.begin(), routes[0]);
  routes[0]["Match"] = Parsed(R"({"HTTP": {"PathPrefix": "/a", "Methods": ["GET", "PATCH"]}})");
  EXPECT_NE(Said(view, "route /a, Methods GET PATCH", State::kNote).find("retries PATCH"),
            std::string::npos);
  routes[0]["Match"]["HTTP"]["Methods"] = {"GET", "PUT"};
  EXPECT_EQ(Said(view, "route /a, Methods GET PUT", State::kNote), "nothing");
}

TEST(Examine, ARouteWithoutRetriesBesideOneWithThemIsNamedByItsMatch) {
  MeshView view = Shielded();
  Json& routes = (*view.router)["Routes"];
  routes.insert(routes.begin(), Parsed(R"({"Match": {"HTTP": {"PathPrefix": "/a",
      "Header": [{"Name": "x-a", "Present": true}]}}})"));
  EXPECT_NE(Said(view, R"(route /a, Header [{"Name":"x-a","Present":true}])", State::kMissing),
            "nothing");
  EXPECT_FALSE(IsWhole(Examine(view)));
  routes[0]["Match"] = Parsed(R"({"HTTP": {"Methods": ["POST", "PATCH"]}})");
  EXPECT_NE(Said(view, "route Methods POST PATCH", State::kNote).find("nothing is retried"),
            std::string::npos);
  EXPECT_TRUE(IsWhole(Examine(view))) << "left so on purpose";
}

TEST(Examine, APermissionThatIsMissingIsNamedWithItsRule) {
  MeshView view = Shielded();
  view.callers[0].writable = false;
  EXPECT_NE(
      Said(view, "permissions", State::kMissing).find(R"(service "web" { policy = "write" })"),
      std::string::npos);
}

TEST(Examine, AFieldThatSomebodyChangedIsNoted) {
  MeshView view = Shielded();
  const std::string path = std::string(kCheck) + "/MaxFailures";
  Put(*view.callers[0].defaults, path, 7);
  EXPECT_NE(Said(view, "service-defaults/web", State::kNote).find(path), std::string::npos);
  EXPECT_TRUE(IsWhole(Examine(view)));
}

}  // namespace
}  // namespace consul_canary::shield
