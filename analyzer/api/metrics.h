// The analyzer's metric families (docs/metrics.md), built anew for each scrape so that a deleted
// rollout's series vanish. Pure.
#pragma once

#include <prometheus/metric_family.h>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "analyzer/control/view.h"

namespace consul_canary::api {

[[nodiscard]] std::vector<prometheus::MetricFamily> AnalyzerFamilies(
    const control::FleetView& fleet, const std::map<std::string, std::uint64_t>& hook_results);

}  // namespace consul_canary::api
