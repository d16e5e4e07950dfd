#include "analyzer/control/store.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "analyzer/control/stored_json.h"
#include "exporter/base/log.h"

namespace consul_canary::control {
namespace {

using base::ErrorCode;
using base::LogLevel;

constexpr base::seconds kSessionTtl{10};
constexpr base::milliseconds kRenewEvery{3000};
constexpr base::milliseconds kRetryEvery{1000};
constexpr base::milliseconds kWatchInterval{50};
constexpr std::uint64_t kDecisionsKept = 500;

// "consul-canary/rollouts/api/" → "api"; empty for anything deeper.
std::string IdFromKey(std::string_view key) {
  if (!key.starts_with(kRolloutsPrefix)) return "";
  key.remove_prefix(kRolloutsPrefix.size());
  return std::string(key.substr(0, key.find('/')));
}

}  // namespace

std::string RolloutKey(std::string_view id, std::string_view part) {
  return fmt::format("{}{}/{}", kRolloutsPrefix, id, part);
}

std::string SequenceName(std::uint64_t sequence) { return fmt::format("{:08}", sequence); }

struct Store::Impl : std::enable_shared_from_this<Store::Impl> {
  struct Rollout {
    std::unique_ptr<consul::Watch> spec_watch;
    std::unique_ptr<consul::Watch> orders_watch;
    bool exists = false;
    bool leading = false;
    bool acquiring = false;
  };

  Impl(consul::Client& consul_client, std::string name, StoreEvents store_events)
      : client(consul_client), analyzer_id(std::move(name)), events(std::move(store_events)) {}

  consul::Client& client;
  std::string analyzer_id;
  StoreEvents events;
  std::string session;
  bool stopping = false;
  std::unique_ptr<consul::Watch> ids_watch;
  std::map<std::string, Rollout> rollouts;

  // Wraps a member so that a late answer to a destroyed store is dropped.
  template <class F>
  auto Guard(F f) {
    return [weak = weak_from_this(), f = std::move(f)](auto&&... args) {
      if (const auto self = weak.lock()) f(*self, std::forward<decltype(args)>(args)...);
    };
  }

  void Later(base::milliseconds delay, void (Impl::*next)()) {
    client.loop().After(delay, Guard([next](Impl& self) { (self.*next)(); }));
  }

  // --- which rollouts exist
  // ------------------------------------------------------------------------------

  void WatchIds() {
    // An answer on the prefix's keys alone; the separator folds each rollout into one.
    const std::string path = fmt::format("/v1/kv/{}?keys&separator=/", kRolloutsPrefix);
    ids_watch = client.WatchPath(
        "kv", path, kWatchInterval,
        Guard([](Impl& self, base::Result<base::HttpResponse> answer) { self.ReadIds(answer); }));
  }

  void ReadIds(const base::Result<base::HttpResponse>& answer) {
    if (!answer || (answer->status != 200 && answer->status != 404)) return;
    const auto keys = answer->status == 404
                          ? std::vector<std::string>{}
                          : consul::ParseKeyList(answer->body).value_or(std::vector<std::string>{});
    for (const std::string& key : keys) {
      const std::string id = IdFromKey(key);
      if (!id.empty() && !rollouts.contains(id)) Follow(id);
    }
  }

  void Follow(const std::string& id) {
    Rollout& rollout = rollouts[id];
    rollout.spec_watch =
        client.WatchPath("kv", consul::Client::KvPrefixPath(RolloutKey(id, "spec")), kWatchInterval,
                         Guard([id](Impl& self, base::Result<base::HttpResponse> answer) {
                           self.ReadSpec(id, answer);
                         }));
    rollout.orders_watch = client.WatchPath(
        "kv", consul::Client::KvPrefixPath(RolloutKey(id, "orders/")), kWatchInterval,
        Guard([id](Impl& self, base::Result<base::HttpResponse> answer) {
          if (!answer || (answer->status != 200 && answer->status != 404)) return;
          std::vector<consul::KvPair> pairs;
          if (answer->status == 200) {
            auto parsed = consul::ParseKvPairs(answer->body);
            if (!parsed) return;
            pairs = std::move(*parsed);
          }
          self.events.on_orders(id, std::move(pairs));
        }));
  }

  void ReadSpec(const std::string& id, const base::Result<base::HttpResponse>& answer) {
    if (!answer || (answer->status != 200 && answer->status != 404)) return;
    Rollout& rollout = rollouts[id];
    if (answer->status == 404) {
      if (rollout.exists) events.on_spec(id, std::nullopt);
      rollout.exists = false;  // the lock is kept until Forget(): what is under way ends first
      return;
    }
    auto pairs = consul::ParseKvPairs(answer->body);
    if (!pairs || pairs->empty()) return;
    rollout.exists = true;
    events.on_spec(id, std::move(pairs->front()));
    Acquire(id);
  }

  // --- session and locks
  // ---------------------------------------------------------------------------------

  void ClearOldSessions() {
    client.SessionList(
        Guard([](Impl& self, base::Result<std::vector<consul::Client::SessionInfo>> list) {
          if (!list) return self.Later(kRetryEvery, &Impl::ClearOldSessions);
          for (const auto& old : *list) {
            if (old.name == self.analyzer_id) {
              self.client.SessionDestroy(old.id, [](const base::Result<void>&) {});
            }
          }
          self.CreateSession();
        }));
  }

  void CreateSession() {
    if (stopping || !session.empty()) return;
    client.SessionCreate(
        analyzer_id, kSessionTtl, Guard([](Impl& self, base::Result<std::string> id) {
          if (!id) {
            base::Log(LogLevel::kWarn, "no Consul session", {{"error", id.error().message}});
            return self.Later(kRetryEvery, &Impl::CreateSession);
          }
          self.session = *id;
          self.Later(kRenewEvery, &Impl::Renew);
          self.AcquireAll();
        }));
  }

  void Renew() {
    if (stopping || session.empty()) return;
    client.SessionRenew(session, Guard([](Impl& self, const base::Result<void>& renewed) {
                          if (!renewed && renewed.error().code == ErrorCode::kNotFound) {
                            self.LoseSession("the Consul session is gone");
                            return self.CreateSession();
                          }
                          self.Later(renewed ? kRenewEvery : kRetryEvery, &Impl::Renew);
                        }));
  }

  void LoseSession(const std::string& why) {
    session.clear();
    for (auto& [id, rollout] : rollouts) Lose(id, rollout, why);
  }

  void Lose(const std::string& id, Rollout& rollout, const std::string& why) {
    if (!rollout.leading) return;
    rollout.leading = false;
    events.on_lost(id, why);
  }

  void AcquireAll() {
    for (const auto& [id, rollout] : rollouts) Acquire(id);
  }

  void AcquireLater(const std::string& id) {
    client.loop().After(kRetryEvery, Guard([id](Impl& self) { self.Acquire(id); }));
  }

  void Acquire(const std::string& id) {
    Rollout& rollout = rollouts[id];
    if (stopping || session.empty() || !rollout.exists || rollout.leading || rollout.acquiring) {
      return;
    }
    rollout.acquiring = true;
    client.KvAcquire(RolloutKey(id, "lock"), analyzer_id, session,
                     Guard([id](Impl& self, base::Result<bool> acquired) {
                       self.rollouts[id].acquiring = false;
                       if (!acquired || !*acquired) return self.AcquireLater(id);
                       self.ReadLock(id);
                     }));
  }

  void ReadLock(const std::string& id) {
    client.KvGet(RolloutKey(id, "lock"),
                 Guard([id](Impl& self, base::Result<std::optional<consul::KvPair>> lock) {
                   if (!lock || !*lock || (*lock)->session != self.session) {
                     return self.AcquireLater(id);
                   }
                   self.ReadState(id, (*lock)->lock_index);
                 }));
  }

  void ReadState(const std::string& id, std::uint64_t epoch) {
    client.KvGet(RolloutKey(id, "state"),
                 Guard([id, epoch](Impl& self, base::Result<std::optional<consul::KvPair>> state) {
                   Rollout& rollout = self.rollouts[id];
                   if (!state || rollout.leading || self.session.empty()) {
                     return self.AcquireLater(id);
                   }
                   rollout.leading = true;
                   self.events.on_leading(id, epoch, std::move(*state));
                 }));
  }

  void Release(const std::string& id) {
    Lose(id, rollouts[id], "the rollout was deleted");
    client.KvRelease(RolloutKey(id, "lock"), analyzer_id, session,
                     [](const base::Result<bool>&) {});
  }

  // --- changes
  // -------------------------------------------------------------------------------------------

  std::vector<consul::TxnOp> Operations(const Change& change) const {
    std::vector<consul::TxnOp> ops;
    ops.push_back(
        {.verb = "check-session", .key = RolloutKey(change.id, "lock"), .session = session});
    if (change.state) {
      ops.push_back({.verb = "cas",
                     .key = RolloutKey(change.id, "state"),
                     .value = StateToJson(*change.state),
                     .index = change.state_index});
    }
    for (const rollout::Decision& decision : change.decisions) {
      const std::string key = "decisions/" + SequenceName(decision.sequence);
      ops.push_back(
          {.verb = "set", .key = RolloutKey(change.id, key), .value = DecisionToJson(decision)});
      if (decision.sequence > kDecisionsKept) {
        const std::string old = "decisions/" + SequenceName(decision.sequence - kDecisionsKept);
        ops.push_back({.verb = "delete", .key = RolloutKey(change.id, old)});
      }
    }
    for (const std::uint64_t order : change.taken_orders) {
      ops.push_back(
          {.verb = "delete", .key = RolloutKey(change.id, "orders/" + SequenceName(order))});
    }
    return ops;
  }

  void Apply(Change change) {
    auto shared = std::make_shared<Change>(std::move(change));
    client.Txn(Operations(*shared),
               Guard([shared](Impl& self, base::Result<std::vector<consul::KvPair>> done) {
                 ChangeResult result{shared->number, shared->id, shared->state_index, {}};
                 if (!done) {
                   result.committed = tl::unexpected(done.error());
                   if (done.error().code == ErrorCode::kConflict) self.Reload(shared->id);
                   return self.events.on_changed(std::move(result));
                 }
                 const std::string state_key = RolloutKey(shared->id, "state");
                 for (const consul::KvPair& pair : *done) {
                   if (pair.key == state_key) result.committed = pair.modify_index;
                 }
                 self.WriteNext(shared, std::make_shared<ChangeResult>(std::move(result)));
               }));
  }

  void WriteNext(const std::shared_ptr<Change>& change,
                 const std::shared_ptr<ChangeResult>& result) {
    const std::size_t next = result->writes.size();
    if (next == change->writes.size()) return events.on_changed(std::move(*result));
    const EntryWrite& write = change->writes[next];
    client.WriteEntry(write.json, write.cas_index,
                      Guard([change, result](Impl& self, base::Result<bool> written) {
                        const EntryWrite& sent = change->writes[result->writes.size()];
                        result->writes.push_back({sent.what, sent.cas_index, std::move(written)});
                        self.WriteNext(change, result);
                      }));
  }

  void Reload(const std::string& id) {
    Lose(id, rollouts[id], "its stored state or lock changed");
    Acquire(id);
  }
};

Store::Store(consul::Client& client, std::string analyzer_id, StoreEvents events)
    : impl_(std::make_shared<Impl>(client, std::move(analyzer_id), std::move(events))) {}

Store::~Store() = default;

void Store::Start() {
  impl_->WatchIds();
  impl_->ClearOldSessions();
}

void Store::Apply(Change change) { impl_->Apply(std::move(change)); }

void Store::Forget(const std::string& id) {
  const auto found = impl_->rollouts.find(id);
  if (found == impl_->rollouts.end() || found->second.exists || !found->second.leading) return;
  impl_->Release(id);
}

void Store::Reload(const std::string& id) { impl_->Reload(id); }

void Store::Release(std::function<void()> done) {
  impl_->stopping = true;
  if (impl_->session.empty()) return done();
  const std::string session = std::exchange(impl_->session, "");
  impl_->client.SessionDestroy(session, [done](const base::Result<void>&) { done(); });
}

}  // namespace consul_canary::control
