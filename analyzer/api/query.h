// What stands behind the ? of a request: read strictly, so that a misspelt flag is no silent
// default.
#pragma once

#include <map>
#include <string>

#include "analyzer/api/render.h"
#include "exporter/base/result.h"

namespace consul_canary::api {

using Query = std::map<std::string, std::string>;

// ?name=true or false; false where it is not given. kInvalid for any other value, and any other
// name.
[[nodiscard]] base::Result<bool> ReadFlag(const Query& query, const std::string& name);

// ?limit=10&since=2026-11-24T17:00:00Z, both optional. kInvalid says what would be right.
[[nodiscard]] base::Result<DecisionRange> ReadDecisionRange(const Query& query);

}  // namespace consul_canary::api
