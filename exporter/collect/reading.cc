#include "exporter/collect/reading.h"

#include <utility>

namespace consul_canary::collect {

void TakePage(envoy::SidecarPage page, base::MonotonicTime now, SidecarReading& reading) {
  reading.scraped_at = now;
  reading.services.clear();
  std::map<std::string, envoy::SubsetCounters>* subsets = nullptr;
  const std::string* service = nullptr;
  for (auto& [destination, counters] : page.subsets) {
    if (service == nullptr || *service != destination.service) {
      service = &destination.service;
      subsets = &reading.services[*service].Own();
    }
    subsets->emplace(destination.subset, std::move(counters));
  }
  reading.local_app = std::move(page.local_app);
  reading.route_reloads = std::move(page.route_reloads);
}

}  // namespace consul_canary::collect
