// rollout::Spec → JSON and YAML. Reading is spec_file.cc's.
#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "analyzer/config/spec_file.h"

namespace consul_canary::config {
namespace {

using rollout::OnDeadline;
using rollout::OutcomeView;
using rollout::PromoteMode;
using rollout::Spec;
using rollout::StartMode;
using rollout::Step;
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
  return mode == PromoteMode::kNone ? "none" : "swap-subsets";
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

// Quoted always: a service may be named `null`, and filters are full of double quotes.
std::string Quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'') result += '\'';
    result += c;
  }
  return result + "'";
}

Json ToValue(const Step& step) {
  return {{"weight", step.weight_percent},
          {"min_duration", ToText(step.min_duration)},
          {"pause", step.pause}};
}

}  // namespace

std::string ToJson(const Spec& spec) {
  Json steps = Json::array();
  for (const Step& step : spec.steps) steps.push_back(ToValue(step));
  const Json document = {
      {"service", spec.service},
      {"subsets", {{"primary", spec.primary_subset}, {"canary", spec.canary_subset}}},
      {"start", ToText(spec.start)},
      {"version_key", spec.version_key},
      {"subset_filter", spec.subset_filter},
      {"strategy",
       {{"steps", std::move(steps)},
        {"ready_deadline", ToText(spec.ready_deadline)},
        {"warmup", ToText(spec.warmup)},
        {"deadline", ToText(spec.deadline)},
        {"on_deadline", ToText(spec.on_deadline)}}},
      {"analysis",
       {{"outcomes", ToText(spec.outcomes)},
        {"overdispersion", {{"floor", spec.overdispersion_floor}}},
        {"false_rollback", spec.false_rollback},
        {"false_advance", spec.false_advance},
        {"failure_ratio",
         {{"margin",
           {{"ratio", spec.failure_margin.ratio}, {"absolute", spec.failure_margin.absolute}}}}}}},
      {"promote", ToText(spec.promote)}};
  return document.dump();
}

std::string ToYaml(const Spec& spec) {
  std::string text;
  const auto line = [&](std::string_view key, const auto& value) {
    text += fmt::format("{}: {}\n", key, value);
  };
  line("service", Quoted(spec.service));
  line("subsets", fmt::format("{{primary: {}, canary: {}}}", Quoted(spec.primary_subset),
                              Quoted(spec.canary_subset)));
  line("start", ToText(spec.start));
  line("version_key", Quoted(spec.version_key));
  line("subset_filter", Quoted(spec.subset_filter));
  text += "strategy:\n  steps:\n";
  for (const Step& step : spec.steps) {
    text += fmt::format("    - {{weight: {}, min_duration: {}, pause: {}}}\n", step.weight_percent,
                        ToText(step.min_duration), step.pause);
  }
  line("  ready_deadline", ToText(spec.ready_deadline));
  line("  warmup", ToText(spec.warmup));
  line("  deadline", ToText(spec.deadline));
  line("  on_deadline", ToText(spec.on_deadline));
  text += "analysis:\n";
  line("  outcomes", ToText(spec.outcomes));
  line("  overdispersion", fmt::format("{{floor: {}}}", spec.overdispersion_floor));
  line("  false_rollback", spec.false_rollback);
  line("  false_advance", spec.false_advance);
  line("  failure_ratio", fmt::format("{{margin: {{ratio: {}, absolute: {}}}}}",
                                      spec.failure_margin.ratio, spec.failure_margin.absolute));
  line("promote", ToText(spec.promote));
  return text;
}

}  // namespace consul_canary::config
