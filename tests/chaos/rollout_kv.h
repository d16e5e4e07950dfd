// What the analyzers store of a rollout in Consul's KV, as far as this test looks at it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/chaos/fault_proxy.h"
#include "tests/chaos/history.h"
#include "tests/support/consul_agent.h"

namespace consul_canary::testing {

struct StoredRollout {
  std::string phase{};
  std::string stage{};
  std::string version{};  // of the canary
  std::string reason{};
  double wanted = 0;            // the canary's weight in percent
  std::string canary_filter{};  // empty: the rollout has not set it
  std::string primary_filter{};
  bool foreign_edit = false;
  std::uint64_t decisions = 0;

  [[nodiscard]] bool ended() const { return phase == "succeeded" || phase == "rolled-back"; }
};

// Errors when Consul does not answer; nullopt where nothing is stored.
[[nodiscard]] base::Result<std::optional<StoredRollout>> ReadRollout(const ConsulAgent& consul,
                                                                     const std::string& service);
[[nodiscard]] base::Result<std::vector<DecisionSeen>> ReadDecisions(const ConsulAgent& consul,
                                                                    const std::string& service);
// The session that holds the rollout's lock; empty: none.
[[nodiscard]] base::Result<std::string> ReadLockHolder(const ConsulAgent& consul,
                                                       const std::string& service);
// Orders that nobody has carried out yet.
[[nodiscard]] base::Result<std::size_t> OrdersLeft(const ConsulAgent& consul,
                                                   const std::string& service);

// Gives decisions the time at which the first transaction that holds them came to a proxy.
void AddTimes(const std::vector<ProxiedWrite>& writes, const std::string& service,
              std::vector<DecisionSeen>& decisions);

// The writes of this service's splitter among them.
[[nodiscard]] std::vector<SplitterWrite> SplitterWrites(const std::vector<ProxiedWrite>& writes,
                                                        const std::string& service,
                                                        const std::string& analyzer);
// The same of its resolver.
[[nodiscard]] std::vector<ResolverWrite> ResolverWrites(const std::vector<ProxiedWrite>& writes,
                                                        const std::string& service,
                                                        const std::string& analyzer);

}  // namespace consul_canary::testing
