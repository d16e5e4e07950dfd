#include "exporter/envoy/prometheus_text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace consul_canary::envoy {
namespace {

struct Read {
  std::vector<std::string> samples;  // name{label=value,…} value @timestamp
  std::vector<std::pair<std::size_t, std::string>> bad;
  TextSummary summary;
};

std::string Show(const Sample& sample) {
  std::string text(sample.name);
  for (const Label& label : sample.labels) {
    text += "|" + std::string(label.name) + "=" + std::string(label.value);
  }
  std::string number = std::to_string(sample.value);
  text += " " + number.substr(0, number.find_last_not_of('0') + 1);
  if (sample.timestamp_ms) text += " @" + std::to_string(*sample.timestamp_ms);
  return text;
}

Read Parse(std::string_view text, TextFormat format = TextFormat::kPrometheus) {
  Read read;
  read.summary = ParsePrometheusText(
      text, [&read](const Sample& sample) { read.samples.push_back(Show(sample)); },
      [&read](const BadLine& bad) { read.bad.emplace_back(bad.line, std::string(bad.reason)); },
      format);
  return read;
}

Read ParseOpenMetrics(const std::string& text) {
  return Parse(text + "# EOF\n", TextFormat::kOpenMetrics);
}

struct Accepted {
  std::string_view line;
  std::string_view shown;
};

class AcceptedLines : public ::testing::TestWithParam<Accepted> {};

TEST_P(AcceptedLines, AreRead) {
  const Read read = Parse(std::string(GetParam().line) + "\n");
  ASSERT_EQ(read.samples.size(), 1U) << (read.bad.empty() ? "" : read.bad[0].second);
  EXPECT_EQ(read.samples[0], GetParam().shown);
  EXPECT_TRUE(read.bad.empty());
  EXPECT_FALSE(read.summary.cut_off);
}

INSTANTIATE_TEST_SUITE_P(
    Table, AcceptedLines,
    ::testing::Values(
        Accepted{"up 1", "up 1."}, Accepted{"up 1\r", "up 1."}, Accepted{"  up\t 1  ", "up 1."},
        Accepted{"up{} 1", "up 1."}, Accepted{"up{ } 1", "up 1."},
        Accepted{"a:b_c9 0.5", "a:b_c9 0.5"}, Accepted{R"(up{job="a"} 1)", "up|job=a 1."},
        Accepted{R"(up {job="a"}1)", "up|job=a 1."}, Accepted{R"(up{job="a",} 1)", "up|job=a 1."},
        Accepted{R"(up{ job = "a" , x = "" } 1)", "up|job=a|x= 1."},
        Accepted{R"(up{x="a\\b\"c\nd"} 1)", "up|x=a\\b\"c\nd 1."},
        Accepted{R"(up{x="\d"} 1)", "up|x=\\d 1."},
        Accepted{R"(up{x="},{ # "} 1)", "up|x=},{ #  1."},
        Accepted{"up{x=\"é€😀\"} 1", "up|x=é€😀 1."},
        Accepted{"up{x=\"\u00a0\ud7ff\ue000\U0010ffff\"} 1",
                 "up|x=\u00a0\ud7ff\ue000\U0010ffff 1."},
        Accepted{R"(a{x="\\",y="\\"} 1)", "a|x=\\|y=\\ 1."}, Accepted{"up +1.5", "up 1.5"},
        Accepted{"up -1.5e3", "up -1500."}, Accepted{"up .5", "up 0.5"},
        Accepted{"up NaN", "up nan"}, Accepted{"up +Inf", "up inf"}, Accepted{"up -Inf", "up -inf"},
        Accepted{"up 4284.0020685926756414119154214859", "up 4284.002069"},
        Accepted{"up 1 1395066363000", "up 1. @1395066363000"}, Accepted{"up 1 -12 ", "up 1. @-12"},
        Accepted{"up 1E+2", "up 100."}, Accepted{"up 1e-999", "up 0."},
        Accepted{"up -0.0000000001e-400", "up 0."}, Accepted{"up Inf", "up inf"},
        Accepted{"up -0", "up -0."},
        Accepted{"up 18446744073709551616", "up 18446744073709551616."}));

struct Refused {
  std::string_view line;
  std::string_view reason;
};

class RefusedLines : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusedLines, AreReportedAndCostNobodyElseAnything) {
  const std::string page = "before 1\n" + std::string(GetParam().line) + "\nafter 2\n";
  const Read read = Parse(page);
  EXPECT_EQ(read.samples, (std::vector<std::string>{"before 1.", "after 2."}));
  ASSERT_EQ(read.bad.size(), 1U);
  EXPECT_EQ(read.bad[0].first, 2U);
  EXPECT_EQ(read.bad[0].second, GetParam().reason);
}

INSTANTIATE_TEST_SUITE_P(
    Table, RefusedLines,
    ::testing::Values(
        Refused{"9up 1", "no metric name"}, Refused{"{a=\"b\"} 1", "no metric name"},
        Refused{"up", "no value"}, Refused{"up{a=\"b\"}", "no value"},
        Refused{"up one", "value is not a number"}, Refused{"up 1,5", "value is not a number"},
        Refused{"up ++1", "value is not a number"}, Refused{"up +-1", "value is not a number"},
        Refused{"up 0x10", "value is not a number"}, Refused{"up 1_000", "value is not a number"},
        Refused{"up 1e999", "value is not a number"}, Refused{"up nan(1)", "value is not a number"},
        Refused{"up 1 now", "timestamp is not a whole number"},
        Refused{"up 1 1.5", "timestamp is not a whole number"},
        Refused{"up 1 2 3", "text after the timestamp"},
        Refused{"up 1 # {id=\"x\"} 1", "timestamp is not a whole number"},
        Refused{"up{a} 1", "no '=' after a label name"},
        Refused{"up{a=b} 1", "label value without quotes"},
        Refused{"up{a=\"b 1", "label value without closing quote"},
        Refused{"up{a=\"b\\", "label value without closing quote"},
        Refused{"up{a=\"b\\\"} 1", "label value without closing quote"},
        Refused{"up{a=\"b\" c=\"d\"} 1", "no ',' or '}' after a label"},
        Refused{"up{a=\"b\"", "no ',' or '}' after a label"},
        Refused{"up{9=\"b\"} 1", "no label name"}, Refused{"up{,} 1", "no label name"},
        Refused{"up{a:b=\"c\"} 1", "colon in a label name"},
        Refused{"up{a=\"b\",a=\"c\"} 1", "label name stands twice"},
        Refused{"up{a=\"\xff\"} 1", "label value is not UTF-8"},
        Refused{"up{a=\"\xc3\"} 1", "label value is not UTF-8"},          // half a letter
        Refused{"up{a=\"\xc0\xaf\"} 1", "label value is not UTF-8"},      // overlong
        Refused{"up{a=\"\xed\xa0\x80\"} 1", "label value is not UTF-8"},  // surrogate
        Refused{"up{a=\"\xf4\x90\x80\x80\"} 1", "label value is not UTF-8"},
        Refused{"up -1e999", "value is not a number"}, Refused{"up 1e", "value is not a number"},
        Refused{std::string_view("up \0 1", 6), "value is not a number"},
        Refused{std::string_view("up\0 1", 5), "unexpected character after the metric name"},
        Refused{std::string_view("\0\x01\x02", 3), "no metric name"},
        Refused{"\x1f\x8b\x08", "no metric name"}, Refused{"\r\r", "no metric name"},
        Refused{"up} 1", "unexpected character after the metric name"},
        Refused{"<html>", "no metric name"}));

TEST(ParsePrometheusText, SkipsCommentsAndEmptyLinesButCountsThem) {
  const Read read =
      Parse("# HELP up is it\n\n   \n#\n  # TYPE up gauge\nbad line here\r\nup 1\n\r\n");
  EXPECT_EQ(read.samples, std::vector<std::string>{"up 1."});
  ASSERT_EQ(read.bad.size(), 1U);
  EXPECT_EQ(read.bad[0].first, 6U);
  EXPECT_EQ(read.summary.lines, 8U);
}

TEST(ParsePrometheusText, ReadsNothingFromNothing) {
  EXPECT_TRUE(Parse("").samples.empty());
  EXPECT_FALSE(Parse("").summary.cut_off);  // Envoy's answer where a filter lets nothing through
  EXPECT_TRUE(Parse("\n\n").bad.empty());
}

TEST(ParsePrometheusText, DoesNotTrustALineWithoutItsEnd) {
  const Read read = Parse("up{a=\"b\"} 1\nup{a=\"c\"} 12");  // 34 may be missing
  EXPECT_EQ(read.samples, std::vector<std::string>{"up|a=b 1."});
  ASSERT_EQ(read.bad.size(), 1U);
  EXPECT_EQ(read.bad[0].second, "page ends within the line");
  EXPECT_TRUE(read.summary.cut_off);
}

TEST(ParsePrometheusText, ALineThatNeverEndsCostsOneLine) {
  const Read read = Parse("a 1\nup{x=\"" + std::string(100'000, 'y') + "\"} 1\nb 2\n");
  EXPECT_EQ(read.samples, (std::vector<std::string>{"a 1.", "b 2."}));
  ASSERT_EQ(read.bad.size(), 1U);
  EXPECT_EQ(read.bad[0].second, "line is too long");
}

struct OpenMetricsLine {
  std::string line;
  std::string shown;
};

class OpenMetricsLines : public ::testing::TestWithParam<OpenMetricsLine> {};

TEST_P(OpenMetricsLines, AreRead) {
  const Read read = ParseOpenMetrics(GetParam().line + "\n");
  ASSERT_EQ(read.samples.size(), 1U) << (read.bad.empty() ? "" : read.bad[0].second);
  EXPECT_EQ(read.samples[0], GetParam().shown);
  EXPECT_FALSE(read.summary.cut_off);
}

INSTANTIATE_TEST_SUITE_P(
    Table, OpenMetricsLines,
    ::testing::Values(OpenMetricsLine{"up_total 1", "up_total 1."},
                      OpenMetricsLine{"up_created 1520430000.123", "up_created 1520430000.123"},
                      OpenMetricsLine{"up_total 1 1520879607.789", "up_total 1. @1520879607789"},
                      OpenMetricsLine{"up_total 1 1520879607", "up_total 1. @1520879607000"},
                      OpenMetricsLine{"up_total 1 -1.5e0", "up_total 1. @-1500"},
                      OpenMetricsLine{R"(up_bucket{le="1.0"} 8 # {} 0.67)", "up_bucket|le=1.0 8."},
                      OpenMetricsLine{
                          R"(up_bucket{le="1"} 8 # {id="K} #\"",x="y"} 0.67 1520879607.789)",
                          "up_bucket|le=1 8."},
                      OpenMetricsLine{R"(up_total 8 1520879607.789 # {id="a"} 1e3)",
                                      "up_total 8. @1520879607789"},
                      OpenMetricsLine{"up_total 8 # {} 1 2\r", "up_total 8."}));

class RefusedOpenMetricsLines : public ::testing::TestWithParam<OpenMetricsLine> {};

TEST_P(RefusedOpenMetricsLines, CostOneLine) {
  const Read read = ParseOpenMetrics("a 1\n" + GetParam().line + "\nb 2\n");
  EXPECT_EQ(read.samples, (std::vector<std::string>{"a 1.", "b 2."}));
  ASSERT_EQ(read.bad.size(), 1U);
  EXPECT_EQ(read.bad[0].second, GetParam().shown);
}

INSTANTIATE_TEST_SUITE_P(
    Table, RefusedOpenMetricsLines,
    ::testing::Values(OpenMetricsLine{"up 1 now", "timestamp is not a number"},
                      OpenMetricsLine{"up 1 NaN", "timestamp is not a number"},
                      OpenMetricsLine{"up 1 1e300", "timestamp is not a number"},
                      OpenMetricsLine{"up 1 2 3", "text after the timestamp"},
                      OpenMetricsLine{"up 1 # ", "exemplar without labels"},
                      OpenMetricsLine{"up 1 # {a} 1", "no '=' after a label name"},
                      OpenMetricsLine{"up 1 # {} x", "exemplar's value is not a number"},
                      OpenMetricsLine{"up 1 # {} 1 x", "exemplar's timestamp is not a number"},
                      OpenMetricsLine{"up 1 # {} 1 2 3", "text after the exemplar"}));

TEST(OpenMetrics, SkipsItsComments) {
  const Read read = ParseOpenMetrics(
      "# TYPE up_seconds counter\n# UNIT up_seconds seconds\n# HELP up_seconds a\nup_seconds_total "
      "1\n");
  EXPECT_EQ(read.samples, std::vector<std::string>{"up_seconds_total 1."});
  EXPECT_TRUE(read.bad.empty());
}

TEST(OpenMetrics, WithoutItsEndAPageIsCutOff) {
  EXPECT_TRUE(Parse("up 1\n", TextFormat::kOpenMetrics).summary.cut_off);
  EXPECT_TRUE(Parse("", TextFormat::kOpenMetrics).summary.cut_off);
  EXPECT_FALSE(Parse("up 1\n# EOF", TextFormat::kOpenMetrics).summary.cut_off);
  EXPECT_FALSE(Parse("up 1\r\n# EOF\r\n", TextFormat::kOpenMetrics).summary.cut_off);
}

TEST(OpenMetrics, EndsWithItsMark) {
  const Read read = Parse("up 1\n# EOF\nup 2\n", TextFormat::kOpenMetrics);
  EXPECT_EQ(read.samples, std::vector<std::string>{"up 1."});
  ASSERT_EQ(read.bad.size(), 1U);
  EXPECT_EQ(read.bad[0].second, "line after # EOF");
}

TEST(FormatOf, GoesByTheContentType) {
  EXPECT_EQ(FormatOf("application/openmetrics-text; version=1.0.0; charset=utf-8"),
            TextFormat::kOpenMetrics);
  EXPECT_EQ(FormatOf("Application/OpenMetrics-Text"), TextFormat::kOpenMetrics);
  EXPECT_EQ(FormatOf("text/plain; version=0.0.4"), TextFormat::kPrometheus);
  EXPECT_EQ(FormatOf("application/openmetrics"), TextFormat::kPrometheus);
  EXPECT_EQ(FormatOf(""), TextFormat::kPrometheus);
}

bool IsLeft(std::string_view name) { return name == "left" || name == "left_too"; }

// "number name rest" of each line that is handed out, or "number !reason".
std::vector<std::string> Wanted(std::string_view page) {
  std::vector<std::string> shown;
  SeriesLines lines(page, TextFormat::kPrometheus, IsLeft);
  SeriesLine line;
  while (lines.Next(line)) {
    shown.push_back(std::to_string(line.number) + " " +
                    (line.reason.empty() ? std::string(line.name) + std::string(line.rest)
                                         : "!" + std::string(line.reason)));
  }
  return shown;
}

TEST(SeriesLines, HandsOutWhatIsWanted) {
  EXPECT_EQ(Wanted("a 1\nleft 2\nlefty 3\nleft{x=\"\"} 4\nleft_too\t5\nright{left 1\nleft\n"),
            (std::vector<std::string>{"2 left 2", "4 left{x=\"\"} 4", "5 left_too\t5", "7 left"}));
}

TEST(SeriesLines, DoesNotLookAtTheRest) {
  const std::string binary = std::string("right{") + '\0' + "\xff} nonsense\nright{left\nleft 1\n";
  EXPECT_EQ(Wanted(binary), std::vector<std::string>{"3 left 1"});
}

TEST(SeriesLines, ReportsWhatBeginsAsNoSeriesDoes) {
  EXPECT_EQ(Wanted("<html>\nservice unavailable\n{}\nword\nleft 1\n"),
            (std::vector<std::string>{
                "1 !no metric name", "2 !neither labels nor a value after the name",
                "3 !no metric name", "4 !neither labels nor a value after the name", "5 left 1"}));
}

TEST(SeriesLines, TellsACutPageAlsoWhereTheCutLineIsNotWanted) {
  SeriesLines lines("left 1\nright 12", TextFormat::kPrometheus, IsLeft);
  SeriesLine line;
  EXPECT_TRUE(lines.Next(line));
  EXPECT_FALSE(lines.Next(line));
  EXPECT_TRUE(lines.cut_off());
}

TEST(ParseFloat, KnowsInfinityAndNotANumber) {
  EXPECT_EQ(ParseFloat("+Inf"), std::numeric_limits<double>::infinity());
  EXPECT_EQ(ParseFloat("-Inf"), -std::numeric_limits<double>::infinity());
  ASSERT_TRUE(ParseFloat("NaN"));
  EXPECT_TRUE(std::isnan(*ParseFloat("NaN")));
  EXPECT_EQ(ParseFloat(""), std::nullopt);
  EXPECT_EQ(ParseFloat("+"), std::nullopt);
  EXPECT_EQ(ParseFloat(" 1"), std::nullopt);
}

TEST(Sample, FindsALabelByName) {
  const Label labels[] = {{"a", "1"}, {"b", ""}};
  Sample sample;
  sample.labels = labels;
  EXPECT_EQ(sample.Find("a"), "1");
  EXPECT_EQ(sample.Find("b"), "");
  EXPECT_EQ(sample.Find("c"), std::nullopt);
}

}  // namespace
}  // namespace consul_canary::envoy
