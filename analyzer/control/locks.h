// Who rules which rollout. Each has a lock below locks/, and whose session holds it rules it. On
// the I/O thread.
//
// Rollouts are spread over the analyzers that are alive by rendezvous hashing. The preferred one
// takes a free lock at once; the others, each after those before it, when it has not done so in
// time. A rollout that lies elsewhere is moved while it is idle, never under way. A blocking query
// on all locks and one on all analyzers (membership.h) tell of every change, so nobody polls.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "analyzer/control/membership.h"
#include "exporter/consul/client.h"

namespace consul_canary::control {

struct LocksEvents {
  // We hold the lock. epoch: Consul's index of that moment, greater than that of every leader
  // before. state: as stored, nullopt: none yet. has_spec: a specification stood there at the same
  // moment.
  std::function<void(const std::string& id, std::uint64_t epoch,
                     std::optional<consul::KvPair> state, bool has_spec)>
      on_leading;
  std::function<void(const std::string& id, const std::string& why)> on_lost;
  // The name of the analyzer that holds the lock, by what was read last; empty: none.
  std::function<void(const std::string& id, const std::string& analyzer)> on_holder;
  // The locks were read: Keys() may be others now. Nothing is taken before it has come back.
  std::function<void()> on_read;
  // Whether the rollout, which we lead, may be moved now.
  std::function<bool(const std::string& id)> is_idle;
};

class Locks {
 public:
  Locks(consul::Client& client, MembershipOptions options, LocksEvents events);
  ~Locks();
  Locks(const Locks&) = delete;
  Locks& operator=(const Locks&) = delete;

  void Start();

  void Add(const std::string& id);     // its lock is wanted
  void Remove(const std::string& id);  // not any more, by anybody; a lock that we hold is deleted
  void Leave(const std::string& id);   // not any more by us; a lock that we hold is given back

  // The rollouts whose locks stood there when they were read last, held or not.
  [[nodiscard]] std::vector<std::string> Keys() const;

  [[nodiscard]] bool Leads(const std::string& id) const;
  [[nodiscard]] const std::string& session() const;

  // Lock or state are not as we believed: lost, and taken anew with what is stored.
  void Reload(const std::string& id, const std::string& why);
  // It may have become idle.
  void MoveIfIdle(const std::string& id);

  // As Membership::Release().
  void Release(std::function<void()> released, std::function<void()> done);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace consul_canary::control
