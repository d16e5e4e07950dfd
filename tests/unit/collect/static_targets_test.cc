#include "exporter/collect/static_targets.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "exporter/collect/targets.h"

namespace consul_canary::collect {
namespace {

TEST(ParseStaticTargets, ReadsYamlAndJsonAlike) {
  const StaticTargets expected = {
      {"10.0.0.5:9102", {.address = "10.0.0.5:9102", .service = "web", .calls = {"api", "db"}}},
      {"[fd00::1]:19000",
       {.address = "[fd00::1]:19000",
        .admin = true,
        .service = "api",
        .subsets = {"canary"},
        .instance = "api-2"}}};
  const auto yaml = ParseStaticTargets(
      "targets:\n"
      "  - address: 10.0.0.5:9102\n"
      "    service: web\n"
      "    calls: [api, db]\n"
      "  - {address: '[fd00::1]:19000', admin: true, service: api, subsets: [canary], instance: "
      "api-2}\n");
  ASSERT_TRUE(yaml) << yaml.error().message;
  EXPECT_EQ(*yaml, expected);
  const auto json = ParseStaticTargets(
      R"({"targets":[{"address":"10.0.0.5:9102","service":"web","calls":["api","db"]},)"
      R"({"address":"[fd00::1]:19000","admin":true,"service":"api","subsets":["canary"],)"
      R"("instance":"api-2"}]})");
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(*json, expected);
}

TEST(ParseStaticTargets, TakesAnEmptyListForNoTargets) {
  EXPECT_EQ(ParseStaticTargets("targets: []").value(), StaticTargets());
}

struct Refused {
  std::string text;
  std::string complaint;
};

class Refusal : public ::testing::TestWithParam<Refused> {};

TEST_P(Refusal, NamesLineAndField) {
  const auto targets = ParseStaticTargets(GetParam().text);
  ASSERT_FALSE(targets);
  EXPECT_EQ(targets.error().message, GetParam().complaint);
  EXPECT_EQ(targets.error().code, base::ErrorCode::kInvalid);
}

INSTANTIATE_TEST_SUITE_P(
    Table, Refusal,
    ::testing::Values(
        Refused{"", "line 1: the file is empty; at least targets is needed"},
        Refused{"hosts: []",
                "line 1: hosts: is not a known key; known here: targets\n"
                "line 1: targets: is missing; it has no default"},
        Refused{"targets:\n  - address: 10.0.0.5:9102\n",
                "line 2: targets[0].service: is missing; it has no default"},
        Refused{"targets:\n  - address: 0.0.0.0:9102\n    service: web\n",
                "line 2: targets[0].address: must be an address host:port (a host that can be "
                "asked, port 1 to 65535), is 0.0.0.0:9102"},
        Refused{"targets:\n  - address: a:1\n    service: web\n    calls: api\n",
                "line 4: targets[0].calls: must be a list, is api"},
        Refused{"targets:\n  - address: a:1\n    service: web\n    calls: [a/b]\n",
                "line 4: targets[0].calls[0]: must be a service's name (1 to 63 letters, digits, - "
                "and _), is a/b"},
        Refused{"targets:\n  - address: a:1\n    service: web\n    admin: 'yes'\n",
                "line 4: targets[0].admin: must be true or false, is \"yes\""},
        Refused{"targets:\n  - {address: a:1, service: web}\n  - {address: a:1, service: api}\n",
                "line 3: targets[1].address: is that of targets[0] too"},
        Refused{"targets: []\n---\ntargets: []\n", "line 3: only one document is expected here"}));

TEST(ReadStaticTargets, NamesTheFileThatCannotBeRead) {
  const auto targets = ReadStaticTargets("/nowhere/targets.yaml");
  ASSERT_FALSE(targets);
  EXPECT_EQ(targets.error().message,
            "/nowhere/targets.yaml: cannot be read: No such file or directory");
}

TEST(ReadStaticTargets, NamesTheFileInEachComplaint) {
  const std::string path = ::testing::TempDir() + "static_targets_test.yaml";
  std::ofstream(path) << "targets:\n  - {address: a:1}\n  - {service: web}\n";
  const auto targets = ReadStaticTargets(path);
  ASSERT_FALSE(targets);
  EXPECT_EQ(targets.error().message,
            path + ": line 2: targets[0].service: is missing; it has no default\n" + path +
                ": line 3: targets[1].address: is missing; it has no default");
}

// The example in docs/discovery.md is what a user copies.
TEST(ParseStaticTargets, ReadsTheExampleOfTheDocumentation) {
  std::ifstream stream(CONSUL_CANARY_DISCOVERY_PAGE);
  const std::string page{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  const std::string fence = "```yaml\ntargets:";
  const std::size_t begin = page.find(fence);
  ASSERT_NE(begin, std::string::npos);
  const std::size_t end = page.find("\n```", begin + fence.size());
  const std::size_t text = begin + std::string("```yaml\n").size();
  const auto targets = ParseStaticTargets(page.substr(text, end - text));
  ASSERT_TRUE(targets) << targets.error().message;
  EXPECT_EQ(targets->size(), 3U);
}

TEST(ToInstance, LooksLikeASidecarThatConsulLists) {
  const consul::Instance instance = ToInstance({.address = "10.0.0.5:19000",
                                                .admin = true,
                                                .service = "api",
                                                .calls = {"db"},
                                                .instance = "api-2"});
  EXPECT_TRUE(instance.passing);
  EXPECT_EQ(instance.destination_service, "api");
  EXPECT_EQ(instance.destination_id, "api-2");
  EXPECT_EQ(instance.upstreams, std::vector<std::string>{"db"});
  EXPECT_EQ(TargetOf(instance), (ScrapeTarget{"10.0.0.5:19000", true}));
}

}  // namespace
}  // namespace consul_canary::collect
