// The durable side of the loop, on the I/O thread: which rollouts exist in Consul's KV, which of
// them we lead (locks.h), their orders as they arrive, commits of state and decisions in one
// transaction, and the writes to configuration entries that follow a commit. It decides nothing.
// However many rollouts there are, five blocking queries serve them (keys.h).
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

#include "analyzer/control/keys.h"
#include "analyzer/control/membership.h"
#include "analyzer/rollout/state.h"
#include "exporter/base/result.h"
#include "exporter/consul/client.h"

namespace consul_canary::control {

// One entry to put or to take away, with the index it was prepared from.
struct EntryWrite {
  std::string what{};  // splitter, router, canary filter, primary filter
  std::string json{};
  bool removes = false;         // the entry that reads so is to go
  std::uint64_t cas_index = 0;  // 0: it is to be made
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
  std::vector<std::string> refused_orders;  // keys of those that nobody can understand; to go too
  std::vector<EntryWrite> writes;
};

struct WriteResult {
  std::string what;
  std::uint64_t cas_index = 0;  // that it was prepared from
  base::Result<bool> result;    // false: the entry was changed by someone else meanwhile
  bool unwritable = false;      // no writer is built for its owner; it was not tried
};

// How a Change went. committed: an error means that no entry was written (kConflict: the lock or
// the stored state is not ours any more, nothing was stored; kUnavailable: it may have been stored
// all the same).
struct ChangeResult {
  std::uint64_t number = 0;
  std::string id;
  base::Result<std::uint64_t>
      committed;  // the state's new ModifyIndex, or the old one without state
  std::vector<WriteResult> writes;
};

// What the store tells; called on the I/O thread.
struct StoreEvents {
  // A new or a changed specification; nullopt: deleted.
  std::function<void(std::string id, std::optional<consul::KvPair> spec)> on_spec;
  // All that stand there, when they have changed.
  std::function<void(std::string id, std::vector<consul::KvPair> orders)> on_orders;
  // We hold the lock; epoch is greater than any before. state: as stored, nullopt: none yet.
  std::function<void(std::string id, std::uint64_t epoch, std::optional<consul::KvPair> state)>
      on_leading;
  std::function<void(std::string id, std::string why)> on_lost;
  // The analyzer that holds the rollout's lock; empty: none.
  std::function<void(std::string id, std::string analyzer)> on_holder;
  // What stands at kFleetPauseKey; empty: nothing.
  std::function<void(std::string stored)> on_fleet_pause;
  std::function<void(ChangeResult)> on_changed;
};

class Store {
 public:
  Store(consul::Client& client, MembershipOptions options, StoreEvents events);
  ~Store();

  void Start();  // I/O thread
  // I/O thread; one change at a time for each rollout. Of many, those go first that carry more than
  // a checkpoint.
  void Apply(Change change);
  // I/O thread. A rollout whose specification was deleted is over: its lock is deleted.
  void Forget(const std::string& id);
  // Waits shortly for changes that are under way, gives all locks back, and then takes this
  // analyzer out of Consul. `released` is called after the locks, `done` at the end; both are when
  // Consul does not answer.
  void Release(std::function<void()> released, std::function<void()> done);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace consul_canary::control
