// `strategy.match`, and the step of weight 0 that it allows.
#include <gtest/gtest.h>

#include <string>

#include "analyzer/config/spec_file.h"
#include "tests/unit/config/verdict.h"

namespace consul_canary::config {
namespace {

using rollout::Match;
using rollout::MatchKind;

std::string With(const std::string& match) {
  return "service: api\nstrategy:\n  steps: [{weight: 0}, {weight: 50}]\n  match: " + match + "\n";
}

TEST(ParseSpec, ReadsMatches) {
  const std::string text = With(
      "[{header: X-Canary, exact: \"always\"}, {header: user-agent, prefix: curl}, "
      "{header: a, suffix: z}, {header: b, regex: 'c+'}, {header: d, present: true}, "
      "{cookie: Canary, exact: \"1\"}, {cookie: e, present: true}]");
  ASSERT_EQ(Verdict(text), "ok");
  const auto spec = ParseSpec(text);
  ASSERT_TRUE(spec);
  const std::vector<Match> expected = {
      {.header = "x-canary", .kind = MatchKind::kExact, .value = "always"},
      {.header = "user-agent", .kind = MatchKind::kPrefix, .value = "curl"},
      {.header = "a", .kind = MatchKind::kSuffix, .value = "z"},
      {.header = "b", .kind = MatchKind::kRegex, .value = "c+"},
      {.header = "d", .kind = MatchKind::kPresent},
      {.cookie = "Canary", .kind = MatchKind::kExact, .value = "1"},
      {.cookie = "e", .kind = MatchKind::kPresent}};
  EXPECT_EQ(spec->match, expected);
  EXPECT_EQ(spec->steps.front().weight_percent, 0);
  for (const std::string& again : {ToJson(*spec), ToYaml(*spec)}) {
    const auto read = ParseSpec(again);
    ASSERT_TRUE(read) << again;
    EXPECT_EQ(*read, *spec);
  }
}

TEST(ParseSpec, RefusesBadMatches) {
  const std::string field = "line 4: strategy.match";
  const std::string one = ": must have one of exact, prefix, suffix, regex and present, has ";
  const std::pair<const char*, std::string> rows[] = {
      {"yes", ": must be a list, is yes"},
      {"[{exact: a}]", "[0]: must have a header or a cookie"},
      {"[{header: a, cookie: b, exact: c}]",
       "[0]: has both header and cookie; give one of the two"},
      {"[{header: a}]", "[0]" + one + "none"},
      {"[{header: a, exact: b, prefix: c}]", "[0]" + one + "several"},
      {"[{header: a, present: false}]",
       "[0].present: must be true; what lacks the header cannot be matched"},
      {"[{header: a b, exact: c}]", "[0].header: must be a header's name, is a b"},
      {"[{header: a, exact: \"\"}]",
       "[0].exact: must be 1 to 256 printable ASCII characters, is \"\""},
      {"[{header: a, excat: b}]", "[0].excat: is not a known key; did you mean exact?"},
      {"[{header: a, regex: \"(b\"}]",
       "[0].regex: must be a regular expression by RE2's syntax, is \"(b\": missing ): (b"},
      {"[{cookie: a, regex: b}]",
       "[0].regex: is for headers; match the header cookie by it, or the cookie by exact, prefix, "
       "suffix or present"},
      {"[{cookie: a, exact: \"b;c\"}]",
       "[0].exact: must be a cookie's value, without blanks, \", comma, ; and \\, is \"b;c\""},
      {"[{header: a, exact: b}, {header: a, exact: b}]", "[1]: says the same as strategy.match[0]"},
  };
  for (const auto& [match, problem] : rows) EXPECT_EQ(Verdict(With(match)), field + problem + "\n");
  std::string many;
  for (int i = 0; i < 17; ++i) many += "{header: a, exact: b" + std::to_string(i) + "}, ";
  EXPECT_EQ(Verdict(With("[" + many + "]")), field + ": must have at most 16 matches, has 17\n");
}

}  // namespace
}  // namespace consul_canary::config
