#include "analyzer/api/query.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "analyzer/control/stored_json.h"

namespace consul_canary::api {

using base::ErrorCode;

base::Result<std::set<std::string>> ReadFlags(const Query& query,
                                              const std::vector<std::string>& names) {
  std::set<std::string> set;
  for (const auto& [key, value] : query) {
    const bool known = std::find(names.begin(), names.end(), key) != names.end();
    if (!known || (value != "true" && value != "false")) {
      return base::Fail(ErrorCode::kInvalid,
                        fmt::format("\"{}={}\" is not understood here; there is {}=true", key,
                                    value, fmt::join(names, "=true, ")));
    }
    if (value == "true") set.insert(key);
  }
  return set;
}

base::Result<DecisionRange> ReadDecisionRange(const Query& query) {
  DecisionRange range;
  for (const auto& [key, value] : query) {
    if (key == "limit") {
      std::size_t limit = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), limit);
      if (error != std::errc() || end != value.data() + value.size() || limit == 0) {
        return base::Fail(ErrorCode::kInvalid,
                          fmt::format("limit: must be a whole number from 1 on, is \"{}\"", value));
      }
      range.limit = limit;
    } else if (key == "since") {
      const auto since = control::ParseWallTime(value);
      if (!since) return base::Fail(ErrorCode::kInvalid, "since: " + since.error().message);
      range.since_wall_seconds = *since;
    } else {
      return base::Fail(ErrorCode::kInvalid,
                        fmt::format("\"{}\" is not understood here; there are limit (a number) "
                                    "and since (a time, 2026-11-24T17:00:00Z)",
                                    key));
    }
  }
  return range;
}

}  // namespace consul_canary::api
