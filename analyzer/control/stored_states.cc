#include "analyzer/control/stored_states.h"

#include <algorithm>
#include <utility>

#include "analyzer/control/await.h"
#include "analyzer/control/keys.h"
#include "analyzer/control/stored_json.h"

namespace consul_canary::control {
namespace {

using base::ErrorCode;
using consul::KvPair;

// A transaction holds 64 operations (128 in Consul 1.16). 64 states of 25 kB, with what some 50
// callers have counted, are an answer of 2.1 MB; more than 16 MB are not read.
constexpr std::size_t kBatch = 64;

struct Batch {
  std::vector<std::string> ids;
  Answer<std::vector<KvPair>> answer;
};

// A `get` of a key that is not there would fail the whole transaction; a `get-tree` that finds
// nothing does not, and below rollouts/<id>/state there is that key alone.
Batch Ask(base::IoLoop& io, consul::Client& client, std::vector<std::string> ids) {
  std::vector<consul::TxnOp> operations;
  operations.reserve(ids.size());
  for (const std::string& id : ids) {
    operations.push_back({.verb = "get-tree", .key = RolloutKey(id, "state")});
  }
  auto answer =
      Begin<std::vector<KvPair>>(io, [&client, operations = std::move(operations)](auto reply) {
        client.Txn(operations, std::move(reply));
      });
  return {std::move(ids), std::move(answer)};
}

}  // namespace

std::map<std::string, base::Result<rollout::State>> ReadStoredStates(
    base::IoLoop& io, consul::Client& client, const std::vector<std::string>& ids,
    base::MonotonicTime deadline) {
  std::vector<Batch> batches;
  for (std::size_t begin = 0; begin < ids.size(); begin += kBatch) {
    const auto first = ids.begin() + static_cast<std::ptrdiff_t>(begin);
    const std::size_t count = std::min(kBatch, ids.size() - begin);
    batches.push_back(Ask(io, client, {first, first + static_cast<std::ptrdiff_t>(count)}));
  }
  std::map<std::string, base::Result<rollout::State>> states;
  for (Batch& batch : batches) {
    const auto pairs = Take<std::vector<KvPair>>(batch.answer, deadline);
    for (const std::string& id : batch.ids) {
      states.emplace(id, pairs ? base::Fail(ErrorCode::kNotFound, "no state is stored for " + id)
                               : tl::unexpected(pairs.error()));
    }
    if (!pairs) continue;
    for (const std::string& id : batch.ids) {
      const auto of_id = [key = RolloutKey(id, "state")](const KvPair& p) { return p.key == key; };
      const auto found = std::ranges::find_if(*pairs, of_id);
      if (found != pairs->end()) states.at(id) = StateFromJson(found->value);
    }
  }
  return states;
}

}  // namespace consul_canary::control
