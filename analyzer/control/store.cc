#include "analyzer/control/store.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <utility>

#include "analyzer/control/entry_writer.h"
#include "analyzer/control/locks.h"
#include "analyzer/control/prefix_watch.h"
#include "analyzer/control/stored_json.h"
#include "exporter/base/log.h"

namespace consul_canary::control {
namespace {

using base::ErrorCode;
using consul::KvPair;

constexpr base::milliseconds kPatienceWithChanges{500};
constexpr std::uint64_t kDecisionsKept = 500;
// An agent serves 200 connections to one address, and watches need some.
constexpr std::size_t kMostAtOnce = 32;

// By http_config or limits of the agent: txn_max_req_len, kv_max_value_size. Nothing was stored.
bool IsTooLarge(const base::Error& error) {
  return error.code == ErrorCode::kInvalid && error.message.find(": 413 ") != std::string::npos;
}

}  // namespace

struct Store::Impl : std::enable_shared_from_this<Store::Impl> {
  struct Rollout {
    std::uint64_t spec_index = 0;  // ModifyIndex; 0: there is no specification
    std::vector<KvPair> orders;
    bool idle = true;        // by the state that is stored
    bool changing = false;   // a change is under way or in the queue
    bool too_large = false;  // its state was last stored without what the callers had counted
    // Without a specification in our list, and yet not ours to end: there is one by now, or its
    // state cannot be read. Until the list is read again.
    bool left = false;
    bool readable = true;  // the state that was stored when we took the lock last
  };

  // What a commit holds of the state.
  enum class Holds { kAll, kNoBaselines };

  Impl(consul::Client& consul_client, MembershipOptions options, StoreEvents store_events)
      : client(consul_client),
        events(std::move(store_events)),
        locks(consul_client, std::move(options),
              {.on_leading = [this](const std::string& id, std::uint64_t epoch,
                                    std::optional<KvPair> state,
                                    bool has_spec) { Lead(id, epoch, std::move(state), has_spec); },
               .on_lost = [this](const std::string& id,
                                 const std::string& why) { events.on_lost(id, why); },
               .on_holder = [this](const std::string& id,
                                   const std::string& name) { TellHolder(id, name); },
               .on_read = [this] { AdoptStrays(); },
               .is_idle = [this](const std::string& id) { return IsIdle(id); }}) {}

  consul::Client& client;
  StoreEvents events;
  Locks locks;
  std::vector<std::unique_ptr<consul::Watch>> watches;
  std::map<std::string, Rollout> rollouts;
  bool specs_read = false;
  std::deque<std::shared_ptr<Change>> queue;
  std::size_t under_way = 0;
  std::function<void()> on_quiet;  // called once when no change is under way

  // Wraps a member so that a late answer to a destroyed store is dropped.
  template <class F>
  auto Guard(F f) {
    return [weak = weak_from_this(), f = std::move(f)](auto&&... args) {
      if (const auto self = weak.lock()) f(*self, std::forward<decltype(args)>(args)...);
    };
  }

  // --- what is watched
  // -----------------------------------------------------------------------------------------------

  void Start() {
    Watch(kSpecsPrefix, &Impl::ReadSpecs);
    Watch(kOrdersPrefix, &Impl::ReadOrders);
    Watch(kFleetPauseKey, &Impl::ReadPause);
    locks.Start();
  }

  void Watch(std::string_view prefix, void (Impl::*read)(std::vector<KvPair>)) {
    watches.push_back(WatchPrefix(
        client, prefix,
        Guard([read](Impl& self, std::vector<KvPair> pairs) { (self.*read)(std::move(pairs)); })));
  }

  void ReadSpecs(std::vector<KvPair> pairs) {
    std::set<std::string> there;
    for (KvPair& pair : pairs) {
      const std::string id(After(kSpecsPrefix, pair.key));
      if (id.empty() || id.find('/') != std::string::npos) continue;
      there.insert(id);
      Rollout& rollout = rollouts[id];
      if (rollout.spec_index == pair.modify_index) continue;
      const bool is_new = rollout.spec_index == 0;
      rollout.spec_index = pair.modify_index;
      events.on_spec(id, std::move(pair));
      if (is_new && !rollout.orders.empty()) events.on_orders(id, rollout.orders);
      locks.Add(id);
    }
    for (auto& [id, rollout] : rollouts) {
      if (rollout.spec_index == 0 || there.contains(id)) continue;
      rollout.spec_index = 0;  // the lock is kept until Forget(): what is under way ends first
      events.on_spec(id, std::nullopt);
    }
    specs_read = true;
    for (auto& [id, rollout] : rollouts) rollout.left = false;
    AdoptStrays();
  }

  // A lock without a specification: whoever led has not ended what was under way when it was
  // deleted, and may be dead. Its lock is wanted like any other until whoever holds it deletes it.
  void AdoptStrays() {
    if (!specs_read) return;
    const std::vector<std::string> standing = locks.Keys();
    for (const std::string& id : standing) {
      if (rollouts[id].spec_index == 0 && !rollouts[id].left) locks.Add(id);
    }
    for (const auto& [id, rollout] : rollouts) {
      if (rollout.spec_index != 0 || locks.Leads(id)) continue;
      if (!std::ranges::binary_search(standing, id)) locks.Remove(id);
    }
  }

  // Of a rollout without a specification nobody asks who leads.
  void TellHolder(const std::string& id, const std::string& name) {
    if (rollouts[id].spec_index != 0) events.on_holder(id, name);
  }

  void Forget(const std::string& id) {
    const auto found = rollouts.find(id);
    if (found == rollouts.end()) return;
    // Put again before this was asked for: whoever asked has let go of the lead, which we hold
    // still, and has to be given it anew.
    if (found->second.spec_index != 0) return locks.Reload(id, "its specification is there again");
    if (found->second.left || !found->second.readable) {
      found->second.left = true;
      return locks.Leave(id);
    }
    // Led anew since, and under way: whoever asked believed it lost.
    if (locks.Leads(id) && !found->second.idle) return locks.Reload(id, "it is under way");
    found->second.idle = true;
    locks.Remove(id);
  }

  void ReadOrders(std::vector<KvPair> pairs) {
    std::map<std::string, std::vector<KvPair>> by_id;
    for (KvPair& pair : pairs) {
      const std::string_view rest = After(kOrdersPrefix, pair.key);
      std::string id(rest.substr(0, rest.find('/')));
      if (!id.empty()) by_id[std::move(id)].push_back(std::move(pair));
    }
    for (const auto& [id, orders] : by_id) rollouts.try_emplace(id);
    for (auto& [id, rollout] : rollouts) {
      const auto found = by_id.find(id);
      std::vector<KvPair> now = found == by_id.end() ? std::vector<KvPair>() : found->second;
      if (rollout.orders == now) continue;
      rollout.orders = now;
      events.on_orders(id, std::move(now));
    }
  }

  void ReadPause(std::vector<KvPair> pairs) {
    std::string stored;
    for (KvPair& pair : pairs) {
      if (pair.key == kFleetPauseKey) stored = std::move(pair.value);
    }
    events.on_fleet_pause(std::move(stored));
  }

  // --- leading
  // -----------------------------------------------------------------------------------------------

  void Lead(const std::string& id, std::uint64_t epoch, std::optional<KvPair> state,
            bool has_spec) {
    // What we cannot read we do not rule either: it may go to whoever can.
    bool is_readable = true;
    rollouts[id].idle = true;
    if (state) {
      const auto parsed = StateFromJson(state->value);
      is_readable = parsed && (parsed->spec || !rollout::IsActive(parsed->phase));
      rollouts[id].idle = !parsed || !rollout::IsActive(parsed->phase);
    }
    rollouts[id].readable = is_readable;
    if (rollouts[id].spec_index != 0) return events.on_leading(id, epoch, std::move(state));
    rollouts[id].left = has_spec || !is_readable;
    if (!is_readable) {
      base::Log(base::LogLevel::kError,
                "the specification of a rollout was deleted, and its state cannot be read: it is "
                "not ended; look at its splitter",
                {{"service", id}});
    }
    if (rollouts[id].left || rollouts[id].idle) return Forget(id);
    base::Log(base::LogLevel::kWarn,
              "a rollout whose specification was deleted is under way; it is ended",
              {{"service", id}});
    events.on_leading(id, epoch, std::move(state));
    events.on_spec(id, std::nullopt);
  }

  bool IsIdle(const std::string& id) {
    const Rollout& rollout = rollouts[id];
    return rollout.idle && !rollout.changing && rollout.orders.empty();
  }

  // --- changes
  // -----------------------------------------------------------------------------------------------

  static std::string StateText(const rollout::State& state, Holds holds) {
    if (holds == Holds::kAll) return StateToJson(state);
    rollout::State without = state;
    without.baselines.clear();
    return StateToJson(without);
  }

  std::vector<consul::TxnOp> Operations(const Change& change, Holds holds) const {
    std::vector<consul::TxnOp> ops;
    ops.push_back({.verb = "check-session", .key = LockKey(change.id), .session = locks.session()});
    if (change.state) {
      ops.push_back({.verb = "cas",
                     .key = RolloutKey(change.id, "state"),
                     .value = StateText(*change.state, holds),
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
      ops.push_back({.verb = "delete", .key = OrderKey(change.id, order)});
    }
    for (const std::string& key : change.refused_orders) {
      ops.push_back({.verb = "delete", .key = key});
    }
    return ops;
  }

  void Apply(Change change) {
    const bool is_checkpoint = change.decisions.empty() && change.writes.empty();
    rollouts[change.id].changing = true;
    auto shared = std::make_shared<Change>(std::move(change));
    if (is_checkpoint) {
      queue.push_back(std::move(shared));
    } else {
      queue.push_front(std::move(shared));
    }
    ApplyNext();
  }

  void ApplyNext() {
    while (!queue.empty() && under_way < kMostAtOnce) {
      const std::shared_ptr<Change> change = std::move(queue.front());
      queue.pop_front();
      ++under_way;
      Commit(change);
    }
    if (under_way == 0 && on_quiet) std::exchange(on_quiet, nullptr)();
  }

  void Commit(const std::shared_ptr<Change>& change) {
    // It was decided before the word that the lock is lost has arrived.
    if (!locks.Leads(change->id)) {
      ChangeResult result{change->number, change->id, 0, {}};
      result.committed = base::Fail(ErrorCode::kConflict, "the lock is not held any more");
      client.loop().After(base::milliseconds{0},
                          Guard([result](Impl& self) { self.Finish(result); }));
      return;
    }
    Send(change, Holds::kAll);
  }

  void Send(const std::shared_ptr<Change>& change, Holds holds) {
    client.Txn(Operations(*change, holds),
               Guard([change, holds](Impl& self, base::Result<std::vector<KvPair>> done) {
                 self.Committed(change, holds, std::move(done));
               }));
  }

  void Committed(const std::shared_ptr<Change>& change, Holds holds,
                 base::Result<std::vector<KvPair>> done) {
    ChangeResult result{change->number, change->id, change->state_index, {}};
    if (!done && holds == Holds::kAll && IsTooLarge(done.error()) && change->state &&
        !change->state->baselines.empty()) {
      SayTooLarge(*change, done.error());
      return Send(change, Holds::kNoBaselines);
    }
    if (!done) {
      result.committed = tl::unexpected(done.error());
      return Finish(std::move(result));
    }
    const std::string state_key = RolloutKey(change->id, "state");
    for (const KvPair& pair : *done) {
      if (pair.key == state_key) result.committed = pair.modify_index;
    }
    if (change->state) {
      Rollout& rollout = rollouts[change->id];
      rollout.idle = !rollout::IsActive(change->state->phase);
      rollout.too_large = holds == Holds::kNoBaselines;
    }
    WriteNext(change, std::make_shared<ChangeResult>(std::move(result)));
  }

  // Once until it fits again, and for each decision. What the callers had counted is what can be
  // spared: should another analyzer take over, it counts from then on, and nothing twice. Without a
  // stored decision there would be no rollback.
  void SayTooLarge(const Change& change, const base::Error& error) {
    if (rollouts[change.id].too_large && change.decisions.empty()) return;
    base::Log(base::LogLevel::kWarn,
              "state too large for Consul; stored without what the callers had counted",
              {{"service", change.id},
               {"bytes", std::to_string(StateToJson(*change.state).size())},
               {"callers", std::to_string(change.state->baselines.size())},
               {"limit", error.message}});
  }

  void WriteNext(const std::shared_ptr<Change>& change,
                 const std::shared_ptr<ChangeResult>& result) {
    const std::size_t next = result->writes.size();
    if (next == change->writes.size()) return Finish(std::move(*result));
    const EntryWrite& write = change->writes[next];
    const auto writer = WriterFor(client, write.json);
    if (!writer) {
      result->writes.push_back(
          {write.what, write.cas_index, tl::unexpected(writer.error()), /*unwritable=*/true});
      return WriteNext(change, result);
    }
    auto written = Guard([change, result](Impl& self, base::Result<bool> done) {
      const EntryWrite& sent = change->writes[result->writes.size()];
      result->writes.push_back({sent.what, sent.cas_index, std::move(done)});
      self.WriteNext(change, result);
    });
    if (write.removes) {
      (*writer)->Remove(write.json, write.cas_index, std::move(written));
    } else {
      (*writer)->Write(write.json, write.cas_index, std::move(written));
    }
  }

  void Finish(ChangeResult result) {
    --under_way;
    const std::string id = result.id;
    const bool conflict =
        !result.committed && result.committed.error().code == ErrorCode::kConflict;
    rollouts[id].changing = false;
    if (conflict) locks.Reload(id, "its stored state or lock changed");
    events.on_changed(std::move(result));
    locks.MoveIfIdle(id);
    ApplyNext();
  }

  // --- the end
  // -----------------------------------------------------------------------------------------------

  void Release(std::function<void()> released, std::function<void()> done) {
    on_quiet = [this, released = std::move(released), done = std::move(done)]() mutable {
      locks.Release(std::move(released), std::move(done));
    };
    client.loop().After(kPatienceWithChanges, Guard([](Impl& self) {
                          if (self.on_quiet) std::exchange(self.on_quiet, nullptr)();
                        }));
    ApplyNext();
  }
};

Store::Store(consul::Client& client, MembershipOptions options, StoreEvents events)
    : impl_(std::make_shared<Impl>(client, std::move(options), std::move(events))) {}

Store::~Store() = default;

void Store::Start() { impl_->Start(); }

void Store::Apply(Change change) { impl_->Apply(std::move(change)); }

void Store::Forget(const std::string& id) { impl_->Forget(id); }

void Store::Release(std::function<void()> released, std::function<void()> done) {
  impl_->Release(std::move(released), std::move(done));
}

}  // namespace consul_canary::control
