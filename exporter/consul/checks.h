// Which checks fail, over the whole catalog, in one blocking query: it wakes for a change of health
// and not for registrations, and is short while the mesh is well. Pure.
#pragma once

#include <compare>
#include <set>
#include <string>
#include <string_view>

#include "exporter/base/result.h"

namespace consul_canary::consul {

struct FailingCheck {
  std::string node{};
  std::string service_id{};  // empty: a check of the node, which holds for all of its services
  std::string check_id{};
  std::string service{};  // the name; empty as above

  // NOLINTNEXTLINE(modernize-use-nullptr): a false alarm of clang-tidy 14 about <=>.
  auto operator<=>(const FailingCheck&) const = default;
};

[[nodiscard]] std::string FailingChecksPath();
[[nodiscard]] base::Result<std::set<FailingCheck>> ParseFailingChecks(std::string_view json);

}  // namespace consul_canary::consul
