// The pages and figures that both daemons share (exporter/base/daemon.h).
#include <gtest/gtest.h>
#include <unistd.h>

#include "exporter/base/daemon.h"

namespace consul_canary::base {
namespace {

DaemonPages Pages() {
  DaemonPages pages;
  pages.name = "consul-canary-<test>";
  pages.version = "1.2.3";
  pages.links = {{"/ui/", "Status"}};
  pages.metrics = [](MetricsSyntax syntax) {
    return std::string(syntax == MetricsSyntax::kText ? "up 1\n" : "up 1\n# EOF\n");
  };
  pages.why_not_ready = [] { return std::nullopt; };
  pages.reload = [] { return Result<void>(); };
  return pages;
}

std::optional<ServerResponse> Ask(const DaemonPages& pages, const std::string& path,
                                  const std::string& method = "GET") {
  ServerRequest request;
  request.method = method;
  request.path = path;
  return AnswerCommonPages(pages, request);
}

TEST(AnswerCommonPages, ServesMetricsAsTextFormat) {
  const auto answer = Ask(Pages(), "/metrics");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(answer->body, "up 1\n");
}

TEST(AnswerCommonPages, ServesOpenMetricsToWhoAsksForIt) {
  ServerRequest request;
  request.method = "GET";
  request.path = "/metrics";
  request.headers["accept"] = "application/openmetrics-text; version=1.0.0, */*;q=0.1";
  const auto answer = AnswerCommonPages(Pages(), request);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
  EXPECT_EQ(answer->body, "up 1\n# EOF\n");
  EXPECT_EQ(answer->headers.at("Vary"), "Accept");
}

TEST(AnswerCommonPages, ServesMetricsWhereItIsTold) {
  DaemonPages pages = Pages();
  pages.telemetry_path = "/telemetry";
  EXPECT_TRUE(Ask(pages, "/telemetry"));
  EXPECT_FALSE(Ask(pages, "/metrics"));
}

TEST(AnswerCommonPages, IsReadyOrSaysWhyNot) {
  DaemonPages pages = Pages();
  EXPECT_EQ(Ask(pages, "/-/ready")->status, 200);
  pages.why_not_ready = [] { return std::optional<std::string>("the mesh has not been read yet"); };
  EXPECT_EQ(Ask(pages, "/-/ready")->status, 503);
  EXPECT_EQ(Ask(pages, "/-/ready")->body, "the mesh has not been read yet\n");
  EXPECT_EQ(Ask(pages, "/-/healthy")->status, 200);
}

TEST(AnswerCommonPages, ReloadsOnPostAlone) {
  DaemonPages pages = Pages();
  EXPECT_EQ(Ask(pages, "/-/reload", "POST")->status, 200);
  const auto refused = Ask(pages, "/-/reload");
  EXPECT_EQ(refused->status, 405);
  EXPECT_EQ(refused->headers.at("Allow"), "POST, PUT");
}

TEST(AnswerCommonPages, TellsAWrongFileFromOneThatCannotBeRead) {
  DaemonPages pages = Pages();
  pages.reload = [] { return Result<void>(Fail(ErrorCode::kInvalid, "web.yaml:3: no")); };
  EXPECT_EQ(Ask(pages, "/-/reload", "POST")->status, 400);
  EXPECT_EQ(Ask(pages, "/-/reload", "POST")->body, "web.yaml:3: no\n");
  pages.reload = [] { return Result<void>(Fail(ErrorCode::kUnavailable, "web.yaml: gone")); };
  EXPECT_EQ(Ask(pages, "/-/reload", "POST")->status, 500);
  EXPECT_EQ(Ask(pages, "/-/reload", "POST")->body, "web.yaml: gone\n");
}

TEST(AnswerCommonPages, LandsOnAPageWithLinks) {
  const auto answer = Ask(Pages(), "/");
  ASSERT_TRUE(answer);
  EXPECT_NE(answer->body.find("<h1>consul-canary-&lt;test&gt;</h1>"), std::string::npos);
  EXPECT_NE(answer->body.find("<a href=\"/ui/\">Status</a>"), std::string::npos);
  EXPECT_NE(answer->body.find("<a href=\"/metrics\">"), std::string::npos);
}

TEST(AnswerCommonPages, RefusesToBeWrittenTo) {
  EXPECT_EQ(Ask(Pages(), "/metrics", "POST")->status, 405);
  EXPECT_EQ(Ask(Pages(), "/", "DELETE")->status, 405);
}

TEST(AnswerCommonPages, LeavesOtherPathsToTheDaemon) {
  EXPECT_FALSE(Ask(Pages(), "/api/v1/rollouts"));
  EXPECT_FALSE(Ask(Pages(), "/-/other"));
}

TEST(ReadProcessStats, KnowsThisProcess) {
  const ProcessStats stats = ReadProcessStats();
  EXPECT_GT(stats.resident_bytes, 100'000U);
  EXPECT_GE(stats.virtual_bytes, stats.resident_bytes);
  EXPECT_GE(stats.open_fds, 3U);
  EXPECT_GE(stats.max_fds, stats.open_fds);
  EXPECT_GT(stats.start_time_seconds, 1.0e9);
}

struct Duration {
  std::string_view text;
  std::optional<milliseconds> value;
};

class Durations : public ::testing::TestWithParam<Duration> {};

TEST_P(Durations, AreAWholeNumberAndAUnit) {
  const Result<milliseconds> parsed = ParseDuration(GetParam().text);
  EXPECT_EQ(parsed.has_value(), GetParam().value.has_value()) << GetParam().text;
  if (parsed && GetParam().value) {
    EXPECT_EQ(*parsed, *GetParam().value);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Table, Durations,
    ::testing::Values(Duration{"0s", milliseconds(0)}, Duration{"500ms", milliseconds(500)},
                      Duration{"1s", milliseconds(1000)}, Duration{"2m", milliseconds(120000)},
                      Duration{"3h", milliseconds(10800000)}, Duration{"", std::nullopt},
                      Duration{"5", std::nullopt}, Duration{"s", std::nullopt},
                      Duration{"1.5s", std::nullopt}, Duration{"-1s", std::nullopt},
                      Duration{"1 s", std::nullopt}, Duration{"1d", std::nullopt},
                      Duration{"99999999999h", std::nullopt}));

}  // namespace
}  // namespace consul_canary::base
