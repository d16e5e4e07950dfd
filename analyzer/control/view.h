// What the loop shows to readers on other threads: the API, the metrics. Immutable once published.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "analyzer/control/histogram.h"
#include "analyzer/rollout/judge.h"
#include "analyzer/rollout/observation.h"
#include "analyzer/rollout/spec.h"
#include "analyzer/rollout/state.h"

namespace consul_canary::control {

struct RolloutView {
  std::string id;
  std::optional<rollout::Spec> spec;
  std::string problem;  // why this rollout is not ruled here: a bad specification or state, or no
                        // lead; empty: it is
  bool leading = false;
  std::string holder;    // the analyzer that leads; empty: none, or not known yet
  rollout::State state;  // without baselines
  rollout::Verdict verdict;
  std::optional<rollout::SplitterView> splitter;  // as last seen
  // Of the routes of `strategy.match`, as last seen; nullopt: there is no match.
  std::optional<rollout::RoutesSeen> routes;
  std::string waits;                          // between rollouts: what the next one waits for
  std::string unknown;                        // why nothing may be widened; empty: all is known
  std::optional<double> requests_per_second;  // of both subsets, lately; nullopt: not known yet
  double primary_failure_ratio = 0.5;         // of all that the callers have counted
  std::size_t callers = 0;
  // Passing instances of both subsets; nullopt: not known.
  std::optional<int> canary_passing, primary_passing;
  std::string stragglers;  // callers that do not do yet what the stage wants, in words; empty: none
  double outcomes_age_seconds = 0;  // of the oldest fresh caller's reading
};

struct LoopCounters {
  // (service, action, cause) → decisions; result → splitter writes
  std::map<std::tuple<std::string, std::string, std::string>, std::uint64_t> decisions;
  std::map<std::string, std::uint64_t> writes;
  // Of each look at all rollouts.
  Histogram tick_duration{.0001, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1};
  // By how much more than an interval after the tick before a tick began; 0 where it was less.
  Histogram tick_lateness{.0005, .001, .002, .005, .01, .02, .03, .05,
                          .075,  .1,   .2,   .3,   .5,  1,   2.5};
};

struct FleetView {
  std::map<std::string, std::shared_ptr<const RolloutView>> rollouts;
  std::shared_ptr<const LoopCounters> counters = std::make_shared<LoopCounters>();  // never null
  std::string fleet_pause;  // who has paused every rollout, since when and why; empty: nobody
};

}  // namespace consul_canary::control
