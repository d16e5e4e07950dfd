// Which entries a service lacks for its first rollout, and when the version is not guessed.
#include "analyzer/api/first_contact.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "analyzer/api/query.h"

namespace consul_canary::api {
namespace {

using nlohmann::json;

rollout::Spec Spec() {
  rollout::Spec spec;
  spec.service = "api";
  return spec;
}

consul::Instance Of(const std::string& version, bool passing = true) {
  consul::Instance instance{.passing = passing};
  if (!version.empty()) instance.meta["version"] = version;
  return instance;
}

TEST(PlanFirstContact, ThePrimarySubsetHoldsTheOneVersionAndGetsEverything) {
  const auto contact =
      PlanFirstContact(Spec(), false, false, {Of("v1"), Of("v1"), Of("v0", false)});
  EXPECT_EQ(contact.obstacle, "");
  ASSERT_TRUE(contact.resolver);
  EXPECT_EQ(json::parse(*contact.resolver),
            (json{{"Kind", "service-resolver"},
                  {"Name", "api"},
                  {"DefaultSubset", "primary"},
                  {"Subsets",
                   {{"primary", {{"Filter", "Service.Meta.version == \"v1\""}}},
                    {"canary", {{"Filter", "Service.Meta.version == \"consul-canary-none\""}}}}}}));
  ASSERT_TRUE(contact.splitter);
  EXPECT_EQ(json::parse(*contact.splitter)["Splits"],
            json::parse(R"([{"Weight": 100, "ServiceSubset": "primary"},
                            {"Weight": 0, "ServiceSubset": "canary"}])"));
}

TEST(PlanFirstContact, WhatIsThereIsNotPlanned) {
  const auto splitter_alone = PlanFirstContact(Spec(), true, false, {});
  EXPECT_FALSE(splitter_alone.resolver);
  EXPECT_TRUE(splitter_alone.splitter);
  const auto resolver_alone = PlanFirstContact(Spec(), false, true, {Of("v1")});
  EXPECT_TRUE(resolver_alone.resolver);
  EXPECT_FALSE(resolver_alone.splitter);
  EXPECT_EQ(PlanFirstContact(Spec(), true, true, {}), FirstContact{});
}

TEST(PlanFirstContact, AVersionThatIsNotCertainIsAnObstacle) {
  struct Case {
    std::vector<consul::Instance> instances;
    const char* says;
  };
  for (const Case& test :
       {Case{{}, "no instance of \"api\" passes its checks"},
        Case{{Of("v1", false)}, "no instance of \"api\" passes its checks"},
        Case{{Of("v1"), Of("")}, "passing instances of \"api\" have no Meta \"version\""},
        Case{{Of("v2"), Of("v1")},
             "carry versions v1, v2, and which one is the primary's is not"}}) {
    const auto contact = PlanFirstContact(Spec(), false, false, test.instances);
    EXPECT_NE(contact.obstacle.find(test.says), std::string::npos) << contact.obstacle;
    EXPECT_FALSE(contact.resolver);
    EXPECT_FALSE(contact.splitter);
  }
}

TEST(ReadDecisionRange, TakesLimitAndSince) {
  const auto range = ReadDecisionRange({{"limit", "10"}, {"since", "2026-11-24T17:00:00Z"}});
  ASSERT_TRUE(range);
  EXPECT_EQ(range->limit, 10U);
  EXPECT_EQ(range->since_wall_seconds, 1795539600);
  for (const Query& query : {Query{{"limit", "0"}}, Query{{"limit", "-1"}}, Query{{"limit", "3x"}},
                             Query{{"since", "today"}}, Query{{"until", "x"}}}) {
    EXPECT_FALSE(ReadDecisionRange(query)) << query.begin()->first;
  }
}

}  // namespace
}  // namespace consul_canary::api
