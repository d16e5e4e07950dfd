// rollout::Spec → JSON and YAML. Reading is spec_file.cc's.
#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "analyzer/config/spec_file.h"

namespace consul_canary::config {
namespace {

using rollout::JudgeMode;
using rollout::LatencyObjective;
using rollout::NoDataPolicy;
using rollout::OnDeadline;
using rollout::OutcomeView;
using rollout::PromoteMode;
using rollout::Proof;
using rollout::ShieldUse;
using rollout::Spec;
using rollout::StartMode;
using rollout::Step;
using rollout::Threshold;
using rollout::ThresholdMetric;
using Json = nlohmann::ordered_json;

// The largest unit that needs no fraction: 90 s stay 90s, 120 s become 2m.
std::string ToText(rollout::Seconds duration) {
  const auto milliseconds = static_cast<std::int64_t>(std::llround(duration.count() * 1000.0));
  if (milliseconds == 0) return "0s";
  if (milliseconds % 3'600'000 == 0) return fmt::format("{}h", milliseconds / 3'600'000);
  if (milliseconds % 60'000 == 0) return fmt::format("{}m", milliseconds / 60'000);
  if (milliseconds % 1000 == 0) return fmt::format("{}s", milliseconds / 1000);
  return fmt::format("{}ms", milliseconds);
}

const char* ToText(StartMode mode) { return mode == StartMode::kManual ? "manual" : "new-version"; }
const char* ToText(OnDeadline on) { return on == OnDeadline::kRollBack ? "rollback" : "hold"; }
const char* ToText(PromoteMode mode) {
  if (mode == PromoteMode::kExternal) return "external";
  return mode == PromoteMode::kNone ? "none" : "swap-subsets";
}
const char* ToText(ShieldUse use) {
  if (use == ShieldUse::kRequire) return "require";
  return use == ShieldUse::kIgnore ? "ignore" : "auto";
}
const char* ToText(OutcomeView view) {
  switch (view) {
    case OutcomeView::kAttempts:
      return "attempts";
    case OutcomeView::kRequests:
      return "requests";
    case OutcomeView::kFirstTry:
      break;
  }
  return "first-try";
}

const char* ToText(JudgeMode mode) {
  switch (mode) {
    case JudgeMode::kThresholds:
      return "thresholds";
    case JudgeMode::kBoth:
      return "both";
    case JudgeMode::kSequential:
      break;
  }
  return "sequential";
}
const char* ToText(Proof proof) { return proof == Proof::kOnce ? "once" : "each-step"; }
const char* ToText(NoDataPolicy policy) {
  switch (policy) {
    case NoDataPolicy::kRollBack:
      return "rollback";
    case NoDataPolicy::kAdvance:
      return "advance";
    case NoDataPolicy::kHold:
      break;
  }
  return "hold";
}

std::string MetricText(const Threshold& threshold) {
  switch (threshold.metric) {
    case ThresholdMetric::kLatency:
      return fmt::format("latency_p{:.6g}", 100 * threshold.quantile);
    case ThresholdMetric::kMannWhitney:
      return "mann_whitney";
    case ThresholdMetric::kSuccessRatio:
      break;
  }
  return "success_ratio";
}

// Quoted always: a service may be named `null`, and filters are full of double quotes.
std::string Quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'') result += '\'';
    result += c;
  }
  return result + "'";
}

std::string QuotedOrNull(const std::string& text) { return text.empty() ? "null" : Quoted(text); }
Json TextOrNull(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json ToValue(const Step& step) {
  return {{"weight", step.weight_percent},
          {"min_duration", ToText(step.min_duration)},
          {"pause", step.pause}};
}

Json ToValue(const rollout::Match& match) {
  Json value = Json::object();
  if (match.cookie.empty()) {
    value["header"] = match.header;
  } else {
    value["cookie"] = match.cookie;
  }
  if (match.kind == rollout::MatchKind::kPresent) {
    value["present"] = true;
  } else {
    value[std::string(ToString(match.kind))] = match.value;
  }
  return value;
}

Json ToValue(const stats::Margin& margin) {
  return {{"ratio", margin.ratio}, {"absolute", margin.absolute}};
}

Json ToValue(const LatencyObjective& objective) {
  return {{"edge", ToText(objective.edge)}, {"margin", ToValue(objective.margin)}};
}

Json ToValue(const Threshold& threshold) {
  Json value = {{"metric", MetricText(threshold)}};
  if (threshold.metric == ThresholdMetric::kMannWhitney) {
    value["bin"] = ToText(threshold.bin);
    value["confidence"] = threshold.confidence;
    value["tolerance"] = threshold.tolerance;
  } else if (threshold.metric == ThresholdMetric::kLatency) {
    value["max"] = ToText(rollout::Seconds(threshold.max.value_or(0)));
  } else {
    value["min"] = threshold.min.value_or(0);
  }
  value["window"] = ToText(threshold.window);
  value["failures"] = threshold.failures;
  return value;
}

template <class T>
Json ToList(const std::vector<T>& items) {
  Json list = Json::array();
  for (const T& item : items) list.push_back(ToValue(item));
  return list;
}

Json AnalysisToValue(const Spec& spec) {
  return {{"judge", ToText(spec.judge)},
          {"proof", ToText(spec.proof)},
          {"outcomes", ToText(spec.outcomes)},
          {"overdispersion", {{"floor", spec.overdispersion_floor}, {"stall", ToText(spec.stall)}}},
          {"false_rollback", spec.false_rollback},
          {"false_advance", spec.false_advance},
          {"failure_ratio",
           {{"margin", ToValue(spec.failure_margin)},
            {"rollback_margin", ToValue(spec.rollback_margin)}}},
          {"latency", ToList(spec.latency)},
          {"thresholds", ToList(spec.thresholds)},
          {"on_insufficient_data", ToText(spec.on_insufficient_data)}};
}

std::string ToYamlLine(const rollout::Match& match) {
  const std::string subject =
      match.cookie.empty() ? "header: " + Quoted(match.header) : "cookie: " + Quoted(match.cookie);
  const std::string value =
      match.kind == rollout::MatchKind::kPresent ? "true" : Quoted(match.value);
  return fmt::format("{{{}, {}: {}}}", subject, ToString(match.kind), value);
}

std::string ToYamlLine(const stats::Margin& margin) {
  return fmt::format("{{ratio: {}, absolute: {}}}", margin.ratio, margin.absolute);
}

std::string ToYamlLine(const LatencyObjective& objective) {
  return fmt::format("{{edge: {}, margin: {}}}", ToText(objective.edge),
                     ToYamlLine(objective.margin));
}

std::string ToYamlLine(const Threshold& threshold) {
  std::string limits;
  if (threshold.metric == ThresholdMetric::kMannWhitney) {
    limits = fmt::format("bin: {}, confidence: {}, tolerance: {}", ToText(threshold.bin),
                         threshold.confidence, threshold.tolerance);
  } else if (threshold.metric == ThresholdMetric::kLatency) {
    limits = "max: " + ToText(rollout::Seconds(threshold.max.value_or(0)));
  } else {
    limits = fmt::format("min: {}", threshold.min.value_or(0));
  }
  return fmt::format("{{metric: {}, {}, window: {}, failures: {}}}", MetricText(threshold), limits,
                     ToText(threshold.window), threshold.failures);
}

template <class T>
std::string YamlList(std::string_view key, const std::vector<T>& items) {
  if (items.empty()) return fmt::format("  {}: []\n", key);
  std::string text = fmt::format("  {}:\n", key);
  for (const T& item : items) text += fmt::format("    - {}\n", ToYamlLine(item));
  return text;
}

}  // namespace

std::string ToJson(const Spec& spec) {
  Json document = {{"service", spec.service},
                   {"namespace", TextOrNull(spec.namespace_name)},
                   {"partition", TextOrNull(spec.partition)},
                   {"datacenter", TextOrNull(spec.datacenter)},
                   {"subsets", {{"primary", spec.primary_subset}, {"canary", spec.canary_subset}}},
                   {"act", spec.act},
                   {"start", ToText(spec.start)},
                   {"version_key", TextOrNull(spec.version_key)},
                   {"version_tag_prefix", TextOrNull(spec.version_tag_prefix)}};
  // A filter that nothing writes would be refused.
  if (WritesFilters(spec)) document["subset_filter"] = spec.subset_filter;
  document["strategy"] = {{"steps", ToList(spec.steps)},
                          {"match", ToList(spec.match)},
                          {"ready_deadline", ToText(spec.ready_deadline)},
                          {"warmup", ToText(spec.warmup)},
                          {"deadline", ToText(spec.deadline)},
                          {"on_deadline", ToText(spec.on_deadline)},
                          {"after_promotion", ToText(spec.after_promotion)}};
  document["analysis"] = AnalysisToValue(spec);
  document["shield"] = ToText(spec.shield);
  document["promote"] = ToText(spec.promote);
  document["rollback_window"] = ToText(spec.rollback_window);
  document["on_rollback"] = {{"maintenance", spec.maintenance_on_rollback}};
  return document.dump();
}

std::string ToYaml(const Spec& spec) {
  std::string text;
  const auto line = [&](std::string_view key, const auto& value) {
    text += fmt::format("{}: {}\n", key, value);
  };
  line("service", Quoted(spec.service));
  line("namespace", QuotedOrNull(spec.namespace_name));
  line("partition", QuotedOrNull(spec.partition));
  line("datacenter", QuotedOrNull(spec.datacenter));
  line("subsets", fmt::format("{{primary: {}, canary: {}}}", Quoted(spec.primary_subset),
                              Quoted(spec.canary_subset)));
  line("act", spec.act);
  line("start", ToText(spec.start));
  line("version_key", QuotedOrNull(spec.version_key));
  line("version_tag_prefix", QuotedOrNull(spec.version_tag_prefix));
  if (WritesFilters(spec)) line("subset_filter", Quoted(spec.subset_filter));
  text += "strategy:\n  steps:\n";
  for (const Step& step : spec.steps) {
    text += fmt::format("    - {{weight: {}, min_duration: {}, pause: {}}}\n", step.weight_percent,
                        ToText(step.min_duration), step.pause);
  }
  text += YamlList("match", spec.match);
  line("  ready_deadline", ToText(spec.ready_deadline));
  line("  warmup", ToText(spec.warmup));
  line("  deadline", ToText(spec.deadline));
  line("  on_deadline", ToText(spec.on_deadline));
  line("  after_promotion", ToText(spec.after_promotion));
  text += "analysis:\n";
  line("  judge", ToText(spec.judge));
  line("  proof", ToText(spec.proof));
  line("  outcomes", ToText(spec.outcomes));
  line("  overdispersion",
       fmt::format("{{floor: {}, stall: {}}}", spec.overdispersion_floor, ToText(spec.stall)));
  line("  false_rollback", spec.false_rollback);
  line("  false_advance", spec.false_advance);
  line("  failure_ratio",
       fmt::format("{{margin: {}, rollback_margin: {}}}", ToYamlLine(spec.failure_margin),
                   ToYamlLine(spec.rollback_margin)));
  text += YamlList("latency", spec.latency);
  text += YamlList("thresholds", spec.thresholds);
  line("  on_insufficient_data", ToText(spec.on_insufficient_data));
  line("shield", ToText(spec.shield));
  line("promote", ToText(spec.promote));
  line("rollback_window", ToText(spec.rollback_window));
  line("on_rollback", fmt::format("{{maintenance: {}}}", spec.maintenance_on_rollback));
  return text;
}

}  // namespace consul_canary::config
