#include <algorithm>
#include <cstring>

#include "exporter/envoy/name_bytes.h"
#include "exporter/envoy/prometheus_text.h"

namespace consul_canary::envoy {
namespace {

// Envoy's lines under Consul take some 1.2 kB, and no label of theirs is long.
constexpr std::size_t kLongestLineBytes = std::size_t{64} * 1024;

bool BeginsLabelsOrValue(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  return first != std::string_view::npos &&
         std::string_view("{0123456789+-.NI").find(text[first]) != std::string_view::npos;
}

}  // namespace

TextFormat FormatOf(std::string_view content_type) {
  constexpr std::string_view kOpenMetrics = "application/openmetrics-text";
  const auto equal = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; };
  const std::string_view begin = content_type.substr(0, kOpenMetrics.size());
  return std::equal(begin.begin(), begin.end(), kOpenMetrics.begin(), kOpenMetrics.end(), equal)
             ? TextFormat::kOpenMetrics
             : TextFormat::kPrometheus;
}

SeriesLines::SeriesLines(std::string_view page, TextFormat format, IsWanted is_wanted)
    : rest_(page), format_(format), is_wanted_(is_wanted), wanted_(is_wanted == nullptr) {}

bool SeriesLines::Next(SeriesLine& line) {
  while (!rest_.empty()) {
    const void* end = std::memchr(rest_.data(), '\n', rest_.size());
    last_line_ended_ = end != nullptr;
    const std::size_t length =
        last_line_ended_ ? static_cast<std::size_t>(static_cast<const char*>(end) - rest_.data())
                         : rest_.size();
    const std::string_view text = rest_.substr(0, length);
    rest_.remove_prefix(length + (last_line_ended_ ? 1 : 0));
    ++number_;
    if (Classify(text, last_line_ended_, line)) {
      line.number = number_;
      return true;
    }
  }
  return false;
}

bool SeriesLines::cut_off() const {
  return format_ == TextFormat::kOpenMetrics ? !at_end_mark_ : !last_line_ended_;
}

// Whether the line is one to be handed out.
bool SeriesLines::Classify(std::string_view text, bool ended, SeriesLine& line) {
  line.reason = {};
  const bool same_name = !name_.empty() && text.size() > name_.size() && text.starts_with(name_) &&
                         !IsNameChar(text[name_.size()]);
  if (!same_name) {
    while (!text.empty() && IsBlank(text.front())) text.remove_prefix(1);
    if (text.empty() || text == "\r") return false;
    if (text.front() == '#') {
      SkipComment(text);
      return false;
    }
    if (!IsNameStart(text.front())) {
      line.reason = "no metric name";
      return true;
    }
    const std::string_view name = text.substr(0, NameLength(text));
    if (is_wanted_ != nullptr && name != name_) wanted_ = is_wanted_(name);
    name_ = name;
    // Else a page of plain words would pass for one without anything of interest.
    if (!wanted_ && !BeginsLabelsOrValue(text.substr(name.size()))) {
      line.reason = "neither labels nor a value after the name";
      return true;
    }
  }
  if (!wanted_) return false;
  if (text.size() > kLongestLineBytes) {
    line.reason = "line is too long";
  } else if (!ended) {
    line.reason = "page ends within the line";
  } else if (at_end_mark_) {
    line.reason = "line after # EOF";
  }
  if (text.ends_with('\r')) text.remove_suffix(1);
  line.name = name_;
  line.rest = text.substr(name_.size());
  return true;
}

void SeriesLines::SkipComment(std::string_view text) {
  if (format_ != TextFormat::kOpenMetrics) return;
  if (text.ends_with('\r')) text.remove_suffix(1);
  if (text == "# EOF") at_end_mark_ = true;
}

}  // namespace consul_canary::envoy
