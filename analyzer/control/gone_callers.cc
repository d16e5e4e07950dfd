#include "analyzer/control/gone_callers.h"

#include <set>
#include <string>

#include "analyzer/control/take_counts.h"
#include "exporter/base/log.h"

namespace consul_canary::control {

std::vector<std::string> ForgetCallers(Managed& managed, const collect::ServiceSnapshot& service,
                                       bool catalog_known, base::MonotonicTime now,
                                       rollout::State& next) {
  std::vector<std::string> dropped;
  if (!catalog_known || !IsActive(next.phase)) managed.gone_callers.clear();
  if (!catalog_known) return dropped;
  if (!IsActive(next.phase)) {
    ForgetGoneCallers(service, next.baselines);
    return dropped;
  }
  const std::set<std::string> listed = SidecarsOf(service);
  // One that is dropped stays until the state without it is taken over: its commit may fail.
  std::erase_if(managed.gone_callers, [&](const auto& gone) {
    return listed.contains(gone.first) || !next.baselines.contains(gone.first);
  });
  for (const auto& [id, counters] : next.baselines) {
    if (listed.contains(id)) continue;
    const auto gone = managed.gone_callers.try_emplace(id, now).first;
    if (now - gone->second >= kForgetCallersAfter) dropped.push_back(id);
  }
  for (const std::string& id : dropped) {
    next.baselines.erase(id);
    next.late_blocks.erase(id);
  }
  return dropped;
}

void LogForgotten(const std::string& id, const std::vector<std::string>& callers) {
  if (callers.empty()) return;
  base::Log(base::LogLevel::kInfo, "callers forgotten that left Consul long ago",
            {{"service", id},
             {"count", std::to_string(callers.size())},
             {"first", callers.front()},
             {"after_seconds", std::to_string(kForgetCallersAfter.count())}});
}

}  // namespace consul_canary::control
