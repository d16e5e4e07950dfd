// One rollout as the tick thread knows it, and how what the store tells changes it. Values and pure
// functions of them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "analyzer/control/record.h"
#include "analyzer/control/store.h"
#include "analyzer/control/view.h"
#include "analyzer/rollout/decide.h"
#include "analyzer/rollout/judge.h"
#include "analyzer/rollout/observation.h"
#include "analyzer/rollout/spec.h"
#include "analyzer/rollout/state.h"
#include "exporter/base/clock.h"
#include "exporter/collect/snapshot.h"
#include "exporter/consul/client.h"

namespace consul_canary::control {

// WriteResult::what of the splitter and of the router; every other write is the resolver's.
inline constexpr const char* kSplitterWrite = "splitter";
inline constexpr const char* kRouterWrite = "router";

// One rollout as the tick thread knows it.
struct Managed {
  std::optional<rollout::Spec> spec;  // nullopt: the one that is there cannot be read
  std::string service;                // that the last one which could be read was for
  std::string spec_problem;           // empty: it was read
  std::string state_problem;          // the same of the stored state
  std::string write_trouble;          // of the last write; empty: it succeeded
  std::string commit_trouble;         // of the last commit
  std::string look_trouble;  // what the last look has thrown, which never should; empty: nothing
  bool leading = false;
  bool loaded = false;  // the stored state has been read
  std::uint64_t epoch = 0;
  rollout::State state;
  std::uint64_t state_index = 0;
  std::vector<rollout::Order> orders;
  std::vector<std::string> refused_orders;  // keys of those that are not understood
  std::string holder;                       // the analyzer that holds the lock; empty: none
  // The change under way: nothing more is decided before its result has come.
  std::optional<rollout::State> pending;
  std::vector<rollout::Decision> pending_decisions;
  std::uint64_t in_flight = 0;                   // its number; 0: none
  std::optional<base::MonotonicTime> last_tick;  // of the counts that are in `state`
  std::optional<base::MonotonicTime> last_checkpoint;
  std::optional<base::MonotonicTime> previous_tick;  // to go back to when the pending change fails
  double requests_per_second = 0;  // of both subsets, averaged over the last ticks
  int rated_ticks = 0;             // since this analyzer leads
  // Callers with a baseline that Consul does not list, and since when it has not.
  std::map<std::string, base::MonotonicTime> gone_callers;
  Recorded recorded;  // how far --record has come
  rollout::Verdict verdict;
  std::string waits;
  rollout::Observation seen;
  // Entries up to these indexes were replaced by a write of ours, or by someone else before it.
  std::uint64_t replaced_splitter = 0;
  std::uint64_t replaced_resolver = 0;
  std::uint64_t replaced_router = 0;
  base::MonotonicTime written_at{};
  base::MonotonicTime doubtful_until{};  // as Observation::doubtful
  base::MonotonicTime unsure_until{};    // a write without an answer may come true until then
  bool spec_deleted = false;  // it has gone from Consul; `spec` is what was there, until the end
  bool maintaining = false;   // the canary is being put into maintenance mode
  std::optional<std::string> maintained;  // how that went, for the next look
};

// The specification to rule by: the one that is there or, where that cannot be read, the one by
// which the rollout under way is ruled (and its end seen to), until there is another. nullptr:
// neither, so nothing is ruled. Refers to an argument.
[[nodiscard]] const rollout::Spec* SpecToRuleBy(const std::optional<rollout::Spec>& spec,
                                                const rollout::State& state);

// A specification that cannot be read leaves none, and spec_problem.
void ReadSpec(Managed& managed, const consul::KvPair& stored);
// Until the end the one before rules, by the state where no other was read.
void NoteSpecDeleted(Managed& managed);

// Orders that cannot be understood are logged, and left out of those that are.
void ReadOrders(Managed& managed, const std::vector<consul::KvPair>& pairs);

// Which orders `change` takes out of the KV: those that the state after this tick has taken, and
// some of those that are not understood.
void AddDoneOrders(const Managed& managed, const rollout::Observation& seen,
                   const rollout::State& state, Change& change);

// Why nothing starts or advances, by what stands at kFleetPauseKey; empty: the fleet is not paused.
// What is not understood is a pause all the same: unknown means hold.
[[nodiscard]] std::string FleetPauseInWords(const std::string& stored);

// We hold the lock: everything that was believed of the rollout gives way to what is stored.
void BeginLead(Managed& managed, std::uint64_t epoch, const std::optional<consul::KvPair>& stored);

// "ok", "conflict", "owned" (by Kubernetes) or "error", and what is wrong, in words; empty:
// nothing.
struct WriteOutcome {
  std::string name;
  std::string trouble;
};
[[nodiscard]] WriteOutcome OutcomeOf(const WriteResult& write);

// Somebody else may hold the lock: what is under way is none of ours any more.
void EndLead(Managed& managed);

void LogLead(const std::string& id, const Managed& managed);

[[nodiscard]] bool IsCheckpointDue(const Managed& managed, base::MonotonicTime now,
                                   base::milliseconds every);

// Whether nothing is left to do for it: its specification was deleted, and what was under way has
// ended by the one that it had.
[[nodiscard]] bool IsOver(const Managed& managed);

// How the change under way went. The decisions that are stored by it.
[[nodiscard]] std::vector<rollout::Decision> TakeCommitted(Managed& managed,
                                                           const ChangeResult& result);

void LogDecision(const std::string& id, const rollout::Decision& decision);

// Remembers which entries a write has replaced, or that its answer is lost.
void NoteReplaced(Managed& managed, const WriteResult& write, base::MonotonicTime now);

// Whether the entries were read before our own last write was: acting on them would take our weight
// for someone else's, and one that has just been written for one that never was.
[[nodiscard]] bool IsOutdated(const Managed& managed, const collect::ServiceSnapshot& service);

// What is known of Consul beside what it says.
struct Doubts {
  bool instances_settled = true;  // its checks have run again since it was away
  bool consul_away = false;
  bool outdated = false;  // IsOutdated()
};

// What the observation says of instances and entries is believed no further than that; a
// specification that cannot be read makes everything unknown.
void AddDoubts(Managed& managed, const Doubts& doubts, base::MonotonicTime now,
               rollout::Observation& seen);

// How long the tick that is about to be ruled took, after the wall clock has been read.
void AddTime(const Managed& managed, double interval_seconds, base::MonotonicTime now,
             rollout::Observation& seen);

// Whether the outcome has to be stored before anything is written: what is wanted too, or whoever
// goes on after a crash would take our own write for something that stood there before.
[[nodiscard]] bool MustStore(const rollout::State& before, const rollout::Outcome& outcome);

// The entries that bring the mesh to where `state` wants it, and those that could not be made.
struct PreparedWrites {
  std::vector<EntryWrite> writes;
  std::vector<WriteResult> refused;
};
[[nodiscard]] PreparedWrites PrepareWrites(const Managed& managed, const rollout::State& state,
                                           const rollout::Observation& seen,
                                           const collect::ServiceSnapshot& service);

// An instance of the service, as the agent that has it knows it.
struct InstanceAddress {
  std::string id;            // Service.ID
  std::string node_address;  // where its agent is
};
// The instances of the canary subset that are of the version; all, where nothing tells versions.
[[nodiscard]] std::vector<InstanceAddress> CanaryInstances(const rollout::Spec& spec,
                                                           const std::string& version,
                                                           const collect::ServiceSnapshot& service);

// Takes the observation's requests into the average.
void NoteRate(Managed& managed, const rollout::Observation& seen);

// What is shown of it, without the age of its outcomes.
[[nodiscard]] RolloutView ViewOf(const std::string& id, const Managed& managed);

// What the Consul token may not do or see, where that stands in the rollout's way; empty: nothing.
[[nodiscard]] std::string MissingPermission(const RolloutView& view,
                                            const collect::MeshSnapshot& mesh);

// Of the oldest reading among the passing callers; 0 where there is none.
[[nodiscard]] double OutcomesAge(const Managed& managed, const collect::MeshSnapshot& mesh,
                                 base::MonotonicTime now);

}  // namespace consul_canary::control
