// Whether `delete --release` would let instances serve that the primary subset keeps out: a version
// that was rolled back and still runs, for one.
#pragma once

#include <string>
#include <vector>

#include "analyzer/rollout/spec.h"
#include "exporter/base/io_loop.h"
#include "exporter/base/result.h"
#include "exporter/consul/client.h"

namespace consul_canary::api {

// Passing instances of one version that the primary subset keeps out.
struct KeptOut {
  std::string version;  // empty: they tell none
  int passing = 0;
  bool rolled_back = false;

  bool operator==(const KeptOut&) const = default;
};

// Pure. `all`: the service's instances; `primary`: those of them that the primary's Filter selects.
// By version.
[[nodiscard]] std::vector<KeptOut> KeptOutOf(const rollout::Spec& spec,
                                             const std::vector<std::string>& rolled_back_versions,
                                             const std::vector<consul::Instance>& all,
                                             const std::vector<consul::Instance>& primary);

// Blocks (server workers only). kConflict names the versions that would begin to serve, or says
// that a rollout is under way.
[[nodiscard]] base::Result<void> CheckRelease(base::IoLoop& io, consul::Client& client,
                                              const std::string& id, const rollout::Spec& spec);

}  // namespace consul_canary::api
