// From a snapshot of the mesh to a page of metrics. Pages are written anew for each scrape, so the
// series of what is gone vanish. Pure. Every metric is described in docs/metrics.md.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "exporter/base/build_info.h"
#include "exporter/base/clock.h"
#include "exporter/base/daemon.h"
#include "exporter/collect/collector.h"
#include "exporter/collect/snapshot.h"
#include "exporter/metrics/text_writer.h"
#include "exporter/metrics/totals.h"

namespace consul_canary::metrics {

struct SubsetNames {
  std::string primary = "primary";
  std::string canary = "canary";
};

// Which subset of a service plays which part.
struct Roles {
  SubsetNames defaults;
  std::map<std::string, SubsetNames> by_service;

  // primary, canary or other.
  [[nodiscard]] std::string_view RoleOf(const std::string& service,
                                        const std::string& subset) const;
};

// Finished requests to Consul, by operation and result.
using ConsulRequests = std::map<std::pair<std::string, std::string>, std::uint64_t>;

// For timestamps: the same moment on both clocks.
struct Now {
  base::MonotonicTime monotonic;
  base::WallTime wall;
};

// Weights, outcomes, instances and sidecars. Failures are the upper of the two bounds
// (docs/outcomes.md#bounds): a counter must not go down when a doubt is resolved.
void WriteMesh(const collect::MeshSnapshot& snapshot, const Totals& totals, const Roles& roles,
               TextWriter& page);

// How reading the mesh goes.
void WriteReading(const collect::MeshSnapshot& snapshot, const collect::ScrapeStats& scrapes,
                  const ConsulRequests& requests, const Now& now, TextWriter& page);

// build_info and process_*.
void WriteProcess(std::string_view program, const base::BuildInfo& build,
                  const base::ProcessStats& process, TextWriter& page);

}  // namespace consul_canary::metrics
