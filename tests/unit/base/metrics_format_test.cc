#include "exporter/base/metrics_format.h"

#include <gtest/gtest.h>

namespace consul_canary::base {
namespace {

constexpr std::string_view kText = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::string_view kOpenMetrics =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";
constexpr std::string_view kOldOpenMetrics =
    "application/openmetrics-text; version=0.0.1; charset=utf-8";

struct Row {
  std::string_view accept;
  std::string_view content_type;
};

class AcceptHeaders : public ::testing::TestWithParam<Row> {};

TEST_P(AcceptHeaders, ChooseTheFormat) {
  const MetricsFormat format = ChooseMetricsFormat(GetParam().accept);
  EXPECT_EQ(format.content_type, GetParam().content_type);
  EXPECT_EQ(format.syntax,
            GetParam().content_type == kText ? MetricsSyntax::kText : MetricsSyntax::kOpenMetrics);
}

INSTANTIATE_TEST_SUITE_P(
    Table, AcceptHeaders,
    ::testing::Values(
        Row{"", kText}, Row{"*/*", kText}, Row{"text/html,*/*;q=0.8", kText},
        // Prometheus 2.42, 2.55 and 3.0; vmagent.
        Row{"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
            "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            kOpenMetrics},
        Row{"application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;"
            "version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2,"
            "*/*;q=0.1",
            kOpenMetrics},
        Row{"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3",
            kOpenMetrics},
        Row{"text/plain;version=0.0.4;q=1,*/*;q=0.1", kText},
        Row{"application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            kOldOpenMetrics},
        Row{"Application/OpenMetrics-Text", kOpenMetrics},
        Row{"text/plain;q=0.9, application/openmetrics-text;q=0.2", kText},
        Row{"application/openmetrics-text;version=2.0.0", kText},
        Row{"application/openmetrics-text;q=0", kText},
        Row{"application/openmetrics-text;q=nonsense", kText},
        Row{"application/openmetrics-text;q=nan", kText}, Row{";;,,q=1;=", kText}));

}  // namespace
}  // namespace consul_canary::base
