#include <algorithm>
#include <charconv>

#include "exporter/envoy/prometheus_text.h"

namespace consul_canary::envoy {
namespace {

// Whether the decimal `text`, which no double can hold, is too small rather than too large.
bool IsTiny(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  const std::size_t mark = text.find_first_of("eE");
  std::string_view exponent = mark == std::string_view::npos ? "0" : text.substr(mark + 1);
  if (exponent.starts_with('-')) return true;  // nobody writes 400 digits and then e-50
  const std::string_view whole = text.substr(0, std::min(mark, text.find('.')));
  if (exponent.starts_with('+')) exponent.remove_prefix(1);
  return exponent == "0" && whole.find_first_not_of('0') == std::string_view::npos;
}

}  // namespace

std::optional<double> ParseFloat(std::string_view text) {
  // from_chars refuses a leading plus, and takes "nan(anything)", which the format does not know.
  if (!text.empty() && text.front() == '+') {
    text.remove_prefix(1);
    if (!text.empty() && text.front() == '-') return std::nullopt;
  }
  if (text.empty() || text.back() == ')') return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range && IsTiny(text)) return 0;
  if (error != std::errc()) return std::nullopt;
  return value;
}

}  // namespace consul_canary::envoy
