#include "exporter/collect/mesh_log.h"

#include <set>
#include <utility>

#include "exporter/base/log.h"

namespace consul_canary::collect {
namespace {

using base::Log;
using base::LogLevel;

// Passing sidecars alone: one that Consul gives up too is no news.
template <class Reading>
void AddFailing(const std::vector<Reading>& readings, std::map<std::string, std::string>& failing) {
  for (const Reading& reading : readings) {
    if (!reading.passing) continue;
    if (reading.address.empty()) {
      failing[reading.id] =
          "neither envoy_prometheus_bind_addr nor Meta canary-admin names an address";
    } else if (!reading.error.empty()) {
      failing[reading.id] = reading.error;
    }
  }
}

}  // namespace

void MeshLog::Observe(const MeshSnapshot& snapshot) {
  ObserveConsul(snapshot);
  std::map<std::string, std::string> failing;
  for (const auto& [name, service] : snapshot.services) {
    AddFailing(service->callers, failing);
    AddFailing(service->servers, failing);
  }
  for (const auto& [id, error] : failing) {
    if (!failing_.contains(id)) {
      Log(LogLevel::kWarn, "sidecar cannot be read", {{"sidecar", id}, {"error", error}});
    }
  }
  for (const auto& [id, error] : failing_) {
    if (!failing.contains(id)) {
      Log(LogLevel::kInfo, "sidecar is read again or gone", {{"sidecar", id}});
    }
  }
  failing_ = std::move(failing);
}

void MeshLog::ObserveConsul(const MeshSnapshot& snapshot) {
  for (const auto& [question, error] : snapshot.consul_failures) {
    const auto before = consul_failures_.find(question);
    if (before != consul_failures_.end() && before->second.code == error.code) continue;
    Log(LogLevel::kWarn, "Consul does not answer",
        {{"question", question}, {"error", error.message}});
  }
  for (const auto& [question, error] : consul_failures_) {
    if (snapshot.consul_failures.contains(question)) continue;
    Log(LogLevel::kInfo, "Consul answers again", {{"question", question}});
  }
  consul_failures_ = snapshot.consul_failures;
  std::set<std::string> missing;
  for (const consul::Refusal& refusal : snapshot.refusals) {
    missing.insert(refusal.rule);
    if (missing_rules_.contains(refusal.rule)) continue;
    Log(LogLevel::kWarn, "the Consul token lacks a rule", {{"what", InWords(refusal)}});
  }
  missing_rules_ = std::move(missing);
  if (snapshot.ready && !std::exchange(ready_, true)) {
    Log(LogLevel::kInfo, "mesh read", {{"services", std::to_string(snapshot.services.size())}});
  }
}

}  // namespace consul_canary::collect
