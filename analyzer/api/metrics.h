// The analyzer's metrics (docs/metrics.md), written anew for each scrape so that a deleted
// rollout's series vanish. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "analyzer/control/view.h"
#include "exporter/metrics/text_writer.h"

namespace consul_canary::api {

void WriteAnalyzer(const control::FleetView& fleet,
                   const std::map<std::string, std::uint64_t>& hook_results,
                   metrics::TextWriter& page);

}  // namespace consul_canary::api
