#include "exporter/collect/instance_readings.h"

#include <fmt/format.h>

#include <chrono>
#include <unordered_map>

#include "exporter/collect/targets.h"

namespace consul_canary::collect {
namespace {

// Empty: it is known what the instance counted.
std::string WhyUnread(const ServerReading& server, base::MonotonicTime now,
                      base::milliseconds max_age) {
  if (server.address.empty()) return "its sidecar has no address that can be read";
  const std::string error = server.error.empty() ? "" : ": " + server.error;
  if (!server.scraped_at) return "its sidecar was not read yet" + error;
  if (now - *server.scraped_at > max_age) {
    const auto age = std::chrono::duration_cast<base::seconds>(now - *server.scraped_at);
    return fmt::format("its sidecar was not read for {} s{}", age.count(), error);
  }
  return server.local_app ? "" : "its sidecar says nothing of its instance";
}

}  // namespace

std::vector<UnreadInstance> UnreadInstances(const ServiceSnapshot& service,
                                            const std::string& subset, base::MonotonicTime now,
                                            base::milliseconds max_age) {
  std::vector<UnreadInstance> unread;
  const auto members = service.subset_instances.find(subset);
  if (members == service.subset_instances.end()) return unread;
  std::unordered_map<std::string, const ServerReading*> servers;
  for (const ServerReading& server : service.servers) servers.emplace(server.id, &server);
  for (const consul::Instance& member : members->second) {
    if (!member.passing) continue;
    const auto server = servers.find(ProxyId(member));
    std::string reason = server == servers.end() ? "it has no sidecar that is known"
                                                 : WhyUnread(*server->second, now, max_age);
    if (reason.empty()) continue;
    unread.push_back(
        {member.destination_id.empty() ? member.id : member.destination_id, std::move(reason)});
  }
  return unread;
}

}  // namespace consul_canary::collect
