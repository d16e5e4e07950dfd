// Reads the Prometheus text format 0.0.4 and OpenMetrics 1.0, one pass, without copying (label
// values with escapes apart). A line that does not parse is reported with its number and skipped:
// it costs nobody else anything. Pure.
//
// Who wants only some names says so, and the rest of the page is passed over at the speed of
// memchr: of a line that is not wanted nothing is looked at but its name and the character behind
// it, which the series of one family share. So such lines are not validated, except that each has
// to begin as a series does. Nor is anything checked across lines: HELP, TYPE and UNIT are skipped
// unread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace consul_canary::envoy {

// They differ in timestamps (whole milliseconds; seconds), in exemplars (none; after a '#') and in
// how a page ends (with its last line; with "# EOF").
enum class TextFormat { kPrometheus, kOpenMetrics };

// What the header Content-Type says: OpenMetrics by its name, else Prometheus (Envoy says
// text/plain alone).
[[nodiscard]] TextFormat FormatOf(std::string_view content_type);

struct Label {
  std::string_view name;
  std::string_view value;   // escapes resolved; UTF-8
  std::string_view text{};  // as it stands on the page: name="value"
  bool is_escaped = false;  // there
};

// One sample line. The views are valid only during the visitor's call.
struct Sample {
  std::string_view name;
  std::span<const Label> labels;  // no name twice
  double value = 0;               // may be NaN or infinite
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

// The line of a series, not parsed yet; views into the page.
struct SeriesLine {
  std::string_view name;
  std::string_view rest;  // what follows the name, without the line's end
  std::size_t number = 0;
  std::string_view reason;  // not empty: why it is no line of a series (name and rest mean nothing)
};

// Walks over the lines of a page that are wanted. The page must outlive it.
class SeriesLines {
 public:
  using IsWanted = bool (*)(std::string_view name);

  // No `is_wanted`: every line is. Else it is asked once for each run of lines of one name.
  explicit SeriesLines(std::string_view page, TextFormat format, IsWanted is_wanted = nullptr);

  // Moves to the next line that is wanted or bad; false at the end of the page. Accepts LF and
  // CRLF. A last line without an end may be half a line, so it is bad: 12 may have been 1234.
  [[nodiscard]] bool Next(SeriesLine& line);

  // Whether the page lacks its end; tells once Next() returned false. Where a page of the
  // Prometheus format is cut at the end of a line, nothing shows it.
  [[nodiscard]] bool cut_off() const;

  // Of the line that Next() came to last; in the end, of all lines.
  [[nodiscard]] std::size_t number() const { return number_; }

 private:
  [[nodiscard]] bool Classify(std::string_view text, bool ended, SeriesLine& line);
  void SkipComment(std::string_view text);

  std::string_view rest_;
  TextFormat format_;
  IsWanted is_wanted_;
  std::size_t number_ = 0;
  std::string_view name_;  // of the last line that had one
  bool wanted_ = false;    // whether that name is
  bool last_line_ended_ = true;
  bool at_end_mark_ = false;  // "# EOF" was read
};

// Parses lines of one page into samples. Keeps its buffers between lines, so that a page costs a
// handful of allocations.
class SampleParser {
 public:
  explicit SampleParser(TextFormat format) : format_(format) {}

  // The reason why the line is no sample; empty when sample() is.
  [[nodiscard]] std::string_view Parse(const SeriesLine& line);

  // Valid until the next line is parsed and as long as the page.
  [[nodiscard]] const Sample& sample() const { return sample_; }

 private:
  [[nodiscard]] std::string_view ParseLabels(std::string_view& rest);

  TextFormat format_;
  Sample sample_;
  std::vector<Label> labels_;
  std::vector<Label> labels_before_;   // of the line that was parsed before
  std::deque<std::string> unescaped_;  // a deque: labels_ points into it
};

// What follows the labels: the value, where there is one the timestamp, and in OpenMetrics an
// exemplar, which is checked and dropped. Sets value and timestamp, or gives the reason why not.
[[nodiscard]] std::string_view ParseValue(std::string_view text, TextFormat format, Sample& sample);

struct TextSummary {
  std::size_t lines = 0;
  bool cut_off = false;  // see SeriesLines
};

// Calls `on_sample` for every sample in order, `on_bad_line` for every line that is none.
TextSummary ParsePrometheusText(std::string_view text,
                                const std::function<void(const Sample&)>& on_sample,
                                const std::function<void(const BadLine&)>& on_bad_line,
                                TextFormat format = TextFormat::kPrometheus);

// A decimal with or without exponent, NaN or [+-]Inf; nullopt for anything else and for what is too
// large. What is too small is 0. No locale, no surrounding blanks.
[[nodiscard]] std::optional<double> ParseFloat(std::string_view text);

}  // namespace consul_canary::envoy
