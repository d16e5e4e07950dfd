// Reads the Prometheus text format 0.0.4, one pass, without copying (label values with escapes
// apart). A line that does not parse is reported with its number and skipped: it costs nobody else
// anything. Comments, HELP and TYPE are skipped unread; nothing is checked across lines. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

namespace consul_canary::envoy {

struct Label {
  std::string_view name;
  std::string_view value;  // escapes resolved
};

// One sample line. The views are valid only during the visitor's call.
struct Sample {
  std::string_view name;
  std::span<const Label> labels;
  double value = 0;  // may be NaN or infinite
  std::optional<std::int64_t> timestamp_ms;
  std::size_t line = 0;  // counted from 1

  // Value of the label; nullopt when the sample has none of that name.
  [[nodiscard]] std::optional<std::string_view> Find(std::string_view label) const;
};

// A line that was skipped. `reason` is a literal.
struct BadLine {
  std::size_t line = 0;
  std::string_view reason;
};

// Calls `on_sample` for every sample in order, `on_bad_line` for every line that is none. Accepts
// LF and CRLF; the last line needs no end.
void ParsePrometheusText(std::string_view text, const std::function<void(const Sample&)>& on_sample,
                         const std::function<void(const BadLine&)>& on_bad_line);

// A decimal with or without exponent, NaN or [+-]Inf; nullopt for anything else or out of range. No
// locale, no surrounding blanks.
[[nodiscard]] std::optional<double> ParseFloat(std::string_view text);

}  // namespace consul_canary::envoy
