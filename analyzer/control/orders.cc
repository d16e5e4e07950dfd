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

// One above every order that stands there or was taken.
base::Result<std::uint64_t> NextSequence(base::IoLoop& io, consul::Client& client,
                                         const std::string& id) {
  std::uint64_t last = 0;
  const auto state = ReadStoredState(io, client, id);
  if (state) {
    last = state->last_order;
  } else if (state.error().code != ErrorCode::kNotFound) {
    return tl::unexpected(state.error());
  }
  const auto pairs = Await<std::vector<KvPair>>(io, [&client, id](auto reply) {
    client.KvList(RolloutKey(id, "orders/"), std::move(reply));
  });
  if (!pairs) return tl::unexpected(pairs.error());
  for (const KvPair& pair : *pairs) {
    const char* number = pair.key.c_str() + pair.key.rfind('/') + 1;
    last = std::max<std::uint64_t>(last, std::strtoull(number, nullptr, 10));
  }
  return last + 1;
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
  constexpr int kTries = 5;  // others append at the same time
  for (int i = 0; i < kTries; ++i) {
    const auto sequence = NextSequence(io, client, id);
    if (!sequence) return sequence;
    const std::string key = RolloutKey(id, "orders/" + SequenceName(*sequence));
    const std::string text = OrderToJson(order);
    const auto put = Await<bool>(
        io, [&client, key, text](auto reply) { client.KvPut(key, text, 0, std::move(reply)); });
    if (!put) return tl::unexpected(put.error());
    if (*put) return *sequence;
  }
  return base::Fail(ErrorCode::kUnavailable, "too many orders at once; try again");
}

}  // namespace consul_canary::control
