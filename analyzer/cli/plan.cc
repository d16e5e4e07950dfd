#include "analyzer/cli/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

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
constexpr double kHalf = 0.5;

std::string Duration(double seconds) {
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

std::string Share(const Estimate& estimate) {
  if (estimate.decided_share >= kAllDecided) return "";
  return fmt::format(" ({:.0f}%)", estimate.decided_share * kPercent);
}

std::string HealthyText(const Estimate& estimate) {
  if (estimate.decided_share < kHalf) return "not in time" + Share(estimate);
  return Duration(estimate.seconds_median) + Share(estimate);
}

std::string FaultText(const PlannedFault& fault) {
  return fmt::format("{:.1f} / {}{}", fault.until_rollback.failed_mean,
                     Duration(fault.until_rollback.seconds_median), Share(fault.until_rollback));
}

std::string LeastText(const PlannedStep& step) {
  if (step.requests_needed == 0) return "-";
  return std::isfinite(step.least_requests_per_second)
             ? fmt::format("{:.3g}", step.least_requests_per_second)
             : "none";
}

using Row = std::vector<std::string>;

// A step of weight 0, of whose requests nothing is known, plans no faults.
const std::vector<PlannedFault>& FaultsOf(const Plan& plan) {
  static const std::vector<PlannedFault> kNone;
  for (const PlannedStep& step : plan.steps) {
    if (!step.faults.empty()) return step.faults;
  }
  return kNone;
}

Row HeadOf(const Plan& plan) {
  Row head{"step", "weight", "canary/s", "least/s", "healthy"};
  for (const PlannedFault& fault : FaultsOf(plan)) {
    head.push_back(fmt::format("fails {:g}%", fault.failure_ratio * kPercent));
  }
  return head;
}

Row RowOf(const PlannedStep& step, std::size_t number, std::size_t cells) {
  Row row{fmt::format("{}", number), fmt::format("{:g}%", step.weight_percent),
          fmt::format("{:.4g}", step.canary_requests_per_second), LeastText(step),
          HealthyText(step.healthy)};
  if (step.weight_percent == 0) row[2] = "?";
  for (const PlannedFault& fault : step.faults) row.push_back(FaultText(fault));
  row.resize(cells, "?");
  return row;
}

std::string Aligned(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      text += fmt::format("{:>{}}{}", row[i], widths[i], i + 1 < row.size() ? "  " : "\n");
    }
  }
  return text;
}

std::string UndecidableText(const PlannedStep& step, std::size_t number, const PlanInput& input) {
  std::string text = fmt::format(
      "Step {} is decided before its deadline in {:.0f}% of the runs at {:g} requests a second",
      number, step.healthy.decided_share * kPercent, input.requests_per_second);
  if (!std::isfinite(step.requests_needed)) {
    text += ": no number of requests is enough for a proof";
  } else if (step.requests_needed > 0) {
    text += fmt::format(
        ": a proof takes about {:.0f} requests of the canary, so at least {:.3g} requests a second",
        step.requests_needed, step.least_requests_per_second);
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
      "each step, the least rate at which nearly all are decided in time, and how many requests a "
      "bad\n"
      "canary fails / how long it takes until it is rolled back (where not all are decided before "
      "the\n"
      "step's deadline, the share that is):\n\n",
      input.requests_per_second, input.primary_failure_ratio * kPercent);
  std::vector<Row> rows{HeadOf(plan)};
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    rows.push_back(RowOf(plan.steps[i], i + 1, rows.front().size()));
  }
  text += Aligned(rows) + "\n" + PlanSummary(plan, input);
  return text;
}

std::string PlanJson(const Plan& plan, const PlanInput& input) {
  Json steps = Json::array();
  for (const PlannedStep& step : plan.steps) steps.push_back(ToJson(step));
  const Json json = {{"requests_per_second", input.requests_per_second},
                     {"primary_failure_ratio", input.primary_failure_ratio},
                     {"decidable", plan.decidable},
                     {"healthy_seconds_median", plan.healthy_seconds_median},
                     {"steps", std::move(steps)},
                     {"notes", plan.notes}};
  return json.dump() + "\n";
}

std::string PlanSummary(const Plan& plan, const PlanInput& input) {
  std::string text = Undecidable(plan, input);
  if (text.empty()) {
    text =
        fmt::format("At {:.4g} requests a second a healthy canary passes all steps in about {}.\n",
                    input.requests_per_second, Duration(plan.healthy_seconds_median));
  }
  for (const std::string& note : plan.notes) text += "Note: " + note + ".\n";
  return text;
}

}  // namespace consul_canary::cli
