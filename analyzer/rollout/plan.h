// What a rollout will cost, before it starts: for each step the time until a healthy canary is
// proven, and what named faults cost until they are rolled back, at a given rate of requests. By
// seeded simulation of the analyzer's own statistics: the same input gives the same figures. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "analyzer/rollout/spec.h"

namespace consul_canary::rollout {

struct PlanInput {
  double requests_per_second = 0;        // of the whole service, > 0
  double primary_failure_ratio = 0.001;  // 0 <= … < 1
};

// Of one step, over the simulated runs.
struct Estimate {
  double seconds_median = 0;  // warm-up included
  double seconds_p90 = 0;
  double failed_mean = 0;    // requests of the canary that failed until then
  double decided_share = 0;  // of the runs: decided before the step's deadline, 0..1
};

// A canary that fails this share of its requests from the first judged tick on.
struct PlannedFault {
  double failure_ratio = 0;
  Estimate until_rollback;
};

// What would let a step be decided before its deadline, and what that costs.
struct Remedy {
  std::string change;  // "strategy.steps[0].weight: 8.5 or more"
  std::string price;   // "a canary that fails all costs 9 times as many requests until …"
};

struct PlannedStep {
  double weight_percent = 0;
  double canary_requests_per_second = 0;
  double requests_needed = 0;  // of the canary, for a proof, about; infinite: no number is enough;
                               // 0: the step is not proven by requests
  Estimate healthy;            // until the step may be left: proof, warm-up, minimum duration
  std::vector<PlannedFault> faults;
  // Of the service: below it a proof may outlast the deadline. As requests_needed.
  double least_requests_per_second = 0;
  std::vector<Remedy> remedies;  // empty: nearly all runs of a healthy canary are decided in time
};

struct Plan {
  std::vector<PlannedStep> steps;
  double healthy_seconds_median = 0;  // of all steps, and of the watch after promotion
  bool decidable = true;              // every step is, in nearly all runs
  // What the figures leave out, in words: pauses, and what would need a histogram of the service.
  std::vector<std::string> notes;
};

// The faults that plans are made for: 1%, 5%, 20% and all requests fail, those above the primary's.
[[nodiscard]] Plan MakePlan(const Spec& spec, const PlanInput& input);

}  // namespace consul_canary::rollout
