// What stands behind the ? of a request: read strictly, so that a misspelt flag is no silent
// default.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "analyzer/api/render.h"
#include "exporter/base/result.h"

namespace consul_canary::api {

using Query = std::map<std::string, std::string>;

// The flags among `names` that are set, as in ?name=true; false is the same as not given. kInvalid
// for any other value, and any other name.
[[nodiscard]] base::Result<std::set<std::string>> ReadFlags(const Query& query,
                                                            const std::vector<std::string>& names);

// ?limit=10&since=2026-11-24T17:00:00Z, both optional. kInvalid says what would be right.
[[nodiscard]] base::Result<DecisionRange> ReadDecisionRange(const Query& query);

}  // namespace consul_canary::api
