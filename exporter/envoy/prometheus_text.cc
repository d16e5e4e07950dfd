#include "exporter/envoy/prometheus_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>

#include "exporter/envoy/name_bytes.h"

namespace consul_canary::envoy {
namespace {

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

  std::string_view TakeName() { return Take(NameLength(rest_)); }

  std::string_view TakeWord() {
    return Take(static_cast<std::size_t>(std::find_if(rest_.begin(), rest_.end(), IsBlank) -
                                         rest_.begin()));
  }

  // What stands before the closing quote, still escaped; nullopt without one. Takes the quote too.
  std::optional<std::string_view> TakeQuoted(bool& escaped) {
    std::size_t end = rest_.find('"');
    escaped = rest_.substr(0, end).find('\\') != std::string_view::npos;
    if (escaped) end = FindUnescapedQuote();
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view taken = Take(end);
    rest_.remove_prefix(1);
    return taken;
  }

  void Skip(std::size_t length) { rest_.remove_prefix(length); }

  [[nodiscard]] bool AtEnd() const { return rest_.empty(); }
  [[nodiscard]] char Peek() const { return rest_.empty() ? '\0' : rest_.front(); }
  [[nodiscard]] std::string_view rest() const { return rest_; }

 private:
  [[nodiscard]] std::size_t FindUnescapedQuote() const {
    for (std::size_t i = 0; i < rest_.size(); ++i) {
      if (rest_[i] == '"') return i;
      if (rest_[i] == '\\') ++i;
    }
    return std::string_view::npos;
  }

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

// Length of the UTF-8 sequence that `text` begins with; 0 for none (RFC 3629: no surrogates, no
// overlong forms, nothing above U+10FFFF).
std::size_t SequenceLength(std::string_view text) {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead < 0xC2   ? 0
                             : lead < 0xE0 ? 2
                             : lead < 0xF0 ? 3
                             : lead < 0xF5 ? 4
                                           : 0;
  if (length == 0 || text.size() < length) return 0;
  const unsigned char lowest = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char highest = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < lowest || byte(1) > highest) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xBF) return 0;
  }
  return length;
}

// Prometheus refuses a whole page for one label that is not, so it must not be passed on.
bool IsUtf8(std::string_view text) {
  constexpr std::uint64_t kNoAscii = 0x8080808080808080U;
  while (!text.empty()) {
    std::uint64_t bytes = 0;
    if (text.size() >= sizeof(bytes)) {
      std::memcpy(&bytes, text.data(), sizeof(bytes));
      if ((bytes & kNoAscii) == 0) {
        text.remove_prefix(sizeof(bytes));
        continue;
      }
    }
    const std::size_t length = SequenceLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

// The labels of one line. As far as they stand as in the line before, they are not parsed: the
// series of a page are mostly alike.
class LabelParser {
 public:
  LabelParser(std::span<const Label> before, std::vector<Label>& labels,
              std::deque<std::string>& unescaped)
      : before_(before), labels_(labels), unescaped_(unescaped) {}

  // What stands after '{', up to and with '}'. The reason why it is none.
  std::string_view Parse(Line& line) {
    for (;;) {
      if (TakeAsBefore(line)) continue;
      line.SkipBlanks();
      if (line.TakeChar('}')) return {};
      if (const std::string_view reason = ParseLabel(line); !reason.empty()) return reason;
      line.SkipBlanks();
      if (!line.TakeChar(',') && line.Peek() != '}') return "no ',' or '}' after a label";
    }
  }

 private:
  // The label, and the comma after it, where they are those of the line before at this place.
  bool TakeAsBefore(Line& line) {
    if (!names_as_before_ || labels_.size() >= before_.size()) return false;
    const Label& label = before_[labels_.size()];
    const std::size_t length = label.text.size();
    const std::string_view rest = line.rest();
    // An escaped value has been resolved elsewhere.
    if (label.is_escaped || rest.size() <= length || rest[length] != ',' ||
        !rest.starts_with(label.text)) {
      return false;
    }
    const auto here = [&](std::string_view part) {
      return std::string_view(rest.data() + (part.data() - label.text.data()), part.size());
    };
    labels_.push_back({here(label.name), here(label.value), here(label.text)});
    line.Skip(length + 1);
    return true;
  }

  std::string_view ParseLabel(Line& line) {
    const char* const begin = line.rest().data();
    Label label;
    label.name = line.TakeName();
    if (label.name.empty()) return "no label name";
    if (label.name.find(':') != std::string_view::npos) return "colon in a label name";
    if (StandsTwice(label.name)) return "label name stands twice";
    line.SkipBlanks();
    if (!line.TakeChar('=')) return "no '=' after a label name";
    line.SkipBlanks();
    if (!line.TakeChar('"')) return "label value without quotes";
    const std::optional<std::string_view> value = line.TakeQuoted(label.is_escaped);
    if (!value) return "label value without closing quote";
    if (!IsUtf8(*value)) return "label value is not UTF-8";
    label.value = label.is_escaped ? unescaped_.emplace_back(Unescape(*value)) : *value;
    label.text = {begin, static_cast<std::size_t>(line.rest().data() - begin)};
    labels_.push_back(label);
    return {};
  }

  // The names of the line before are known to be different ones.
  bool StandsTwice(std::string_view name) {
    names_as_before_ =
        names_as_before_ && labels_.size() < before_.size() && before_[labels_.size()].name == name;
    return !names_as_before_ &&
           std::any_of(labels_.begin(), labels_.end(),
                       [name](const Label& label) { return label.name == name; });
  }

  std::span<const Label> before_;
  std::vector<Label>& labels_;
  std::deque<std::string>& unescaped_;
  bool names_as_before_ = true;  // so far, at each place
};

std::optional<std::int64_t> ParseMilliseconds(std::string_view text) {
  std::int64_t milliseconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), milliseconds);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return milliseconds;
}

// The one of OpenMetrics: seconds, with or without a fraction.
std::optional<std::int64_t> ParseSeconds(std::string_view text) {
  constexpr double kLargest = 9.2e15;  // seconds whose milliseconds fit
  const std::optional<double> seconds = ParseFloat(text);
  if (!seconds || !(std::abs(*seconds) < kLargest)) return std::nullopt;
  return static_cast<std::int64_t>(std::llround(*seconds * 1000));
}

// `# {trace_id="…"} 0.67 1520879607.789`, without the '#'.
std::string_view CheckExemplar(Line& line) {
  line.SkipBlanks();
  if (!line.TakeChar('{')) return "exemplar without labels";
  std::vector<Label> labels;
  std::deque<std::string> unescaped;
  if (const std::string_view reason = LabelParser({}, labels, unescaped).Parse(line);
      !reason.empty()) {
    return reason;
  }
  line.SkipBlanks();
  if (!ParseFloat(line.TakeWord())) return "exemplar's value is not a number";
  line.SkipBlanks();
  if (line.AtEnd()) return {};
  if (!ParseSeconds(line.TakeWord())) return "exemplar's timestamp is not a number";
  line.SkipBlanks();
  return line.AtEnd() ? std::string_view() : "text after the exemplar";
}

}  // namespace

std::optional<std::string_view> Sample::Find(std::string_view label) const {
  for (const Label& candidate : labels) {
    if (candidate.name == label) return candidate.value;
  }
  return std::nullopt;
}

std::string_view SampleParser::Parse(const SeriesLine& line) {
  if (!line.reason.empty()) return line.reason;
  sample_.name = line.name;
  sample_.line = line.number;
  std::swap(labels_, labels_before_);
  labels_.clear();
  unescaped_.clear();
  std::string_view rest = line.rest;
  if (const std::string_view reason = ParseLabels(rest); !reason.empty()) return reason;
  sample_.labels = labels_;
  return ParseValue(rest, format_, sample_);
}

std::string_view SampleParser::ParseLabels(std::string_view& rest) {
  Line line(rest);
  if (!line.AtEnd() && !IsBlank(line.Peek()) && line.Peek() != '{') {
    return "unexpected character after the metric name";
  }
  line.SkipBlanks();
  std::string_view reason;
  if (line.TakeChar('{')) reason = LabelParser(labels_before_, labels_, unescaped_).Parse(line);
  rest = line.rest();
  return reason;
}

std::string_view ParseValue(std::string_view text, TextFormat format, Sample& sample) {
  const bool open_metrics = format == TextFormat::kOpenMetrics;
  Line line(text);
  line.SkipBlanks();
  const std::string_view word = line.TakeWord();
  if (word.empty()) return "no value";
  const std::optional<double> value = ParseFloat(word);
  if (!value) return "value is not a number";
  sample.value = *value;
  sample.timestamp_ms.reset();
  line.SkipBlanks();
  if (line.AtEnd()) return {};
  if (!open_metrics || line.Peek() != '#') {
    const std::string_view stamp = line.TakeWord();
    sample.timestamp_ms = open_metrics ? ParseSeconds(stamp) : ParseMilliseconds(stamp);
    if (!sample.timestamp_ms) {
      return open_metrics ? "timestamp is not a number" : "timestamp is not a whole number";
    }
    line.SkipBlanks();
  }
  if (open_metrics && line.TakeChar('#')) return CheckExemplar(line);
  return line.AtEnd() ? std::string_view() : "text after the timestamp";
}

TextSummary ParsePrometheusText(std::string_view text,
                                const std::function<void(const Sample&)>& on_sample,
                                const std::function<void(const BadLine&)>& on_bad_line,
                                TextFormat format) {
  SeriesLines lines(text, format);
  SampleParser parser(format);
  SeriesLine line;
  while (lines.Next(line)) {
    if (const std::string_view reason = parser.Parse(line); !reason.empty()) {
      on_bad_line(BadLine{line.number, reason});
    } else {
      on_sample(parser.sample());
    }
  }
  return {lines.number(), lines.cut_off()};
}

}  // namespace consul_canary::envoy
