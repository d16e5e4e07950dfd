// What to do next. Pure: a value in, a value out; the shell commits the state and brings Consul's
// entries to what is wanted, so a repeated or lost write does no harm. Fail closed: whatever is
// unknown is a hold; harm, an abort, a rollback alert and a canary without instances outrank every
// hold.
#pragma once

#include <vector>

#include "analyzer/rollout/judge.h"
#include "analyzer/rollout/observation.h"
#include "analyzer/rollout/spec.h"
#include "analyzer/rollout/state.h"

namespace consul_canary::rollout {

struct Outcome {
  State state;
  Verdict verdict;                  // on the evidence as this look left it, before any move
  std::string waits;                // between rollouts: what the next one waits for, in words
  std::vector<Decision> decisions;  // what changed, oldest first; empty: nothing to log

  bool operator==(const Outcome&) const = default;
};

// The specification that rules the rollout under way: where `spec` came in its middle and is not
// taken yet, the one before it. The observation has to be made by it. Refers to an argument.
[[nodiscard]] const Spec& RulingSpec(const Spec& spec, const State& state);

// One look at the world: judges the tick (if it carries counts), takes the orders, moves the phase.
[[nodiscard]] Outcome Decide(const Spec& spec, State state, const Observation& seen);

// A write that brings Consul closer to what a state wants.
// kRoutes: those of `strategy.match`, and the router that is made for them.
enum class Write { kSplitter, kRoutes, kCanaryFilter, kPrimaryFilter };

// Whether no write from before the epoch can move traffic by the router: it carries the epoch once
// a rollout has to do with it. One that is not there yet is made without routes, so whoever makes
// it late moves nothing.
[[nodiscard]] bool IsRouterFenced(const State& state, const Observation& seen, std::uint64_t epoch);

// The writes that are due, in order. None over foreign weights, unless rolling back; none that
// gives the canary more than it has while something is unknown. Splitter, router and resolver are
// also written when they do not carry our epoch: a deposed leader's late write must find another
// index.
[[nodiscard]] std::vector<Write> DueWrites(const State& state, const Observation& seen,
                                           std::uint64_t epoch);

}  // namespace consul_canary::rollout
