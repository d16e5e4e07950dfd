// Appends orders to Consul's KV before anyone is told that they were taken. Whoever leads the
// rollout carries them out.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "analyzer/control/stored_json.h"
#include "analyzer/rollout/state.h"
#include "exporter/base/io_loop.h"
#include "exporter/consul/client.h"

namespace consul_canary::control {

// Blocks (server workers only). Returns the order's sequence. kNotFound: there is no such rollout.
[[nodiscard]] base::Result<std::uint64_t> AppendOrder(base::IoLoop& io, consul::Client& client,
                                                      const std::string& id,
                                                      const rollout::Order& order);

// kConflict while the rollout is under way: "a rollout of "api" is paused; abort it <remedy>".
[[nodiscard]] base::Result<void> NotUnderWay(const std::string& id, const rollout::State& state,
                                             std::string_view remedy);

// Everything that is stored of a rollout, at once: specification, orders, state, decisions, lock.
// kConflict while it is under way, also where it has begun a moment ago.
[[nodiscard]] base::Result<void> DeleteRollout(base::IoLoop& io, consul::Client& client,
                                               const std::string& id);

// While it is set, no rollout starts or advances; harm, aborts and alerts are answered as ever.
[[nodiscard]] base::Result<void> SetFleetPause(base::IoLoop& io, consul::Client& client,
                                               const std::string& by, const std::string& reason);
[[nodiscard]] base::Result<void> ClearFleetPause(base::IoLoop& io, consul::Client& client);
// nullopt: it is not set.
[[nodiscard]] base::Result<std::optional<FleetPause>> ReadFleetPause(base::IoLoop& io,
                                                                     consul::Client& client);

// The stored state; kNotFound where none is stored yet.
[[nodiscard]] base::Result<rollout::State> ReadStoredState(base::IoLoop& io, consul::Client& client,
                                                           const std::string& id);

}  // namespace consul_canary::control
