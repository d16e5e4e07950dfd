// A mesh in memory around rollout::Decide(): Consul's entries with their indexes, the stored
// state and the lock's epoch, writes that get lost or come late, instances, callers that take what
// is written or lag behind, people who edit. It does what the control loop does between Decide()
// and Consul (commit, then compare-and-set), no more. A value: a copy is another world. No clock,
// no I/O, no randomness.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "analyzer/rollout/decide.h"

namespace consul_canary::states {

struct Splitter {
  double canary_percent = 0;
  double primary_percent = 100;
  std::uint64_t epoch = 0;  // in its Meta
  std::uint64_t index = 1;
  bool owned = false;  // by Kubernetes: no write of ours may touch it

  bool operator==(const Splitter&) const = default;
};

struct Resolver {
  std::string canary_filter = "is none";
  std::string primary_filter = "is v1";
  std::uint64_t epoch = 0;
  std::uint64_t index = 1;
  bool owned = false;

  bool operator==(const Resolver&) const = default;
};

struct Router {
  rollout::RoutesSeen ours = rollout::RoutesSeen::kNone;
  bool owners = false;  // holds routes of somebody's own; else it was made for ours
  std::uint64_t epoch = 0;
  std::uint64_t index = 1;

  bool operator==(const Router&) const = default;
};

struct Entries {
  std::optional<Splitter> splitter = Splitter{};
  std::optional<Router> router;
  Resolver resolver;
};

// All of one version together: they pass or do not.
struct Instance {
  std::string version;
  bool passing = true;
  std::uint64_t index = 0;
};

// What a sidecar has counted that runs for long; one that has just started never comes so far here.
inline constexpr std::uint64_t kRanForLong = 1000;

struct Caller {
  std::string id;
  bool tells_weight = false;  // at its admin port; else only its counter of reloads moves
  bool passing = true;
  bool fresh = true;    // the analyzer reads its sidecar
  bool follows = true;  // its sidecar takes what Consul says
  // What its sidecar does now.
  double applied_percent = 0;
  bool has_routes = false;                      // of `strategy.match`
  std::string canary_members, primary_members;  // versions, joined by spaces
  std::uint64_t reloads = kRanForLong, canary_changes = kRanForLong, primary_changes = kRanForLong;
  rollout::CallerFacts read;  // as last read
};

inline constexpr double kRequestsOfACaller = 50000;  // in a tick: enough to decide a step

// A compare-and-set of one entry on its way.
struct Put {
  rollout::Write what = rollout::Write::kSplitter;
  double canary_percent = 0;
  std::string filter;
  std::optional<Router> router;  // kRoutes; nullopt: it is to go
  std::uint64_t cas_index = 0;
  std::uint64_t epoch = 0;
  int ticks_left = 0;  // while its sender lives; a deposed leader's may come at any time
};

enum class WriteFate {
  kLands,
  kIsLost,      // an error, and nothing is written
  kIsUnsure,    // an error, and yet it is written
  kComesLate,   // an error, and it is written later if the index still fits
  kIsPrevented  // answered false: the entry was changed between reading and writing
};
enum class CommitFate {
  kStands,
  kIsRefused,
  kIsUnsure,        // an error, and yet it is stored
  kIsTheLastOfAll,  // stored, and the analyzer is killed before the entries are written
};
enum class Requests {
  kNone,
  kGood,
  kBad,  // all fail that reach the canary's version
};

// One call of Decide() and what came of it.
struct Look {
  rollout::State before;
  std::optional<rollout::Spec> former;  // by which it ruled, since the one there cannot be read
  rollout::Observation seen;
  rollout::Outcome outcome;
  std::vector<Caller> callers;  // what their sidecars really did
  bool committed = false;
  std::vector<Put> puts;  // prepared, whatever became of them
  rollout::State stored;  // when they were prepared
};

// What the model itself knows to be true, to hold the decisions against.
struct Ledger {
  std::set<std::string> rolled_back;          // versions, until a person asks for them
  std::optional<std::string> primary_filter;  // when the rollout began; nullopt: edited since
  // The highest epoch that has written each entry.
  std::uint64_t splitter_epoch = 0, resolver_epoch = 0, router_epoch = 0;
  std::vector<std::string> broken;  // what never may happen and did
};

struct Model {
  Model(const rollout::Spec& rules, const rollout::Spec& changed_rules);

  // --- what the world does
  void Deploy(const std::string& version);
  void SetPassing(const std::string& version, bool passing);
  void ReturnConsul();
  void MakeSplitter();  // anew, all traffic at the primary
  void EditSplitter(double canary_percent);
  void EditRouter(std::optional<Router> router);  // its index is the model's matter
  void EditFilter(rollout::Write which, const std::string& filter);
  void OwnSplitter(bool owned);
  void OwnResolver(bool owned);
  void RestartSidecar(Caller& caller);
  // The analyzer is killed, or deposed: another epoch goes on from what is stored, while whatever
  // the old one has sent may still arrive.
  void ChangeLead();
  void LandLateWrite();
  void Give(rollout::Order order);
  // Sidecars that follow take what Consul says now.
  void Spread();

  // --- the analyzer
  // Of a second, with counts.
  void Tick(Requests requests);
  void Glance();  // a look between ticks

  [[nodiscard]] std::string MembersOf(const std::string& filter) const;
  [[nodiscard]] bool HasRoutes() const;  // a sidecar that follows leads matched requests by them
  [[nodiscard]] bool IsWhole() const;    // what the analyzer reads is what stands in Consul

  const rollout::Spec* spec;     // outlives the model, as the next
  const rollout::Spec* changed;  // what its owner may make of it, and back
  bool unreadable = false;       // what stands there instead cannot be read
  Entries truth, view;
  std::uint64_t last_index = 1;  // Consul counts all its writes together
  bool view_lags = false;
  bool consul_away = false;
  int unsettled_ticks = 0;  // Consul is back, its checks have not all run again
  int doubtful_ticks = 0;
  std::vector<Instance> instances;
  std::vector<Caller> callers;

  rollout::State memory, stored;
  bool memory_outdated = false;  // stored without our knowing it
  std::uint64_t epoch = 1;
  std::uint64_t replaced_splitter = 0, replaced_resolver = 0, replaced_router = 0;
  int unsure_ticks = 0;  // a write of ours got no answer
  bool checkpoint_due = false;
  WriteFate write_fate = WriteFate::kLands;  // of the next ones that are due
  CommitFate commit_fate = CommitFate::kStands;
  std::vector<Put> in_flight;
  std::vector<rollout::Order> orders;  // as they stand in Consul: taken ones too, for one look
  std::uint64_t last_order = 0;
  double wall_seconds = 1000;
  double unruled_seconds = 0;

  double requests_of_a_caller = kRequestsOfACaller;

  std::optional<Look> last;  // of the last event, if it was a look
  Ledger ledger;

 private:
  void Rule(double elapsed_seconds, Requests requests);
  [[nodiscard]] rollout::Observation Observe(double elapsed_seconds, Requests requests);
  void ObserveInstances(rollout::Observation& seen);
  void ObserveRouter(rollout::Observation& seen) const;
  [[nodiscard]] rollout::TickCounts Count(Requests requests) const;
  // Whether the writes may follow.
  [[nodiscard]] bool Commit(Look& look);
  void NoteDecisions(const Look& look);
  [[nodiscard]] std::vector<Put> Prepare(const Look& look) const;
  [[nodiscard]] std::optional<Router> RouterFor(const Look& look) const;
  void Send(const Put& put);
  bool Land(const Put& put);
  bool LandRouter(const Put& put);
  void Written(const Put& put, std::uint64_t& highest);
  void Load();
};

}  // namespace consul_canary::states
