// Reading. Writing is recording_text.cc's.
#include "analyzer/config/recording.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <stdexcept>

#include "analyzer/config/spec_file.h"

namespace consul_canary::config {
namespace {

// Ordered: which of many instances are remembered depends on which came first.
using Json = nlohmann::ordered_json;

constexpr double kFirstTickSeconds = 1;

// Thrown inside this file only, turned into a Result where the line is known.
struct Wrong : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::int64_t Whole(const Json& value, const std::string& field) {
  constexpr std::int64_t kMost = std::int64_t{1} << 53;  // exact in every JSON reader
  if (!value.is_number_integer() || value.get<std::int64_t>() < 0 ||
      value.get<std::int64_t>() > kMost) {
    throw Wrong(field + ": must be a whole number from 0 to 2^53");
  }
  return value.get<std::int64_t>();
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

double Number(const Json& value, const std::string& field) {
  if (!value.is_number() || !std::isfinite(value.get<double>()) || value.get<double>() < 0) {
    throw Wrong(field + ": must be a number from 0 on");
  }
  return value.get<double>();
}

bool YesOrNo(const Json& value, const std::string& field) {
  if (!value.is_boolean()) throw Wrong(field + ": must be true or false");
  return value.get<bool>();
}

// A number of instances, or whether there are any.
int Instances(const Json& value, const std::string& field) {
  constexpr std::int64_t kMost = 1'000'000;
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  return static_cast<int>(std::min(Whole(value, field), kMost));
}

std::string Words(const Json& value, const std::string& field) {
  if (!value.is_string()) throw Wrong(field + ": must be text");
  return value.get<std::string>();
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

void Note(std::vector<std::string>& notes, const std::string& key) {
  if (std::find(notes.begin(), notes.end(), key) == notes.end()) notes.push_back(key);
}

stats::Counts ReadCounts(const Json& object, const std::string& where) {
  const stats::Counts counts{Count(object, where, "completed"), Count(object, where, "failures")};
  if (counts.failures > counts.completed) {
    throw Wrong(where + ".failures: must not exceed completed");
  }
  return counts;
}

// --- latency

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

// --- a tick

// All but `late`, which a tick has beside it.
void ReadSubset(const Json& object, const std::string& where, rollout::SubsetTick& tick) {
  OnlyKnown(object, where, R"({"completed": n, "failures": x})",
            {"completed", "failures", "failures_high", "timed", "slower"});
  tick.low = ReadCounts(object, where);
  tick.high = {tick.low.completed, CountOr(object, where, "failures_high", tick.low.failures)};
  if (tick.high.failures < tick.low.failures || tick.high.failures > tick.high.completed) {
    throw Wrong(where + ".failures_high: must lie between failures and completed");
  }
  tick.latency = ReadLatency(object, where, tick.low.completed);
}

const std::set<std::string> kInstanceKeys{"completed", "failures", "timed", "slower"};

// What its callers or its own sidecar counted, and how long that took; either may be missing.
void ReadInstance(const Json& object, const std::string& where, const std::string& id,
                  rollout::TickCounts& counts) {
  OnlyKnown(object, where, R"({"completed": n, "failures": x})", kInstanceKeys);
  const bool is_timed = object.contains("timed") || object.contains("slower");
  std::int64_t completed = 0;
  if (!is_timed || object.contains("completed") || object.contains("failures")) {
    counts.primary_instances.emplace_back(id, ReadCounts(object, where));
    completed = counts.primary_instances.back().second.completed;
  }
  if (is_timed) {
    counts.primary_instance_latency.emplace_back(id, ReadLatency(object, where, completed));
  }
}

void ReadInstances(const Json& value, RecordedTick& tick, Recording& recording) {
  OnlyKnown(value, "instances", R"({"primary": {…}, "canary": {…}})", {"primary", "canary"});
  for (const auto& [subset, instances] : value.items()) {
    const std::string where = "instances." + subset;
    if (!instances.is_object()) throw Wrong(where + ": must be {\"<id>\": {…}}");
    rollout::TickCounts counts;
    for (const auto& [id, object] : instances.items()) {
      ReadInstance(object, where + "." + id, id, counts);
    }
    if (subset == "primary") {
      tick.counts.primary_instances = std::move(counts.primary_instances);
      tick.counts.primary_instance_latency = std::move(counts.primary_instance_latency);
    } else {
      tick.canary_instances = std::move(counts.primary_instances);
      Note(recording.not_judged, where);
    }
  }
}

rollout::Order ReadOrder(const Json& item) {
  const Json& word = item.is_object() && item.contains("order") ? item["order"] : item;
  const auto kind =
      word.is_string() ? rollout::OrderKindFromString(word.get<std::string>()) : std::nullopt;
  if (!kind) throw Wrong("orders: " + word.dump() + " is no order");
  rollout::Order order{.kind = *kind, .by = "recording"};
  if (!item.is_object()) return order;
  const std::map<std::string, std::string*> texts{{"by", &order.by},
                                                  {"version", &order.version},
                                                  {"alert", &order.alert},
                                                  {"alert_key", &order.alert_key}};
  for (const auto& [key, value] : item.items()) {
    if (const auto text = texts.find(key); text != texts.end()) {
      *text->second = Words(value, "orders." + key);
    } else if (key == "full") {
      order.full = YesOrNo(value, "orders.full");
    } else if (key == "alert_started_wall_seconds") {
      if (!value.is_number() || !std::isfinite(value.get<double>())) {
        throw Wrong("orders.alert_started_wall_seconds: must be a number");
      }
      order.alert_started_wall_seconds = value.get<double>();
    } else if (key != "order") {
      throw Wrong("orders." + key + ": is not known");
    }
  }
  return order;
}

std::vector<rollout::Order> ReadOrders(const Json& list) {
  if (!list.is_array()) throw Wrong("orders: must be a list such as [\"abort\"]");
  std::vector<rollout::Order> orders;
  for (const Json& item : list) orders.push_back(ReadOrder(item));
  return orders;
}

void ReadLate(const Json& value, RecordedTick& tick, Recording& recording) {
  OnlyKnown(value, "late", R"({"started": n, "late": k})", {"started", "late"});
  stats::LateCounts& late = tick.counts.canary.late;
  late = {Count(value, "late", "started"), Count(value, "late", "late")};
  if (late.late > late.started) throw Wrong("late.late: must not exceed started");
  if (recording.late_after_seconds > 0 || recording.primary_latency_history) return;
  throw Wrong("late: needs late_after in the first line, or history.primary.slower");
}

using ReadKey = void (*)(const Json& value, RecordedTick& tick, Recording& recording);

const std::map<std::string, ReadKey>& TickKeys() {
  using J = const Json&;
  static const std::map<std::string, ReadKey> kKeys{
      {"t", [](J v, RecordedTick& tick, Recording&) { tick.t = Number(v, "t"); }},
      {"elapsed",
       [](J v, RecordedTick& tick, Recording&) { tick.elapsed_seconds = Number(v, "elapsed"); }},
      {"unruled",
       [](J v, RecordedTick& tick, Recording&) { tick.unruled_seconds = Number(v, "unruled"); }},
      {"primary",
       [](J v, RecordedTick& tick, Recording&) { ReadSubset(v, "primary", tick.counts.primary); }},
      {"canary",
       [](J v, RecordedTick& tick, Recording&) { ReadSubset(v, "canary", tick.counts.canary); }},
      {"late", ReadLate},
      {"instances", ReadInstances},
      {"ejections",
       [](J v, RecordedTick& tick, Recording&) {
         tick.ejections = static_cast<std::uint64_t>(Whole(v, "ejections"));
       }},
      {"weight",
       [](J v, RecordedTick& tick, Recording&) { tick.weight_percent = Number(v, "weight"); }},
      {"applied",
       [](J v, RecordedTick& tick, Recording&) { tick.applied = Instances(v, "applied") > 0; }},
      {"healthy",
       [](J v, RecordedTick& tick, Recording&) { tick.canary_passing = Instances(v, "healthy"); }},
      {"age", [](J v, RecordedTick& tick, Recording&) { tick.age_seconds = Number(v, "age"); }},
      {"doubtful",
       [](J v, RecordedTick& tick, Recording&) { tick.doubtful = YesOrNo(v, "doubtful"); }},
      {"unknown", [](J v, RecordedTick& tick, Recording&) { tick.unknown = Words(v, "unknown"); }},
      {"orders", [](J v, RecordedTick& tick, Recording&) { tick.orders = ReadOrders(v); }},
  };
  return kKeys;
}

RecordedTick ReadTick(const Json& json, Recording& recording) {
  if (!json.is_object()) throw Wrong("a tick must be a JSON object");
  RecordedTick tick;
  for (const char* key : {"t", "primary", "canary"}) {
    if (!json.contains(key)) throw Wrong(std::string(key) + ": is missing");
  }
  for (const auto& [key, value] : json.items()) {
    const auto known = TickKeys().find(key);
    if (known == TickKeys().end()) throw Wrong(key + ": is not known in a tick");
    known->second(value, tick, recording);
  }
  const double since =
      recording.ticks.empty() ? kFirstTickSeconds : tick.t - recording.ticks.back().t;
  if (since < 0) throw Wrong("t: must not be less than in the line before");
  if (!json.contains("elapsed")) tick.elapsed_seconds = since;
  return tick;
}

// --- the first line

void ReadSums(const Json& json, const char* key,
              std::array<double, stats::kDispersionWindows>& sums) {
  const std::string where = std::string("history.primary.dispersion.") + key;
  if (!json.contains(key) || !json[key].is_array() || json[key].size() != sums.size()) {
    throw Wrong(fmt::format("{}: must be a list of {} numbers", where, sums.size()));
  }
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] = Number(json[key][i], where);
}

void ReadDispersion(const Json& json, stats::DispersionState& dispersion) {
  OnlyKnown(json, "history.primary.dispersion", R"({"excess": […], "expected": […]})",
            {"excess", "expected"});
  ReadSums(json, "excess", dispersion.excess);
  ReadSums(json, "expected", dispersion.expected);
}

void ReadHistory(const Json& json, Recording& recording) {
  constexpr const char* kShape = R"({"primary": {"completed": n, "failures": x}})";
  if (!json.is_object() || !json.contains("primary")) {
    throw Wrong(fmt::format("history: must be {}", kShape));
  }
  OnlyKnown(json, "history", kShape, {"primary"});
  const Json& primary = json["primary"];
  const std::string where = "history.primary";
  OnlyKnown(primary, where, R"({"completed": n, "failures": x})",
            {"completed", "failures", "timed", "slower", "dispersion"});
  if (primary.contains("dispersion")) ReadDispersion(primary["dispersion"], recording.dispersion);
  recording.primary_history = ReadCounts(primary, where);
  if (!primary.contains("timed") && !primary.contains("slower")) return;
  recording.primary_latency_history =
      ReadLatency(primary, where, recording.primary_history.completed);
}

void ReadHeader(const Json& json, Recording& recording) {
  if (!json.is_object() || !json.contains("recording") || json["recording"] != Json(1)) {
    throw Wrong("the first line must be {\"recording\": 1, \"spec\": {…}}");
  }
  if (!json.contains("spec")) throw Wrong("spec: is missing");
  for (const auto& [key, value] : json.items()) {
    if (key == "history") {
      ReadHistory(value, recording);
    } else if (key == "late_after") {
      recording.late_after_seconds = Number(value, key);
    } else if (key == "attempts_together") {
      recording.attempts_together = std::max(1.0, Number(value, key));
    } else if (key != "recording" && key != "spec") {
      throw Wrong(key + ": is not known in the first line");
    }
  }
  if (recording.late_after_seconds > 0 && recording.primary_latency_history) {
    throw Wrong("late_after: follows from history.primary; leave it out");
  }
  auto spec = ParseSpec(json["spec"].dump());
  if (!spec) {
    throw Wrong("spec: " + spec.error().front().field + ": " + spec.error().front().problem);
  }
  recording.spec = std::move(*spec);
}

}  // namespace

base::Result<Recording> ParseRecording(std::string_view text) {
  Recording recording;
  bool header_read = false;
  for (int line = 1; !text.empty(); ++line) {
    const std::size_t end = text.find('\n');
    const std::string_view row = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (row.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    try {
      const Json json = Json::parse(row);
      if (header_read) {
        recording.ticks.push_back(ReadTick(json, recording));
      } else {
        ReadHeader(json, recording);
        header_read = true;
      }
    } catch (const std::exception& error) {
      return base::Fail(base::ErrorCode::kInvalid, fmt::format("line {}: {}", line, error.what()));
    }
  }
  if (!header_read) return base::Fail(base::ErrorCode::kInvalid, "line 1: the recording is empty");
  return recording;
}

}  // namespace consul_canary::config
