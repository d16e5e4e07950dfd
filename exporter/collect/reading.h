// The newest of what one sidecar said, as the scraper keeps it and the snapshot shows it. Plain
// values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "exporter/base/clock.h"
#include "exporter/collect/snapshot.h"
#include "exporter/envoy/sidecar_page.h"

namespace consul_canary::collect {

struct SidecarReading {
  std::optional<base::MonotonicTime> scraped_at;   // when the counters came
  std::string error;                               // of the last try; empty: it succeeded
  std::map<std::string, SubsetReadings> services;  // service → what it counted, by subset
  SharedOptional<envoy::SubsetCounters> local_app;
  std::map<std::string, std::uint64_t> route_reloads;            // by service
  std::map<std::string, std::map<std::string, double>> applied;  // service → subset → share
  std::optional<base::MonotonicTime> applied_at;
};

// Puts what a page says in place of what the last one said.
void TakePage(envoy::SidecarPage page, base::MonotonicTime now, SidecarReading& reading);

}  // namespace consul_canary::collect
