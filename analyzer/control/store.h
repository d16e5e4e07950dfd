// The durable side of the loop, on the I/O thread: which rollouts exist in Consul's KV, who leads
// each (a session lock), their orders as they arrive, commits of state and decisions in one
// transaction, and the writes to configuration entries that follow a commit. It decides nothing.
//
// Fencing (docs/safety.md): a write is prepared from an entry as read before; then the transaction
// checks that our session still holds the rollout's lock and stores the state; then the entry is
// put with the index that was read. A leader's epoch stands in the splitter's Meta, so whatever a
// deposed leader still sends finds another index.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "analyzer/rollout/state.h"
#include "exporter/base/result.h"
#include "exporter/consul/client.h"

namespace consul_canary::control {

inline constexpr std::string_view kRolloutsPrefix = "consul-canary/rollouts/";

// "consul-canary/rollouts/<id>/<part>"
[[nodiscard]] std::string RolloutKey(std::string_view id, std::string_view part);
// Decision and order keys sort by their number: 00000042.
[[nodiscard]] std::string SequenceName(std::uint64_t sequence);

// One entry to put, with the index it was prepared from.
struct EntryWrite {
  std::string what;  // splitter, canary filter, primary filter
  std::string json;
  std::uint64_t cas_index = 0;
};

// What a tick wants done for one rollout. Without state, only our lock is checked before the
// writes.
struct Change {
  std::uint64_t number = 0;  // comes back in the result
  std::string id;
  std::optional<rollout::State> state;
  std::uint64_t state_index = 0;  // ModifyIndex of the stored state that this one replaces; 0: none
  std::vector<rollout::Decision> decisions;
  std::vector<std::uint64_t> taken_orders;
  std::vector<EntryWrite> writes;
};

struct WriteResult {
  std::string what;
  std::uint64_t cas_index = 0;  // that it was prepared from
  base::Result<bool> result;    // false: the entry was changed by someone else meanwhile
};

// How a Change went. committed: an error means that nothing was written (kConflict: the lock or the
// stored state is not ours any more; kUnavailable: it may have been stored all the same).
struct ChangeResult {
  std::uint64_t number = 0;
  std::string id;
  base::Result<std::uint64_t>
      committed;  // the state's new ModifyIndex, or the old one without state
  std::vector<WriteResult> writes;
};

// What the store tells; called on the I/O thread.
struct StoreEvents {
  std::function<void(std::string id, std::optional<consul::KvPair> spec)>
      on_spec;  // nullopt: deleted
  std::function<void(std::string id, std::vector<consul::KvPair> orders)>
      on_orders;  // all that stand there
  // We hold the lock; epoch is its LockIndex. state: as stored, nullopt: none yet.
  std::function<void(std::string id, std::uint64_t epoch, std::optional<consul::KvPair> state)>
      on_leading;
  std::function<void(std::string id, std::string why)> on_lost;
  std::function<void(ChangeResult)> on_changed;
};

class Store {
 public:
  // `analyzer_id` names this analyzer in its session, stable over restarts: sessions left by a
  // predecessor of the same name are destroyed at the start, so a killed analyzer takes its locks
  // back at once.
  Store(consul::Client& client, std::string analyzer_id, StoreEvents events);
  ~Store();

  void Start();               // I/O thread
  void Apply(Change change);  // I/O thread; one change at a time for each rollout
  // I/O thread: a rollout whose specification was deleted is over, its lock is given back.
  void Forget(const std::string& id);
  void Reload(
      const std::string& id);  // I/O thread: give up what we believe of a rollout and read it again
  // Releases every lock by destroying the session; `done` is called when Consul has answered or
  // refused.
  void Release(std::function<void()> done);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace consul_canary::control
