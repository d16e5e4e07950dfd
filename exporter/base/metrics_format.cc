#include "exporter/base/metrics_format.h"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace consul_canary::base {
namespace {

constexpr MetricsFormat kOpenMetrics100{
    MetricsSyntax::kOpenMetrics, "application/openmetrics-text; version=1.0.0; charset=utf-8"};
constexpr MetricsFormat kOpenMetrics001{
    MetricsSyntax::kOpenMetrics, "application/openmetrics-text; version=0.0.1; charset=utf-8"};

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t";
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

// The part before `separator`, which is taken off `text` with it.
std::string_view CutUntil(std::string_view& text, char separator) {
  const std::size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return Trimmed(part);
}

bool IsSame(std::string_view text, std::string_view lower) {
  return std::equal(text.begin(), text.end(), lower.begin(), lower.end(), [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == static_cast<unsigned char>(b);
  });
}

struct MediaRange {
  std::string_view type;
  std::string_view version;
  double quality = 1;
};

// A quality that is no number counts as none: the range is as good as not wanted.
MediaRange ParseRange(std::string_view text) {
  MediaRange range;
  range.type = CutUntil(text, ';');
  while (!text.empty()) {
    std::string_view parameter = CutUntil(text, ';');
    const std::string_view name = CutUntil(parameter, '=');
    if (IsSame(name, "version")) range.version = parameter;
    if (!IsSame(name, "q")) continue;
    const auto [end, error] =
        std::from_chars(parameter.data(), parameter.data() + parameter.size(), range.quality);
    const bool whole = error == std::errc() && end == parameter.data() + parameter.size();
    if (!whole || !(range.quality >= 0 && range.quality <= 1)) range.quality = 0;
  }
  return range;
}

}  // namespace

MetricsFormat ChooseMetricsFormat(std::string_view accept) {
  MetricsFormat open_metrics;
  double open_metrics_quality = 0;
  double text_quality = 0;
  while (!accept.empty()) {
    const MediaRange range = ParseRange(CutUntil(accept, ','));
    if (!IsSame(range.type, "application/openmetrics-text")) {
      text_quality = std::max(text_quality, range.quality);
      continue;
    }
    const bool old = range.version == "0.0.1";
    if (!old && !range.version.empty() && range.version != "1.0.0") continue;
    if (range.quality > open_metrics_quality) {
      open_metrics_quality = range.quality;
      open_metrics = old ? kOpenMetrics001 : kOpenMetrics100;
    }
  }
  const bool wanted = open_metrics_quality > 0 && open_metrics_quality >= text_quality;
  return wanted ? open_metrics : MetricsFormat{};
}

}  // namespace consul_canary::base
