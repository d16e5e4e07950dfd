#include "exporter/collect/targets.h"

#include <gtest/gtest.h>

namespace consul_canary::collect {
namespace {

consul::Instance Proxy(std::string bind_addr, std::string admin = "",
                       std::string address = "10.0.0.5") {
  consul::Instance proxy;
  proxy.node = "n1";
  proxy.id = "web-sidecar-proxy";
  proxy.address = std::move(address);
  proxy.prometheus_bind_addr = std::move(bind_addr);
  if (!admin.empty()) proxy.meta["canary-admin"] = std::move(admin);
  return proxy;
}

struct Row {
  std::string bind_addr;
  std::string admin;
  std::optional<ScrapeTarget> target;
};

class Targets : public ::testing::TestWithParam<Row> {};

TEST_P(Targets, FollowFromWhatConsulKnows) {
  EXPECT_EQ(TargetOf(Proxy(GetParam().bind_addr, GetParam().admin)), GetParam().target);
}

INSTANTIATE_TEST_SUITE_P(
    Table, Targets,
    ::testing::Values(Row{"", "", std::nullopt},
                      Row{"0.0.0.0:9102", "", ScrapeTarget{"10.0.0.5:9102", false}},
                      Row{"[::]:9102", "", ScrapeTarget{"10.0.0.5:9102", false}},
                      Row{":::9102", "", ScrapeTarget{"10.0.0.5:9102", false}},
                      Row{":9102", "", ScrapeTarget{"10.0.0.5:9102", false}},
                      Row{"127.0.0.1:9102", "", ScrapeTarget{"127.0.0.1:9102", false}},
                      Row{"[fd00::1]:9102", "", ScrapeTarget{"[fd00::1]:9102", false}},
                      Row{"node-3.internal:9102", "", ScrapeTarget{"node-3.internal:9102", false}},
                      Row{"0.0.0.0:9102", "10.0.0.9:19000", ScrapeTarget{"10.0.0.9:19000", true}},
                      Row{"", "0.0.0.0:19000", ScrapeTarget{"10.0.0.5:19000", true}},
                      Row{"0.0.0.0:9102", "nonsense", ScrapeTarget{"10.0.0.5:9102", false}},
                      Row{"9102", "", std::nullopt}, Row{"0.0.0.0:", "", std::nullopt},
                      Row{"0.0.0.0:0", "", std::nullopt}, Row{"0.0.0.0:70000", "", std::nullopt},
                      Row{"0.0.0.0:91a", "", std::nullopt}, Row{"user@host:9102", "", std::nullopt},
                      Row{"host/path:9102", "", std::nullopt},
                      Row{"host?x:9102", "", std::nullopt}));

TEST(TargetOf, WritesAnIpv6InstanceAddressInBrackets) {
  EXPECT_EQ(TargetOf(Proxy("0.0.0.0:9102", "", "fd00::7")),
            (ScrapeTarget{"[fd00::7]:9102", false}));
}

TEST(TargetOf, HasNoAddressWhereTheInstanceHasNone) {
  EXPECT_EQ(TargetOf(Proxy("0.0.0.0:9102", "", "")), std::nullopt);
}

TEST(ProxyId, NamesNodeAndService) { EXPECT_EQ(ProxyId(Proxy("")), "n1/web-sidecar-proxy"); }

TEST(PageUrl, AsksForUsedSeriesThroughAnEncodedFilter) {
  const std::string url = PageUrl({"10.0.0.5:9102", false});
  EXPECT_TRUE(url.starts_with("http://10.0.0.5:9102/metrics?usedonly&filter=%5Ecluster"));
  EXPECT_EQ(url.find_first_of("^$|()[]+ "), std::string::npos);
  EXPECT_TRUE(
      PageUrl({"10.0.0.5:19000", true}).starts_with("http://10.0.0.5:19000/stats/prometheus?"));
}

}  // namespace
}  // namespace consul_canary::collect
