// The lines after the first.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "analyzer/config/recording_read.h"

namespace consul_canary::config {
namespace {

using Json = RecordingJson;

constexpr double kFirstTickSeconds = 1;

// A number of instances, or whether there are any.
int Instances(const Json& value, const std::string& field) {
  constexpr std::int64_t kMost = 1'000'000;
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  if (!value.is_number_integer()) throw Wrong(field + ": must be true, false or a whole number");
  return static_cast<int>(std::min(Whole(value, field), kMost));
}

void Note(std::vector<std::string>& notes, const std::string& key) {
  if (std::find(notes.begin(), notes.end(), key) == notes.end()) notes.push_back(key);
}

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

void ReadInstances(const Json& value, RecordedTick& tick) {
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
      tick.counts.canary_instances = std::move(counts.primary_instances);
    }
  }
}

constexpr double kMostWallSeconds = 1e12;
constexpr const char* kOrderKeys =
    "alert, alert_key, alert_started_wall_seconds, by, full, order, outdated, version";

rollout::Order ReadOrder(const Json& item) {
  const Json& word = item.is_object() && item.contains("order") ? item["order"] : item;
  const auto kind =
      word.is_string() ? rollout::OrderKindFromString(word.get<std::string>()) : std::nullopt;
  if (!kind) {
    throw Wrong(fmt::format(
        "orders: {} is no order; there are start, pause, resume, promote, abort, retry, "
        "rollback-alert",
        word.is_string() ? word.dump() : "what has no \"order\" in words"));
  }
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
    } else if (key == "outdated") {
      if (YesOrNo(value, "orders.outdated")) order.seen_decisions = 0;
    } else if (key == "alert_started_wall_seconds") {
      if (!value.is_number() || !(std::abs(value.get<double>()) <= kMostWallSeconds)) {
        throw Wrong("orders.alert_started_wall_seconds: must be a number of seconds");
      }
      order.alert_started_wall_seconds = value.get<double>();
    } else if (key != "order") {
      throw Wrong(fmt::format("orders.{}: is not known; there are {}", key, kOrderKeys));
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

void ReadLate(const Json& value, RecordedTick& tick) {
  OnlyKnown(value, "late", R"({"started": n, "late": k})", {"started", "late"});
  stats::LateCounts& late = tick.counts.canary.late;
  late = {Count(value, "late", "started"), Count(value, "late", "late")};
  if (late.late > late.started) throw Wrong("late.late: must not exceed started");
}

RecordedSplitter ReadSplitter(const Json& value) {
  constexpr const char* kShape = R"({"canary": 33, "primary": 67})";
  OnlyKnown(value, "splitter", kShape, {"canary", "primary"});
  if (value.size() != 2) throw Wrong(std::string("splitter: must be ") + kShape);
  return {Percent(value["canary"], "splitter.canary"),
          Percent(value["primary"], "splitter.primary")};
}

rollout::RoutesSeen ReadRoutes(const Json& value) {
  const auto seen = rollout::RoutesSeenFromString(Words(value, "routes"));
  if (!seen) throw Wrong("routes: must be none, whole or other");
  return *seen;
}

void ReadFilters(const Json& value, RecordedTick& tick) {
  OnlyKnown(value, "filters", R"({"canary": "…", "primary": "…"})", {"canary", "primary"});
  for (const auto& [subset, filter] : value.items()) {
    (subset == "canary" ? tick.canary_filter : tick.primary_filter) =
        Words(filter, "filters." + subset);
  }
}

RecordedReturn ReadReturn(const Json& value) {
  OnlyKnown(value, "back_to", R"({"t": 12.5, "seq": 7})", {"t", "seq"});
  if (!value.contains("t")) throw Wrong("back_to.t: is missing");
  return {Seconds(value["t"], "back_to.t"),
          static_cast<std::uint64_t>(Count(value, "back_to", "seq"))};
}

rollout::ShieldView ReadShield(const Json& value) {
  OnlyKnown(value, "shield", R"({"ejecting": 3, "in_a_row": 2, "retried": true, "ejected": 0.5})",
            {"ejecting", "in_a_row", "retried", "ejected", "lacks"});
  rollout::ShieldView shield;
  if (value.contains("ejecting")) shield.ejecting = Instances(value["ejecting"], "shield.ejecting");
  if (value.contains("in_a_row")) {
    shield.failures_in_a_row = Instances(value["in_a_row"], "shield.in_a_row");
  }
  if (value.contains("retried")) shield.retried = YesOrNo(value["retried"], "shield.retried");
  if (value.contains("ejected")) shield.ejected = Number(value["ejected"], "shield.ejected", 1);
  if (value.contains("lacks")) shield.lacks = Words(value["lacks"], "shield.lacks");
  return shield;
}

void ReadCallers(const Json& value, RecordedTick& tick) {
  OnlyKnown(value, "callers", R"({"failed": x, "saved": y, "failed_over": z})",
            {"failed", "saved", "failed_over"});
  tick.counts.failed_for_callers = Count(value, "callers", "failed");
  tick.counts.saved_requests = Count(value, "callers", "saved");
  tick.counts.failed_over = CountOr(value, "callers", "failed_over", 0);
}

using ReadKey = void (*)(const Json& value, RecordedTick& tick);

const std::map<std::string, ReadKey>& TickKeys() {
  using J = const Json&;
  using T = RecordedTick&;
  static const std::map<std::string, ReadKey> kKeys{
      {"look", [](J v, T tick) { tick.look = YesOrNo(v, "look"); }},
      {"t", [](J v, T tick) { tick.t = Seconds(v, "t"); }},
      {"elapsed", [](J v, T tick) { tick.elapsed_seconds = Seconds(v, "elapsed"); }},
      {"unruled", [](J v, T tick) { tick.unruled_seconds = Seconds(v, "unruled"); }},
      {"primary", [](J v, T tick) { ReadSubset(v, "primary", tick.counts.primary); }},
      {"canary", [](J v, T tick) { ReadSubset(v, "canary", tick.counts.canary); }},
      {"late", ReadLate},
      {"shield", [](J v, T tick) { tick.shield = ReadShield(v); }},
      {"callers", ReadCallers},
      {"instances", ReadInstances},
      {"ejections",
       [](J v, T tick) { tick.ejections = static_cast<std::uint64_t>(Whole(v, "ejections")); }},
      {"weight", [](J v, T tick) { tick.weight_percent = Percent(v, "weight"); }},
      {"ready", [](J v, T tick) { tick.ready = YesOrNo(v, "ready"); }},
      {"applied", [](J v, T tick) { tick.applied = Instances(v, "applied") > 0; }},
      {"healthy", [](J v, T tick) { tick.canary_passing = Instances(v, "healthy"); }},
      {"primary_healthy",
       [](J v, T tick) { tick.primary_passing = Instances(v, "primary_healthy"); }},
      {"age", [](J v, T tick) { tick.age_seconds = Seconds(v, "age"); }},
      {"doubtful", [](J v, T tick) { tick.doubtful = YesOrNo(v, "doubtful"); }},
      {"fleet_pause", [](J v, T tick) { tick.fleet_pause = Words(v, "fleet_pause"); }},
      {"splitter_unwritable",
       [](J v, T tick) { tick.splitter_unwritable = Words(v, "splitter_unwritable"); }},
      {"router_unwritable",
       [](J v, T tick) { tick.router_unwritable = Words(v, "router_unwritable"); }},
      {"resolver_unwritable",
       [](J v, T tick) { tick.resolver_unwritable = Words(v, "resolver_unwritable"); }},
      {"unknown", [](J v, T tick) { tick.unknown = Words(v, "unknown"); }},
      {"instances_known",
       [](J v, T tick) { tick.instances_known = YesOrNo(v, "instances_known"); }},
      {"other", [](J v, T tick) { tick.other_percent = Percent(v, "other"); }},
      {"splitter", [](J v, T tick) { tick.splitter = ReadSplitter(v); }},
      {"routes", [](J v, T tick) { tick.routes = ReadRoutes(v); }},
      {"filters", ReadFilters},
      {"fenced", [](J v, T tick) { tick.fenced = YesOrNo(v, "fenced"); }},
      {"confirmed", [](J v, T tick) { tick.confirmed = YesOrNo(v, "confirmed"); }},
      {"orders", [](J v, T tick) { tick.orders = ReadOrders(v); }},
      {"spec", [](J v, T tick) { tick.spec = ReadRecordedSpec(v); }},
      {"attempts_together",
       [](J v, T tick) { tick.attempts_together = ReadAttempts(v, "attempts_together"); }},
      {"request_timeout",
       [](J v, T tick) { tick.request_timeout_seconds = Seconds(v, "request_timeout"); }},
      {"seq", [](J v, T tick) { tick.sequence = static_cast<std::uint64_t>(Whole(v, "seq")); }},
      {"restarted", [](J v, T tick) { tick.restarted = YesOrNo(v, "restarted"); }},
  };
  return kKeys;
}

constexpr const char* kReturnKey = "back_to";

std::string KnownKeys() {
  std::string names = kReturnKey;
  for (const auto& [name, read] : TickKeys()) names += ", " + name;
  return names;
}

// Counts are what makes a tick, and what a look has not.
void CheckShape(const Json& json) {
  if (!json.is_object()) throw Wrong("a tick must be a JSON object");
  if (!json.contains("t")) throw Wrong("t: is missing");
  const bool look = json.contains("look") && json["look"] == true;
  for (const char* key : {"primary", "canary"}) {
    if (!look && !json.contains(key)) throw Wrong(std::string(key) + ": is missing");
  }
  for (const char* key : {"primary", "canary", "late", "instances", "callers"}) {
    if (look && json.contains(key)) throw Wrong(std::string(key) + ": a look has no counts");
  }
}

void CheckLate(const RecordedTick& tick, const Recording& recording) {
  if (tick.counts.canary.late == stats::LateCounts{}) return;
  if (recording.late_after_seconds > 0 || recording.primary_latency_history) return;
  throw Wrong("late: needs late_after in the first line, or history.primary.slower");
}

}  // namespace

double ReadAttempts(const Json& value, const std::string& field) {
  constexpr double kMost = 1e6;
  return std::max(1.0, Number(value, field, kMost));
}

TickLine ReadTick(const Json& json, Recording& recording) {
  CheckShape(json);
  TickLine line;
  RecordedTick& tick = line.tick;
  for (const auto& [key, value] : json.items()) {
    const auto known = TickKeys().find(key);
    if (known != TickKeys().end()) {
      known->second(value, tick);
    } else if (key == kReturnKey) {
      line.back = ReadReturn(value);
    } else {
      throw Wrong(fmt::format("{}: is not known in a tick; there are {}", key, KnownKeys()));
    }
  }
  CheckLate(tick, recording);
  if (json.contains("instances") && json["instances"].contains("canary")) {
    Note(recording.not_judged, "instances.canary");
  }
  const double before = recording.ticks.empty() ? 0 : recording.ticks.back().t;
  if (line.back && tick.t < line.back->t) throw Wrong("t: must not be less than back_to.t");
  if (!line.back && tick.t < before) throw Wrong("t: must not be less than in the line before");
  if (json.contains("elapsed") || tick.look) return line;
  tick.elapsed_seconds =
      recording.ticks.empty() ? kFirstTickSeconds : std::max(0.0, tick.t - before);
  return line;
}

}  // namespace consul_canary::config
