#include "analyzer/shield/render.h"

#include <gtest/gtest.h>

#include "tests/unit/shield/shield_mesh.h"

namespace consul_canary::shield {
namespace {

TEST(Render, HclOfAnEntry) {
  EXPECT_EQ(Hcl(Parsed(R"({"Kind": "service-router", "Name": "api", "Routes": [
      {"Destination": {"RetryOnStatusCodes": [500, 503], "RetryOnConnectFailure": true}}],
      "Meta": {"a.b/c": "say \"${x}\""}})")),
            R"(Kind = "service-router"
Name = "api"
Routes = [
  {
    Destination = {
      RetryOnStatusCodes = [500, 503]
      RetryOnConnectFailure = true
    }
  }
]
Meta = {
  "a.b/c" = "say \"$${x}\""
}
)");
}

TEST(Render, CustomResourceOfConsulK8s) {
  Json entry = Parsed(R"({"Kind": "service-resolver", "Name": "api", "CreateIndex": 3,
      "Meta": {"consul-canary-shield-1": "{}"}, "DefaultSubset": "primary",
      "Subsets": {"Primary": {"Filter": "x", "OnlyPassing": true}}})");
  EXPECT_EQ(CustomResource(entry).dump(),
            R"({"apiVersion":"consul.hashicorp.com/v1alpha1","kind":"ServiceResolver",)"
            R"("metadata":{"name":"api"},"spec":{"defaultSubset":"primary",)"
            R"("subsets":{"Primary":{"filter":"x","onlyPassing":true}}}})");
  const Json defaults = CustomResource(*Planned(PlainMesh()).writes[0].wanted);
  EXPECT_EQ(defaults["spec"]["upstreamConfig"]["overrides"][0]["passiveHealthCheck"]["interval"],
            "1s");
  EXPECT_EQ(defaults["spec"]["envoyExtensions"][0]["arguments"]["ProxyType"], "connect-proxy");
  const Json router = CustomResource(*Planned(PlainMesh()).writes[2].wanted);
  EXPECT_EQ(router["spec"]["routes"][0]["match"]["http"]["pathPrefix"], "/");
}

TEST(Render, TheDifferenceSaysWhatComesGoesAndChanges) {
  const Json stored = Parsed(R"({"Kind": "k", "Name": "n", "A": 1})");
  const Write write = Merge(stored, "k", "n", {{"A", 2}, {"B", "x"}});
  EXPECT_EQ(Difference(write), (std::vector<std::string>{"~ A = 2 (is 1)", "+ B = \"x\""}));
  EXPECT_EQ(Headline(write), "k/n: changes");
  EXPECT_EQ(Difference(Restore(*write.wanted, "")),
            (std::vector<std::string>{"- B (is \"x\")", "~ A = 1 (is 2)"}));
}

TEST(Render, WhatWasRememberedIsPrintedSoThatNobodyWritesOverIt) {
  MeshView view = PlainMesh();
  view = After(view, Planned(view));
  TakeOut(*view.router, "Routes/[route=all]/Destination/NumRetries");
  const Plan plan = Planned(view);
  ASSERT_EQ(plan.writes.size(), 1U);
  EXPECT_EQ(MemoryOf(Printed(plan.writes[0])), MemoryOf(*view.router));
}

TEST(Render, NothingThatConsulAddsIsPrinted) {
  MeshView view = PlainMesh();
  const std::string text = PlanInHcl(*WholeShield(view));
  EXPECT_EQ(text.find("ModifyIndex"), std::string::npos);
  EXPECT_EQ(text.find("consul-canary-shield"), std::string::npos);
  EXPECT_NE(text.find("# service-resolver/api: changes\n#   + Failover/canary = "),
            std::string::npos)
      << text;
}

}  // namespace
}  // namespace consul_canary::shield
