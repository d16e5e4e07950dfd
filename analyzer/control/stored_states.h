// The stored states of many rollouts at once, for lists of those that others lead.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "analyzer/rollout/state.h"
#include "exporter/base/clock.h"
#include "exporter/base/io_loop.h"
#include "exporter/consul/client.h"

namespace consul_canary::control {

// A request to Consul for each 64 rollouts, all at the same time. Every id has a result: kNotFound
// where no state is stored, kUnavailable where Consul has not answered by the deadline. Blocks
// (server workers only).
//
// Neither one read of everything below rollouts/, since the decisions that lie there are many times
// as large as the states, nor a read for each.
[[nodiscard]] std::map<std::string, base::Result<rollout::State>> ReadStoredStates(
    base::IoLoop& io, consul::Client& client, const std::vector<std::string>& ids,
    base::MonotonicTime deadline);

}  // namespace consul_canary::control
