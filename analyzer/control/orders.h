// Appends orders to Consul's KV before anyone is told that they were taken. Whoever leads the
// rollout carries them out.
#pragma once

#include <string>

#include "analyzer/rollout/state.h"
#include "exporter/base/io_loop.h"
#include "exporter/consul/client.h"

namespace consul_canary::control {

// Blocks (server workers only). Returns the order's sequence. kNotFound: there is no such rollout.
[[nodiscard]] base::Result<std::uint64_t> AppendOrder(base::IoLoop& io, consul::Client& client,
                                                      const std::string& id,
                                                      const rollout::Order& order);

// The stored state; kNotFound where none is stored yet.
[[nodiscard]] base::Result<rollout::State> ReadStoredState(base::IoLoop& io, consul::Client& client,
                                                           const std::string& id);

}  // namespace consul_canary::control
