#include "exporter/collect/instance_readings.h"

#include <fmt/format.h>

#include <algorithm>
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
                                            const std::set<std::string>& subsets,
                                            base::MonotonicTime now, base::milliseconds max_age) {
  std::unordered_map<std::string, const ServerReading*> servers;
  for (const ServerReading& server : service.servers) servers.emplace(server.id, &server);
  std::vector<UnreadInstance> unread;
  std::unordered_map<std::string, const std::string*> seen;  // proxy → the first of its subsets
  for (const std::string& subset : subsets) {
    const auto members = service.subset_instances.find(subset);
    if (members == service.subset_instances.end()) continue;
    for (const consul::Instance& member : members->second) {
      const std::string id = ProxyId(member);
      const std::string& name = member.destination_id.empty() ? member.id : member.destination_id;
      const auto [first, is_new] = seen.emplace(id, &subset);
      const auto server = servers.find(id);
      std::string reason;
      if (!is_new) {
        reason = fmt::format("it lies in {} and in {}", *first->second, subset);
      } else if (!member.passing) {
        continue;
      } else if (server == servers.end()) {
        reason = "it has no sidecar that is known";
      } else {
        reason = WhyUnread(*server->second, now, max_age);
      }
      const bool is_told =
          std::any_of(unread.begin(), unread.end(),
                      [&](const UnreadInstance& each) { return each.instance_id == name; });
      if (!reason.empty() && !is_told) unread.push_back({name, std::move(reason)});
    }
  }
  return unread;
}

}  // namespace consul_canary::collect
