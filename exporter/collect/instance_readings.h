// Whether the attempts at a service's instances are known, where these are what is judged (with
// failover between subsets, callers' counters are none of either). Unknown is never zero. Pure.
#pragma once

#include <string>
#include <vector>

#include "exporter/base/clock.h"
#include "exporter/collect/snapshot.h"

namespace consul_canary::collect {

struct UnreadInstance {
  std::string instance_id;  // Service.ID
  std::string reason;       // to read: "its sidecar was not read for 5 s: connect: …"

  bool operator==(const UnreadInstance&) const = default;
};

// The instances of a subset that pass in Consul and whose attempts cannot be told: no sidecar or
// none with an address, one that was never read, or not within `max_age`, or gave no counts of its
// instance. Those that do not pass get no requests and may be silent. Says nothing where the
// instances are not known: ServiceSnapshot::instances_known.
[[nodiscard]] std::vector<UnreadInstance> UnreadInstances(const ServiceSnapshot& service,
                                                          const std::string& subset,
                                                          base::MonotonicTime now,
                                                          base::milliseconds max_age);

}  // namespace consul_canary::collect
