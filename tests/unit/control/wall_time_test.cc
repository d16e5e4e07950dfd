// RFC 3339, as Alertmanager and people write it.
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "analyzer/control/stored_json.h"

namespace consul_canary::control {
namespace {

TEST(ParseWallTime, ReadsWholeSecondsFractionsAndOffsets) {
  struct Case {
    const char* text;
    double seconds;
  };
  const std::vector<Case> cases{
      {"1970-01-01T00:00:00Z", 0},
      {"2026-11-24T17:00:00Z", 1795539600},
      {"2024-02-29T12:00:00Z", 1709208000},
      {"2026-11-24T17:00:00.5Z", 1795539600.5},
      {"2026-11-24T17:00:00.123456789Z", 1795539600.123456789},
      {"2026-11-24T18:00:00+01:00", 1795539600},
      {"2026-11-24T11:30:00-05:30", 1795539600},
      {"2026-11-24T17:00:00+00:00", 1795539600},
      {"2026-11-24T18:00:00.25+01:00", 1795539600.25},
      {"1969-12-31T23:59:59Z", -1},
  };
  for (const Case& test : cases) {
    const auto seconds = ParseWallTime(test.text);
    ASSERT_TRUE(seconds) << test.text;
    EXPECT_DOUBLE_EQ(*seconds, test.seconds) << test.text;
  }
}

TEST(ParseWallTime, RefusesWhatIsNoTimeAndQuotesIt) {
  const std::vector<std::string> texts{
      "",
      "now",
      "2026-11-24",
      "2026-11-24T17:00:00",
      "2026-11-24 17:00:00Z",
      "2026-11-24T17:00Z",
      "2026-1-4T17:00:00Z",
      "2026-13-01T17:00:00Z",
      "2026-02-30T17:00:00Z",
      "2025-02-29T17:00:00Z",
      "2026-11-24T25:00:00Z",
      "2026-11-24T17:60:00Z",
      "2026-11-24T17:00:00.Z",
      "2026-11-24T17:00:00.5e1Z",
      "2026-11-24T17:00:00z",
      "2026-11-24T17:00:00Z ",
      " 2026-11-24T17:00:00Z",
      "2026-11-24T17:00:00+1:00",
      "2026-11-24T17:00:00+0100",
      "2026-11-24T17:00:00+01:00Z",
      "2026-11-24T17:00:00+24:00",
      "2026-11-24T17:00:00+01:60",
      "2026-11-24T17:00:00+-1:00",
      "1795539600",
  };
  for (const std::string& text : texts) {
    const auto seconds = ParseWallTime(text);
    ASSERT_FALSE(seconds) << text;
    EXPECT_EQ(seconds.error().message, "\"" + text + "\" is not an RFC 3339 time");
  }
}

TEST(FormatWallTime, WritesWholeSecondsInUtc) {
  EXPECT_EQ(FormatWallTime(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(FormatWallTime(1795539600.9), "2026-11-24T17:00:00Z");
  EXPECT_EQ(FormatWallTime(-62135596800), "0001-01-01T00:00:00Z");
  EXPECT_EQ(FormatWallTime(253402300799), "9999-12-31T23:59:59Z");
}

TEST(FormatWallTime, SaysOfWhatIsNoTimeThatItIsNotKnown) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double wrong : {1e300, -1e300, 253402300800.0, -62135596801.0, kInfinity, -kInfinity,
                             std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_EQ(FormatWallTime(wrong), "an unknown time") << wrong;
  }
}

}  // namespace
}  // namespace consul_canary::control
