#include "analyzer/control/locks.h"

#include <fmt/format.h>

#include <deque>
#include <set>
#include <utility>

#include "analyzer/control/keys.h"
#include "analyzer/control/prefix_watch.h"
#include "analyzer/control/rendezvous.h"
#include "exporter/base/log.h"

namespace consul_canary::control {
namespace {

using base::ErrorCode;
using consul::KvPair;
using Clock = std::chrono::steady_clock;

constexpr base::milliseconds kRetryEvery{1000};
// Consul frees a lock 1 ms after its session has gone.
constexpr base::milliseconds kLockDelayRetry{20};
// What each analyzer before us has to take a free lock.
constexpr base::milliseconds kTimeForEach{2000};
// The preferred one did not take what we gave it: it may be unable to.
constexpr base::milliseconds kKeepAfterReturn{20'000};
// An agent serves 200 connections to one address, and watches need some.
constexpr std::size_t kMostAtOnce = 16;

}  // namespace

struct Locks::Impl : std::enable_shared_from_this<Locks::Impl> {
  struct Lock {
    bool wanted = false;
    bool stands = false;  // its key, as read last
    bool leading = false;
    bool acquiring = false;  // Consul has been asked, or it stands in the queue
    std::uint64_t epoch = 0;
    std::string holder;       // session that holds it, as read last
    std::string holder_name;  // analyzer
    Clock::time_point free_since{};
    std::optional<Clock::time_point> given_away;  // when we last gave it to a preferred one
    base::IoLoop::Id timer = 0;
  };

  Impl(consul::Client& consul_client, MembershipOptions options, LocksEvents its_events)
      : client(consul_client),
        events(std::move(its_events)),
        name(options.analyzer_id),
        membership(consul_client, std::move(options),
                   {.on_session = [this] { ConsiderAll(); },
                    .on_lost = [this](const std::string& why) { LoseAll(why); },
                    .on_alive = [this] { ConsiderAll(); }}) {}

  consul::Client& client;
  LocksEvents events;
  std::string name;
  Membership membership;
  std::unique_ptr<consul::Watch> watch;
  bool read = false;  // which locks are held
  bool stopping = false;
  std::map<std::string, Lock> locks;
  std::deque<std::string> queue;  // to be acquired
  std::size_t under_way = 0;

  template <class F>
  auto Guard(F f) {
    return [weak = weak_from_this(), f = std::move(f)](auto&&... args) {
      if (const auto self = weak.lock()) f(*self, std::forward<decltype(args)>(args)...);
    };
  }

  void Start() {
    watch = WatchPrefix(client, kLocksPrefix, Guard([](Impl& self, std::vector<KvPair> pairs) {
                          self.ReadLocks(std::move(pairs));
                        }));
    membership.Start();
  }

  // --- who holds what
  // -----------------------------------------------------------------------------------------------

  void ReadLocks(std::vector<KvPair> pairs) {
    std::map<std::string, KvPair> held;
    for (KvPair& pair : pairs) {
      std::string id(After(kLocksPrefix, pair.key));
      if (!id.empty()) held[std::move(id)] = std::move(pair);
    }
    read = true;
    for (auto& [id, lock] : locks) {
      const auto found = held.find(id);
      lock.stands = found != held.end();
      NoteHolder(id, lock, lock.stands ? found->second : KvPair());
    }
    for (auto& [id, pair] : held) {
      if (locks.contains(id)) continue;
      Lock& lock = locks[id];
      lock.stands = true;
      lock.holder = pair.session;
      lock.holder_name = pair.session.empty() ? "" : pair.value;
    }
    events.on_read();
    ConsiderAll();
  }

  void NoteHolder(const std::string& id, Lock& lock, const KvPair& pair) {
    // Read before we took it.
    if (lock.leading && pair.modify_index < lock.epoch) return;
    if (lock.leading && pair.session != membership.session()) {
      // Ended by Consul or by hand; the session itself may be whole.
      Lose(id, lock, "the lock is held by it no more");
      membership.Doubt();
    }
    if (!lock.holder.empty() && pair.session.empty()) lock.free_since = Clock::now();
    // Whom we gave it to has taken it, so it may have it again.
    if (!pair.session.empty() && pair.session != membership.session()) lock.given_away.reset();
    lock.holder = pair.session;
    const std::string holder_name = pair.session.empty() ? std::string() : pair.value;
    if (lock.holder_name == holder_name) return;
    lock.holder_name = holder_name;
    if (lock.wanted) events.on_holder(id, holder_name);
  }

  void LoseAll(const std::string& why) {
    for (auto& [id, lock] : locks) {
      Lose(id, lock, why);
      lock.acquiring = false;
    }
    queue.clear();
  }

  void Lose(const std::string& id, Lock& lock, const std::string& why) {
    if (!lock.leading) return;
    lock.leading = false;
    events.on_lost(id, why);
  }

  // --- who shall hold what
  // -----------------------------------------------------------------------------------------------

  void ConsiderAll() {
    for (auto& [id, lock] : locks) Consider(id, lock);
  }

  void Consider(const std::string& id, Lock& lock) {
    if (stopping || !lock.wanted || lock.acquiring || !read || membership.session().empty() ||
        !membership.alive()) {
      return;
    }
    const auto rank = static_cast<std::int64_t>(RankOf(name, id, *membership.alive()));
    if (lock.leading) {
      if (rank > 0) Move(id, lock);
      return;
    }
    if (!lock.holder.empty() && lock.holder != membership.session()) return;
    const auto due = lock.free_since + rank * kTimeForEach;
    const auto wait = std::chrono::ceil<base::milliseconds>(due - Clock::now());
    if (wait.count() > 0) return ConsiderAfter(id, lock, wait);
    Acquire(id, lock);
  }

  void ConsiderAfter(const std::string& id, Lock& lock, base::milliseconds wait) {
    client.loop().Cancel(lock.timer);
    lock.timer = client.loop().After(wait, Guard([id](Impl& self) {
                                       const auto found = self.locks.find(id);
                                       if (found != self.locks.end()) {
                                         self.Consider(id, found->second);
                                       }
                                     }));
  }

  void Move(const std::string& id, Lock& lock) {
    const auto now = Clock::now();
    if (lock.given_away && now - *lock.given_away < kKeepAfterReturn) {
      return ConsiderAfter(id, lock, kKeepAfterReturn);
    }
    if (!events.is_idle(id)) return;
    lock.given_away = now;
    Lose(id, lock, "given to " + Preferred(id, *membership.alive()) + ", whose turn it is");
    GiveBack(id, lock);
  }

  // Where Consul gives no answer the lock may be held by our session still, which no watch tells
  // of: it is taken again, and given back again in its turn.
  void GiveBack(const std::string& id, Lock& lock) {
    lock.free_since = Clock::now();
    lock.holder.clear();
    client.KvRelease(LockKey(id), name, membership.session(),
                     Guard([id](Impl& self, const base::Result<bool>& released) {
                       const auto found = self.locks.find(id);
                       if (released || found == self.locks.end()) return;
                       base::Log(base::LogLevel::kWarn, "lock not given back",
                                 {{"service", id}, {"error", released.error().message}});
                       self.ConsiderAfter(id, found->second, kRetryEvery);
                     }));
  }

  // A lock that lies there tells the others that somebody may have to go on with the rollout.
  void Delete(const std::string& id) {
    client.Txn({{.verb = "check-session", .key = LockKey(id), .session = membership.session()},
                {.verb = "delete", .key = LockKey(id)}},
               Guard([id](Impl& self, const base::Result<std::vector<KvPair>>& deleted) {
                 if (deleted) return;
                 base::Log(base::LogLevel::kWarn, "lock not deleted",
                           {{"service", id}, {"error", deleted.error().message}});
                 self.client.loop().After(kRetryEvery, self.Guard([](Impl& later) {
                   if (!later.stopping) later.events.on_read();
                 }));
               }));
  }

  // --- acquiring
  // -----------------------------------------------------------------------------------------------

  void Acquire(const std::string& id, Lock& lock) {
    lock.acquiring = true;
    queue.push_back(id);
    AcquireNext();
  }

  void AcquireNext() {
    while (!queue.empty() && under_way < kMostAtOnce) {
      const std::string id = std::move(queue.front());
      queue.pop_front();
      Take(id);
    }
  }

  // The lock and what is stored, at one moment.
  void Take(const std::string& id) {
    ++under_way;
    const std::string session = membership.session();
    client.Txn({{.verb = "lock", .key = LockKey(id), .value = name, .session = session},
                {.verb = "get-tree", .key = RolloutKey(id, "state")},
                {.verb = "get-tree", .key = SpecKey(id)}},
               Guard([id, session](Impl& self, base::Result<std::vector<KvPair>> pairs) {
                 --self.under_way;
                 self.TakenOrNot(id, session, std::move(pairs));
                 self.AcquireNext();
               }));
  }

  void TakenOrNot(const std::string& id, const std::string& session,
                  base::Result<std::vector<KvPair>> pairs) {
    const auto found = locks.find(id);
    if (stopping || found == locks.end() || session != membership.session()) return;
    Lock& lock = found->second;
    lock.acquiring = false;
    if (!pairs) {
      if (pairs.error().code != ErrorCode::kConflict) return ConsiderAfter(id, lock, kRetryEvery);
      // Held by another one, as the watch will tell, or not free for one more millisecond.
      const bool delayed = pairs.error().message.find("lock-delay") != std::string::npos ||
                           pairs.error().message.find("lock delay") != std::string::npos;
      return ConsiderAfter(id, lock, delayed ? kLockDelayRetry : kRetryEvery);
    }
    std::optional<KvPair> state;
    bool has_spec = false;
    for (KvPair& pair : *pairs) {
      has_spec = has_spec || pair.key == SpecKey(id);
      if (pair.key == LockKey(id)) lock.epoch = pair.modify_index;
      if (pair.key == RolloutKey(id, "state")) state = std::move(pair);
    }
    if (!lock.wanted) return GiveBack(id, lock);
    lock.holder = session;
    lock.holder_name = name;
    lock.leading = true;
    events.on_holder(id, name);
    events.on_leading(id, lock.epoch, std::move(state), has_spec);
  }
};

Locks::Locks(consul::Client& client, MembershipOptions options, LocksEvents events)
    : impl_(std::make_shared<Impl>(client, std::move(options), std::move(events))) {}

Locks::~Locks() = default;

void Locks::Start() { impl_->Start(); }

void Locks::Add(const std::string& id) {
  auto& lock = impl_->locks[id];
  if (!lock.holder_name.empty()) impl_->events.on_holder(id, lock.holder_name);
  if (std::exchange(lock.wanted, true)) return;
  lock.free_since = Clock::now();
  impl_->Consider(id, lock);
}

void Locks::Remove(const std::string& id) {
  const auto found = impl_->locks.find(id);
  if (found == impl_->locks.end() || !found->second.wanted) return;
  auto& lock = found->second;
  lock.wanted = false;
  lock.given_away.reset();
  if (!lock.leading) return;
  impl_->Lose(id, lock, "the rollout was deleted");
  impl_->Delete(id);
}

void Locks::Leave(const std::string& id) {
  const auto found = impl_->locks.find(id);
  if (found == impl_->locks.end()) return;
  found->second.wanted = false;
  if (!found->second.leading) return;
  impl_->Lose(id, found->second, "it is not ours to rule");
  impl_->GiveBack(id, found->second);
}

std::vector<std::string> Locks::Keys() const {
  std::vector<std::string> ids;
  for (const auto& [id, lock] : impl_->locks) {
    if (lock.stands) ids.push_back(id);
  }
  return ids;
}

bool Locks::Leads(const std::string& id) const {
  const auto found = impl_->locks.find(id);
  return found != impl_->locks.end() && found->second.leading;
}

const std::string& Locks::session() const { return impl_->membership.session(); }

void Locks::Reload(const std::string& id, const std::string& why) {
  const auto found = impl_->locks.find(id);
  if (found == impl_->locks.end() || !found->second.leading) return;
  impl_->Lose(id, found->second, why);
  impl_->membership.Doubt();
  impl_->Consider(id, found->second);
}

void Locks::MoveIfIdle(const std::string& id) {
  const auto found = impl_->locks.find(id);
  if (found != impl_->locks.end() && found->second.leading) impl_->Consider(id, found->second);
}

void Locks::Release(std::function<void()> released, std::function<void()> done) {
  impl_->stopping = true;
  impl_->membership.Release(std::move(released), std::move(done));
}

}  // namespace consul_canary::control
