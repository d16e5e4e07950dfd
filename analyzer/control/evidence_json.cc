#include "analyzer/control/evidence_json.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace consul_canary::control {
namespace {

using Json = nlohmann::json;
using rollout::CheckResult;
using rollout::EdgeEvidence;
using rollout::Evidence;
using rollout::ObjectiveEvidence;
using rollout::ThresholdState;

// JSON has no infinity; -infinity (a restart that has not happened) is written as null.
template <std::size_t N>
Json LogsToJson(const std::array<double, N>& values) {
  Json json = Json::array();
  for (const double value : values) {
    json.push_back(std::isinf(value) ? Json(nullptr) : Json(value));
  }
  return json;
}

template <std::size_t N>
void LogsFromJson(const Json& json, std::array<double, N>& values) {
  for (std::size_t i = 0; i < N; ++i) {
    const Json& value = json.at(i);
    values[i] = value.is_null() ? -std::numeric_limits<double>::infinity() : value.get<double>();
  }
}

// A grid on which nothing has happened is left out.
template <std::size_t N>
void AddGrid(Json& json, const char* key, const std::array<double, N>& values) {
  const auto is_zero = [](double value) {
    return std::fpclassify(value) == FP_ZERO && !std::signbit(value);
  };
  if (!std::ranges::all_of(values, is_zero)) json[key] = LogsToJson(values);
}

template <std::size_t N>
void ReadGrid(const Json& json, const char* key, std::array<double, N>& values) {
  if (json.contains(key)) LogsFromJson(json.at(key), values);
}

template <class T>
void ReadIfGiven(const Json& json, const char* key, T& value) {
  if (json.contains(key)) value = json.at(key).get<T>();
}

Json CountsToJson(const stats::Counts& counts) {
  return {{"completed", counts.completed}, {"failures", counts.failures}};
}

stats::Counts CountsFromJson(const Json& json) {
  return {json.at("completed").get<std::int64_t>(), json.at("failures").get<std::int64_t>()};
}

void ReadCounts(const Json& json, const char* key, stats::Counts& counts) {
  if (json.contains(key)) counts = CountsFromJson(json.at(key));
}

Json LatencyToJson(const stats::LatencyCounts& latency) {
  return {{"timed", latency.timed}, {"slower", latency.slower}};
}

void ReadLatency(const Json& json, const char* key, stats::LatencyCounts& latency) {
  if (!json.contains(key)) return;
  latency.timed = json.at(key).at("timed").get<std::int64_t>();
  json.at(key).at("slower").get_to(latency.slower);
}

// --- the processes

Json HarmToJson(const stats::HarmState& harm) {
  Json json = {{"primary", CountsToJson(harm.primary)},
               {"log_sums", LogsToJson(harm.log_sums)},
               {"spent", harm.spent},
               {"epoch", harm.epoch},
               {"epoch_seconds", harm.epoch_seconds}};
  if (harm.open != stats::HarmBlock{}) {
    json["open"] = {{"primary", CountsToJson(harm.open.primary)},
                    {"canary", CountsToJson(harm.open.canary)},
                    {"seconds", harm.open.seconds},
                    {"overdispersion", harm.open.overdispersion}};
  }
  return json;
}

stats::HarmState HarmFromJson(const Json& json) {
  stats::HarmState harm;
  harm.primary = CountsFromJson(json.at("primary"));
  LogsFromJson(json.at("log_sums"), harm.log_sums);
  harm.spent = json.at("spent").get<double>();
  harm.epoch = json.at("epoch").get<std::int64_t>();
  harm.epoch_seconds = json.at("epoch_seconds").get<double>();
  if (!json.contains("open")) return harm;
  const Json& open = json.at("open");
  harm.open = {.primary = CountsFromJson(open.at("primary")),
               .canary = CountsFromJson(open.at("canary")),
               .seconds = open.at("seconds").get<double>(),
               .overdispersion = open.at("overdispersion").get<double>()};
  return harm;
}

Json EjectedHarmToJson(const stats::EjectedHarmState& harm) {
  Json json = {{"primary", CountsToJson(harm.primary)}};
  if (harm.epoch >= 0) {
    AddGrid(json, "log_sums", harm.log_sums);
    json["spent"] = harm.spent;
    json["epoch"] = harm.epoch;
    json["epoch_seconds"] = harm.epoch_seconds;
    json["returns"] = harm.returns;
  }
  if (harm.missed > 0) json["missed"] = harm.missed;
  if (harm.open == stats::EjectedHarmBlock{}) return json;
  const stats::EjectionTick& tick = harm.open.tick;
  json["open"] = {{"primary", CountsToJson(tick.primary)},
                  {"canary", CountsToJson(tick.canary)},
                  {"weight_ratio", tick.weight_ratio},
                  {"active_instances", tick.active_instances},
                  {"retried", tick.retried},
                  {"failures_in_a_row", tick.failures_in_a_row},
                  {"seconds", harm.open.seconds},
                  {"overdispersion", harm.open.overdispersion}};
  return json;
}

stats::EjectedHarmState EjectedHarmFromJson(const Json& json) {
  stats::EjectedHarmState harm;
  harm.primary = CountsFromJson(json.at("primary"));
  ReadGrid(json, "log_sums", harm.log_sums);
  ReadIfGiven(json, "spent", harm.spent);
  ReadIfGiven(json, "epoch", harm.epoch);
  ReadIfGiven(json, "epoch_seconds", harm.epoch_seconds);
  ReadIfGiven(json, "missed", harm.missed);
  ReadIfGiven(json, "returns", harm.returns);
  if (!json.contains("open")) return harm;
  const Json& open = json.at("open");
  harm.open = {.tick = {.primary = CountsFromJson(open.at("primary")),
                        .canary = CountsFromJson(open.at("canary")),
                        .weight_ratio = open.at("weight_ratio").get<double>(),
                        .active_instances = open.at("active_instances").get<std::int64_t>(),
                        .retried = open.at("retried").get<bool>(),
                        .failures_in_a_row = open.value("failures_in_a_row", std::int64_t{1})},
               .seconds = open.at("seconds").get<double>(),
               .overdispersion = open.at("overdispersion").get<double>()};
  return harm;
}

Json EjectedSafeToJson(const stats::EjectedSafeState& safe) {
  Json json = {{"primary", CountsToJson(safe.primary)}};
  AddGrid(json, "log_sums", safe.log_sums);
  return json;
}

stats::EjectedSafeState EjectedSafeFromJson(const Json& json) {
  stats::EjectedSafeState safe;
  safe.primary = CountsFromJson(json.at("primary"));
  ReadGrid(json, "log_sums", safe.log_sums);
  return safe;
}

Json SafeToJson(const stats::SafeState& safe) {
  return {{"primary", CountsToJson(safe.primary)}, {"log_sums", LogsToJson(safe.log_sums)}};
}

stats::SafeState SafeFromJson(const Json& json) {
  stats::SafeState safe;
  safe.primary = CountsFromJson(json.at("primary"));
  LogsFromJson(json.at("log_sums"), safe.log_sums);
  return safe;
}

Json LateToJson(const stats::LateState& late) {
  Json json = {{"spent", late.spent}, {"epoch", late.epoch}, {"epoch_seconds", late.epoch_seconds}};
  AddGrid(json, "log_sums", late.log_sums);
  return json;
}

stats::LateState LateFromJson(const Json& json) {
  stats::LateState late;
  ReadGrid(json, "log_sums", late.log_sums);
  late.spent = json.at("spent").get<double>();
  late.epoch = json.at("epoch").get<std::int64_t>();
  late.epoch_seconds = json.at("epoch_seconds").get<double>();
  return late;
}

Json ShareToJson(const stats::ShareState& share) {
  Json json = {{"seconds", share.seconds},
               {"mismatch", share.mismatch},
               {"untrusted", share.untrusted},
               {"totals", CountsToJson(share.totals)}};
  AddGrid(json, "log_above", share.log_above);
  AddGrid(json, "log_below", share.log_below);
  return json;
}

stats::ShareState ShareFromJson(const Json& json) {
  stats::ShareState share;
  ReadGrid(json, "log_above", share.log_above);
  ReadGrid(json, "log_below", share.log_below);
  share.seconds = json.at("seconds").get<double>();
  share.mismatch = json.at("mismatch").get<bool>();
  share.untrusted = json.at("untrusted").get<bool>();
  share.totals = CountsFromJson(json.at("totals"));
  return share;
}

// Without the open windows.
Json DispersionToJson(const stats::DispersionState& dispersion) {
  Json json = Json::object();
  AddGrid(json, "excess", dispersion.excess);
  AddGrid(json, "expected", dispersion.expected);
  return json;
}

void ReadDispersion(const Json& json, stats::DispersionState& dispersion) {
  if (!json.contains("dispersion")) return;
  ReadGrid(json.at("dispersion"), "excess", dispersion.excess);
  ReadGrid(json.at("dispersion"), "expected", dispersion.expected);
}

Json EdgeToJson(const EdgeEvidence& edge) {
  return {{"edge", edge.edge_seconds},
          {"limit", edge.limit},
          {"harm", HarmToJson(edge.harm)},
          {"dispersion", DispersionToJson(edge.dispersion)}};
}

EdgeEvidence EdgeFromJson(const Json& json) {
  EdgeEvidence edge;
  edge.edge_seconds = json.at("edge").get<double>();
  ReadIfGiven(json, "limit", edge.limit);
  edge.harm = HarmFromJson(json.at("harm"));
  ReadDispersion(json, edge.dispersion);
  return edge;
}

Json ObjectiveToJson(const ObjectiveEvidence& objective) {
  return {{"edge", objective.edge_seconds}, {"safe", SafeToJson(objective.safe)}};
}

ObjectiveEvidence ObjectiveFromJson(const Json& json) {
  return {json.at("edge").get<double>(), SafeFromJson(json.at("safe"))};
}

Json DifferenceToJson(const stats::DifferenceSequence& difference) {
  Json json = {{"primary", CountsToJson(difference.primary)},
               {"canary", CountsToJson(difference.canary)}};
  AddGrid(json, "log_evidence", difference.log_evidence);
  json["weighted"] = difference.weighted;
  json["weight"] = difference.weight;
  return json;
}

stats::DifferenceSequence DifferenceFromJson(const Json& json) {
  stats::DifferenceSequence difference;
  difference.primary = CountsFromJson(json.at("primary"));
  difference.canary = CountsFromJson(json.at("canary"));
  ReadGrid(json, "log_evidence", difference.log_evidence);
  ReadIfGiven(json, "weighted", difference.weighted);
  ReadIfGiven(json, "weight", difference.weight);
  return difference;
}

// --- thresholds

CheckResult CheckResultFromString(const std::string& name) {
  for (const CheckResult result :
       {CheckResult::kNone, CheckResult::kPassed, CheckResult::kFailed, CheckResult::kNoData}) {
    if (name == ToString(result)) return result;
  }
  throw std::invalid_argument("unknown word \"" + name + "\"");
}

Json ThresholdToJson(const ThresholdState& state) {
  Json json = {{"seconds", state.seconds},
               {"failed", state.failed},
               {"of", state.of},
               {"last", ToString(state.last)},
               {"last_value", state.last_value}};
  const ThresholdState untouched;
  const auto add = [&](const char* key, const auto& value, const auto& otherwise, auto to_json) {
    if (value != otherwise) json[key] = to_json(value);
  };
  const auto as_it_is = [](const auto& value) { return Json(value); };
  add("canary_low", state.canary_low, untouched.canary_low, CountsToJson);
  add("canary_high", state.canary_high, untouched.canary_high, CountsToJson);
  add("canary_latency", state.canary_latency, untouched.canary_latency, LatencyToJson);
  add("primary_bin", state.primary_bin, untouched.primary_bin, CountsToJson);
  add("canary_bin", state.canary_bin, untouched.canary_bin, CountsToJson);
  add("primary_bins", state.primary_bins, untouched.primary_bins, as_it_is);
  add("canary_bins", state.canary_bins, untouched.canary_bins, as_it_is);
  return json;
}

ThresholdState ThresholdFromJson(const Json& json) {
  ThresholdState state;
  ReadIfGiven(json, "of", state.of);
  state.seconds = json.at("seconds").get<double>();
  state.failed = json.at("failed").get<int>();
  state.last = CheckResultFromString(json.at("last").get<std::string>());
  state.last_value = json.at("last_value").get<double>();
  ReadCounts(json, "canary_low", state.canary_low);
  ReadCounts(json, "canary_high", state.canary_high);
  ReadLatency(json, "canary_latency", state.canary_latency);
  ReadCounts(json, "primary_bin", state.primary_bin);
  ReadCounts(json, "canary_bin", state.canary_bin);
  ReadIfGiven(json, "primary_bins", state.primary_bins);
  ReadIfGiven(json, "canary_bins", state.canary_bins);
  return state;
}

// --- what the first release with one metric did not know

template <class T, class ToJson>
Json ListToJson(const std::vector<T>& items, ToJson to_json) {
  Json json = Json::array();
  for (const T& item : items) json.push_back(to_json(item));
  return json;
}

template <class T, class FromJson>
void ReadList(const Json& json, const char* key, std::vector<T>& items, FromJson from_json) {
  if (!json.contains(key)) return;
  for (const Json& item : json.at(key)) items.push_back(from_json(item));
}

void AddMetrics(const Evidence& evidence, Json& json) {
  json["failure_limit"] = evidence.failure_limit;
  json["proven"] = evidence.proven;
  json["metrics_fixed"] = evidence.metrics_fixed;
  json["primary_latency"] = LatencyToJson(evidence.primary_latency);
  json["late_left_out"] = evidence.late_left_out;
  json["canary_latency"] = LatencyToJson(evidence.canary_latency);
  json["latency"] = ListToJson(evidence.latency, EdgeToJson);
  json["objectives"] = ListToJson(evidence.objectives, ObjectiveToJson);
  json["late_after_seconds"] = evidence.late_after_seconds;
  json["late"] = LateToJson(evidence.late);
  json["dispersion"] = DispersionToJson(evidence.dispersion);
  json["overdispersion_floor"] = evidence.overdispersion_floor;
  json["canary_rate"] = evidence.canary_rate;
  json["silent_requests"] = evidence.silent_requests;
  if (!evidence.silent_instances.empty()) json["silent_instances"] = evidence.silent_instances;
  json["share"] = ShareToJson(evidence.share);
  json["share_applied"] = evidence.share_applied;
  AddGrid(json, "ratio", evidence.ratio.log_likelihood);
  json["difference"] = DifferenceToJson(evidence.difference);
  json["thresholds"] = ListToJson(evidence.thresholds, ThresholdToJson);
  json["rollout_late"] = evidence.rollout_late;
  if (evidence.ejected_harm != stats::EjectedHarmState{}) {
    json["ejected_harm"] = EjectedHarmToJson(evidence.ejected_harm);
  }
  if (evidence.ejected_safe != stats::EjectedSafeState{}) {
    json["ejected_safe"] = EjectedSafeToJson(evidence.ejected_safe);
  }
  json["shielded"] = evidence.shielded;
  json["ejected_share"] = evidence.ejected_share;
  json["failed_for_callers"] = evidence.failed_for_callers;
  json["saved_requests"] = evidence.saved_requests;
  if (evidence.failed_over > 0) json["failed_over"] = evidence.failed_over;
}

void ReadMetrics(const Json& json, Evidence& evidence) {
  ReadIfGiven(json, "failure_limit", evidence.failure_limit);
  ReadIfGiven(json, "proven", evidence.proven);
  ReadIfGiven(json, "metrics_fixed", evidence.metrics_fixed);
  ReadLatency(json, "primary_latency", evidence.primary_latency);
  ReadIfGiven(json, "late_left_out", evidence.late_left_out);
  ReadLatency(json, "canary_latency", evidence.canary_latency);
  ReadList(json, "latency", evidence.latency, EdgeFromJson);
  ReadList(json, "objectives", evidence.objectives, ObjectiveFromJson);
  ReadIfGiven(json, "late_after_seconds", evidence.late_after_seconds);
  if (json.contains("late")) evidence.late = LateFromJson(json.at("late"));
  ReadDispersion(json, evidence.dispersion);
  ReadIfGiven(json, "overdispersion_floor", evidence.overdispersion_floor);
  ReadIfGiven(json, "canary_rate", evidence.canary_rate);
  ReadIfGiven(json, "silent_requests", evidence.silent_requests);
  ReadIfGiven(json, "silent_instances", evidence.silent_instances);
  if (json.contains("share")) evidence.share = ShareFromJson(json.at("share"));
  ReadIfGiven(json, "share_applied", evidence.share_applied);
  ReadGrid(json, "ratio", evidence.ratio.log_likelihood);
  if (json.contains("difference")) evidence.difference = DifferenceFromJson(json.at("difference"));
  ReadList(json, "thresholds", evidence.thresholds, ThresholdFromJson);
  ReadIfGiven(json, "rollout_late", evidence.rollout_late);
  if (json.contains("ejected_harm")) {
    evidence.ejected_harm = EjectedHarmFromJson(json.at("ejected_harm"));
  }
  if (json.contains("ejected_safe")) {
    evidence.ejected_safe = EjectedSafeFromJson(json.at("ejected_safe"));
  }
  ReadIfGiven(json, "shielded", evidence.shielded);
  ReadIfGiven(json, "ejected_share", evidence.ejected_share);
  ReadIfGiven(json, "failed_for_callers", evidence.failed_for_callers);
  ReadIfGiven(json, "saved_requests", evidence.saved_requests);
  ReadIfGiven(json, "failed_over", evidence.failed_over);
}

}  // namespace

Json EvidenceToJson(const Evidence& evidence) {
  Json json = {{"harm", HarmToJson(evidence.harm)},
               {"safe", SafeToJson(evidence.safe)},
               {"step_primary", CountsToJson(evidence.step_primary)},
               {"step_canary", CountsToJson(evidence.step_canary)},
               {"stage_primary", CountsToJson(evidence.stage_primary)},
               {"stage_canary", CountsToJson(evidence.stage_canary)},
               {"rollout_primary", CountsToJson(evidence.rollout_primary)},
               {"rollout_canary", CountsToJson(evidence.rollout_canary)}};
  AddMetrics(evidence, json);
  return json;
}

Evidence EvidenceFromJson(const Json& json) {
  Evidence evidence;
  evidence.harm = HarmFromJson(json.at("harm"));
  evidence.safe = SafeFromJson(json.at("safe"));
  evidence.step_primary = CountsFromJson(json.at("step_primary"));
  evidence.step_canary = CountsFromJson(json.at("step_canary"));
  evidence.stage_primary = CountsFromJson(json.at("stage_primary"));
  evidence.stage_canary = CountsFromJson(json.at("stage_canary"));
  evidence.rollout_primary = CountsFromJson(json.at("rollout_primary"));
  evidence.rollout_canary = CountsFromJson(json.at("rollout_canary"));
  ReadMetrics(json, evidence);
  return evidence;
}

}  // namespace consul_canary::control
