// What the lines of a recording are made of.
#include "analyzer/config/recording_read.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <vector>

#include "analyzer/config/spec_file.h"

namespace consul_canary::config {
namespace {

using Json = RecordingJson;

constexpr std::int64_t kMostAtOnce = 1'000'000'000'000;
constexpr std::int64_t kMostInAll = 100'000'000'000'000'000;
constexpr std::size_t kMostBytes = std::size_t{8} << 20;
constexpr std::size_t kMostDepth = 32;

// "[json.exception.parse_error.101] parse error at line 1, column 2: …" → "…"
std::string WithoutPrefix(const std::string& message) {
  const std::size_t column = message.find("column ");
  const std::size_t colon = column == std::string::npos ? column : message.find(": ", column);
  if (colon != std::string::npos) return message.substr(colon + 2);
  const std::size_t bracket = message.find("] ");
  return bracket == std::string::npos ? message : message.substr(bracket + 2);
}

// The parser's events, of which none is kept.
class Checks {
 public:
  explicit Checks(std::int64_t total) : total_(total) {}

  [[nodiscard]] std::int64_t total() const { return total_; }
  [[nodiscard]] const std::string& problem() const { return problem_; }

  static bool null() { return true; }
  static bool boolean(bool) { return true; }
  bool number_integer(Json::number_integer_t) { return true; }
  bool number_unsigned(Json::number_unsigned_t value) {
    if (value > std::uint64_t{kMostAtOnce}) return true;  // its field refuses it
    total_ += static_cast<std::int64_t>(value);
    if (total_ <= kMostInAll) return true;
    return Refuse("the counts of the lines so far come to more than 1e17");
  }
  bool number_float(Json::number_float_t, const std::string&) { return true; }
  bool string(std::string&) { return true; }
  bool binary(Json::binary_t&) { return false; }  // does not occur in text
  bool start_object(std::size_t) { return Open(); }
  bool key(std::string& value) {
    if (open_.back().insert(value).second) return true;
    return Refuse(value + ": is given twice");
  }
  bool end_object() { return Close(); }
  bool start_array(std::size_t) { return Open(); }
  bool end_array() { return Close(); }
  bool parse_error(std::size_t, const std::string&, const Json::exception& error) {
    return Refuse(std::string(kNoJson) + ": " + WithoutPrefix(error.what()));
  }

 private:
  bool Refuse(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }
  bool Open() {
    if (open_.size() >= kMostDepth) return Refuse("is nested too deeply");
    open_.emplace_back();
    return true;
  }
  bool Close() {
    open_.pop_back();
    return true;
  }

  std::int64_t total_;
  std::string problem_;
  std::vector<std::set<std::string>> open_;  // the keys of each object that is not closed yet
};

std::optional<double> EdgeOf(std::string_view text) {
  const bool is_milliseconds = text.ends_with("ms");
  if (!text.ends_with('s')) return std::nullopt;
  text.remove_suffix(is_milliseconds ? 2 : 1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (!std::isfinite(value) || value <= 0) return std::nullopt;
  return is_milliseconds ? value / 1000 : value;
}

}  // namespace

Json LineReader::Read(std::string_view row) {
  if (row.size() > kMostBytes) {
    throw Wrong(fmt::format("is longer than {} MiB", kMostBytes >> 20));
  }
  Checks checks(total_);
  if (!Json::sax_parse(row.begin(), row.end(), &checks)) throw Wrong(checks.problem());
  total_ = checks.total();
  return Json::parse(row);
}

std::int64_t Whole(const Json& value, const std::string& field) {
  if (!value.is_number_integer() || value < 0 || value > kMostAtOnce) {
    throw Wrong(field + ": must be a whole number from 0 to 10^12");
  }
  return value.get<std::int64_t>();
}

double Number(const Json& value, const std::string& field, double most) {
  if (!value.is_number() || !(value.get<double>() >= 0) || !(value.get<double>() <= most)) {
    throw Wrong(fmt::format("{}: must be a number from 0 to {:g}", field, most));
  }
  return value.get<double>();
}

double Seconds(const Json& value, const std::string& field) {
  return Number(value, field, kMostSeconds);
}

double Percent(const Json& value, const std::string& field) {
  constexpr double kWhole = 100;
  return Number(value, field, kWhole);
}

bool YesOrNo(const Json& value, const std::string& field) {
  if (!value.is_boolean()) throw Wrong(field + ": must be true or false");
  return value.get<bool>();
}

std::string Words(const Json& value, const std::string& field) {
  if (!value.is_string()) throw Wrong(field + ": must be text");
  return value.get<std::string>();
}

std::int64_t Count(const Json& object, const std::string& where, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) throw Wrong(where + "." + key + ": is missing");
  return Whole(*found, where + "." + key);
}

std::int64_t CountOr(const Json& object, const std::string& where, const char* key,
                     std::int64_t otherwise) {
  return object.contains(key) ? Count(object, where, key) : otherwise;
}

void OnlyKnown(const Json& object, const std::string& where, const std::string& shape,
               const std::set<std::string>& known) {
  if (!object.is_object()) throw Wrong(where + ": must be " + shape);
  for (const auto& [key, value] : object.items()) {
    if (known.contains(key)) continue;
    throw Wrong(
        fmt::format("{}.{}: is not known; there are {}", where, key, fmt::join(known, ", ")));
  }
}

stats::Counts ReadCounts(const Json& object, const std::string& where) {
  const stats::Counts counts{Count(object, where, "completed"), Count(object, where, "failures")};
  if (counts.failures > counts.completed) {
    throw Wrong(where + ".failures: must not exceed completed");
  }
  return counts;
}

stats::LatencyCounts ReadLatency(const Json& object, const std::string& where,
                                 std::int64_t completed) {
  stats::LatencyCounts latency;
  const auto slower = object.find("slower");
  const bool is_given = slower != object.end();
  latency.timed = CountOr(object, where, "timed", is_given ? completed : 0);
  if (!is_given) return latency;
  const std::string field = where + ".slower";
  if (!slower->is_object()) throw Wrong(field + ": must be {\"250ms\": k}");
  std::map<double, std::int64_t> by_edge;
  for (const auto& [key, value] : slower->items()) {
    const auto edge = EdgeOf(key);
    if (!edge) throw Wrong(field + "." + key + ": must be an edge such as 250ms or 2.5s");
    if (!by_edge.emplace(*edge, Whole(value, field + "." + key)).second) {
      throw Wrong(field + "." + key + ": is given twice");
    }
  }
  std::int64_t most = latency.timed;
  for (const auto& [edge, count] : by_edge) {
    if (count > most) {
      throw Wrong(fmt::format("{}.{}: must not exceed {}", field, EdgeText(edge),
                              latency.slower.empty() ? "timed" : "that of the edge before"));
    }
    most = count;
    latency.slower.emplace_back(edge, count);
  }
  return latency;
}

rollout::Spec ReadRecordedSpec(const Json& json) {
  auto spec = ParseSpec(json.dump());
  if (spec) return std::move(*spec);
  std::vector<std::string> problems;
  for (const FieldError& error : spec.error()) {
    problems.push_back(
        fmt::format("spec{}{}: {}", error.field.empty() ? "" : ": ", error.field, error.problem));
  }
  throw Wrong(fmt::format("{}", fmt::join(problems, "\n")));
}

}  // namespace consul_canary::config
