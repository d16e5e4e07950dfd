// What a mesh must have before a specification is accepted; each refusal names the field and what
// would be right.
#include "analyzer/api/mesh_check.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace consul_canary::api {
namespace {

struct Entries {
  rollout::Spec spec;
  std::optional<consul::Splitter> splitter;
  std::optional<consul::Resolver> resolver;
  std::string protocol = "http";
};

Entries Good() {
  Entries entries;
  entries.spec.service = "api";
  entries.spec.steps = {{.weight_percent = 10}, {.weight_percent = 50}};
  entries.splitter = consul::Splitter{.name = "api",
                                      .splits = {{.weight = 100, .service_subset = "primary"},
                                                 {.weight = 0, .service_subset = "canary"}}};
  entries.resolver =
      consul::Resolver{.name = "api", .subset_filters = {{"primary", "a"}, {"canary", "b"}}};
  return entries;
}

std::vector<MeshProblem> Check(const Entries& entries) {
  return CheckEntries(entries.spec, entries.splitter, entries.resolver, entries.protocol);
}

TEST(CheckEntries, AcceptsAMeshThatIsReady) {
  for (const char* protocol : {"http", "http2", "grpc"}) {
    Entries entries = Good();
    entries.protocol = protocol;
    EXPECT_TRUE(Check(entries).empty()) << protocol;
  }
}

TEST(WarningsOf, SaysWhereFailuresOfGrpcCannotBeSeen) {
  const rollout::Spec spec = Good().spec;
  EXPECT_TRUE(WarningsOf(spec, "http").empty());
  EXPECT_TRUE(WarningsOf(spec, "grpc").empty());
  EXPECT_EQ(WarningsOf(spec, "http2"),
            (std::vector<MeshProblem>{
                {"service",
                 "the protocol of \"api\" is http2, by which a gRPC call that fails is a 200 and "
                 "counts as none of the failures: if it serves gRPC, set Protocol = \"grpc\" in "
                 "its service-defaults"}}));
}

TEST(CheckEntries, NamesTheFieldAndWhatWouldBeRight) {
  struct Case {
    void (*spoil)(Entries&);
    const char* field;
    const char* says;
  };
  const std::vector<Case> cases{
      {[](Entries& e) { e.protocol = "tcp"; }, "service",
       "the protocol of \"api\" is tcp; a splitter needs http, http2 or grpc: set Protocol in its "
       "service-defaults or in proxy-defaults"},
      {[](Entries& e) { e.splitter.reset(); }, "service",
       "Consul has no service-splitter \"api\"; write one: Kind = \"service-splitter\", Name = "
       "\"api\", Splits = [ { Weight = 100, ServiceSubset = \"primary\" }, { Weight = 0, "
       "ServiceSubset = \"canary\" } ]"},
      {[](Entries& e) { e.resolver.reset(); }, "service",
       "Consul has no service-resolver \"api\"; write one: Kind = \"service-resolver\", Name = "
       "\"api\", DefaultSubset = \"primary\", Subsets = { primary = { Filter = "
       "\"Service.Meta.version == \\\"<the present version>\\\"\" }, canary = { Filter = "
       "\"Service.Meta.version == \\\"none\\\"\" } }"},
      {[](Entries& e) { e.spec.canary_subset = "next"; }, "subsets.canary",
       "the service-resolver \"api\" has no subset \"next\" (it has: canary, primary); name one of "
       "its subsets, or add it there"},
      {[](Entries& e) { e.resolver->subset_filters.clear(), e.spec.canary_subset = "primary"; },
       "subsets.primary",
       "the service-resolver \"api\" has no subset \"primary\" (it has: none); name one of its "
       "subsets, or add it there"},
      {[](Entries& e) { e.resolver->has_failover = true; }, "service",
       "the service-resolver \"api\" has Failover: the callers' counters then mix the subsets; "
       "remove it"},
      {[](Entries& e) {
         e.splitter->splits = {{.weight = 40, .service_subset = "primary"},
                               {.weight = 60, .service_subset = "beta"}};
       },
       "strategy.steps",
       "the last step gives the canary 50%, and other splits of the service-splitter hold 60%: the "
       "weights cannot sum to 100; at most 40 is left"},
      {[](Entries& e) {  // another service's subset of the same name
         e.splitter->splits = {{.weight = 40, .service_subset = "primary"},
                               {.weight = 60, .service = "old", .service_subset = "canary"}};
       },
       "strategy.steps",
       "the last step gives the canary 50%, and other splits of the service-splitter hold 60%: the "
       "weights cannot sum to 100; at most 40 is left"},
  };
  for (const Case& test : cases) {
    Entries entries = Good();
    test.spoil(entries);
    const auto problems = Check(entries);
    ASSERT_FALSE(problems.empty()) << test.says;
    EXPECT_EQ(problems.front(), (MeshProblem{test.field, test.says}));
  }
}

TEST(CheckEntries, ReportsAllProblemsTogether) {
  Entries entries = Good();
  entries.protocol = "tcp";
  entries.splitter.reset();
  entries.resolver->subset_filters = {{"v1", ""}};
  const auto problems = Check(entries);
  ASSERT_EQ(problems.size(), 4U);
  EXPECT_EQ(problems[1].field, "subsets.primary");
  EXPECT_EQ(problems[2].field, "subsets.canary");
}

TEST(CheckEntries, TakesAnOwnNameInTheSplitsForItself) {
  Entries entries = Good();
  for (consul::Split& split : entries.splitter->splits) split.service = "api";
  EXPECT_TRUE(Check(entries).empty());
}

TEST(CheckEntries, WeightsThatSumToAHundredDoWhateverTheirDecimals) {
  for (int hundredths = 1; hundredths < 10000; ++hundredths) {
    Entries entries = Good();
    entries.spec.steps = {{.weight_percent = hundredths / 100.0}};
    entries.splitter->splits = {{.weight = 0, .service_subset = "primary"},
                                {.weight = (9999 - hundredths) / 100.0, .service_subset = "b1"},
                                {.weight = 0.01, .service_subset = "b2"}};
    EXPECT_TRUE(Check(entries).empty()) << hundredths;
  }
}

TEST(CheckEntries, RefusesWhatKubernetesOwnsUnlessItIsNotToBeWritten) {
  Entries entries = Good();
  entries.splitter->meta = {{"consul.hashicorp.com/source-datacenter", "dc1"}};
  EXPECT_EQ(
      Check(entries),
      (std::vector<MeshProblem>{
          {"service",
           "the service-splitter \"api\" is owned by Kubernetes: the ServiceSplitter custom "
           "resource "
           "\"api\" in the cluster of datacenter \"dc1\" would write over whatever is put there, "
           "and no writer for entries owned by Kubernetes is built yet. Set `act: false`, which "
           "judges and writes nothing, or delete the custom resource and write the entry with "
           "`consul config write`"}}));
  entries.spec.act = false;
  EXPECT_TRUE(Check(entries).empty());

  entries = Good();
  entries.resolver->meta = {{"consul.hashicorp.com/source-datacenter", "dc1"}};
  const auto problems = Check(entries);
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_NE(problems[0].problem.find("ServiceResolver custom resource \"api\""), std::string::npos);
  EXPECT_NE(problems[0].problem.find("or `promote: external`"), std::string::npos);
  entries.spec.promote = rollout::PromoteMode::kExternal;
  EXPECT_TRUE(Check(entries).empty());
}

}  // namespace
}  // namespace consul_canary::api
