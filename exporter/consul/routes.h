// What the routes of a service-router do with requests: which they take, where these go, what is
// retried. The one reader of that, for the exporter and for the shield. Pure. For .cc, and for
// headers that include nlohmann's already: it is slow to compile.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "exporter/consul/config_entries.h"
#include "exporter/consul/json_fields.h"

namespace consul_canary::consul {

// Absent, null, "", 0, false, [] and {} say the same in an entry.
[[nodiscard]] bool SaysNothing(const Json& value);
// The value in one order, without what says nothing; durations ("3s") as nanoseconds.
[[nodiscard]] nlohmann::json Plain(const Json& value);

// Whether what names a service, perhaps with Peer, Namespace or Partition, means one in `own`.
[[nodiscard]] bool LiesIn(const Json& named, const Place& own);

// Whether a route takes every request that comes to it.
[[nodiscard]] bool TakesAll(const Json& route);
// Of a route's Destination; nullopt: it retries nothing.
[[nodiscard]] std::optional<RetryRule> ReadRetries(const Json& destination);
// Router::routes of the entry; of an empty object, what there is without a router.
[[nodiscard]] std::vector<Route> ReadRoutes(const Json& router);

}  // namespace consul_canary::consul
