// JSON as YAML: what stays plain, what is quoted, how it nests.
#include "analyzer/cli/yaml.h"

#include <gtest/gtest.h>

namespace consul_canary::cli {
namespace {

TEST(YamlOf, NestsInBlockStyleAndKeepsTheOrderOfKeys) {
  EXPECT_EQ(
      YamlOf(R"({"service": "api", "step": 2, "weight": 0.5, "started": null,
                       "instances": {"primary": 2, "canary": 1}, "notes": [], "metrics": {},
                       "plan": [{"weight": 10, "pause": false}, {"weight": 50, "pause": true}],
                       "edges": [[1, 2], ["a"]]})"),
      "service: api\nstep: 2\nweight: 0.5\nstarted: null\ninstances:\n  primary: 2\n  canary: 1\n"
      "notes: []\nmetrics: {}\nplan:\n  - weight: 10\n    pause: false\n  - weight: 50\n"
      "    pause: true\nedges:\n  - - 1\n    - 2\n  - - a\n");
}

TEST(YamlOf, QuotesWhatAReaderWouldTakeForSomethingElse) {
  EXPECT_EQ(
      YamlOf(R"(["yes", "NO", "null", "1.5", "", "a: b", "- a", "2026-11-24T17:00:00Z", "# no",
                       "line\nbreak", "rolled-back", "v1.2", "ünïcode"])"),
      "- \"yes\"\n- \"NO\"\n- \"null\"\n- \"1.5\"\n- \"\"\n- \"a: b\"\n- \"- a\"\n"
      "- \"2026-11-24T17:00:00Z\"\n- \"# no\"\n- \"line\\nbreak\"\n- rolled-back\n- v1.2\n"
      "- \"ünïcode\"\n");
}

TEST(YamlOf, OfAnEmptyOrSimpleValueIsOneLine) {
  EXPECT_EQ(YamlOf("{}"), "{}\n");
  EXPECT_EQ(YamlOf("3"), "3\n");
  EXPECT_EQ(YamlOf("no JSON"), "no JSON");
}

}  // namespace
}  // namespace consul_canary::cli
