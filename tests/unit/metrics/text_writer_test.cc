#include "exporter/metrics/text_writer.h"

#include <gtest/gtest.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <tuple>
#include <vector>

#include "exporter/envoy/prometheus_text.h"

namespace consul_canary::metrics {
namespace {

using base::MetricsSyntax;
using enum MetricType;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void WriteOneOfEach(TextWriter& page) {
  const LabelText common({{"service_name", "api"}});
  page.Begin("weight_ratio", "Share.", kGauge);
  page.Add(common, {{"subset", "canary"}}, 0.05);
  page.Begin("retries_total", "Retries.", kCounter);
  page.AddCount(common, {}, 12);
  page.Begin("never_total", "Has no series.", kCounter);
  page.Begin("took_seconds", "Time.", kHistogram);
  page.AddBucket(common, 0.5, 1);
  page.AddBucket(common, 1, 2);
  page.EndHistogram(common, 3.25, 3);
  page.Begin("up", "Up.", kGauge);
  page.AddCount({}, 1);
}

TEST(TextWriter, WritesTheTextFormat) {
  TextWriter page(MetricsSyntax::kText);
  WriteOneOfEach(page);
  EXPECT_EQ(page.Finish(), R"(# HELP weight_ratio Share.
# TYPE weight_ratio gauge
weight_ratio{service_name="api",subset="canary"} 0.05
# HELP retries_total Retries.
# TYPE retries_total counter
retries_total{service_name="api"} 12
# HELP took_seconds Time.
# TYPE took_seconds histogram
took_seconds_bucket{service_name="api",le="0.5"} 1
took_seconds_bucket{service_name="api",le="1"} 2
took_seconds_bucket{service_name="api",le="+Inf"} 3
took_seconds_sum{service_name="api"} 3.25
took_seconds_count{service_name="api"} 3
# HELP up Up.
# TYPE up gauge
up 1
)");
}

TEST(TextWriter, WritesOpenMetrics) {
  TextWriter page(MetricsSyntax::kOpenMetrics);
  WriteOneOfEach(page);
  EXPECT_EQ(page.Finish(), R"(# HELP weight_ratio Share.
# TYPE weight_ratio gauge
weight_ratio{service_name="api",subset="canary"} 0.05
# HELP retries Retries.
# TYPE retries counter
retries_total{service_name="api"} 12
# HELP took_seconds Time.
# TYPE took_seconds histogram
took_seconds_bucket{service_name="api",le="0.5"} 1
took_seconds_bucket{service_name="api",le="1.0"} 2
took_seconds_bucket{service_name="api",le="+Inf"} 3
took_seconds_sum{service_name="api"} 3.25
took_seconds_count{service_name="api"} 3
# HELP up Up.
# TYPE up gauge
up 1
# EOF
)");
}

TEST(TextWriter, EscapesWhatEachFormatAsksFor) {
  const auto write = [](MetricsSyntax syntax) {
    TextWriter page(syntax);
    page.Begin("a", "Back\\slash, \"quotes\"\nand a line.", kGauge);
    page.AddCount({{"l", "b\\s \"q\"\nline"}}, 1);
    return page.Finish();
  };
  const std::string series = "# TYPE a gauge\na{l=\"b\\\\s \\\"q\\\"\\nline\"} 1\n";
  EXPECT_EQ(write(MetricsSyntax::kText),
            "# HELP a Back\\\\slash, \"quotes\"\\nand a line.\n" + series);
  EXPECT_EQ(write(MetricsSyntax::kOpenMetrics),
            "# HELP a Back\\\\slash, \\\"quotes\\\"\\nand a line.\n" + series + "# EOF\n");
}

// One such byte, and Prometheus refuses the whole page.
TEST(TextWriter, WritesNoByteThatIsNoUtf8) {
  TextWriter page(MetricsSyntax::kText);
  page.Begin("a", "A.", kGauge);
  page.AddCount({{"l", "h\xC3\xA9\xFF\xC3!"}}, 1);
  page.AddCount({{"l", "\xED\xA0\x80"}}, 1);  // half of a surrogate pair
  EXPECT_EQ(page.Finish(),
            "# HELP a A.\n# TYPE a gauge\na{l=\"h\xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBD!\"} 1\n"
            "a{l=\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"} 1\n");
}

TEST(TextWriter, WritesTheShortestNumberThatReadsAsTheSame) {
  const std::vector<std::pair<double, std::string>> rows = {
      {0, "0"},
      {1, "1"},
      {-1, "-1"},
      {1e6, "1000000"},
      {123456789012345, "123456789012345"},
      {1e16, "1e+16"},
      {0.1, "0.1"},
      {1.0 / 3, "0.3333333333333333"},
      {0.0005, "0.0005"},
      {1e-05, "1e-05"},
      {-2.5, "-2.5"},
      {1.7976931348623157e308, "1.7976931348623157e+308"},
      {5e-324, "5e-324"},
      {kInfinity, "+Inf"},
      {-kInfinity, "-Inf"},
      {std::nan(""), "NaN"}};
  for (const auto& [value, text] : rows) {
    TextWriter page(MetricsSyntax::kText);
    page.Begin("a", "A.", kGauge);
    page.Add({}, value);
    EXPECT_EQ(page.Finish(), "# HELP a A.\n# TYPE a gauge\na " + text + "\n");
  }
}

TEST(TextWriter, KeepsTheBoundsOfNeighboursApart) {
  TextWriter page(MetricsSyntax::kText);
  page.Begin("a", "A.", kHistogram);
  const LabelText first({{"l", "1"}});
  page.AddBucket(first, 1, 1);
  page.AddBucket(first, kInfinity, 1);
  page.EndHistogram(first, 1, 1);
  const LabelText second({{"l", "2"}});
  page.AddBucket(second, 2, 5);
  page.EndHistogram(second, 9, 6);
  EXPECT_EQ(page.Finish(), R"(# HELP a A.
# TYPE a histogram
a_bucket{l="1",le="1"} 1
a_bucket{l="1",le="+Inf"} 1
a_sum{l="1"} 1
a_count{l="1"} 1
a_bucket{l="2",le="2"} 5
a_bucket{l="2",le="+Inf"} 6
a_sum{l="2"} 9
a_count{l="2"} 6
)");
}

// --- Against prometheus-cpp's serializer, read by a parser that knows neither.

using Series = std::tuple<std::string, std::vector<std::pair<std::string, std::string>>, double>;

std::vector<Series> SeriesOf(const std::string& page) {
  std::vector<Series> all;
  envoy::ParsePrometheusText(
      page,
      [&](const envoy::Sample& sample) {
        std::vector<std::pair<std::string, std::string>> labels;
        for (const char* name : {"l", "m", "le"}) {
          if (const auto value = sample.Find(name)) labels.emplace_back(name, *value);
        }
        all.emplace_back(std::string(sample.name), labels, sample.value);
      },
      [](const envoy::BadLine& bad) { ADD_FAILURE() << bad.line << ": " << bad.reason; });
  std::sort(all.begin(), all.end());
  return all;
}

constexpr double kValues[] = {0, 1, 17, 0.1, 1e-7, 123456.789, 1e12, 3e9 + 0.5};

std::string ByPrometheusCpp(const std::vector<std::string>& texts) {
  std::vector<prometheus::MetricFamily> families(2);
  families[0] = {"gauge", "Help.", prometheus::MetricType::Gauge, {}};
  families[1] = {"took_seconds", "Help.", prometheus::MetricType::Histogram, {}};
  for (const std::string& text : texts) {
    for (const double value : kValues) {
      prometheus::ClientMetric& metric = families[0].metric.emplace_back();
      metric.label = {{"l", text}, {"m", std::to_string(value)}};
      metric.gauge.value = value;
    }
    prometheus::ClientMetric& metric = families[1].metric.emplace_back();
    metric.label = {{"l", text}};
    metric.histogram.bucket = {{3, 0.005}, {4, 1}, {9, 2.5}, {10, kInfinity}};
    metric.histogram.sample_count = 10;
    metric.histogram.sample_sum = 12.5;
  }
  std::ostringstream page;
  prometheus::TextSerializer().Serialize(page, families);
  return std::move(page).str();
}

std::string ByUs(const std::vector<std::string>& texts) {
  TextWriter page(MetricsSyntax::kText);
  page.Begin("gauge", "Help.", kGauge);
  for (const std::string& text : texts) {
    for (const double value : kValues) page.Add({{"l", text}, {"m", std::to_string(value)}}, value);
  }
  page.Begin("took_seconds", "Help.", kHistogram);
  for (const std::string& text : texts) {
    const LabelText labels({{"l", text}});
    page.AddBucket(labels, 0.005, 3);
    page.AddBucket(labels, 1, 4);
    page.AddBucket(labels, 2.5, 9);
    page.EndHistogram(labels, 12.5, 10);
  }
  return page.Finish();
}

TEST(TextWriter, SaysWhatPrometheusCppSays) {
  const std::vector<std::string> texts = {"", "api", "a \"b\" \\c\n{},=#", "h\xC3\xA9"};
  const auto ours = SeriesOf(ByUs(texts));
  EXPECT_EQ(ours.size(), texts.size() * (std::size(kValues) + 6));
  EXPECT_EQ(ours, SeriesOf(ByPrometheusCpp(texts)));
}

}  // namespace
}  // namespace consul_canary::metrics
