// Baselines of callers that Consul lists no more. They are kept for a while, since whoever comes
// back shall be counted from where it was, but not for ever: they are stored with the state, and
// Consul takes no more than half a megabyte.
#pragma once

#include <string>
#include <vector>

#include "analyzer/control/managed.h"

namespace consul_canary::control {

// How long a caller has to be missing until its baseline is dropped in the middle of a rollout.
inline constexpr base::seconds kForgetCallersAfter{300};

// Drops from `next` the baselines of callers that Consul has not listed all the while that long, by
// looks of this leader; between rollouts at once, for whatever is known. Who comes back after that
// begins anew: what it has counted meanwhile enters nowhere, and nothing enters twice.
// catalog_known: Consul answers, and what it lists is all there is. Returns whom it has dropped in
// the middle of a rollout.
std::vector<std::string> ForgetCallers(Managed& managed, const collect::ServiceSnapshot& service,
                                       bool catalog_known, base::MonotonicTime now,
                                       rollout::State& next);

// One line for all of them; nothing where there is none.
void LogForgotten(const std::string& id, const std::vector<std::string>& callers);

}  // namespace consul_canary::control
