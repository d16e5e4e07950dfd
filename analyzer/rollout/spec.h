// A rollout as its owner specifies it: parsed and validated in analyzer/config, const afterwards.
// Defaults are those of docs/spec.md. Plain values.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "analyzer/rollout/match.h"
#include "analyzer/stats/margin.h"

namespace consul_canary::rollout {

using Seconds = std::chrono::duration<double>;

struct Step {
  double weight_percent = 0;  // > 0, <= 100, two decimals; 0 too in the first step with matches
  Seconds min_duration{0};
  bool pause = false;  // after its proof, waits for `promote`

  bool operator==(const Step&) const = default;
};

enum class StartMode { kNewVersion, kManual };
enum class OnDeadline { kHold, kRollBack };
enum class PromoteMode { kSwapSubsets, kExternal, kNone };
enum class OutcomeView { kFirstTry, kAttempts, kRequests };
enum class JudgeMode { kSequential, kThresholds, kBoth };
enum class Proof { kEachStep, kOnce };
enum class ShieldUse { kAuto, kRequire, kIgnore };
enum class NoDataPolicy { kHold, kRollBack, kAdvance };

// Share of requests slower than an edge, to be proven within the margin before an advance.
struct LatencyObjective {
  Seconds edge{0};
  stats::Margin margin{1.0, 0.02};

  bool operator==(const LatencyObjective&) const = default;
};

enum class ThresholdMetric {
  kSuccessRatio,  // of the canary's requests, 0..1
  kLatency,       // the canary's quantile, in seconds
  kMannWhitney,   // the canary's failure ratios of time bins against the primary's
};

// A fixed threshold: one check for each window.
struct Threshold {
  ThresholdMetric metric = ThresholdMetric::kSuccessRatio;
  double quantile = 0.99;     // kLatency: 0..1
  std::optional<double> min;  // seconds for kLatency; at least one of the two but for kMannWhitney
  std::optional<double> max;
  Seconds window{60};
  int failures = 5;          // failed checks that roll back, >= 1
  Seconds bin{60};           // kMannWhitney: shorter than the window
  double confidence = 0.98;  // kMannWhitney
  double tolerance = 0.25;   // kMannWhitney: of the estimate, as Kayenta's classifier has it

  bool operator==(const Threshold&) const = default;
};

struct Spec {
  std::string service;
  // Where the service lives; empty: where the analyzer does.
  std::string namespace_name;
  std::string partition;
  std::string datacenter;
  std::string primary_subset = "primary";
  std::string canary_subset = "canary";
  bool act = true;  // false: everything but writes
  StartMode start = StartMode::kNewVersion;
  // An instance's version is the value of this key of Service.Meta, or what follows this prefix in
  // a tag; at most one of the two is set. Neither: the subsets are told apart by their filters
  // alone, and a filter stands for the version.
  std::string version_key = "version";
  std::string version_tag_prefix;
  std::string subset_filter = "Service.Meta.version == \"{{version}}\"";
  std::vector<Step> steps;   // ascending; never empty
  std::vector<Match> match;  // what goes to the canary while it steps, whatever the weight
  Seconds ready_deadline{600};
  Seconds warmup{5};
  Seconds deadline{3600};  // of a step
  OnDeadline on_deadline = OnDeadline::kHold;
  Seconds after_promotion{0};  // watched with all traffic, before the primary subset takes it
  OutcomeView outcomes = OutcomeView::kFirstTry;
  double overdispersion_floor = 1.0;  // >= 1
  Seconds stall{0.5};  // requests of an instance that are slow or late within it count as one
  double false_rollback = 0.01;  // alpha
  double false_advance = 0.05;   // beta
  stats::Margin failure_margin;
  stats::Margin rollback_margin{1.0, 0.0};  // harm is what exceeds it; this one: any worse
  Proof proof = Proof::kEachStep;
  std::vector<LatencyObjective> latency;
  JudgeMode judge = JudgeMode::kSequential;
  std::vector<Threshold> thresholds;
  NoDataPolicy on_insufficient_data = NoDataPolicy::kHold;  // of thresholds
  ShieldUse shield = ShieldUse::kAuto;                      // docs/shield.md
  PromoteMode promote = PromoteMode::kSwapSubsets;
  Seconds rollback_window{0};  // a primary of so long ago is promoted again without steps; 0: none
  bool maintenance_on_rollback = false;  // of the canary's instances, in Consul

  bool operator==(const Spec&) const = default;
};

// "api", or "partition.namespace.api" where either is not the default: a rollout's name in the KV
// store, in URLs and in metrics. Precondition: the place is filled in, or the default is meant.
[[nodiscard]] std::string RolloutId(const Spec& spec);

// Whether a subset's filter is written when its version changes: not where its owner redeploys it
// (`promote: external`), nor where a filter stands for the version.
[[nodiscard]] bool WritesFilters(const Spec& spec);

// subset_filter with {{version}} replaced. Quotes and backslashes in the version are escaped. Where
// filters stand for versions, the version itself.
[[nodiscard]] std::string FilterForVersion(const Spec& spec, const std::string& version);

// Of the harm process, in the watch after promotion (docs/statistics.md#watch).
inline constexpr double kWatchEpochSeconds = 10;

// How many epochs the harm process plans for (docs/statistics.md#harm): of 60 s for the sum of the
// steps' deadlines, and the watch's.
[[nodiscard]] std::int64_t PlannedEpochs(const Spec& spec);

}  // namespace consul_canary::rollout
