// A rollout as its owner specifies it: parsed and validated in analyzer/config, const afterwards.
// Defaults are those of docs/spec.md. Plain values.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "analyzer/stats/safe.h"

namespace consul_canary::rollout {

using Seconds = std::chrono::duration<double>;

struct Step {
  double weight_percent = 0;  // > 0, <= 100, two decimals
  Seconds min_duration{0};
  bool pause = false;  // after its proof, waits for `promote`

  bool operator==(const Step&) const = default;
};

enum class StartMode { kNewVersion, kManual };
enum class OnDeadline { kHold, kRollBack };
enum class PromoteMode { kSwapSubsets, kNone };
enum class OutcomeView { kFirstTry, kAttempts, kRequests };

struct Spec {
  std::string service;
  std::string primary_subset = "primary";
  std::string canary_subset = "canary";
  StartMode start = StartMode::kNewVersion;
  std::string version_key = "version";  // Service.Meta key
  std::string subset_filter = "Service.Meta.version == \"{{version}}\"";
  std::vector<Step> steps;  // ascending; never empty
  Seconds ready_deadline{600};
  Seconds warmup{5};
  Seconds deadline{3600};  // of a step
  OnDeadline on_deadline = OnDeadline::kHold;
  OutcomeView outcomes = OutcomeView::kFirstTry;
  double overdispersion_floor = 1.0;  // >= 1
  double false_rollback = 0.01;       // alpha
  double false_advance = 0.05;        // beta
  stats::Margin failure_margin;
  PromoteMode promote = PromoteMode::kSwapSubsets;

  bool operator==(const Spec&) const = default;
};

// subset_filter with {{version}} replaced. Quotes and backslashes in the version are escaped.
[[nodiscard]] std::string FilterForVersion(const Spec& spec, const std::string& version);

// How many 60 s epochs the harm process plans for (docs/statistics.md#harm): the sum of the steps'
// deadlines.
[[nodiscard]] std::int64_t PlannedEpochs(const Spec& spec);

}  // namespace consul_canary::rollout
