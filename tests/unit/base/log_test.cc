#include "exporter/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>

namespace consul_canary::base {
namespace {

using ::testing::HasSubstr;

constexpr WallTime kTime{std::chrono::milliseconds{1'700'000'000'042}};

TEST(FormatLogLine, WritesKeysAndValues) {
  EXPECT_EQ(FormatLogLine(LogFormat::kLogfmt, kTime, LogLevel::kInfo, "splitter written",
                          {{"service", "api"}, {"weight", "5"}}),
            "time=2023-11-14T22:13:20.042Z level=info event=\"splitter written\" service=api "
            "weight=5");
}

TEST(FormatLogLine, WritesJson) {
  EXPECT_EQ(FormatLogLine(LogFormat::kJson, kTime, LogLevel::kError, "no", {{"why", "a\tb"}}),
            R"({"time":"2023-11-14T22:13:20.042Z","level":"error","event":"no","why":"a\u0009b"})");
}

TEST(FormatLogLine, QuotesValuesThatNeedIt) {
  const struct {
    std::string value;
    const char* expected;
  } kRows[] = {
      {"plain-1.2/x", "plain-1.2/x"},
      {"", R"("")"},
      {"two words", R"("two words")"},
      {"a=b", R"("a=b")"},
      {"say \"hi\"", R"("say \"hi\"")"},
      {"back\\slash", R"("back\\slash")"},
      {"two\nlines", R"("two\nlines")"},
      {std::string("nul\0", 4), R"("nul\u0000")"},
      {"del\x7f", R"("del\u007f")"},
      {"na\xC3\xAFve", "\"na\xC3\xAFve\""},
      {"bad \xFF byte", "\"bad \xEF\xBF\xBD byte\""},
      {"cut \xE2\x82", "\"cut \xEF\xBF\xBD\xEF\xBF\xBD\""},
  };
  for (const auto& row : kRows) {
    const std::string line =
        FormatLogLine(LogFormat::kLogfmt, kTime, LogLevel::kInfo, "e", {{"v", row.value}});
    EXPECT_EQ(line.substr(line.find(" v=") + 3), row.expected);
  }
}

TEST(ConfigureLog, NamesTheRightWords) {
  const auto level = ConfigureLog("loud", "json");
  ASSERT_FALSE(level.has_value());
  EXPECT_EQ(level.error(),
            (Error{ErrorCode::kInvalid, "log level \"loud\": must be debug, info, warn or error"}));
  const auto format = ConfigureLog("info", "xml");
  ASSERT_FALSE(format.has_value());
  EXPECT_EQ(format.error(),
            (Error{ErrorCode::kInvalid, "log format \"xml\": must be logfmt or json"}));
}

TEST(Log, WritesOneLineToStderrFromTheConfiguredLevelOn) {
  ASSERT_TRUE(ConfigureLog("warn", "logfmt").has_value());
  ::testing::internal::CaptureStderr();
  Log(LogLevel::kInfo, "quiet");
  Log(LogLevel::kWarn, "loud", {{"text", "100% {} %v"}});
  const std::string text = ::testing::internal::GetCapturedStderr();
  ASSERT_TRUE(ConfigureLog("info", "logfmt").has_value());
  EXPECT_EQ(text.find("quiet"), std::string::npos);
  EXPECT_THAT(text, HasSubstr(" level=warn event=loud text=\"100% {} %v\"\n"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
}

}  // namespace
}  // namespace consul_canary::base
