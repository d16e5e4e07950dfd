#include "analyzer/control/orders.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "analyzer/control/await.h"
#include "analyzer/control/keys.h"
#include "analyzer/control/stored_json.h"

namespace consul_canary::control {
namespace {

using base::ErrorCode;
using consul::KvPair;

base::Result<std::optional<KvPair>> Get(base::IoLoop& io, consul::Client& client, std::string key) {
  return Await<std::optional<KvPair>>(
      io, [&client, key](auto reply) { client.KvGet(key, std::move(reply)); });
}

struct Place {
  std::uint64_t sequence = 0;     // one above every order that stands there or was taken
  std::uint64_t state_index = 0;  // ModifyIndex of the state that says so; 0: none is stored
};

base::Result<Place> NextPlace(base::IoLoop& io, consul::Client& client, const std::string& id) {
  const auto state = Get(io, client, RolloutKey(id, "state"));
  if (!state) return tl::unexpected(state.error());
  std::uint64_t last = 0;
  if (*state) {
    const auto parsed = StateFromJson((*state)->value);
    if (!parsed) return tl::unexpected(parsed.error());
    last = parsed->last_order;
  }
  const auto pairs = Await<std::vector<KvPair>>(
      io, [&client, id](auto reply) { client.KvList(OrdersKey(id), std::move(reply)); });
  if (!pairs) return tl::unexpected(pairs.error());
  for (const KvPair& pair : *pairs) last = std::max(last, SequenceOf(pair.key).value_or(0));
  return Place{last + 1, *state ? (*state)->modify_index : 0};
}

// The state is still the one that was read; index 0: there was none.
consul::TxnOp Unchanged(const std::string& id, std::uint64_t state_index) {
  const std::string key = RolloutKey(id, "state");
  if (state_index == 0) return {.verb = "check-not-exists", .key = key};
  return {.verb = "check-index", .key = key, .index = state_index};
}

// Only where the state is still the one that was read: an order whose number has been taken by
// another one, carried out and removed meanwhile would be passed over. And only while there is such
// a rollout: what is left behind by a deletion would meet the next one of this name.
std::vector<consul::TxnOp> Appending(const std::string& id, std::uint64_t spec_index,
                                     const Place& place, const rollout::Order& order) {
  const std::string order_key = OrderKey(id, place.sequence);
  return {{.verb = "check-index", .key = SpecKey(id), .index = spec_index},
          Unchanged(id, place.state_index),
          {.verb = "cas", .key = order_key, .value = OrderToJson(order)}};
}

}  // namespace

base::Result<rollout::State> ReadStoredState(base::IoLoop& io, consul::Client& client,
                                             const std::string& id) {
  const auto pair = Get(io, client, RolloutKey(id, "state"));
  if (!pair) return tl::unexpected(pair.error());
  if (!*pair) return base::Fail(ErrorCode::kNotFound, "no state is stored for " + id);
  return StateFromJson((*pair)->value);
}

base::Result<std::uint64_t> AppendOrder(base::IoLoop& io, consul::Client& client,
                                        const std::string& id, const rollout::Order& order) {
  constexpr int kTries = 20;  // others append at the same time, and the leader stores its state
  for (int i = 0; i < kTries; ++i) {
    const auto spec = Get(io, client, SpecKey(id));
    if (!spec) return tl::unexpected(spec.error());
    if (!*spec) return base::Fail(ErrorCode::kNotFound, "there is no rollout of " + id);
    const auto place = NextPlace(io, client, id);
    if (!place) return tl::unexpected(place.error());
    const auto operations = Appending(id, (*spec)->modify_index, *place, order);
    const auto put = Await<std::vector<KvPair>>(
        io, [&client, operations](auto reply) { client.Txn(operations, std::move(reply)); });
    if (put) return place->sequence;
    if (put.error().code == ErrorCode::kUnavailable) {
      return base::Fail(ErrorCode::kUnavailable,
                        put.error().message + "; the order may have been stored all the same");
    }
    if (put.error().code != ErrorCode::kConflict) return tl::unexpected(put.error());
  }
  return base::Fail(ErrorCode::kUnavailable, "too many orders at once; try again");
}

base::Result<void> DeleteRollout(base::IoLoop& io, consul::Client& client, const std::string& id) {
  constexpr int kTries = 20;  // the leader stores its state meanwhile
  for (int i = 0; i < kTries; ++i) {
    const auto state = Get(io, client, RolloutKey(id, "state"));
    if (!state) return tl::unexpected(state.error());
    if (*state) {
      const auto parsed = StateFromJson((*state)->value);
      if (!parsed) return tl::unexpected(parsed.error());
      if (const auto over = NotUnderWay(id, *parsed, "first"); !over) return over;
    }
    const std::vector<consul::TxnOp> operations = {
        Unchanged(id, *state ? (*state)->modify_index : 0),
        {.verb = "delete", .key = SpecKey(id)},
        {.verb = "delete-tree", .key = OrdersKey(id)},
        {.verb = "delete-tree", .key = RolloutKey(id, "")},
        {.verb = "delete", .key = LockKey(id)},
    };
    const auto done = Await<std::vector<KvPair>>(
        io, [&client, operations](auto reply) { client.Txn(operations, std::move(reply)); });
    if (done) return {};
    if (done.error().code != ErrorCode::kConflict) return tl::unexpected(done.error());
  }
  return base::Fail(ErrorCode::kUnavailable, "its state changes all the time; try again");
}

base::Result<void> NotUnderWay(const std::string& id, const rollout::State& state,
                               std::string_view remedy) {
  if (!rollout::IsActive(state.phase)) return {};
  return base::Fail(ErrorCode::kConflict, fmt::format("a rollout of \"{}\" is {}; abort it {}", id,
                                                      ToString(state.phase), remedy));
}

base::Result<void> SetFleetPause(base::IoLoop& io, consul::Client& client, const std::string& by,
                                 const std::string& reason) {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  const std::string text =
      FleetPauseToJson({.by = by, .reason = reason, .wall_seconds = now.count()});
  const auto put = Await<bool>(io, [&client, text](auto reply) {
    client.KvPut(kFleetPauseKey, text, std::nullopt, std::move(reply));
  });
  if (!put) return tl::unexpected(put.error());
  return {};
}

base::Result<void> ClearFleetPause(base::IoLoop& io, consul::Client& client) {
  // The key stays, empty: prefix_watch.h.
  const auto put = Await<bool>(io, [&client](auto reply) {
    client.KvPut(kFleetPauseKey, "", std::nullopt, std::move(reply));
  });
  if (!put) return tl::unexpected(put.error());
  return {};
}

base::Result<std::optional<FleetPause>> ReadFleetPause(base::IoLoop& io, consul::Client& client) {
  const auto pair = Get(io, client, std::string(kFleetPauseKey));
  if (!pair) return tl::unexpected(pair.error());
  return FleetPauseFromJson(*pair ? (*pair)->value : "");
}

}  // namespace consul_canary::control
