#include "analyzer/cli/tables.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "analyzer/cli/fields.h"

namespace consul_canary::cli {
namespace {

using nlohmann::json;

double NumberOr0(const json& object, const char* key) { return Number(object, key).value_or(0); }

// 5 or 5→10 while the splitter does not show it yet.
std::string WeightText(const json& rollout) {
  const double wanted = NumberOr0(rollout, "weight");
  const auto observed = Number(rollout, "observed_weight");
  if (!observed || *observed == wanted) return fmt::format("{:g}%", wanted);
  return fmt::format("{:g}%→{:g}%", *observed, wanted);
}

// Between rollouts, what the last one came to and what the next one waits for.
std::string ReasonText(const json& rollout) {
  const std::string reason = Text(rollout, "reason");
  const std::string waits = Text(rollout, "waits");
  if (waits.empty() || waits == reason) return reason;
  return reason.empty() ? waits : reason + "; " + waits;
}

using Cells = std::array<std::string, 7>;

std::string Line(const Cells& cells, const Look& look, Colour phase) {
  constexpr std::array<std::size_t, 6> kWidths{20, 13, 6, 10, 10, 10};
  std::string line;
  for (std::size_t i = 0; i < kWidths.size(); ++i) {
    const std::string padded = Padded(cells.at(i), kWidths.at(i));
    line += (i == 1 ? Paint(look, phase, padded) : padded) + ' ';
  }
  return line + cells.back() + '\n';
}

std::string Heading(const Look& look) {
  return Line({"SERVICE", "PHASE", "STEP", "WEIGHT", "CANARY", "VERDICT", "REASON"}, look,
              Colour::kNone);
}

std::string Row(const json& rollout, const Look& look) {
  const std::string phase = Text(rollout, "phase");
  const std::string problem = Text(rollout, "problem");
  return Line({Text(rollout, "service"), phase,
               fmt::format("{:g}/{:g}", NumberOr0(rollout, "step"), NumberOr0(rollout, "steps")),
               WeightText(rollout), Text(rollout, "canary_version"), Text(rollout, "verdict"),
               problem.empty() ? ReasonText(rollout) : Paint(look, Colour::kRed, problem)},
              look, ColourOfPhase(phase));
}

// Of several metrics, what each says by itself.
std::string OfMetrics(const json& metrics) {
  std::string text;
  if (!metrics.is_object() || metrics.size() < 2) return text;
  for (const auto& [name, metric] : metrics.items()) {
    text +=
        fmt::format("metric     {}: harm {:.2f}", Harmless(name), NumberOr0(metric, "log_harm"));
    if (const auto safe = Number(metric, "log_safe")) text += fmt::format(", safety {:.2f}", *safe);
    const bool blamed = metric.is_object() && metric.value("blamed", json()) == true;
    text += blamed ? ", stands out\n" : "\n";
  }
  return text;
}

std::string FailedOf(const json& subset) {
  return fmt::format("{:.0f} of {:.0f} requests failed", NumberOr0(subset, "failures"),
                     NumberOr0(subset, "completed"));
}

std::string OrDash(const std::string& text) { return text.empty() ? "-" : text; }

void AddLine(std::string& text, const char* label, const std::string& value) {
  if (!value.empty()) text += fmt::format("{:<11}{}\n", label, value);
}

std::string NextText(const json& next) {
  const std::string waits_for = Text(next, "waits_for");
  return Text(next, "decision") + (waits_for.empty() ? "" : ": " + waits_for);
}

}  // namespace

std::string RolloutTable(const json& rollouts, const Look& look) {
  std::string text = Heading(look);
  for (const json& rollout : rollouts) text += Row(rollout, look);
  return text;
}

std::string RolloutDetails(const json& rollout, const Look& look) {
  const json& evidence = Child(rollout, "evidence");
  const json& step = Child(evidence, "step");
  std::string text = Heading(look) + Row(rollout, look) + "\n";
  text += fmt::format("versions   canary {}, primary {}\n", OrDash(Text(rollout, "canary_version")),
                      OrDash(Text(rollout, "primary_version")));
  text += fmt::format("this step  canary {}, primary {}\n", FailedOf(Child(step, "canary")),
                      FailedOf(Child(step, "primary")));
  text += fmt::format("harm       ln M {:.2f}, rolled back at {:.2f}\n",
                      NumberOr0(evidence, "log_harm"), NumberOr0(evidence, "harm_bound"));
  text += fmt::format("safety     ln M {:.2f}, advanced at {:.2f}\n",
                      NumberOr0(evidence, "log_safe"), NumberOr0(evidence, "safe_bound"));
  text += fmt::format("callers    {:.0f}, read {:.1f} s ago at most\n",
                      NumberOr0(rollout, "callers"), NumberOr0(rollout, "outcomes_age_seconds"));
  const json& shield = Child(evidence, "shield");
  if (shield.is_object() && shield.value("active", json()) == true) {
    text +=
        fmt::format("shield     {:.0f} requests saved, {:.0f} failed for callers\n",
                    NumberOr0(shield, "saved_requests"), NumberOr0(shield, "failed_for_callers"));
  }
  text += OfMetrics(Child(evidence, "metrics"));
  for (const json& note : Child(evidence, "notes")) {
    if (note.is_string()) AddLine(text, "note", Harmless(note.get<std::string>()));
  }
  AddLine(text, "stragglers", Text(rollout, "stragglers"));
  AddLine(text, "next", NextText(Child(rollout, "next")));
  AddLine(text, "holds", Text(rollout, "unknown"));
  return text;
}

std::string DecisionTable(const json& decisions, const Look& look) {
  std::string text = fmt::format("{:<21} {:<12} {:<14} {:<13} {:>7}  {}\n", "TIME", "ACTION",
                                 "CAUSE", "PHASE", "WEIGHT", "REASON");
  for (const json& decision : decisions) {
    constexpr std::size_t kPhaseWidth = 13;
    const std::string phase = Text(decision, "to");
    text += fmt::format("{:<21} {:<12} {:<14} {} {:>6g}%  {}\n", Text(decision, "time"),
                        Text(decision, "action"), Text(decision, "cause"),
                        Paint(look, ColourOfPhase(phase), Padded(phase, kPhaseWidth)),
                        NumberOr0(decision, "weight"), Text(decision, "reason"));
  }
  return text;
}

}  // namespace consul_canary::cli
