#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "exporter/consul/client.h"

namespace consul_canary::consul {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// As Consul 1.16.3 answers /v1/health/connect/api?merge-central-config, shortened.
constexpr std::string_view kProxy = R"([{
  "Node": {"ID": "n-id", "Node": "vm", "Address": "10.0.0.1", "Datacenter": "dc1"},
  "Service": {
    "Kind": "connect-proxy", "ID": "web-1-sidecar-proxy", "Service": "web-sidecar-proxy",
    "Tags": ["a", "b"], "Address": "", "Meta": {"version": "v2"}, "Port": 21000,
    "Proxy": {
      "DestinationServiceName": "web", "DestinationServiceID": "web-1",
      "Config": {"protocol": "http", "envoy_prometheus_bind_addr": "127.0.0.1:9102"},
      "Upstreams": [
        {"DestinationType": "service", "DestinationName": "api", "LocalBindPort": 5000},
        {"DestinationType": "prepared_query", "DestinationName": "geo"},
        {"DestinationName": "*", "CentrallyConfigured": true}
      ]},
    "CreateIndex": 27, "ModifyIndex": 30},
  "Checks": [{"Status": "passing"}, {"Status": "warning"}]}])";

std::string ProxyWith(const std::string& upstream) {
  return R"([{"Node":{"Node":"n1","Datacenter":"dc1"},"Service":{"ID":"p","Service":"web-proxy",)"
         R"("Namespace":"team","Proxy":{"Mode":"transparent","Upstreams":[)"
         R"({"DestinationName":"api")" +
         upstream + "}]}}}]";
}

TEST(ParseInstances, LeavesOutUpstreamsThatLieElsewhere) {
  const auto upstreams = [](const std::string& fields) {
    return ParseInstances(ProxyWith(fields))->at(0).upstreams.size();
  };
  EXPECT_EQ(upstreams(R"(,"DestinationNamespace":"team")"), 1U);
  EXPECT_EQ(upstreams(R"(,"Datacenter":"dc1","DestinationPartition":"default")"), 1U);
  EXPECT_EQ(upstreams(R"(,"DestinationNamespace":"default")"), 0U);
  EXPECT_EQ(upstreams(R"(,"DestinationPartition":"west")"), 0U);
  EXPECT_EQ(upstreams(R"(,"DestinationPeer":"other")"), 0U);
  EXPECT_EQ(upstreams(R"(,"Datacenter":"dc2")"), 0U);
}

// With PassiveHealthCheck as 1.16.3 merges it from service-defaults, and as a registration has it.
TEST(ParseInstances, TellsWhoseInstancesAProxyEjectsAndWhen) {
  const auto ejects_after = [](const std::string& check) {
    const auto proxies = ParseInstances(
        ProxyWith(R"(,"DestinationNamespace":"team","Config":{"passive_health_check":)" + check +
                  R"(,"protocol":"http"})"));
    if (!proxies || !proxies->at(0).ejecting_upstreams.contains("api")) return 0;
    return proxies->at(0).ejecting_upstreams.at("api");
  };
  EXPECT_EQ(ejects_after(R"({"BaseEjectionTime":3000000000,"EnforcingConsecutive5xx":100,)"
                         R"("Interval":1000000000,"MaxEjectionPercent":100,"MaxFailures":2})"),
            2);
  EXPECT_EQ(ejects_after(R"({"max_failures":5,"interval":"1s"})"), 5);
  EXPECT_EQ(ejects_after(R"({"MaxFailures":1,"EnforcingConsecutive5xx":0})"), 0);
  EXPECT_EQ(ejects_after(R"({"max_failures":1,"enforcing_consecutive_5xx":0})"), 0);
  EXPECT_EQ(ejects_after(R"({"MaxFailures":0})"), 0);
  EXPECT_EQ(ejects_after(R"({"Interval":1000000000})"), 0);
  EXPECT_EQ(ejects_after("null"), 0);
  EXPECT_EQ(ejects_after("[]"), 0);
}

TEST(ParseInstances, TellsTransparentProxies) {
  EXPECT_TRUE(ParseInstances(ProxyWith(""))->at(0).transparent);
  EXPECT_FALSE(ParseInstances(R"([{"Service":{"ID":"p","Service":"x"}}])")->at(0).transparent);
}

TEST(ParseInstances, ReadsAProxy) {
  const auto instances = ParseInstances(kProxy);
  ASSERT_TRUE(instances.has_value()) << instances.error().message;
  EXPECT_THAT(*instances, ElementsAre(Instance{.node = "vm",
                                               .node_address = "10.0.0.1",
                                               .id = "web-1-sidecar-proxy",
                                               .service = "web-sidecar-proxy",
                                               .kind = "connect-proxy",
                                               .address = "10.0.0.1",
                                               .port = 21000,
                                               .tags = {"a", "b"},
                                               .meta = {{"version", "v2"}},
                                               .create_index = 27,
                                               .passing = true,
                                               .destination_service = "web",
                                               .destination_id = "web-1",
                                               .upstreams = {"api"},
                                               .prometheus_bind_addr = "127.0.0.1:9102"}));
}

TEST(ParseInstances, PrefersTheServicesOwnAddress) {
  const auto instances = ParseInstances(
      R"([{"Node":{"Address":"10.0.0.1"},"Service":{"ID":"a","Service":"a","Address":"10.0.0.2"}}])");
  ASSERT_TRUE(instances.has_value());
  EXPECT_EQ(instances->front().address, "10.0.0.2");
}

TEST(ParseInstances, CallsAnInstancePassingWhenNoCheckFails) {
  const struct {
    const char* checks;
    bool passing;
  } kRows[] = {
      {"null", true},
      {"[]", true},
      {R"([{"Status":"passing"}])", true},
      {R"([{"Status":"warning"}])", true},
      {R"([{"Status":"passing"},{"Status":"critical"}])", false},
      {R"([{"Status":"maintenance"}])", false},
      {R"([{}])", false},
  };
  for (const auto& row : kRows) {
    const auto instances = ParseInstances(R"([{"Service":{"ID":"a","Service":"a"},"Checks":)" +
                                          std::string(row.checks) + "}]");
    ASSERT_TRUE(instances.has_value()) << row.checks;
    EXPECT_EQ(instances->front().passing, row.passing) << row.checks;
  }
}

TEST(ParseInstances, TakesFieldsOfTheWrongTypeForAbsent) {
  const auto instances = ParseInstances(R"([{"Node":7,"Service":{"ID":"a","Service":"a","Port":-1,
      "Tags":null,"Meta":{"n":7},"Proxy":{"Upstreams":{},"Config":[]}}}])");
  ASSERT_TRUE(instances.has_value()) << instances.error().message;
  EXPECT_EQ(instances->front(), (Instance{.id = "a", .service = "a", .passing = true}));
}

TEST(ParseInstances, RefusesWhatHoldsNoInstances) {
  for (const char* json : {"", "{}", "7", "[7]", "[{}]", R"([{"Service":{"ID":"a"}}])",
                           R"([{"Service":{"Service":"a"}}])"}) {
    EXPECT_FALSE(ParseInstances(json).has_value()) << json;
  }
  EXPECT_THAT(*ParseInstances("[]"), IsEmpty());
  EXPECT_THAT(*ParseInstances("null"), IsEmpty());
}

TEST(ParseServiceNames, GivesTheNames) {
  EXPECT_THAT(*ParseServiceNames(R"({"web-sidecar-proxy":[],"api-sidecar-proxy":["x"]})"),
              ElementsAre("web-sidecar-proxy", "api-sidecar-proxy"));
  EXPECT_THAT(*ParseServiceNames("{}"), IsEmpty());
  EXPECT_FALSE(ParseServiceNames("[]").has_value());
}

TEST(ParseKvPairs, DecodesValues) {
  const struct {
    const char* base64;
    std::string value;
  } kRows[] = {
      {"null", ""},        {R"("")", ""},        {R"("YQ==")", "a"},
      {R"("YWI=")", "ab"}, {R"("YWJj")", "abc"}, {R"("AP+A")", std::string("\x00\xFF\x80", 3)},
  };
  for (const auto& row : kRows) {
    const auto pairs = ParseKvPairs(R"([{"Key":"k","Value":)" + std::string(row.base64) + "}]");
    ASSERT_TRUE(pairs.has_value()) << row.base64;
    EXPECT_EQ(pairs->front().value, row.value) << row.base64;
  }
}

TEST(ParseKvPairs, RefusesWhatIsNoPair) {
  for (const char* json :
       {"", "{}", "[7]", R"([{"Value":"YQ=="}])", R"([{"Key":"k","Value":"a*b"}])"}) {
    EXPECT_FALSE(ParseKvPairs(json).has_value()) << json;
  }
}

TEST(ParseKeyList, GivesTheKeys) {
  EXPECT_THAT(*ParseKeyList(R"(["a/b","a/c"])"), ElementsAre("a/b", "a/c"));
  EXPECT_FALSE(ParseKeyList("[7]").has_value());
}

}  // namespace
}  // namespace consul_canary::consul
