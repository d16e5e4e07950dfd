// Writing of recordings. Reading is recording.cc's.
#include <fmt/format.h>

#include <charconv>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "analyzer/config/recording.h"
#include "analyzer/config/spec_file.h"

namespace consul_canary::config {
namespace {

using Json = nlohmann::ordered_json;

std::string Line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json ToValue(const stats::Counts& counts) {
  return {{"completed", counts.completed}, {"failures", counts.failures}};
}

void AddLatency(const stats::LatencyCounts& latency, Json& object) {
  object["timed"] = latency.timed;
  if (latency.slower.empty()) return;
  Json& slower = object["slower"] = Json::object();
  for (const auto& [edge, count] : latency.slower) slower[EdgeText(edge)] = count;
}

Json ToValue(const rollout::SubsetTick& tick) {
  Json value = ToValue(tick.low);
  if (tick.high.failures != tick.low.failures) value["failures_high"] = tick.high.failures;
  if (tick.latency != stats::LatencyCounts{}) AddLatency(tick.latency, value);
  return value;
}

Json ToValue(const stats::InstanceCounts& instances) {
  Json value = Json::object();
  for (const auto& [id, counts] : instances) value[id] = ToValue(counts);
  return value;
}

void AddInstances(const RecordedTick& tick, Json& line) {
  Json primary = ToValue(tick.counts.primary_instances);
  for (const auto& [id, latency] : tick.counts.primary_instance_latency) {
    AddLatency(latency, primary[id]);
  }
  if (!primary.empty()) line["instances"]["primary"] = std::move(primary);
  if (!tick.counts.canary_instances.empty()) {
    line["instances"]["canary"] = ToValue(tick.counts.canary_instances);
  }
}

Json ToValue(const rollout::Order& order) {
  Json value = {{"order", ToString(order.kind)}, {"by", order.by}};
  if (!order.version.empty()) value["version"] = order.version;
  if (order.full) value["full"] = true;
  if (order.seen_decisions == 0U) value["outdated"] = true;
  if (!order.alert.empty()) value["alert"] = order.alert;
  if (!order.alert_key.empty()) value["alert_key"] = order.alert_key;
  if (std::not_equal_to<>{}(order.alert_started_wall_seconds, 0.0)) {
    value["alert_started_wall_seconds"] = order.alert_started_wall_seconds;
  }
  return value;
}

void AddCounts(const RecordedTick& tick, Json& line) {
  line["primary"] = ToValue(tick.counts.primary);
  line["canary"] = ToValue(tick.counts.canary);
  if (const stats::LateCounts& late = tick.counts.canary.late; late != stats::LateCounts{}) {
    line["late"] = {{"started", late.started}, {"late", late.late}};
  }
  AddInstances(tick, line);
  if (!tick.shield) return;
  line["callers"] = {{"failed", tick.counts.failed_for_callers},
                     {"saved", tick.counts.saved_requests},
                     {"failed_over", tick.counts.failed_over}};
}

// What the mesh is where it is not as wanted.
void AddDifferences(const RecordedTick& tick, Json& line) {
  if (!tick.instances_known) line["instances_known"] = false;
  if (tick.primary_passing != 1) line["primary_healthy"] = tick.primary_passing;
  if (tick.other_percent > 0) line["other"] = tick.other_percent;
  if (tick.splitter) {
    line["splitter"] = {{"canary", tick.splitter->canary_percent},
                        {"primary", tick.splitter->primary_percent}};
  }
  if (tick.routes) line["routes"] = ToString(*tick.routes);
  if (tick.canary_filter) line["filters"]["canary"] = *tick.canary_filter;
  if (tick.primary_filter) line["filters"]["primary"] = *tick.primary_filter;
  if (!tick.fenced) line["fenced"] = false;
  if (tick.shield) {
    line["shield"] = {{"ejecting", tick.shield->ejecting},
                      {"in_a_row", tick.shield->failures_in_a_row},
                      {"retried", tick.shield->retried},
                      {"ejected", tick.shield->ejected}};
    if (!tick.shield->lacks.empty()) line["shield"]["lacks"] = tick.shield->lacks;
  }
  if (tick.confirmed) line["confirmed"] = *tick.confirmed;
}

void AddAnalyzer(const RecordedTick& tick, const std::optional<RecordedReturn>& back, Json& line) {
  if (tick.spec) line["spec"] = Json::parse(ToJson(*tick.spec));
  if (tick.attempts_together) line["attempts_together"] = *tick.attempts_together;
  if (tick.request_timeout_seconds) line["request_timeout"] = *tick.request_timeout_seconds;
  if (tick.sequence > 0) line["seq"] = tick.sequence;
  if (tick.restarted) line["restarted"] = true;
  if (back) line["back_to"] = {{"t", back->t}, {"seq", back->sequence}};
}

// What has a default and has it is left out: a recording of an hour is 3600 lines.
void AddMesh(const RecordedTick& tick, Json& line) {
  if (tick.ready) line["ready"] = true;
  if (!tick.applied) line["applied"] = false;
  if (tick.canary_passing != 1) line["healthy"] = tick.canary_passing;
  if (tick.age_seconds > 0) line["age"] = tick.age_seconds;
  if (tick.ejections > 0) line["ejections"] = tick.ejections;
  if (tick.doubtful) line["doubtful"] = true;
  if (!tick.unknown.empty()) line["unknown"] = tick.unknown;
  if (!tick.fleet_pause.empty()) line["fleet_pause"] = tick.fleet_pause;
  if (!tick.splitter_unwritable.empty()) line["splitter_unwritable"] = tick.splitter_unwritable;
  if (!tick.router_unwritable.empty()) line["router_unwritable"] = tick.router_unwritable;
  if (!tick.resolver_unwritable.empty()) line["resolver_unwritable"] = tick.resolver_unwritable;
  AddDifferences(tick, line);
  if (tick.orders.empty()) return;
  Json& orders = line["orders"] = Json::array();
  for (const rollout::Order& order : tick.orders) orders.push_back(ToValue(order));
}

}  // namespace

std::string EdgeText(double edge_seconds) {
  // 15 digits say .035 s as 35ms and not as 35.00000000000001ms.
  const std::string text = fmt::format("{:.15g}", edge_seconds * 1000);
  double milliseconds = 0;
  std::from_chars(text.data(), text.data() + text.size(), milliseconds);
  const bool is_exact = std::equal_to<>{}(milliseconds / 1000, edge_seconds);
  return is_exact ? text + "ms" : fmt::format("{}s", edge_seconds);
}

std::string RecordingHeader(const Recording& recording) {
  Json primary = ToValue(recording.primary_history);
  if (recording.primary_latency_history) AddLatency(*recording.primary_latency_history, primary);
  if (recording.dispersion != stats::DispersionState{}) {
    primary["dispersion"] = {{"excess", recording.dispersion.excess},
                             {"expected", recording.dispersion.expected}};
  }
  Json header = {{"recording", 1},
                 {"spec", Json::parse(ToJson(recording.spec))},
                 {"history", {{"primary", std::move(primary)}}}};
  if (recording.late_after_seconds > 0) header["late_after"] = recording.late_after_seconds;
  if (recording.attempts_together > 1) header["attempts_together"] = recording.attempts_together;
  if (recording.request_timeout_seconds != Recording().request_timeout_seconds) {
    header["request_timeout"] = recording.request_timeout_seconds;
  }
  if (!recording.started_by.empty()) header["started_by"] = recording.started_by;
  return Line(header);
}

std::string RecordingLine(const RecordedTick& tick, const std::optional<RecordedReturn>& back) {
  Json line;
  if (tick.look) line["look"] = true;
  line["t"] = tick.t;
  if (!tick.look || tick.elapsed_seconds > 0) line["elapsed"] = tick.elapsed_seconds;
  if (tick.unruled_seconds > 0) line["unruled"] = tick.unruled_seconds;
  if (!tick.look) AddCounts(tick, line);
  if (tick.weight_percent) line["weight"] = *tick.weight_percent;
  AddMesh(tick, line);
  AddAnalyzer(tick, back, line);
  return Line(line);
}

}  // namespace consul_canary::config
