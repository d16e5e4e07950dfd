#include "analyzer/control/orders.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <vector>

#include "analyzer/control/await.h"
#include "analyzer/control/store.h"
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
  const auto pairs = Await<std::vector<KvPair>>(io, [&client, id](auto reply) {
    client.KvList(RolloutKey(id, "orders/"), std::move(reply));
  });
  if (!pairs) return tl::unexpected(pairs.error());
  for (const KvPair& pair : *pairs) {
    const char* number = pair.key.c_str() + pair.key.rfind('/') + 1;
    last = std::max<std::uint64_t>(last, std::strtoull(number, nullptr, 10));
  }
  return Place{last + 1, *state ? (*state)->modify_index : 0};
}

// Only where the state is still the one that was read: an order whose number has been taken by
// another one, carried out and removed meanwhile would be passed over.
std::vector<consul::TxnOp> Appending(const std::string& id, const Place& place,
                                     const rollout::Order& order) {
  const std::string state_key = RolloutKey(id, "state");
  const std::string order_key = RolloutKey(id, "orders/" + SequenceName(place.sequence));
  return {place.state_index == 0
              ? consul::TxnOp{.verb = "check-not-exists", .key = state_key}
              : consul::TxnOp{.verb = "check-index", .key = state_key, .index = place.state_index},
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
  const auto spec = Get(io, client, RolloutKey(id, "spec"));
  if (!spec) return tl::unexpected(spec.error());
  if (!*spec) return base::Fail(ErrorCode::kNotFound, "there is no rollout of " + id);
  constexpr int kTries = 20;  // others append at the same time, and the leader stores its state
  for (int i = 0; i < kTries; ++i) {
    const auto place = NextPlace(io, client, id);
    if (!place) return tl::unexpected(place.error());
    const auto operations = Appending(id, *place, order);
    const auto put = Await<std::vector<KvPair>>(
        io, [&client, operations](auto reply) { client.Txn(operations, std::move(reply)); });
    if (put) return place->sequence;
    if (put.error().code != ErrorCode::kConflict) return tl::unexpected(put.error());
  }
  return base::Fail(ErrorCode::kUnavailable, "too many orders at once; try again");
}

}  // namespace consul_canary::control
