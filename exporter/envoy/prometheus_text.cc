#include "exporter/envoy/prometheus_text.h"

#include <charconv>
#include <deque>
#include <string>
#include <vector>

namespace consul_canary::envoy {
namespace {

bool IsNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
}

bool IsNameChar(char c) { return IsNameStart(c) || (c >= '0' && c <= '9'); }

bool IsBlank(char c) { return c == ' ' || c == '\t'; }

// A cursor over one line. Each Take… moves past what it returns; an empty answer means that the
// expected thing is not there.
class Line {
 public:
  explicit Line(std::string_view text) : rest_(text) {}

  void SkipBlanks() {
    while (!rest_.empty() && IsBlank(rest_.front())) rest_.remove_prefix(1);
  }

  bool TakeChar(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  std::string_view TakeName() {
    std::size_t length = 0;
    if (!rest_.empty() && IsNameStart(rest_.front())) {
      do ++length;
      while (length < rest_.size() && IsNameChar(rest_[length]));
    }
    return Take(length);
  }

  std::string_view TakeWord() {
    std::size_t length = 0;
    while (length < rest_.size() && !IsBlank(rest_[length])) ++length;
    return Take(length);
  }

  // What stands before the closing quote, still escaped; nullopt without one. Takes the quote too.
  std::optional<std::string_view> TakeQuoted(bool& escaped) {
    escaped = false;
    for (std::size_t i = 0; i < rest_.size(); ++i) {
      if (rest_[i] == '\\') {
        escaped = true;
        ++i;
      } else if (rest_[i] == '"') {
        const std::string_view taken = Take(i);
        rest_.remove_prefix(1);
        return taken;
      }
    }
    return std::nullopt;
  }

  [[nodiscard]] bool AtEnd() const { return rest_.empty(); }
  [[nodiscard]] char Peek() const { return rest_.empty() ? '\0' : rest_.front(); }

 private:
  std::string_view Take(std::size_t length) {
    const std::string_view taken = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return taken;
  }

  std::string_view rest_;
};

// Prometheus keeps an unknown escape as it stands, backslash included.
std::string Unescape(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      plain += text[i];
      continue;
    }
    const char next = text[++i];
    if (next == 'n') {
      plain += '\n';
    } else {
      if (next != '\\' && next != '"') plain += '\\';
      plain += next;
    }
  }
  return plain;
}

// Keeps its buffers between lines, so that a page costs a handful of allocations.
class SampleParser {
 public:
  // The reason why `text` is no sample; empty when sample() is.
  std::string_view Parse(std::string_view text) {
    Line line(text);
    line.SkipBlanks();
    sample_.name = line.TakeName();
    if (sample_.name.empty()) return "no metric name";
    labels_.clear();
    unescaped_.clear();
    line.SkipBlanks();
    if (line.TakeChar('{')) {
      if (const std::string_view reason = ParseLabels(line); !reason.empty()) return reason;
    } else if (line.Peek() == '"' || line.Peek() == '}') {
      return "unexpected character after the metric name";
    }
    sample_.labels = labels_;
    return ParseValue(line);
  }

  [[nodiscard]] Sample& sample() { return sample_; }

 private:
  std::string_view ParseLabels(Line& line) {
    for (;;) {
      line.SkipBlanks();
      if (line.TakeChar('}')) return {};
      Label label;
      label.name = line.TakeName();
      if (label.name.empty()) return "no label name";
      if (label.name.find(':') != std::string_view::npos) return "colon in a label name";
      line.SkipBlanks();
      if (!line.TakeChar('=')) return "no '=' after a label name";
      line.SkipBlanks();
      if (!line.TakeChar('"')) return "label value without quotes";
      bool escaped = false;
      const std::optional<std::string_view> value = line.TakeQuoted(escaped);
      if (!value) return "label value without closing quote";
      label.value = escaped ? unescaped_.emplace_back(Unescape(*value)) : *value;
      labels_.push_back(label);
      line.SkipBlanks();
      if (!line.TakeChar(',') && line.Peek() != '}') return "no ',' or '}' after a label";
    }
  }

  std::string_view ParseValue(Line& line) {
    line.SkipBlanks();
    const std::string_view word = line.TakeWord();
    if (word.empty()) return "no value";
    const std::optional<double> value = ParseFloat(word);
    if (!value) return "value is not a number";
    sample_.value = *value;
    sample_.timestamp_ms.reset();
    line.SkipBlanks();
    if (line.AtEnd()) return {};
    const std::string_view stamp = line.TakeWord();
    std::int64_t milliseconds = 0;
    const auto [end, error] =
        std::from_chars(stamp.data(), stamp.data() + stamp.size(), milliseconds);
    if (error != std::errc() || end != stamp.data() + stamp.size()) {
      return "timestamp is not a whole number";
    }
    sample_.timestamp_ms = milliseconds;
    line.SkipBlanks();
    return line.AtEnd() ? std::string_view() : "text after the timestamp";
  }

  Sample sample_;
  std::vector<Label> labels_;
  std::deque<std::string> unescaped_;  // a deque: labels_ points into it
};

}  // namespace

std::optional<std::string_view> Sample::Find(std::string_view label) const {
  for (const Label& candidate : labels) {
    if (candidate.name == label) return candidate.value;
  }
  return std::nullopt;
}

std::optional<double> ParseFloat(std::string_view text) {
  // from_chars refuses a leading plus, and takes "nan(anything)", which the format does not know.
  if (!text.empty() && text.front() == '+') {
    text.remove_prefix(1);
    if (!text.empty() && text.front() == '-') return std::nullopt;
  }
  if (text.empty() || text.back() == ')') return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

void ParsePrometheusText(std::string_view text, const std::function<void(const Sample&)>& on_sample,
                         const std::function<void(const BadLine&)>& on_bad_line) {
  SampleParser parser;
  std::size_t number = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    const std::size_t first = line.find_first_not_of(" \t");
    if (first == std::string_view::npos || line[first] == '#') continue;
    if (const std::string_view reason = parser.Parse(line); !reason.empty()) {
      on_bad_line(BadLine{number, reason});
    } else {
      parser.sample().line = number;
      on_sample(parser.sample());
    }
  }
}

}  // namespace consul_canary::envoy
