#include "tests/simulation/rollout.h"

#include <cassert>
#include <utility>

namespace consul_canary::simulation {
namespace {

constexpr const char* kPrimaryVersion = "primary";
constexpr const char* kCanaryVersion = "canary";
constexpr int kLooksToStart = 10;

}  // namespace

Rollout::Rollout(const rollout::Spec& spec, Stream& stream, const Before& before)
    : spec_(spec), stream_(stream), canary_instances_(stream.traffic().canary_instances) {
  seen_.instances_known = true;
  seen_.versions = {{kPrimaryVersion, 1, 1}};
  seen_.primary_versions = {kPrimaryVersion};
  seen_.primary_passing = 1;
  seen_.callers = {{.id = "caller", .fresh = true, .canary_healthy = 1, .primary_healthy = 1}};
  const RetryClusters& retries = stream.traffic().retries;
  seen_.shield = stream.shield();
  seen_.request_timeout_seconds = stream.traffic().request_timeout_seconds;
  if (retries.judged) seen_.attempts_together = retries.attempts;
  seen_.primary_history = stream.history();
  seen_.primary_latency_history = stream.latency_history();
  ServeAlone(stream, before.idle_seconds);
  seen_.versions.push_back({kCanaryVersion, 1, 2});
  Look();
  ServeAlone(stream, before.prepare_seconds);
  Start();
  stream.StartCanary();
}

void Rollout::ServeAlone(Stream& stream, int seconds) {
  for (int second = 0; second < seconds; ++second) {
    Tick(stream.Next(canary_ratio(), late_after_seconds()));
  }
  seen_.elapsed_seconds = 0;
  seen_.counts_known = false;
}

void Rollout::Start() {
  seen_.canary_passing = canary_instances_;
  const auto started = [this] {
    return state_.stage == rollout::Stage::kStepping && state_.confirmed;
  };
  for (int look = 0; look < kLooksToStart && !started(); ++look) Look();
  assert(started());
}

void Rollout::Look() {
  ++moves_;
  seen_.splitter = rollout::SplitterView{.canary_percent = state_.wanted.canary_percent,
                                         .primary_percent = 100 - state_.wanted.canary_percent};
  seen_.canary_filter = state_.wanted.canary_filter.value_or("");
  seen_.primary_filter =
      state_.wanted.primary_filter.value_or(rollout::FilterForVersion(spec_, kPrimaryVersion));
  // Whatever is waited for has moved since the last look.
  rollout::CallerFacts& caller = seen_.callers.front();
  caller.canary_changes = moves_;
  caller.primary_changes = moves_;
  caller.route_reloads = moves_;
  rollout::Outcome outcome = rollout::Decide(spec_, std::move(state_), seen_);
  state_ = std::move(outcome.state);
  verdict_ = std::move(outcome.verdict);
}

void Rollout::Tick(rollout::TickCounts counts) {
  seen_.wall_seconds += 1;
  seen_.elapsed_seconds = 1;
  seen_.counts_known = true;
  seen_.counts = std::move(counts);
  seen_.shield = stream_.shield();
  Look();
}

bool Rollout::rolled_back() const {
  return state_.phase == rollout::Phase::kRollingBack ||
         state_.phase == rollout::Phase::kRolledBack;
}

}  // namespace consul_canary::simulation
