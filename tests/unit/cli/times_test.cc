// Durations and times of the command line.
#include "analyzer/cli/times.h"

#include <gtest/gtest.h>

namespace consul_canary::cli {
namespace {

using std::chrono::seconds;

TEST(ParseDuration, TakesSecondsMinutesAndHoursUpToAYear) {
  EXPECT_EQ(ParseDuration("90"), seconds(90));
  EXPECT_EQ(ParseDuration("90s"), seconds(90));
  EXPECT_EQ(ParseDuration("10m"), seconds(600));
  EXPECT_EQ(ParseDuration("8760h"), seconds(31'536'000));
  for (const char* wrong :
       {"", "soon", "-5s", "5 m", "1d", "10ss", "8761h", "2026-11-24T17:00:00Z"}) {
    EXPECT_EQ(ParseDuration(wrong), std::nullopt) << wrong;
  }
}

TEST(UtcText, IsWhatTheAnalyzerReads) { EXPECT_EQ(UtcText(1795539600), "2026-11-24T17:00:00Z"); }

}  // namespace
}  // namespace consul_canary::cli
