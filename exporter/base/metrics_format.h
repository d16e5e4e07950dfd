// In which of Prometheus' two formats a page of metrics is asked for. Pure.
#pragma once

#include <string_view>

namespace consul_canary::base {

enum class MetricsSyntax { kText, kOpenMetrics };

// To be sent as the page's Content-Type.
struct MetricsFormat {
  MetricsSyntax syntax = MetricsSyntax::kText;
  std::string_view content_type = "text/plain; version=0.0.4; charset=utf-8";  // a literal

  bool operator==(const MetricsFormat&) const = default;
};

// By an Accept header: OpenMetrics (1.0.0 or 0.0.1, which differ in nothing that we write) where it
// is wanted at least as much as any text, else the text format 0.0.4, whatever was asked for.
[[nodiscard]] MetricsFormat ChooseMetricsFormat(std::string_view accept);

}  // namespace consul_canary::base
