#include "exporter/metrics/text_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <iterator>
#include <limits>

#include "exporter/base/utf8.h"

namespace consul_canary::metrics {
namespace {

using base::MetricsSyntax;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Both formats know \\ and \n; a quotation mark is escaped in what stands between such. Prometheus
// refuses a whole page for one byte that is no UTF-8, and sidecars name subsets as they like.
void AppendEscaped(std::string& page, std::string_view text, bool with_quotes) {
  while (!text.empty()) {
    const char c = text[0];
    const std::size_t length = base::Utf8SequenceLength(text);
    if (length == 0) {
      page += base::kUtf8Replacement;
    } else if (c == '\n') {
      page += "\\n";
    } else {
      if (c == '\\' || (c == '"' && with_quotes)) page += '\\';
      page += text.substr(0, length);
    }
    text.remove_prefix(std::max(length, std::size_t{1}));
  }
}

void AppendLabels(std::string& page, Labels labels) {
  for (const auto& [name, value] : labels) {
    if (!page.empty() && page.back() == '"') page += ',';
    page += name;
    page += "=\"";
    AppendEscaped(page, value, /*with_quotes=*/true);
    page += '"';
  }
}

template <class Integer>
void AppendCount(std::string& page, Integer count) {
  std::array<char, 20> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), count);
  page.append(digits.data(), end);
}

void AppendCountAndEnd(std::string& page, std::uint64_t count) {
  std::array<char, 21> digits{};
  char* const end = std::to_chars(digits.data(), digits.data() + digits.size(), count).ptr;
  *end = '\n';
  page.append(digits.data(), end + 1);
}

// The shortest text that reads as the same number; whole numbers without exponent.
void AppendNumber(std::string& page, double value) {
  constexpr double kLargestWhole = 1e15;
  if (std::abs(value) < kLargestWhole && value == std::floor(value)) {
    AppendCount(page, static_cast<std::int64_t>(value));
  } else if (std::isnan(value)) {
    page += "NaN";
  } else if (std::isinf(value)) {
    page += value > 0 ? "+Inf" : "-Inf";
  } else {
    fmt::format_to(std::back_inserter(page), "{}", value);
  }
}

// OpenMetrics wants a whole bound to look like a floating-point number.
std::string BoundAsText(double upper_bound, MetricsSyntax syntax) {
  std::string text;
  AppendNumber(text, upper_bound);
  const bool whole = text.find_first_not_of("-0123456789") == std::string::npos;
  if (whole && syntax == MetricsSyntax::kOpenMetrics) text += ".0";
  return text;
}

std::string_view ToString(MetricType type) {
  switch (type) {
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kCounter:
      return "counter";
    case MetricType::kHistogram:
      break;
  }
  return "histogram";
}

// OpenMetrics' name of a family: a counter's without _total.
std::string_view FamilyName(std::string_view name, MetricType type, MetricsSyntax syntax) {
  constexpr std::string_view kTotal = "_total";
  const bool shortened = type == MetricType::kCounter && syntax == MetricsSyntax::kOpenMetrics;
  if (shortened && name.ends_with(kTotal)) name.remove_suffix(kTotal.size());
  return name;
}

}  // namespace

LabelText::LabelText(Labels labels) { AppendLabels(text_, labels); }

TextWriter::TextWriter(MetricsSyntax syntax, std::size_t expected_bytes) : syntax_(syntax) {
  page_.reserve(expected_bytes);
}

void TextWriter::Begin(std::string_view name, std::string_view help, MetricType type) {
  name_ = name;
  help_ = help;
  type_ = type;
  has_head_ = false;
  bounds_.clear();
  next_bound_ = 0;
}

void TextWriter::WriteHead() {
  has_head_ = true;
  const std::string_view family = FamilyName(name_, type_, syntax_);
  page_ += "# HELP ";
  page_ += family;
  page_ += ' ';
  AppendEscaped(page_, help_, syntax_ == MetricsSyntax::kOpenMetrics);
  page_ += "\n# TYPE ";
  page_ += family;
  page_ += ' ';
  page_ += ToString(type_);
  page_ += '\n';
}

void TextWriter::BeginSeries(std::string_view suffix, const LabelText& common, Labels more) {
  if (!has_head_) WriteHead();
  page_ += name_;
  page_ += suffix;
  if (common.text().empty() && more.size() == 0) {
    page_ += ' ';
    return;
  }
  page_ += '{';
  page_ += common.text();
  AppendLabels(page_, more);
  page_ += "} ";
}

void TextWriter::Add(const LabelText& common, Labels more, double value) {
  BeginSeries("", common, more);
  AppendNumber(page_, value);
  page_ += '\n';
}

void TextWriter::AddCount(const LabelText& common, Labels more, std::uint64_t count) {
  BeginSeries("", common, more);
  AppendCountAndEnd(page_, count);
}

const std::string& TextWriter::BoundText(double upper_bound) {
  if (next_bound_ == bounds_.size()) bounds_.emplace_back();
  Bound& bound = bounds_[next_bound_++];
  if (bound.text.empty() || bound.value != upper_bound) {
    bound.value = upper_bound;
    bound.text = "le=\"" + BoundAsText(upper_bound, syntax_) + "\"} ";
  }
  return bound.text;
}

void TextWriter::AddBucket(const LabelText& labels, double upper_bound,
                           std::uint64_t cumulative_count) {
  if (!has_head_) WriteHead();
  if (next_bound_ == 0) {
    bucket_head_ = name_;
    bucket_head_ += "_bucket{";
    bucket_head_ += labels.text();
    if (!labels.text().empty()) bucket_head_ += ',';
  }
  page_ += bucket_head_;
  page_ += BoundText(upper_bound);
  AppendCountAndEnd(page_, cumulative_count);
  has_infinity_ = upper_bound == kInfinity;
}

void TextWriter::EndHistogram(const LabelText& labels, double sum, std::uint64_t count) {
  if (!has_infinity_) AddBucket(labels, kInfinity, count);
  has_infinity_ = false;
  next_bound_ = 0;
  BeginSeries("_sum", labels, {});
  AppendNumber(page_, sum);
  page_ += '\n';
  BeginSeries("_count", labels, {});
  AppendCountAndEnd(page_, count);
}

std::string TextWriter::Finish() {
  if (syntax_ == MetricsSyntax::kOpenMetrics) page_ += "# EOF\n";
  return std::move(page_);
}

}  // namespace consul_canary::metrics
