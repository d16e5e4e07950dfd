#include "analyzer/cli/plan.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace consul_canary::cli {
namespace {

using rollout::Estimate;
using rollout::Plan;
using rollout::PlanInput;
using rollout::PlannedFault;
using rollout::PlannedStep;
using Json = nlohmann::ordered_json;

constexpr double kPercent = 100;
constexpr double kAllDecided = 0.995;

std::string Duration(double seconds) {
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

std::string TimeOf(const Estimate& estimate) {
  if (estimate.decided_share < 0.5) return "not in time";
  return Duration(estimate.seconds_median);
}

std::string Share(const Estimate& estimate) {
  if (estimate.decided_share >= kAllDecided) return "";
  return fmt::format(" ({:.0f}%)", estimate.decided_share * kPercent);
}

std::string FaultText(const PlannedFault& fault) {
  return fmt::format("{:.1f} / {}{}", fault.until_rollback.failed_mean,
                     Duration(fault.until_rollback.seconds_median), Share(fault.until_rollback));
}

std::string StepText(const PlannedStep& step, std::size_t number) {
  std::string text = fmt::format("{:>4}  {:>6g}%  {:>10.4g}  {:>12}  ", number, step.weight_percent,
                                 step.canary_requests_per_second, TimeOf(step.healthy));
  for (const PlannedFault& fault : step.faults) text += fmt::format("{:<22}", FaultText(fault));
  text.erase(text.find_last_not_of(' ') + 1);
  return text + "\n";
}

std::string UndecidableText(const PlannedStep& step, std::size_t number, const PlanInput& input) {
  std::string text = fmt::format(
      "Step {} cannot be decided before its deadline at {:g} requests a second: a proof takes "
      "about {} requests of the canary",
      number, input.requests_per_second,
      std::isfinite(step.requests_needed) ? fmt::format("{:.0f}", step.requests_needed)
                                          : "infinitely many");
  if (std::isfinite(step.least_requests_per_second)) {
    text += fmt::format(", so at least {:.3g} requests a second", step.least_requests_per_second);
  }
  text += ". What would help, and its price:\n";
  for (const rollout::Remedy& remedy : step.remedies) {
    text += fmt::format("  - {}\n    {}\n", remedy.change, remedy.price);
  }
  return text;
}

std::string Undecidable(const Plan& plan, const PlanInput& input) {
  std::string text;
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    if (!plan.steps[i].remedies.empty()) text += UndecidableText(plan.steps[i], i + 1, input);
  }
  return text;
}

Json ToJson(const Estimate& estimate) {
  return {{"seconds_median", estimate.seconds_median},
          {"seconds_p90", estimate.seconds_p90},
          {"failed_mean", estimate.failed_mean},
          {"decided_share", estimate.decided_share}};
}

// JSON has no infinity: null, where no number is enough.
Json Finite(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json ToJson(const PlannedStep& step) {
  Json faults = Json::array();
  for (const PlannedFault& fault : step.faults) {
    faults.push_back(
        {{"failure_ratio", fault.failure_ratio}, {"until_rollback", ToJson(fault.until_rollback)}});
  }
  Json remedies = Json::array();
  for (const rollout::Remedy& remedy : step.remedies) {
    remedies.push_back({{"change", remedy.change}, {"price", remedy.price}});
  }
  return {{"weight", step.weight_percent},
          {"canary_requests_per_second", step.canary_requests_per_second},
          {"requests_needed", Finite(step.requests_needed)},
          {"least_requests_per_second", Finite(step.least_requests_per_second)},
          {"healthy", ToJson(step.healthy)},
          {"faults", std::move(faults)},
          {"remedies", std::move(remedies)}};
}

}  // namespace

std::string PlanTable(const Plan& plan, const PlanInput& input) {
  std::string text = fmt::format(
      "At {:g} requests a second, of which the primary fails {:g}%: how long a healthy canary "
      "stays at\n"
      "each step, and how many requests a bad one fails / how long it takes until it is rolled "
      "back\n"
      "(where not all are decided before the step's deadline, the share that is):\n\n",
      input.requests_per_second, input.primary_failure_ratio * kPercent);
  text += fmt::format("{:>4}  {:>7}  {:>10}  {:>12}  ", "step", "weight", "canary/s", "healthy");
  if (!plan.steps.empty()) {
    for (const PlannedFault& fault : plan.steps.front().faults) {
      text += fmt::format("{:<22}", fmt::format("fails {:g}%", fault.failure_ratio * kPercent));
    }
  }
  text.erase(text.find_last_not_of(' ') + 1);
  text += "\n";
  for (std::size_t i = 0; i < plan.steps.size(); ++i) text += StepText(plan.steps[i], i + 1);
  const std::string undecidable = Undecidable(plan, input);
  if (!undecidable.empty()) return text + "\n" + undecidable;
  return text + fmt::format("\nA healthy canary passes all steps in about {}.\n",
                            Duration(plan.healthy_seconds_median));
}

std::string PlanJson(const Plan& plan, const PlanInput& input) {
  Json steps = Json::array();
  for (const PlannedStep& step : plan.steps) steps.push_back(ToJson(step));
  const Json json = {{"requests_per_second", input.requests_per_second},
                     {"primary_failure_ratio", input.primary_failure_ratio},
                     {"decidable", plan.decidable},
                     {"healthy_seconds_median", plan.healthy_seconds_median},
                     {"steps", std::move(steps)}};
  return json.dump() + "\n";
}

std::string PlanSummary(const Plan& plan, const PlanInput& input) {
  const std::string undecidable = Undecidable(plan, input);
  if (!undecidable.empty()) return undecidable;
  return fmt::format(
      "At the {:.3g} requests a second seen now, a healthy canary passes all steps "
      "in about {}.\n",
      input.requests_per_second, Duration(plan.healthy_seconds_median));
}

}  // namespace consul_canary::cli
