#include "exporter/envoy/applied_weights.h"

#include <gtest/gtest.h>

#include "tests/unit/envoy/recorded.h"

namespace consul_canary::envoy {
namespace {

using Shares = std::map<std::string, double>;

std::string Dump(const std::string& name, const std::string& routes) {
  return R"({"configs":[{"route_config":{"name":")" + name +
         R"(","virtual_hosts":[{"domains":["*"],"routes":[)" + routes + "]}]}}]}";
}

std::string Route(const std::string& match, const std::string& action) {
  return R"({"match":{)" + match + R"(},"route":{)" + action + "}}";
}

std::string Cluster(const std::string& name) { return R"("cluster":")" + name + R"(")"; }

constexpr const char* kAnything = R"("prefix":"/")";

Shares SharesOf(const std::string& dump, const std::string& service,
                const consul::Place& place = {}) {
  const auto applied = ReadAppliedWeights(dump, place);
  if (!applied) {
    ADD_FAILURE() << applied.error().message;
    return {};
  }
  const auto it = applied->find(service);
  return it == applied->end() ? Shares() : it->second;
}

TEST(ReadAppliedWeights, ReadsARecordedSplit) {
  EXPECT_EQ(SharesOf(Recorded("routes_90_10.json"), "api"),
            (Shares{{"canary", 0.1}, {"primary", 0.9}}));
}

// Envoy keeps both clusters at 100/0: nothing that is called "no weights".
TEST(ReadAppliedWeights, ReadsARecordedSplitWithoutCanary) {
  EXPECT_EQ(SharesOf(Recorded("routes_100_0.json"), "api"),
            (Shares{{"canary", 0.0}, {"primary", 1.0}}));
}

struct Named {
  std::string cluster;
  std::string subset;
  std::string partition{};
};

class SingleClusters : public ::testing::TestWithParam<Named> {};

TEST_P(SingleClusters, GetTheWholeShare) {
  EXPECT_EQ(SharesOf(Dump("api", Route(kAnything, Cluster(GetParam().cluster))), "api",
                     consul::Place{"", GetParam().partition}),
            (Shares{{GetParam().subset, 1.0}}));
}

INSTANTIATE_TEST_SUITE_P(
    Table, SingleClusters,
    ::testing::Values(Named{"api.default.dc1.internal.1-2.consul", ""},
                      Named{"canary.api.default.dc1.internal.1-2.consul", "canary"},
                      Named{"canary.api.default.dc1.internal-v1.1-2.consul", "canary"},
                      Named{"api.default.part.dc1.internal-v1.1-2.consul", "", "part"},
                      Named{"canary.api.default.part.dc1.internal-v1.1-2.consul", "canary", "part"},
                      Named{"api.api.default.dc1.internal.1-2.consul", "api"},
                      Named{"ab12~canary.api.default.dc1.internal.1-2.consul", "canary"}));

TEST(ReadAppliedWeights, TakesTheLastCatchAllOfARouter) {
  const std::string header = R"("prefix":"/","headers":[{"name":"x-canary"}])";
  const std::string routes =
      Route(kAnything, Cluster("primary.api.default.dc1.internal.x.consul")) + "," +
      Route(kAnything, Cluster("canary.api.default.dc1.internal.x.consul")) + "," +
      Route(R"("prefix":"/admin")", Cluster("primary.api.default.dc1.internal.x.consul")) + "," +
      Route(header, Cluster("primary.api.default.dc1.internal.x.consul"));
  EXPECT_EQ(SharesOf(Dump("api", routes), "api"), (Shares{{"canary", 1.0}}));
}

TEST(ReadAppliedWeights, TellsTheServicesOfAGatewaysRouteByItsVirtualHosts) {
  const auto host = [](const std::string& name, const std::string& cluster) {
    return R"({"name":")" + name + R"(","routes":[)" + Route(kAnything, Cluster(cluster)) + "]}";
  };
  const std::string dump = R"({"configs":[{"route_config":{"name":"8080","virtual_hosts":[)" +
                           host("api", "canary.api.default.dc1.internal.x.consul") + "," +
                           host("db", "db.default.dc1.internal.x.consul") + "]}}]}";
  EXPECT_EQ(SharesOf(dump, "api"), (Shares{{"canary", 1.0}}));
  EXPECT_EQ(SharesOf(dump, "db"), (Shares{{"", 1.0}}));
  EXPECT_EQ(SharesOf(dump, "8080"), Shares());
}

TEST(ReadAppliedWeights, ReadsTheServiceOfThePlaceThatIsFollowed) {
  const auto shares = [](const char* namespace_name, const char* partition) {
    const std::string of_team = Cluster("canary.api.team.part.dc1.internal-v1.1-2.consul");
    return SharesOf(Dump("team/api", Route(kAnything, of_team)), "api",
                    consul::Place{namespace_name, partition});
  };
  EXPECT_EQ(shares("team", "part"), (Shares{{"canary", 1.0}}));
  EXPECT_EQ(shares("team", ""), Shares());
  EXPECT_EQ(shares("", ""), Shares());
}

TEST(ReadAppliedWeights, LeavesOutSharesOfOtherServices) {
  const std::string action =
      R"("weighted_clusters":{"clusters":[)"
      R"({"name":"primary.api.default.dc1.internal.x.consul","weight":7500},)"
      R"({"name":"other.default.dc1.internal.x.consul","weight":2500}]})";
  EXPECT_EQ(SharesOf(Dump("api", Route(kAnything, action)), "api"), (Shares{{"primary", 0.75}}));
}

TEST(ReadAppliedWeights, SaysNothingOfARedirect) {
  EXPECT_EQ(SharesOf(Dump("api", Route(kAnything, Cluster("other.default.dc1.internal.x.consul"))),
                     "api"),
            Shares());
}

TEST(ReadAppliedWeights, ReadsNothingFromDumpsWithoutRoutes) {
  for (const char* dump :
       {"{}", "[]", "null", R"({"configs":{}})", R"({"configs":[1,null,{}]})",
        R"({"configs":[{"route_config":{"name":5}}]})",
        R"({"configs":[{"route_config":{"name":"api","virtual_hosts":[3]}}]})"}) {
    const auto applied = ReadAppliedWeights(dump);
    ASSERT_TRUE(applied) << dump;
    EXPECT_TRUE(applied->empty()) << dump;
  }
}

TEST(ReadAppliedWeights, RefusesWhatIsNoJson) {
  const auto applied = ReadAppliedWeights("upstream connect error");
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().code, base::ErrorCode::kInvalid);
}

}  // namespace
}  // namespace consul_canary::envoy
