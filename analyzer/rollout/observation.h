// What one tick knows of the world. Built by the control loop or read from a recording; plain
// values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analyzer/rollout/state.h"
#include "analyzer/stats/counts.h"
#include "analyzer/stats/dispersion.h"
#include "analyzer/stats/late.h"
#include "analyzer/stats/latency.h"

namespace consul_canary::rollout {

// The splitter as Consul holds it, in percent. other: splits that are neither primary nor canary.
struct SplitterView {
  double canary_percent = 0;
  double primary_percent = 100;
  double other_percent = 0;
  std::uint64_t epoch = 0;  // consul-canary-epoch in its Meta; 0: none

  bool operator==(const SplitterView&) const = default;
};

// The service's router, as far as the routes of `strategy.match` go.
struct RouterView {
  RoutesSeen ours = RoutesSeen::kNone;
  bool made_for_ours = false;  // was made for them, and holds nothing of anybody else's
  // Not empty: a condition of `match` by which a route of somebody else's leads to the canary
  // subset.
  std::string unnamed{};
  std::uint64_t epoch = 0;  // consul-canary-epoch in its Meta; 0: none

  bool operator==(const RouterView&) const = default;
};

// A version among the service's passing instances.
struct VersionSeen {
  std::string version;
  int passing = 0;
  std::uint64_t newest_index = 0;  // CreateIndex of its newest instance

  bool operator==(const VersionSeen&) const = default;
};

// One caller whose checks pass.
struct CallerFacts {
  std::string id;
  bool fresh = false;   // read within the last seconds
  std::string trouble;  // why not, in words
  std::uint64_t canary_healthy = 0;
  std::uint64_t canary_changes = 0;
  std::uint64_t primary_healthy = 0;
  std::uint64_t primary_changes = 0;
  std::uint64_t canary_ejected = 0;              // of its instances, by outlier detection
  std::optional<double> applied_canary_percent;  // where its admin port tells
  std::optional<std::uint64_t> route_reloads;    // else the acknowledgement

  bool operator==(const CallerFacts&) const = default;
};

// Requests of one subset in one tick. Where counters leave doubt about the failures, the truth lies
// between the two; each use takes the bound that errs on its safe side.
struct SubsetTick {
  stats::Counts low;   // at least so many failures
  stats::Counts high;  // at most; the same `completed`
  // What the histograms have added: they move every few seconds, and then for what came before.
  stats::LatencyCounts latency;
  stats::LateCounts late;  // of the blocks that closed

  bool operator==(const SubsetTick&) const = default;
};

struct TickCounts {
  SubsetTick primary, canary;
  // Of each instance of the primary, at its own sidecar: attempts, and how long they took. Empty:
  // not known.
  stats::InstanceCounts primary_instances;
  std::vector<std::pair<std::string, stats::LatencyCounts>> primary_instance_latency;
  // With a shield, of each instance of the canary that passes its checks: attempts at its sidecar.
  stats::InstanceCounts canary_instances;
  // With a shield, by the callers: requests that failed for them, and requests of the canary's
  // share whose first try failed and which a retry made succeed.
  std::int64_t failed_for_callers = 0;
  std::int64_t saved_requests = 0;

  bool operator==(const TickCounts&) const = default;
};

// With failover of the canary subset to the primary: an instance that fails is ejected by its
// callers, and its requests, retried ones too, go to the primary (docs/shield.md). The counts are
// then attempts at the instances' own sidecars.
struct ShieldView {
  int ejecting = 1;  // instances of the canary, times the callers that each eject for themselves
  bool retried = false;       // failed requests are tried again
  int failures_in_a_row = 1;  // of an instance, for its ejection
  double ejected = 0;  // share of the canary's instances that a caller ejects now, on average
  std::string lacks;   // what the shield of this mesh lacks, in words; empty: it is whole

  bool operator==(const ShieldView&) const = default;
};

struct Observation {
  double wall_seconds = 0;
  double elapsed_seconds = 0;  // ruled time since the last tick; 0 for a look between ticks
  double unruled_seconds = 0;  // before that: nobody ruled

  std::string unknown;  // not empty: why nothing may be widened now ("Consul does not answer: …")
  // Not empty: who has paused every rollout, and since when. None starts or advances meanwhile.
  std::string fleet_pause;
  std::optional<SplitterView> splitter;
  std::optional<RouterView> router;
  // Not empty: no write of ours may touch the entry, whose it is and what to do.
  std::string splitter_unwritable;
  std::string resolver_unwritable;
  std::string router_unwritable;
  // Consul answers, and nothing of ours is on its way: what is not here does not exist.
  bool entries_known = false;
  // Splitter and resolver (and router) carry our epoch, and no write of ours is on its way without
  // an answer: no late write can move them any more.
  bool fenced = true;
  std::uint64_t resolver_epoch = 0;          // consul-canary-epoch in the resolver's Meta; 0: none
  std::optional<std::string> canary_filter;  // as the resolver has them; nullopt: no such subset
  std::optional<std::string> primary_filter;
  bool instances_known = false;
  std::vector<VersionSeen> versions;
  std::vector<std::string> primary_versions;  // of the primary subset's instances
  std::vector<std::string> canary_versions;   // of the canary subset's
  int canary_passing = 0;                     // instances of the canary subset
  int primary_passing = 0;
  std::vector<CallerFacts> callers;  // the passing ones
  bool counts_known = false;         // this look carries a tick's counts
  // Consul is away or has just come back and its checks have not all run again: whoever it calls
  // critical meanwhile is refused traffic through no fault of its own. Nothing is judged.
  bool doubtful = false;
  TickCounts counts;
  // The weight that the canary's share is held against; nullopt: the one that is wanted. For
  // recordings, whose traffic was split before anybody replays them.
  std::optional<double> routed_percent;
  // How many attempts of one request may fail together: 1 + the most retries of any route, where
  // attempts are judged; else 1.
  double attempts_together = 1;
  // After so long each request has ended, by the route's timeout: Envoy's is 15 s by default.
  double request_timeout_seconds = 15;
  std::optional<ShieldView> shield;  // nullopt: the mesh has none, or it is ignored
  // What the callers have counted of the primary before, for a start.
  stats::Counts primary_history;
  stats::LatencyCounts primary_latency_history;
  std::vector<Order> orders;               // by sequence, not taken yet
  bool spec_deleted = false;               // the specification is gone; what is under way ends
  std::optional<std::string> maintenance;  // how putting the canary into maintenance mode went

  bool operator==(const Observation&) const = default;
};

}  // namespace consul_canary::rollout
