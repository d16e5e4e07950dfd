// A service without resolver or splitter: which entries would make it ready for rollouts, and their
// creation. Until a rollout starts, nothing changes for its callers: the primary subset holds the
// one version that is there, and gets everything.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "analyzer/rollout/spec.h"
#include "exporter/base/io_loop.h"
#include "exporter/base/result.h"
#include "exporter/consul/client.h"

namespace consul_canary::api {

struct FirstContact {
  // The JSON of what would be created; nullopt: it is there already, or cannot be made.
  std::optional<std::string> resolver;
  std::optional<std::string> splitter;
  std::string obstacle;  // why no resolver can be made, with what would be right; empty: none

  bool operator==(const FirstContact&) const = default;
};

// Pure. `instances`: all of the service, as Consul's health endpoint has them.
[[nodiscard]] FirstContact PlanFirstContact(const rollout::Spec& spec, bool has_resolver,
                                            bool has_splitter,
                                            const std::vector<consul::Instance>& instances);

// Reads the instances. Blocks (server workers only), as all below.
[[nodiscard]] base::Result<FirstContact> AskFirstContact(base::IoLoop& io, consul::Client& client,
                                                         const rollout::Spec& spec,
                                                         bool has_resolver, bool has_splitter);

// Writes the resolver, then the splitter, each only where there is still none. An error names the
// entry; what was written before it stays.
[[nodiscard]] base::Result<void> Create(base::IoLoop& io, consul::Client& client,
                                        const FirstContact& contact);

// Whether WidenPrimary() may write; kConflict, with what to do, where the resolver is not ours.
[[nodiscard]] base::Result<void> MayWidenPrimary(base::IoLoop& io, consul::Client& client,
                                                 const rollout::Spec& spec);

// The other end: the primary subset takes all instances again, since swap-subsets has pinned it to
// one version and another one, deployed by hand, would serve nobody. True when the filter was
// written, false when there was nothing to widen.
[[nodiscard]] base::Result<bool> WidenPrimary(base::IoLoop& io, consul::Client& client,
                                              const rollout::Spec& spec);

}  // namespace consul_canary::api
