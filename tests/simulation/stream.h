// The traffic of one service, second by second, as its callers' and its instances' sidecars would
// count it.
#pragma once

#include <cstdint>
#include <optional>

#include "analyzer/rollout/observation.h"
#include "analyzer/stats/counts.h"
#include "analyzer/stats/latency.h"
#include "tests/simulation/draws.h"
#include "tests/simulation/ejected_stream.h"
#include "tests/simulation/in_flight.h"
#include "tests/simulation/instances.h"
#include "tests/simulation/traffic.h"

namespace consul_canary::simulation {

class Stream {
 public:
  Stream(const Traffic& traffic, Random random);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  [[nodiscard]] const Traffic& traffic() const { return traffic_; }

  // The primary's record before the rollout: 30000 requests.
  [[nodiscard]] const stats::Counts& history() const { return history_; }
  // Of the same number, where latency is simulated; else empty.
  [[nodiscard]] const stats::LatencyCounts& latency_history() const { return latency_history_; }

  // The next second, with this share of the requests meant for the canary. late_after_seconds: what
  // the analyzer calls late; 0: nothing yet.
  [[nodiscard]] rollout::TickCounts Next(double weight_ratio, double late_after_seconds);

  // Of the last second, as it began; nothing without traffic.ejection.
  [[nodiscard]] const std::optional<rollout::ShieldView>& shield() const { return shield_; }

  // The canary's first second is the one that comes next: faults count from there.
  void StartCanary() { canary_since_ = now_; }
  // Whether the canary is at fault in the second that comes next.
  [[nodiscard]] bool IsAtFault() const;

 private:
  [[nodiscard]] double CommonRate();
  [[nodiscard]] double DriftFactor();
  void ServePrimary(double requests, double dropped_ratio, double rate, rollout::TickCounts& tick);
  void ServeCanary(double requests, double dropped_ratio, double rate, double late_after_seconds,
                   rollout::TickCounts& tick);
  void BeginHang();
  [[nodiscard]] rollout::TickCounts NextBehindShield(double weight_ratio);
  [[nodiscard]] stats::LateCounts ReadLate(double late_after_seconds);
  void Flush(rollout::TickCounts& tick);

  const Traffic traffic_;
  Random random_;
  stats::Counts history_;
  stats::LatencyCounts latency_history_;
  double now_ = 0;
  double canary_since_ = 0;
  double step_factor_ = 1;
  Instances primary_;
  Instances canary_;
  InFlight in_flight_;          // of the canary
  InFlight primary_in_flight_;  // of the primary, where both may hang
  Hang hang_;
  envoy::LateBlocks blocks_;
  std::optional<EjectedStream> ejected_;
  std::optional<rollout::ShieldView> shield_;
};

}  // namespace consul_canary::simulation
