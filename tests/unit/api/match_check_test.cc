// What the service-router says to `strategy.match`.
#include "analyzer/api/match_check.h"

#include <gtest/gtest.h>

#include <string>

namespace consul_canary::api {
namespace {

consul::Router Router(const std::string& routes) {
  auto router =
      consul::ParseRouter(R"({"Kind": "service-router", "Name": "api", "Routes": )" + routes + "}");
  EXPECT_TRUE(router) << router.error().message;
  return router ? *router : consul::Router{};
}

rollout::Spec Spec() {
  rollout::Spec spec;
  spec.service = "api";
  spec.steps = {{.weight_percent = 0}};
  spec.match = {{.header = "x-canary", .value = "always"}};
  return spec;
}

TEST(CheckMatch, RefusesARouteOfTheOwnersThatSaysTheSame) {
  MeshCheck check;
  CheckMatch(Spec(),
             Router(R"([{"Match": {"HTTP": {"Header": [{"Name": "X-Canary", "Exact": "always"}]}},
                         "Destination": {"ServiceSubset": "canary"}}])"),
             check);
  EXPECT_EQ(check.problems,
            (std::vector<MeshProblem>{
                {"strategy.match",
                 "the service-router \"api\" has a route of its own from x-canary Exact always to "
                 "subset \"canary\": the rollout puts that route in and takes it out again; take "
                 "yours out"}}));
}

TEST(CheckMatch, WarnsOfRoutesThatMatchedRequestsWillNotMeet) {
  MeshCheck check;
  CheckMatch(Spec(),
             Router(R"([{"Match": {"HTTP": {"PathPrefix": "/admin"}}}, {"Destination": {}}])"),
             check);
  EXPECT_TRUE(check.problems.empty());
  ASSERT_EQ(check.warnings.size(), 1U);
  EXPECT_EQ(check.warnings.front().problem,
            "1 route(s) of the service-router \"api\" are for some requests alone; those of them "
            "that match go to the canary subset instead, whatever their path");
}

TEST(CheckMatch, HasNothingToSayWithoutRouterOrMatch) {
  MeshCheck check;
  CheckMatch(Spec(), std::nullopt, check);
  rollout::Spec plain = Spec();
  plain.match.clear();
  CheckMatch(plain, Router(R"([{"Match": {"HTTP": {"PathPrefix": "/admin"}}}])"), check);
  EXPECT_TRUE(check.problems.empty());
  EXPECT_TRUE(check.warnings.empty());
}

}  // namespace
}  // namespace consul_canary::api
