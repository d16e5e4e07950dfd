// Plays one scenario on a stage that is up: v1 alone, v2 deployed, the fault, the end.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "deploy/demo/options.h"
#include "deploy/demo/progress.h"
#include "deploy/demo/stage.h"

namespace consul_canary::demo {

struct Outcome {
  std::string outcome;  // promoted, rolled-back, or unfinished
  double seconds = 0;   // from the deployment of v2 to the rollout's end
  std::int64_t requests = 0;
  std::int64_t failed_requests = 0;
  // From the moment at which the applications had taken the fault until Consul's splitter gave the
  // canary nothing.
  std::optional<double> seconds_from_fault_to_splitter;
  testing::LoadSpan from_deployment;            // to the end
  std::optional<testing::LoadSpan> from_fault;  // to the end; none without a fault
  std::optional<std::int64_t> saved_requests;   // by the shield, where there is one
};

// The line that ends the demo.
[[nodiscard]] std::string ToJson(std::string_view scenario, const Outcome& outcome);

// An error when a part fails or `interrupted` holds; a rollout that does not end in time is an
// outcome.
[[nodiscard]] base::Result<Outcome> Play(Stage& stage, const Options& options, Progress& progress,
                                         const std::function<bool()>& interrupted);

}  // namespace consul_canary::demo
