#include "exporter/consul/intentions.h"

#include <gtest/gtest.h>

#include "exporter/consul/checks.h"

namespace consul_canary::consul {
namespace {

std::string One(const std::string& fields) {
  return R"([{"SourceName":"web","DestinationName":"api",)" + fields + "}]";
}

TEST(ParseIntentions, ReadsWhoMayCallWhom) {
  // As Consul 1.16.3 answers.
  const auto intentions = ParseIntentions(
      R"([{"SourceNS":"default","SourceName":"web","DestinationNS":"default",
           "DestinationName":"api","SourceType":"consul","Action":"allow","Precedence":9},
          {"SourceNS":"default","SourceName":"*","DestinationNS":"default","DestinationName":"*",
           "SourceType":"consul","Action":"deny","Precedence":5}])",
      "", "");
  ASSERT_TRUE(intentions) << intentions.error().message;
  EXPECT_EQ(*intentions, (std::vector<Intention>{{"web", "api", true}, {"*", "*", false}}));
}

struct Row {
  std::string fields;
  std::size_t count;
};

class Elsewhere : public ::testing::TestWithParam<Row> {};

TEST_P(Elsewhere, IntentionsOfOtherPlacesAreLeftOut) {
  const auto intentions = ParseIntentions(One(GetParam().fields), "team", "");
  ASSERT_TRUE(intentions);
  EXPECT_EQ(intentions->size(), GetParam().count);
}

INSTANTIATE_TEST_SUITE_P(
    Table, Elsewhere,
    ::testing::Values(
        Row{R"("SourceNS":"team","DestinationNS":"team")", 1},
        Row{R"("SourceNS":"*","DestinationNS":"team")", 1},
        Row{R"("SourceNS":"default","DestinationNS":"team")", 0},
        Row{R"("SourceNS":"team","DestinationNS":"default")", 0},
        Row{R"("SourceNS":"team","DestinationNS":"team","SourcePartition":"default")", 1},
        Row{R"("SourceNS":"team","DestinationNS":"team","SourcePartition":"west")", 0},
        Row{R"("SourceNS":"team","DestinationNS":"team","SourcePeer":"other")", 0}));

TEST(ParseIntentions, TakesPermissionsThatAllowSomethingForPermission) {
  const auto allows = [](const std::string& fields) {
    return ParseIntentions(One(fields), "", "")->at(0).allows;
  };
  EXPECT_TRUE(allows(R"("Permissions":[{"Action":"deny"},{"Action":"allow"}])"));
  EXPECT_FALSE(allows(R"("Permissions":[{"Action":"deny"}])"));
  EXPECT_FALSE(allows(R"("Action":"deny")"));
}

TEST(ParseIntentions, RefusesWhatIsNoListOfIntentions) {
  EXPECT_EQ(ParseIntentions("null", "", "")->size(), 0U);
  EXPECT_FALSE(ParseIntentions("{}", "", ""));
  EXPECT_FALSE(ParseIntentions("<html>", "", ""));
  EXPECT_EQ(ParseIntentions("[3]", "", "").error().message, "intention 0 lacks a name");
}

TEST(PermittedBy, TellsNamesFromWildcards) {
  const PermittedCalls calls = PermittedBy(
      {{"web", "api", true}, {"web", "db", false}, {"*", "open", true}, {"admin", "*", true}},
      /*by_default=*/false);
  EXPECT_EQ(calls.exact, (std::map<std::string, std::set<std::string>>{{"web", {"api"}}}));
  EXPECT_EQ(calls.open_destinations, std::set<std::string>{"open"});
  EXPECT_EQ(calls.open_sources, std::set<std::string>{"admin"});
  EXPECT_FALSE(calls.open);
}

TEST(PermittedBy, PutsAnIntentionForAllInPlaceOfTheDefault) {
  EXPECT_TRUE(PermittedBy({}, true).open);
  EXPECT_FALSE(PermittedBy({{"*", "*", false}}, true).open);
  EXPECT_TRUE(PermittedBy({{"*", "*", true}}, false).open);
}

TEST(ParseAllowedByDefault, ReadsOneTruthValue) {
  EXPECT_TRUE(ParseAllowedByDefault(R"({"Allowed":true})").value());
  EXPECT_FALSE(ParseAllowedByDefault(R"({"Allowed":false})").value());
  EXPECT_FALSE(ParseAllowedByDefault(R"({"Allowed":"yes"})"));
  EXPECT_FALSE(ParseAllowedByDefault("[]"));
}

TEST(ParseFailingChecks, ReadsNodeServiceAndCheck) {
  const auto checks = ParseFailingChecks(
      R"([{"Node":"n9","CheckID":"s9-pc","Status":"critical","ServiceID":"s9-1-sidecar-proxy",
           "ServiceName":"s9-sidecar-proxy"},
          {"Node":"n8","CheckID":"serfHealth","ServiceID":"","ServiceName":""}])");
  ASSERT_TRUE(checks) << checks.error().message;
  EXPECT_EQ(*checks,
            (std::set<FailingCheck>{{"n9", "s9-1-sidecar-proxy", "s9-pc", "s9-sidecar-proxy"},
                                    {"n8", "", "serfHealth", ""}}));
  EXPECT_FALSE(ParseFailingChecks("{}"));
  EXPECT_EQ(ParseFailingChecks("[{}]").error().message, "check 0 has no Node");
}

}  // namespace
}  // namespace consul_canary::consul
