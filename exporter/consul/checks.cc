#include "exporter/consul/checks.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "exporter/consul/json_fields.h"

namespace consul_canary::consul {

std::string FailingChecksPath() { return "/v1/health/state/critical"; }

base::Result<std::set<FailingCheck>> ParseFailingChecks(std::string_view json) {
  const std::optional<Json> list = ParseJson(json);
  std::set<FailingCheck> checks;
  if (list && list->is_null()) return checks;
  if (!list || !list->is_array()) {
    return base::Fail(base::ErrorCode::kInvalid, "the answer is not a JSON array");
  }
  for (std::size_t i = 0; i < list->size(); ++i) {
    const Json& item = (*list)[i];
    FailingCheck check{Text(item, "Node"), Text(item, "ServiceID"), Text(item, "CheckID"),
                       Text(item, "ServiceName")};
    if (check.node.empty()) {
      return base::Fail(base::ErrorCode::kInvalid, fmt::format("check {} has no Node", i));
    }
    checks.insert(std::move(check));
  }
  return checks;
}

}  // namespace consul_canary::consul
