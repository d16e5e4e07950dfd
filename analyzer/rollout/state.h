// Everything a rollout remembers between two ticks. Plain data: it is stored in Consul's KV as it
// is, and whoever loads it decides next as if nothing had happened. Weights are percent.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "analyzer/rollout/spec.h"
#include "analyzer/rollout/thresholds.h"
#include "analyzer/stats/counts.h"
#include "analyzer/stats/dispersion.h"
#include "analyzer/stats/ejected_harm.h"
#include "analyzer/stats/ejected_safe.h"
#include "analyzer/stats/harm.h"
#include "analyzer/stats/late.h"
#include "analyzer/stats/latency.h"
#include "analyzer/stats/safe.h"
#include "analyzer/stats/sequences.h"
#include "analyzer/stats/share.h"
#include "exporter/envoy/outcomes.h"

namespace consul_canary::rollout {

enum class Phase {
  kIdle,
  kProgressing,
  kPaused,
  kPromoting,
  kSucceeded,
  kRollingBack,
  kRolledBack
};

// Where inside progressing, paused or promoting.
enum class Stage {
  kNone,
  kPreparing,      // weight 0; the canary's filter is set, its instances become routable
  kStepping,       // at a step's weight
  kCanaryFull,     // promoting: all traffic goes to the canary subset
  kWatching,       // promoting: and is watched there, while the old version is still at hand
  kPrimaryFilter,  // promoting: the primary subset takes the new instances
  kPrimaryFull,    // promoting: all traffic goes back to the primary subset
};

[[nodiscard]] std::string_view ToString(Phase phase);
[[nodiscard]] std::string_view ToString(Stage stage);
[[nodiscard]] std::optional<Phase> PhaseFromString(std::string_view name);
[[nodiscard]] std::optional<Stage> StageFromString(std::string_view name);
[[nodiscard]] bool IsActive(Phase phase);  // progressing, paused, promoting or rolling back

// Of the routes of `strategy.match` in the service-router.
enum class Routes {
  kNone,     // none shall be there, nor a router that was made for them
  kAwaited,  // none yet, but a router that can take them
  kPlaced,   // all, before any other route
};
enum class RoutesSeen { kNone, kWhole, kOther };  // kWhole: as kPlaced wants them

[[nodiscard]] std::string_view ToString(Routes routes);
[[nodiscard]] std::string_view ToString(RoutesSeen seen);
[[nodiscard]] std::optional<Routes> RoutesFromString(std::string_view name);
[[nodiscard]] std::optional<RoutesSeen> RoutesSeenFromString(std::string_view name);

// What the entries in Consul shall be; the actuator brings them there. An absent filter is left
// alone.
struct Wanted {
  double canary_percent = 0;
  std::optional<std::string> canary_filter;
  std::optional<std::string> primary_filter;
  Routes routes = Routes::kNone;

  bool operator==(const Wanted&) const = default;
};

// Harm to latency at one edge of the histograms.
struct EdgeEvidence {
  double edge_seconds = 0;
  double limit = 0;  // as Evidence::failure_limit
  stats::HarmState harm;
  stats::DispersionState dispersion;

  bool operator==(const EdgeEvidence&) const = default;
};

// Safety of latency at the edge of an objective.
struct ObjectiveEvidence {
  double edge_seconds = 0;
  stats::SafeState safe;

  bool operator==(const ObjectiveEvidence&) const = default;
};

struct Evidence {
  stats::HarmState harm;  // one for the whole rollout
  // Of the failures: what the canary is held against while it has all traffic; 0: the primary.
  double failure_limit = 0;
  stats::SafeState safe;  // fresh for each step, unless `proof: once`
  // The same of the ticks with a shield, where harm and safe stand still, as these do without one:
  // each product of the two is an e-process.
  stats::EjectedHarmState ejected_harm;
  stats::EjectedSafeState ejected_safe;
  bool shielded = false;  // at the last tick
  // Of the canary's instances, by what the callers' sidecars say; averaged over some ten seconds.
  double ejected_share = 0;
  bool proven = false;  // `proof: once`: every critical metric was proven

  // Which metrics enter the harm is fixed with the first tick that is judged, from what was known
  // of the primary before: its edges, and what counts as late.
  bool metrics_fixed = false;
  stats::LatencyCounts primary_latency;       // all that is known of it
  stats::LatencyCounts canary_latency;        // of all judged ticks of this rollout; for people
  std::vector<EdgeEvidence> latency;          // empty: latency does not enter
  std::vector<ObjectiveEvidence> objectives;  // as Spec::latency; fresh as `safe`
  double late_after_seconds = 0;              // 0: hanging requests cannot be told
  stats::LateState late;
  bool late_left_out = false;  // the last blocks, since the primary has long requests itself
  stats::DispersionState dispersion;
  double overdispersion_floor = 1;  // as the specification and the routes have it
  // The canary's requests a second, or those that its weight makes of the primary's where that is
  // more; averaged over some ten seconds.
  double canary_rate = 0;
  double silent_requests = 0;  // that the canary was due since it last completed any
  // The same of each of its instances that completed none, behind a shield: there nobody notices.
  std::map<std::string, double> silent_instances;
  stats::ShareState share;     // fresh for each stage
  bool share_applied = false;  // at the last tick every caller applied the weight
  stats::RatioSequence ratio;
  stats::DifferenceSequence difference;
  std::vector<ThresholdState> thresholds;  // as Spec::thresholds

  stats::Counts step_primary, step_canary;        // judged at this step
  stats::Counts stage_primary, stage_canary;      // seen in this stage, warm-up included
  stats::Counts rollout_primary, rollout_canary;  // seen since the start, warm-up included
  std::int64_t rollout_late = 0;                  // of the canary's requests, at least
  // With a shield, as TickCounts'.
  std::int64_t failed_for_callers = 0;
  std::int64_t saved_requests = 0;

  bool operator==(const Evidence&) const = default;
};

// A version that was the primary until a rollout replaced it.
struct FormerPrimary {
  std::string version;
  double until_wall_seconds = 0;
  std::uint64_t until_index = 0;  // CreateIndex of the service's newest instance then
  bool left = false;              // none of its instances passed at some moment since

  bool operator==(const FormerPrimary&) const = default;
};

struct State {
  Phase phase = Phase::kIdle;
  Stage stage = Stage::kNone;
  int step = 0;  // index into Spec::steps

  std::string canary_version;
  std::string primary_version;                    // when the rollout started
  std::optional<std::string> old_primary_filter;  // to go back to
  std::vector<std::string> past_versions;  // former primaries: not started by themselves again
  std::vector<std::string> rolled_back_versions;  // not tried again until `retry`
  std::vector<FormerPrimary> former_primaries;    // the newest last; for `rollback_window`
  bool revert = false;           // what is rolled out was the primary a short while ago: no steps
  bool maintenance_due = false;  // the rolled-back canary is to be put into maintenance mode

  // By which the rollout under way is ruled; another one that is there now is not taken yet.
  std::optional<Spec> spec;
  bool new_spec_said = false;  // that it waits

  Wanted wanted;
  double settled_percent =
      0;  // the canary's weight last seen in Consul that was ours; another one is foreign
  bool foreign_edit = false;  // the splitter was edited by someone else and is so still
  RoutesSeen settled_routes = RoutesSeen::kNone;  // last seen as they were ours to leave
  bool foreign_routes = false;  // they were changed by someone else and are so still

  // Splitter or resolver got an owner whose entries we may not write, and has it still.
  bool unwritable = false;

  double started_wall_seconds = 0;
  double saved_wall_seconds =
      0;                     // of the last tick; what lies between it and a restart nobody ruled
  double stage_seconds = 0;  // since this stage began, unruled time included: for deadlines
  double confirmed_seconds = 0;  // ruled time since Consul was seen to hold the stage's weight
  bool confirmed = false;
  double watched_seconds = 0;    // after promotion: ruled time in which all was known
  bool stranded = false;         // harmful, and no instance of the primary to go back to: said once
  bool deadline_passed = false;  // said once for each step
  bool proven_wait = false;      // paused at a proven step, waits for promote
  bool would_act_said = false;   // `act: false`: said what would have been done, at this weight
  std::uint64_t stage_decision = 0;  // number of the decision that began this stage; 0: none did

  Evidence evidence;
  envoy::Baselines baselines;  // what each caller's sidecar had counted at the last tick
  // The same of the instances' own sidecars, and where each caller's block of requests under way
  // began. Not stored: after a restart they begin anew, and one block's evidence is missing.
  std::map<std::string, envoy::OutcomeCounters> instance_baselines;
  std::map<std::string, envoy::LateBlocks> late_blocks;
  // Counters of the callers when the present weight or filter was decided: whoever has moved on has
  // applied it.
  std::map<std::string, std::uint64_t> reload_baseline;
  std::map<std::string, std::uint64_t> membership_baseline;
  bool await_reload = false;  // the weight had to change, so the callers must be seen to apply it
  bool await_membership = false;  // the filter had to change, so membership must be seen to move

  std::string reason;                       // of the present phase, in words
  std::uint64_t decisions = 0;              // made so far; the last one's sequence number
  std::uint64_t last_order = 0;             // highest order taken
  std::vector<std::string> handled_alerts;  // fingerprint@startsAt, of this rollout

  bool operator==(const State&) const = default;
};

enum class OrderKind { kStart, kPause, kResume, kPromote, kAbort, kRetry, kRollbackAlert };

[[nodiscard]] std::string_view ToString(OrderKind kind);
[[nodiscard]] std::optional<OrderKind> OrderKindFromString(std::string_view name);

// Something a person or Alertmanager asked for.
struct Order {
  std::uint64_t sequence = 0;
  OrderKind kind = OrderKind::kStart;
  std::string by;                               // who, for the log
  std::string version;                          // start: this one; empty: the newest
  bool full = false;                            // promote: skip the remaining steps
  std::optional<std::uint64_t> seen_decisions;  // State::decisions as its sender saw it; nullopt:
                                                // not told, so whatever it meets is what it means
  std::string alert;                            // rollback alert: its name and summary
  std::string alert_key;                        // fingerprint@startsAt
  double alert_started_wall_seconds = 0;

  bool operator==(const Order&) const = default;
};

// One line of the decision log.
struct Decision {
  std::uint64_t sequence = 0;
  double wall_seconds = 0;
  std::string action;  // start, advance, pause, promote, succeed, rollback, rolled-back, hold,
                       // resume, refuse, observe, would-advance, would-pause, would-promote,
                       // would-rollback, respecify, maintenance
  std::string
      cause;  // new-version, order, proven, harm, alert, canary-gone, deadline, foreign-edit, …
  Phase from = Phase::kIdle;
  Phase to = Phase::kIdle;
  int step = 0;
  double weight_percent = 0;  // wanted from now on
  std::string canary_version;
  std::string reason;       // with the figures behind it
  std::uint64_t order = 0;  // number of the order that it answers; 0: none

  bool operator==(const Decision&) const = default;
};

}  // namespace consul_canary::rollout
