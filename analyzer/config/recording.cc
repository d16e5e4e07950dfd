#include "analyzer/config/recording.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "analyzer/config/spec_file.h"

namespace consul_canary::config {
namespace {

using Json = nlohmann::json;

constexpr std::array<std::string_view, 3> kNotJudged{"instances", "late", "ejections"};

// Thrown inside this file only, turned into a Result where the line is known.
struct Wrong : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::int64_t Count(const Json& object, const std::string& where, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) throw Wrong(where + "." + key + ": is missing");
  constexpr std::int64_t kMost = std::int64_t{1} << 53;  // exact in every JSON reader
  if (!found->is_number_integer() || found->get<std::int64_t>() < 0 ||
      found->get<std::int64_t>() > kMost) {
    throw Wrong(where + "." + key + ": must be a whole number from 0 to 2^53");
  }
  return found->get<std::int64_t>();
}

void Note(std::vector<std::string>& notes, const std::string& key) {
  if (std::find(notes.begin(), notes.end(), key) == notes.end()) notes.push_back(key);
}

stats::Counts ReadCounts(const Json& object, const std::string& where, Recording& recording) {
  if (!object.is_object()) throw Wrong(where + ": must be {\"completed\": n, \"failures\": x}");
  for (const auto& [key, value] : object.items()) {
    if (key == "slower") {
      Note(recording.not_judged, key);
    } else if (key != "completed" && key != "failures") {
      throw Wrong(where + "." + key + ": is not known; there are completed, failures, slower");
    }
  }
  const stats::Counts counts{Count(object, where, "completed"), Count(object, where, "failures")};
  if (counts.failures > counts.completed) {
    throw Wrong(where + ".failures: must not exceed completed");
  }
  return counts;
}

double Number(const Json& value, const std::string& key) {
  if (!value.is_number() || !std::isfinite(value.get<double>()) || value.get<double>() < 0) {
    throw Wrong(key + ": must be a number from 0 on");
  }
  return value.get<double>();
}

// A number of instances, or whether there are any.
bool Truth(const Json& value, const std::string& key) {
  if (value.is_boolean()) return value.get<bool>();
  return Number(value, key) > 0;
}

rollout::Order ReadOrder(const Json& item) {
  const Json& word = item.is_object() && item.contains("order") ? item["order"] : item;
  const auto kind =
      word.is_string() ? rollout::OrderKindFromString(word.get<std::string>()) : std::nullopt;
  if (!kind) throw Wrong("orders: " + word.dump() + " is no order");
  rollout::Order order{.kind = *kind, .by = "recording"};
  if (!item.is_object()) return order;
  const std::map<std::string, std::string*> texts{
      {"by", &order.by}, {"alert", &order.alert}, {"alert_key", &order.alert_key}};
  for (const auto& [key, value] : item.items()) {
    if (const auto text = texts.find(key); text != texts.end()) {
      if (!value.is_string()) throw Wrong("orders." + key + ": must be text");
      *text->second = value.get<std::string>();
    } else if (key == "full") {
      if (!value.is_boolean()) throw Wrong("orders.full: must be true or false");
      order.full = value.get<bool>();
    } else if (key == "alert_started_wall_seconds") {
      order.alert_started_wall_seconds = Number(value, "orders." + key);
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

RecordedTick ReadTick(const Json& json, Recording& recording) {
  if (!json.is_object()) throw Wrong("a tick must be a JSON object");
  RecordedTick tick;
  for (const char* key : {"t", "primary", "canary"}) {
    if (!json.contains(key)) throw Wrong(std::string(key) + ": is missing");
  }
  for (const auto& [key, value] : json.items()) {
    if (key == "t") {
      tick.t = Number(value, key);
    } else if (key == "primary") {
      tick.primary = ReadCounts(value, key, recording);
    } else if (key == "canary") {
      tick.canary = ReadCounts(value, key, recording);
    } else if (key == "weight") {
      tick.weight_percent = Number(value, key);
    } else if (key == "applied") {
      tick.applied = Truth(value, key);
    } else if (key == "healthy") {
      tick.healthy = Truth(value, key);
    } else if (key == "age") {
      tick.age_seconds = Number(value, key);
    } else if (key == "orders") {
      tick.orders = ReadOrders(value);
    } else if (std::find(kNotJudged.begin(), kNotJudged.end(), key) != kNotJudged.end()) {
      Note(recording.not_judged, key);
    } else {
      throw Wrong(key + ": is not known in a tick");
    }
  }
  if (!recording.ticks.empty() && tick.t < recording.ticks.back().t) {
    throw Wrong("t: must not be less than in the line before");
  }
  return tick;
}

void ReadHeader(const Json& json, Recording& recording) {
  if (!json.is_object() || !json.contains("recording") || json["recording"] != Json(1)) {
    throw Wrong("the first line must be {\"recording\": 1, \"spec\": {…}}");
  }
  if (!json.contains("spec")) throw Wrong("spec: is missing");
  auto spec = ParseSpec(json["spec"].dump());
  if (!spec)
    throw Wrong("spec: " + spec.error().front().field + ": " + spec.error().front().problem);
  recording.spec = std::move(*spec);
  for (const auto& [key, value] : json.items()) {
    if (key != "recording" && key != "spec" && key != "history") {
      throw Wrong(key + ": is not known in the first line");
    }
  }
  if (!json.contains("history")) return;
  const Json& history = json["history"];
  if (!history.is_object() || !history.contains("primary")) {
    throw Wrong("history: must be {\"primary\": {\"completed\": n, \"failures\": x}}");
  }
  recording.primary_history = ReadCounts(history["primary"], "history.primary", recording);
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
