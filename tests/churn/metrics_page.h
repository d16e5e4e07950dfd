// A page of /metrics beside what it must show of a churning mesh.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/churn/churning_mesh.h"

namespace consul_canary::churn {

// Series as written, without their values → value. All that tell of a service.
using ServiceSeries = std::map<std::string, double, std::less<>>;

[[nodiscard]] ServiceSeries SeriesOfServices(std::string_view page);

// What contradicts the mesh's ledger: a sum that is not exact (or, of first tries that nobody can
// tell exactly, below the truth), a series of a service that is gone. Each is one line.
[[nodiscard]] std::vector<std::string> Contradictions(const ServiceSeries& series,
                                                      const ChurningMesh& mesh);

// Counters that are lower than they were, or missing now, of services that are there. None of them
// has been away between the two looks.
[[nodiscard]] std::vector<std::string> WentDown(const ServiceSeries& before,
                                                const ServiceSeries& now, const ChurningMesh& mesh);

}  // namespace consul_canary::churn
