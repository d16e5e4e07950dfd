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

Read Parse(std::string_view text) {
  Read read;
  ParsePrometheusText(
      text, [&read](const Sample& sample) { read.samples.push_back(Show(sample)); },
      [&read](const BadLine& bad) { read.bad.emplace_back(bad.line, std::string(bad.reason)); });
  return read;
}

struct Accepted {
  std::string_view line;
  std::string_view shown;
};

class AcceptedLines : public ::testing::TestWithParam<Accepted> {};

TEST_P(AcceptedLines, AreRead) {
  const Read read = Parse(GetParam().line);
  ASSERT_EQ(read.samples.size(), 1U) << (read.bad.empty() ? "" : read.bad[0].second);
  EXPECT_EQ(read.samples[0], GetParam().shown);
  EXPECT_TRUE(read.bad.empty());
}

INSTANTIATE_TEST_SUITE_P(
    Table, AcceptedLines,
    ::testing::Values(
        Accepted{"up 1", "up 1."}, Accepted{"up 1\n", "up 1."}, Accepted{"up 1\r\n", "up 1."},
        Accepted{"  up\t 1  ", "up 1."}, Accepted{"up{} 1", "up 1."}, Accepted{"up{ } 1", "up 1."},
        Accepted{"a:b_c9 0.5", "a:b_c9 0.5"}, Accepted{R"(up{job="a"} 1)", "up|job=a 1."},
        Accepted{R"(up {job="a"}1)", "up|job=a 1."}, Accepted{R"(up{job="a",} 1)", "up|job=a 1."},
        Accepted{R"(up{ job = "a" , x = "" } 1)", "up|job=a|x= 1."},
        Accepted{R"(up{x="a\\b\"c\nd"} 1)", "up|x=a\\b\"c\nd 1."},
        Accepted{R"(up{x="\d"} 1)", "up|x=\\d 1."},
        Accepted{R"(up{x="},{ # "} 1)", "up|x=},{ #  1."},
        Accepted{"up{x=\"é\xff\"} 1", "up|x=é\xff 1."},
        Accepted{R"(a{x="\\",y="\\"} 1)", "a|x=\\|y=\\ 1."}, Accepted{"up +1.5", "up 1.5"},
        Accepted{"up -1.5e3", "up -1500."}, Accepted{"up .5", "up 0.5"},
        Accepted{"up NaN", "up nan"}, Accepted{"up +Inf", "up inf"}, Accepted{"up -Inf", "up -inf"},
        Accepted{"up 4284.0020685926756414119154214859", "up 4284.002069"},
        Accepted{"up 1 1395066363000", "up 1. @1395066363000"},
        Accepted{"up 1 -12 ", "up 1. @-12"}));

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
        Refused{"up} 1", "unexpected character after the metric name"},
        Refused{"<html>", "no metric name"}));

TEST(ParsePrometheusText, SkipsCommentsAndEmptyLinesButCountsThem) {
  const Read read = Parse("# HELP up is it\n\n   \n#\n  # TYPE up gauge\nbad line here\nup 1");
  EXPECT_EQ(read.samples, std::vector<std::string>{"up 1."});
  ASSERT_EQ(read.bad.size(), 1U);
  EXPECT_EQ(read.bad[0].first, 6U);
}

TEST(ParsePrometheusText, ReadsNothingFromNothing) {
  EXPECT_TRUE(Parse("").samples.empty());
  EXPECT_TRUE(Parse("\n\n").bad.empty());
}

TEST(ParsePrometheusText, KeepsALineCutOffInTheMiddleApart) {
  const Read read = Parse("up{a=\"b\"} 1\nup{a=\"c");
  EXPECT_EQ(read.samples, std::vector<std::string>{"up|a=b 1."});
  EXPECT_EQ(read.bad.size(), 1U);
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
