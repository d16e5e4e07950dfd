// What the pages of metrics repeat for each family, worked out once for each subset of a service.
// For the files of this folder.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/collect/snapshot.h"
#include "exporter/envoy/outcomes.h"
#include "exporter/metrics/families.h"

namespace consul_canary::metrics {

struct ViewName {
  envoy::View view;
  std::string_view name;
};
inline constexpr std::array<ViewName, 3> kViews{{{envoy::View::kFirstTry, "first-try"},
                                                 {envoy::View::kAttempts, "attempts"},
                                                 {envoy::View::kRequests, "requests"}}};

struct SubsetRow {
  std::string subset;
  LabelText labels;                      // service_name, subset, role
  LabelText place;                       // service_name, subset
  const SubsetTotals* totals = nullptr;  // never null; of the Totals that the rows are made from
  std::array<std::optional<envoy::Outcomes>, kViews.size()> outcomes;  // nullopt: cannot be told
  std::optional<double> wanted_ratio;   // by the splitter; nullopt: there is none
  std::uint64_t active_requests = 0;    // at passing callers
  std::uint64_t active_ejections = 0;   // at passing callers
  std::optional<double> applied_ratio;  // least at a passing caller; nullopt: none tells
};

// What the own sidecars of one instance counted while it was in a subset.
struct InstanceRow {
  LabelText labels;                                      // service_name, subset, role, instance_id
  std::map<int, std::uint64_t> classes{{2, 0}, {5, 0}};  // first digit of the status → answers
  std::uint64_t failures = 0;
};

// Passing callers' sidecars, by what of a shield they have.
enum class Shielding { kShielded, kWithoutFailover, kWithoutEjection, kUnknown };
inline constexpr std::array<std::string_view, 4> kShieldings{"shielded", "without-failover",
                                                             "without-ejection", "unknown"};

// A subset whose requests another subset gets when its own instances are out.
struct ShieldRow {
  const SubsetRow* subset = nullptr;  // never null; of the same ServiceRow
  std::array<std::uint64_t, kShieldings.size()> callers{};
};

struct ServiceRow {
  const collect::ServiceSnapshot* service = nullptr;
  LabelText labels;  // service_name
  std::vector<SubsetRow> subsets;
  std::optional<double> agreeing_ratio;  // of the callers that tell; nullopt: none, or no splitter
  envoy::Outcomes seen_by_callers;       // whichever subset answered
  std::vector<InstanceRow> instances;    // only with failover
  std::vector<ShieldRow> shields;
};

// In the order of names. The rows point into all three arguments.
[[nodiscard]] std::vector<ServiceRow> RowsOf(const collect::MeshSnapshot& snapshot,
                                             const Totals& totals, const Roles& roles);

}  // namespace consul_canary::metrics
