#include "exporter/consul/config_entries.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

namespace consul_canary::consul {
namespace {

using base::ErrorCode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;
using Json = nlohmann::ordered_json;

// As Consul 1.16.3 answers it.
constexpr std::string_view kSplitter = R"({
    "Kind": "service-splitter",
    "Name": "api",
    "Splits": [
        {"Weight": 99.5, "ServiceSubset": "v1", "RequestHeaders": {"Add": {"x": "y"}}},
        {"Weight": 0.5, "ServiceSubset": "v2"}
    ],
    "Meta": {"owner": "team"},
    "CreateIndex": 20,
    "ModifyIndex": 24
})";

Splitter Parsed(std::string_view json) {
  auto splitter = ParseSplitter(json);
  EXPECT_TRUE(splitter.has_value()) << splitter.error().message;
  return splitter.value_or(Splitter{});
}

std::string SplitterOf(std::string_view splits) {
  return R"({"Kind":"service-splitter","Name":"api","Splits":)" + std::string(splits) + "}";
}

TEST(ParseSplitter, ReadsWhatConsulAnswers) {
  const Splitter splitter = Parsed(kSplitter);
  EXPECT_EQ(splitter.name, "api");
  EXPECT_THAT(splitter.splits, ElementsAre(Split{.weight = 99.5, .service_subset = "v1"},
                                           Split{.weight = 0.5, .service_subset = "v2"}));
  EXPECT_THAT(splitter.meta, ElementsAre(Pair("owner", "team")));
  EXPECT_EQ(splitter.modify_index, 24u);
  EXPECT_EQ(Json::parse(splitter.raw), Json::parse(kSplitter));
}

TEST(ParseSplitter, RefusesWhatIsNone) {
  const struct {
    std::string json;
    const char* complaint;
  } kRows[] = {
      {"", "service-splitter: not a JSON object"},
      {"null", "service-splitter: not a JSON object"},
      {"[]", "service-splitter: not a JSON object"},
      {"{\"Name\":\"api\"", "service-splitter: not a JSON object"},
      {"{}", "service-splitter: Name is missing"},
      {R"({"Name":7})", "service-splitter: Name is missing"},
      {R"({"Kind":"service-router","Name":"api"})", "service-splitter/api: Kind is service-router"},
      {SplitterOf("7"), "service-splitter/api: Splits is no array"},
      {SplitterOf("{\"a\":1}"), "service-splitter/api: Splits is no array"},
      {SplitterOf("[7]"), "service-splitter/api: Splits[0] is no object"},
      {SplitterOf(R"([{},{"Weight":"90"}])"),
       "service-splitter/api: Splits[1].Weight is no number"},
      {SplitterOf(R"([{"Weight":1e300}])"),
       "service-splitter/api: Splits[0].Weight is out of range"},
  };
  for (const auto& row : kRows) {
    const auto splitter = ParseSplitter(row.json);
    ASSERT_FALSE(splitter.has_value()) << row.json;
    EXPECT_EQ(splitter.error(), (base::Error{ErrorCode::kInvalid, row.complaint}));
  }
}

TEST(ParseSplitter, TakesMissingAndNullFields) {
  EXPECT_THAT(Parsed(R"({"Name":"api"})").splits, IsEmpty());
  EXPECT_THAT(Parsed(SplitterOf("null")).splits, IsEmpty());
  EXPECT_THAT(Parsed(SplitterOf(R"([{"Weight":null,"ServiceSubset":null}])")).splits,
              ElementsAre(Split{}));
}

TEST(ParseSplitter, RoundsWeightsAsConsulDoes) {
  const Splitter splitter = Parsed(SplitterOf(R"([{"Weight":33.329998},{"Weight":66.67}])"));
  EXPECT_EQ(splitter.splits[0].weight, 33.33);
  EXPECT_EQ(splitter.splits[1].weight, 66.67);
}

TEST(ParseSplitters, ReadsAList) {
  const auto splitters =
      ParseSplitters(R"([{"Name":"a","ModifyIndex":1},{"Name":"b","ModifyIndex":2}])");
  ASSERT_TRUE(splitters.has_value());
  ASSERT_EQ(splitters->size(), 2u);
  EXPECT_EQ((*splitters)[1].name, "b");
  EXPECT_EQ((*splitters)[1].raw, R"({"Name":"b","ModifyIndex":2})");
}

TEST(ParseSplitters, ReadsAnEmptyList) {
  for (const char* json : {"[]", "null"}) {
    const auto splitters = ParseSplitters(json);
    ASSERT_TRUE(splitters.has_value()) << json;
    EXPECT_THAT(*splitters, IsEmpty());
  }
}

TEST(ParseSplitters, NamesTheEntryThatIsWrong) {
  const auto splitters = ParseSplitters(R"([{"Name":"a"},{"Name":"b","Splits":[{"Weight":"x"}]}])");
  ASSERT_FALSE(splitters.has_value());
  EXPECT_EQ(splitters.error().message, "service-splitter/b: Splits[0].Weight is no number");
  EXPECT_FALSE(ParseSplitters("{}").has_value());
  EXPECT_FALSE(ParseSplitters("[7]").has_value());
}

TEST(WeightOf, CountsTheSplittersOwnSubsetOnly) {
  const Splitter splitter = Parsed(SplitterOf(R"([
      {"Weight":60,"ServiceSubset":"v1"},
      {"Weight":10,"Service":"api","ServiceSubset":"v2"},
      {"Weight":20,"Service":"other","ServiceSubset":"v2"},
      {"Weight":10,"Namespace":"team","ServiceSubset":"v2"}])"));
  EXPECT_EQ(splitter.WeightOf("v1"), 60);
  EXPECT_EQ(splitter.WeightOf("v2"), 10);
  EXPECT_EQ(splitter.WeightOf("v3"), 0);
}

TEST(WeightOf, TakesTheSplittersOwnNamespaceForItsOwn) {
  const Splitter splitter = Parsed(R"({"Name":"api","Namespace":"team","Splits":[
      {"Weight":100,"Namespace":"team","ServiceSubset":"v1"}]})");
  EXPECT_EQ(splitter.WeightOf("v1"), 100);
}

TEST(ParseResolver, ReadsSubsetsAndFailover) {
  const auto resolver = ParseResolver(R"({"Kind":"service-resolver","Name":"api","Subsets":{
      "v1":{"Filter":"Service.Meta.version == v1"},"all":{},"passing":{"OnlyPassing":true}},
      "Failover":{"v2":{"ServiceSubset":"v1"}},"ModifyIndex":19})");
  ASSERT_TRUE(resolver.has_value()) << resolver.error().message;
  EXPECT_THAT(resolver->subset_filters,
              UnorderedElementsAre(Pair("v1", "Service.Meta.version == v1"), Pair("all", ""),
                                   Pair("passing", "")));
  EXPECT_TRUE(resolver->has_failover);
  EXPECT_EQ(resolver->modify_index, 19u);
}

std::optional<std::string> FailoverOf(std::string_view subset, const std::string& failover) {
  const auto resolver =
      ParseResolver(R"({"Name":"api","Namespace":"default","Failover":)" + failover + "}");
  EXPECT_TRUE(resolver.has_value() && resolver->has_failover) << failover;
  return resolver ? resolver->FailoverOf(subset) : std::nullopt;
}

TEST(ParseResolver, TellsWhetherRequestsChooseTheInstance) {
  const auto hashes = [](const std::string& policy) {
    const auto resolver = ParseResolver(
        R"({"Kind":"service-resolver","Name":"api","LoadBalancer":{"Policy":")" + policy + "\"}}");
    return resolver.has_value() && resolver->hashes;
  };
  EXPECT_TRUE(hashes("ring_hash"));
  EXPECT_TRUE(hashes("maglev"));
  EXPECT_FALSE(hashes("least_request"));
}

TEST(FailoverOf, IsAnotherSubsetOfTheService) {
  for (const char* failover :
       {R"({"canary":{"ServiceSubset":"primary"}})",
        R"({"canary":{"Service":"api","ServiceSubset":"primary","Namespace":"default"}})",
        R"({"canary":{"Targets":[{"ServiceSubset":"primary"}]}})",
        R"({"canary":{"ServiceSubset":"primary","Datacenters":[]}})",
        R"({"*":{"ServiceSubset":"primary"}})",
        R"({"*":{"ServiceSubset":"third"},"canary":{"ServiceSubset":"primary"}})"}) {
    EXPECT_EQ(FailoverOf("canary", failover), "primary") << failover;
  }
}

TEST(FailoverOf, IsNobodyWhereItLeadsElsewhereOrToItself) {
  for (const char* failover :
       {R"({"canary":{"Service":"other","ServiceSubset":"primary"}})",
        R"({"canary":{"Service":"api"}})", R"({"canary":{"Datacenters":["dc2"]}})",
        R"({"canary":{"ServiceSubset":"primary","Datacenters":["dc2"]}})",
        R"({"canary":{"ServiceSubset":"primary","Namespace":"team"}})",
        R"({"canary":{"ServiceSubset":"primary","SamenessGroup":"all"}})",
        R"({"canary":{"Targets":[{"ServiceSubset":"primary","Peer":"other"}]}})",
        R"({"canary":{"Targets":[{"ServiceSubset":"primary","Datacenter":"dc2"}]}})",
        R"({"canary":{"Targets":[{"ServiceSubset":"primary"},{"Datacenter":"dc2"}]}})",
        R"({"canary":{"ServiceSubset":"canary"}})", R"({"primary":{"ServiceSubset":"canary"}})",
        R"({"canary":7})", R"({"canary":{"Targets":"primary"}})", R"(["canary"])"}) {
    EXPECT_EQ(FailoverOf("canary", failover), std::nullopt) << failover;
  }
}

TEST(ParseResolver, SeesNoFailoverWhereThereIsNone) {
  for (const char* json : {R"({"Name":"api"})", R"({"Name":"api","Failover":null})",
                           R"({"Name":"api","Failover":{}})"}) {
    const auto resolver = ParseResolver(json);
    ASSERT_TRUE(resolver.has_value()) << json;
    EXPECT_FALSE(resolver->has_failover) << json;
  }
}

RetryRule OnlyRule(std::string_view destination) {
  const auto router =
      ParseRouter(R"({"Name":"api","Routes":[{"Destination":)" + std::string(destination) + "}]}");
  EXPECT_TRUE(router.has_value());
  EXPECT_EQ(router->retries.size(), 1u) << destination;
  return router->retries.empty() ? RetryRule{} : router->retries.front();
}

TEST(ParseRouter, LeavesOutRoutesThatRetryNothing) {
  const auto router = ParseRouter(R"({"Name":"api","ModifyIndex":3,"Routes":[
      {"Match":{"HTTP":{"PathPrefix":"/a"}},"Destination":{"Service":"api"}},
      {"Match":{"HTTP":{"PathPrefix":"/b"}}},
      {"Destination":null},
      {"Destination":{"NumRetries":0,"RetryOn":[],"RetryOnStatusCodes":null}}]})");
  ASSERT_TRUE(router.has_value()) << router.error().message;
  EXPECT_THAT(router->retries, IsEmpty());
  EXPECT_EQ(router->modify_index, 3u);
}

TEST(ParseRouter, ReadsWhatARouteRetries) {
  const struct {
    const char* destination;
    RetryRule expected;
  } kRows[] = {
      {R"({"NumRetries":3})", {{}, false, 3}},
      {R"({"NumRetries":3,"RetryOnStatusCodes":[503,500,503]})", {{500, 503}, false, 3}},
      {R"({"RetryOnConnectFailure":true})", {{}, true}},
      {R"({"RetryOn":["gateway-error"]})", {{502, 503, 504}, true}},
      {R"({"RetryOn":["connect-failure"]})", {{}, true}},
      {R"({"RetryOn":["reset"]})", {{}, true}},
      {R"({"RetryOn":["retriable-4xx"]})", {{409}, false}},
      {R"({"RetryOn":["refused-stream"]})", {{}, false}},
      {R"({"RetryOn":["unavailable","cancelled","internal"]})", {{}, false, 1, {14, 1, 13}}},
      {R"({"RetryOn":["deadline-exceeded","resource-exhausted"]})", {{}, false, 1, {4, 8}}},
      {R"({"RetryOn":["gateway-error"],"RetryOnStatusCodes":[429,503]})",
       {{429, 502, 503, 504}, true}},
  };
  for (const auto& row : kRows)
    EXPECT_EQ(OnlyRule(row.destination), row.expected) << row.destination;
}

TEST(ParseRouter, ReadsTheRoutesThatGetRequests) {
  const auto router = ParseRouter(R"({"Name": "api", "Namespace": "team", "Routes": [
      {"Match": {"HTTP": {"PathPrefix": "/a"}}, "Destination": {"NumRetries": 2}},
      {"Match": {"HTTP": {"Methods": null, "PathPrefix": "/a"}}},
      {"Match": {"HTTP": {"PathRegex": "/b.*", "Methods": ["POST", "GET"]}},
       "Destination": {"Service": "api", "Namespace": "default"}},
      {"Match": {"HTTP": {"QueryParam": [{"Name": "q", "Present": true}]}},
       "Destination": {"Namespace": "team", "ServiceSubset": "canary"}},
      {"Match": {"HTTP": {"PathPrefix": "/"}}},
      {"Match": {"HTTP": {"PathPrefix": "/never"}}}]})");
  ASSERT_TRUE(router.has_value()) << router.error().message;
  const std::vector<Route>& routes = router->routes;
  ASSERT_EQ(routes.size(), 4u);
  EXPECT_EQ(routes[0], (Route{.name = "route /a",
                              .index = 0,
                              .leads_home = true,
                              .retries = RetryRule{.status_codes = {}, .retries = 2}}));
  EXPECT_EQ(routes[1].name, "route ~ /b.*, Methods POST GET");
  EXPECT_FALSE(routes[1].leads_home) << "another namespace";
  EXPECT_EQ(routes[1].not_idempotent, std::vector<std::string>{"POST"});
  EXPECT_FALSE(routes[1].must_not_repeat());
  EXPECT_EQ(routes[2].name, R"(route QueryParam [{"Name":"q","Present":true}])");
  EXPECT_EQ(routes[2].subset, "canary");
  EXPECT_FALSE(routes[2].meets_splitter());
  EXPECT_EQ(routes[3], (Route{.name = "route for all", .index = 4, .leads_home = true}));
  EXPECT_EQ(ParseRouter(R"({"Name": "api"})")->routes,
            (std::vector<Route>{{.name = "default route", .leads_home = true}}));
}

TEST(ParseRouter, TakesFiveHundredToFiveNinetyNineFor5xx) {
  std::vector<int> all(100);
  std::iota(all.begin(), all.end(), 500);
  EXPECT_EQ(OnlyRule(R"({"RetryOn":["5xx"]})"), (RetryRule{all, true}));
}

TEST(WithWeights, ChangesWeightsAndMetaAndNothingElse) {
  const auto changed = WithWeights(Parsed(kSplitter), "v1", "v2", 5, {{"epoch", "7"}});
  ASSERT_TRUE(changed.has_value()) << changed.error().message;
  Json expected = Json::parse(kSplitter);
  expected["Splits"][0]["Weight"] = 95.0;
  expected["Splits"][1]["Weight"] = 5.0;
  expected["Meta"]["epoch"] = "7";
  EXPECT_EQ(Json::parse(*changed), expected);
}

TEST(WithWeights, AddsASplitThatIsMissing) {
  const auto changed = WithWeights(Parsed(SplitterOf(R"([{"Weight":100,"ServiceSubset":"v1"}])")),
                                   "v1", "v2", 0.5, {});
  ASSERT_TRUE(changed.has_value()) << changed.error().message;
  EXPECT_EQ(
      Json::parse(*changed)["Splits"],
      Json::parse(R"([{"Weight":99.5,"ServiceSubset":"v1"},{"Weight":0.5,"ServiceSubset":"v2"}])"));
}

TEST(WithWeights, AddsNoMetaWhereNoneIsWanted) {
  const auto changed = WithWeights(Parsed(R"({"Name":"api"})"), "v1", "v2", 0, {});
  ASSERT_TRUE(changed.has_value()) << changed.error().message;
  EXPECT_FALSE(Json::parse(*changed).contains("Meta"));
}

TEST(WithWeights, LeavesOtherSplitsTheirShare) {
  const auto changed = WithWeights(
      Parsed(SplitterOf(R"([{"Weight":60,"ServiceSubset":"v1"},{"Weight":10,"ServiceSubset":"v2"},
                            {"Weight":30,"Service":"legacy"}])")),
      "v1", "v2", 33.33, {});
  ASSERT_TRUE(changed.has_value()) << changed.error().message;
  const Json splits = Json::parse(*changed)["Splits"];
  EXPECT_EQ(splits[0]["Weight"], 36.67);
  EXPECT_EQ(splits[1]["Weight"], 33.33);
  EXPECT_EQ(splits[2]["Weight"], 30);
}

TEST(WithWeights, WritesEveryLegalWeightWithTwoDecimalsAtMost) {
  const Splitter splitter = Parsed(kSplitter);
  for (int hundredths = 0; hundredths <= 10000; ++hundredths) {
    const auto changed = WithWeights(splitter, "v1", "v2", hundredths / 100.0, {});
    ASSERT_TRUE(changed.has_value()) << changed.error().message;
    const Json splits = Json::parse(*changed)["Splits"];
    // Consul's own check: the sum of the weights as float32, scaled and rounded.
    long sum = 0;
    for (const Json& split : splits) {
      const std::string text = split["Weight"].dump();
      const std::size_t point = text.find('.');
      ASSERT_TRUE(point == std::string::npos || text.size() - point <= 3) << text;
      sum += std::lround(split["Weight"].get<float>() * 100.0f);
    }
    ASSERT_EQ(sum, 10000) << hundredths;
  }
}

TEST(WithWeights, RefusesWeightsThatCannotBe) {
  const Splitter three = Parsed(
      SplitterOf(R"([{"Weight":60,"ServiceSubset":"v1"},{"Weight":40,"Service":"legacy"}])"));
  const Splitter negative = Parsed(
      SplitterOf(R"([{"Weight":110,"ServiceSubset":"v1"},{"Weight":-10,"Service":"legacy"}])"));
  const Splitter twice = Parsed(
      SplitterOf(R"([{"Weight":50,"ServiceSubset":"v1"},{"Weight":50,"ServiceSubset":"v1"}])"));
  const struct {
    Splitter splitter;
    double canary_percent;
  } kRows[] = {
      {three, 60.01},    {three, -0.01}, {three, 100.01}, {three, NAN},
      {three, INFINITY}, {negative, 5},  {twice, 5},      {{.name = "api"}, 5},
  };
  for (const auto& row : kRows) {
    const auto changed = WithWeights(row.splitter, "v1", "v2", row.canary_percent, {});
    ASSERT_FALSE(changed.has_value()) << *changed;
    EXPECT_EQ(changed.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(changed.error().message, HasSubstr("service-splitter/api"));
  }
  EXPECT_TRUE(WithWeights(three, "v1", "v2", 60, {}).has_value());
  EXPECT_FALSE(WithWeights(three, "v1", "v1", 10, {}).has_value());
}

TEST(WithSubsetFilter, ChangesTheFilterAndNothingElse) {
  const auto resolver = ParseResolver(
      R"({"Name":"api","Subsets":{"v1":{"Filter":"a","OnlyPassing":true},"v2":{}},"Extra":[1]})");
  ASSERT_TRUE(resolver.has_value());
  EXPECT_EQ(
      WithSubsetFilter(*resolver, "v1", "Service.Meta.version == \"v2\""),
      R"({"Name":"api","Subsets":{"v1":{"Filter":"Service.Meta.version == \"v2\"","OnlyPassing":true},"v2":{}},"Extra":[1]})");
  EXPECT_EQ(
      WithSubsetFilter(*resolver, "v2", "b"),
      R"({"Name":"api","Subsets":{"v1":{"Filter":"a","OnlyPassing":true},"v2":{"Filter":"b"}},"Extra":[1]})");
}

TEST(WithSubsetFilter, RefusesASubsetThatDoesNotExist) {
  const auto resolver = ParseResolver(R"({"Name":"api"})");
  ASSERT_TRUE(resolver.has_value());
  const auto changed = WithSubsetFilter(*resolver, "v1", "a");
  ASSERT_FALSE(changed.has_value());
  EXPECT_EQ(changed.error().message, "service-resolver/api: there is no subset v1");
}

}  // namespace
}  // namespace consul_canary::consul
