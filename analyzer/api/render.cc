#include "analyzer/api/render.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "analyzer/api/next.h"
#include "analyzer/control/stored_json.h"

namespace consul_canary::api {
namespace {

using Json = nlohmann::ordered_json;
using control::RolloutView;

constexpr int kBadRequest = 400;
constexpr int kConflict = 409;
constexpr double kMillisecondsPerSecond = 1000;

Json CountsJson(const stats::Counts& counts) {
  return {{"completed", counts.completed}, {"failures", counts.failures}};
}

Json IntervalJson(const stats::Interval& interval) {
  return {{"lower", interval.lower}, {"estimate", interval.estimate}, {"upper", interval.upper}};
}

Json MetricsJson(const rollout::Verdict& verdict) {
  Json metrics = Json::object();
  for (const rollout::MetricVerdict& metric : verdict.metrics) {
    Json& json = metrics[metric.name] = Json::object();
    if (metric.log_harm) json["log_harm"] = *metric.log_harm;
    if (metric.log_safe) json["log_safe"] = *metric.log_safe;
    json["blamed"] = metric.blamed;
  }
  return metrics;
}

// Shares of requests that took longer than each edge, and the radius of the band around all of them
// together.
Json LatencyJson(const stats::LatencyCounts& latency) {
  constexpr std::int64_t kLeastForABand = 100;
  constexpr double kBandAlpha = 0.05;
  if (latency.timed == 0) return nullptr;
  Json slower = Json::object();
  for (const auto& [edge, count] : latency.slower) {
    slower[fmt::format("{:g}ms", edge * kMillisecondsPerSecond)] =
        static_cast<double>(count) / static_cast<double>(latency.timed);
  }
  return {{"timed", latency.timed},
          {"band", stats::BandRadius(latency.timed, kLeastForABand, kBandAlpha)},
          {"slower", std::move(slower)}};
}

Json EvidenceJson(const RolloutView& view) {
  const rollout::Evidence& evidence = view.state.evidence;
  const rollout::Verdict& verdict = view.verdict;
  return {
      {"log_harm", verdict.log_harm},
      {"harm_bound", verdict.harm_bound},
      {"log_safe", verdict.log_safe},
      {"safe_bound", verdict.safe_bound},
      {"metrics", MetricsJson(verdict)},
      {"difference", IntervalJson(verdict.difference)},
      {"rate_ratio", IntervalJson(verdict.rate_ratio)},
      {"overdispersion", verdict.overdispersion},
      {"observed_share", verdict.observed_share ? Json(*verdict.observed_share) : Json(nullptr)},
      {"late", evidence.rollout_late},
      {"shield",
       {{"active", evidence.shielded},
        {"ejected_share", evidence.ejected_share},
        {"failed_for_callers", evidence.failed_for_callers},
        {"saved_requests", evidence.saved_requests}}},
      {"latency",
       {{"primary", LatencyJson(evidence.primary_latency)},
        {"canary", LatencyJson(evidence.canary_latency)}}},
      {"notes", verdict.notes},
      {"step",
       {{"primary", CountsJson(evidence.step_primary)},
        {"canary", CountsJson(evidence.step_canary)}}},
      {"rollout",
       {{"primary", CountsJson(evidence.rollout_primary)},
        {"canary", CountsJson(evidence.rollout_canary)}}}};
}

template <class T>
Json OrNull(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json PlanJson(const RolloutView& view) {
  Json plan = Json::array();
  if (!view.spec) return plan;
  for (const rollout::Step& step : view.spec->steps) {
    plan.push_back({{"weight", step.weight_percent},
                    {"min_duration_seconds", step.min_duration.count()},
                    {"pause", step.pause}});
  }
  return plan;
}

Json MatchJson(const RolloutView& view) {
  Json match = Json::array();
  if (!view.spec) return match;
  for (const rollout::Match& condition : view.spec->match) match.push_back(ToString(condition));
  return match;
}

Json NextJson(const RolloutView& view) {
  const NextDecision next = NextOf(view);
  return {{"decision", next.decision},
          {"waits_for", next.waits_for},
          {"deadline_seconds", OrNull(next.deadline_seconds)},
          {"on_deadline", next.on_deadline}};
}

Json ToJson(const RolloutView& view) {
  const rollout::State& state = view.state;
  const bool stepping = rollout::IsActive(state.phase) && state.stage == rollout::Stage::kStepping;
  Json json = {
      {"service", view.id},
      {"phase", ToString(state.phase)},
      {"stage", ToString(state.stage)},
      {"step", stepping ? state.step + 1 : 0},
      {"steps", view.spec ? view.spec->steps.size() : 0},
      {"weight", state.wanted.canary_percent},
      {"last_step", state.started_wall_seconds > 0 ? state.step + 1 : 0},
      {"observed_weight", nullptr},
      {"observed_primary_weight", nullptr},
      {"canary_version", state.canary_version},
      {"primary_version", state.primary_version},
      {"verdict", ToString(view.verdict.kind)},
      {"reason", state.reason},
      {"waits", view.waits},
      {"unknown", view.unknown},
      {"problem", view.problem},
      {"foreign_edit", state.foreign_edit || state.foreign_routes},
      {"match", MatchJson(view)},
      {"routes", nullptr},
      {"started", nullptr},
      {"decisions", state.decisions},
      {"last_order", state.last_order},
      {"plan", PlanJson(view)},
      {"stage_seconds", state.stage_seconds},
      {"next", NextJson(view)},
      {"instances",
       {{"primary", OrNull(view.primary_passing)}, {"canary", OrNull(view.canary_passing)}}},
      {"stragglers", view.stragglers},
      {"evidence", EvidenceJson(view)},
      {"requests_per_second", OrNull(view.requests_per_second)},
      {"primary_failure_ratio", view.primary_failure_ratio},
      {"callers", view.callers},
      {"outcomes_age_seconds", view.outcomes_age_seconds},
      {"leader", view.leading}};
  if (view.routes) json["routes"] = ToString(*view.routes);
  if (view.splitter) {
    json["observed_weight"] = view.splitter->canary_percent;
    json["observed_primary_weight"] = view.splitter->primary_percent;
  }
  if (state.started_wall_seconds > 0) {
    json["started"] = control::FormatWallTime(state.started_wall_seconds);
  }
  return json;
}

base::ServerResponse Errors(int status, const std::string& error, Json fields) {
  const Json body = {{"error", error}, {"fields", std::move(fields)}};
  return {.status = status, .body = body.dump() + "\n"};
}

}  // namespace

std::string RolloutJson(const RolloutView& view) {
  Json json = ToJson(view);
  if (view.spec) json["spec"] = Json::parse(config::ToJson(*view.spec));
  return json.dump() + "\n";
}

std::string AppliedJson(const rollout::Spec& spec, const FirstContact& contact,
                        const std::vector<MeshProblem>& warnings) {
  Json created = Json::array();
  for (const auto* entry : {&contact.resolver, &contact.splitter}) {
    if (*entry) created.push_back(Json::parse(**entry));
  }
  Json misgivings = Json::array();
  for (const MeshProblem& warning : warnings) {
    misgivings.push_back({{"field", warning.field}, {"problem", warning.problem}});
  }
  const Json answer = {{"spec", Json::parse(config::ToJson(spec))},
                       {"created", std::move(created)},
                       {"warnings", std::move(misgivings)}};
  return answer.dump() + "\n";
}

std::string RolloutsJson(const std::vector<std::shared_ptr<const RolloutView>>& views,
                         const std::string& fleet_pause) {
  Json list = Json::array();
  for (const auto& view : views) list.push_back(ToJson(*view));
  return Json{{"rollouts", std::move(list)}, {"paused", fleet_pause}}.dump() + "\n";
}

std::string DecisionsJson(const std::vector<std::string>& stored, const DecisionRange& range) {
  std::vector<Json> decisions;
  for (const std::string& text : stored) {
    Json decision = Json::parse(text, nullptr, false);
    if (!decision.is_object()) continue;
    const auto time = decision.find("wall_seconds");
    const bool dated = time != decision.end() && time->is_number();
    if (range.since_wall_seconds && dated && time->get<double>() < *range.since_wall_seconds) {
      continue;
    }
    decisions.push_back(std::move(decision));
  }
  const std::size_t left_out =
      range.limit && decisions.size() > *range.limit ? decisions.size() - *range.limit : 0;
  decisions.erase(decisions.begin(), decisions.begin() + static_cast<std::ptrdiff_t>(left_out));
  return Json{{"decisions", std::move(decisions)}}.dump() + "\n";
}

base::ServerResponse SpecErrors(const std::vector<config::FieldError>& errors) {
  Json fields = Json::array();
  std::string text = "the specification is wrong";
  for (const config::FieldError& error : errors) {
    fields.push_back({{"field", error.field}, {"problem", error.problem}, {"line", error.line}});
    text += "; " + config::ToString(error);
  }
  return Errors(kBadRequest, text, std::move(fields));
}

base::ServerResponse MeshErrors(const std::vector<MeshProblem>& problems) {
  Json fields = Json::array();
  std::string text = "the mesh cannot carry this rollout";
  for (const MeshProblem& problem : problems) {
    fields.push_back({{"field", problem.field}, {"problem", problem.problem}});
    text += "; " + problem.field + ": " + problem.problem;
  }
  return Errors(kConflict, text, std::move(fields));
}

}  // namespace consul_canary::api
