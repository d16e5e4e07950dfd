#include "exporter/metrics/rows.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace consul_canary::metrics {
namespace {

using collect::CallerReading;
using collect::ServiceSnapshot;

// A weight that Consul rounded on its way to Envoy is off by 0.0001 at most.
constexpr double kShareTolerance = 0.00015;

// Every subset that anything names, so that series exist before the first request.
std::set<std::string> SubsetsOf(const ServiceSnapshot& service, const Totals::Subsets* totals) {
  std::set<std::string> subsets;
  if (service.resolver) {
    for (const auto& [subset, filter] : service.resolver->subset_filters) subsets.insert(subset);
  }
  if (service.splitter) {
    for (const consul::Split& split : service.splitter->splits) {
      const bool is_own = split.service.empty() || split.service == service.service;
      if (is_own) subsets.insert(split.service_subset);
    }
  }
  if (totals != nullptr) {
    for (const auto& [subset, counts] : *totals) subsets.insert(subset);
  }
  return subsets;
}

void ApplyViews(const ServiceSnapshot& service, SubsetRow& row) {
  static const std::vector<consul::RetryRule> kNoRules;
  const auto& retries = service.router ? service.router->retries : kNoRules;
  // At the instances' own sidecars, every request is an attempt.
  const bool attempts_alone = service.resolver && service.resolver->has_failover;
  for (std::size_t i = 0; i < kViews.size(); ++i) {
    if (attempts_alone && kViews[i].view != envoy::View::kAttempts) continue;
    row.outcomes[i] = envoy::Apply(kViews[i].view, row.totals->outcomes, retries);
  }
}

// Sums over passing callers, and the least of the shares that they apply.
void AddCallers(const ServiceSnapshot& service, SubsetRow& row) {
  for (const CallerReading& caller : service.callers) {
    if (!caller.passing) continue;
    if (const auto it = caller.subsets.find(row.subset); it != caller.subsets.end()) {
      row.active_requests += it->second.active;
      row.active_ejections += it->second.ejections_active;
    }
    if (caller.applied_shares.empty()) continue;
    const auto it = caller.applied_shares.find(row.subset);
    const double share = it == caller.applied_shares.end() ? 0 : it->second;
    row.applied_ratio = std::min(row.applied_ratio.value_or(share), share);
  }
}

bool Agrees(const CallerReading& caller, const ServiceRow& row) {
  return std::all_of(row.subsets.begin(), row.subsets.end(), [&](const SubsetRow& subset) {
    const auto it = caller.applied_shares.find(subset.subset);
    const double share = it == caller.applied_shares.end() ? 0 : it->second;
    const double wanted = row.service->splitter->WeightOf(subset.subset) / 100;
    return std::abs(share - wanted) <= kShareTolerance;
  });
}

std::optional<double> AgreeingRatio(const ServiceRow& row) {
  if (!row.service->splitter) return std::nullopt;
  int telling = 0;
  int agreeing = 0;
  for (const CallerReading& caller : row.service->callers) {
    if (!caller.passing || caller.applied_shares.empty()) continue;
    ++telling;
    if (Agrees(caller, row)) ++agreeing;
  }
  if (telling == 0) return std::nullopt;
  return static_cast<double>(agreeing) / telling;
}

}  // namespace

std::vector<ServiceRow> RowsOf(const collect::MeshSnapshot& snapshot, const Totals& totals,
                               const Roles& roles) {
  static const SubsetTotals kNothing;
  std::vector<ServiceRow> rows;
  rows.reserve(snapshot.services.size());
  for (const auto& [name, service] : snapshot.services) {
    ServiceRow& row = rows.emplace_back();
    row.service = service.get();
    row.labels = LabelText({{"service_name", name}});
    const auto counted = totals.by_service().find(name);
    const Totals::Subsets* counts =
        counted == totals.by_service().end() ? nullptr : &counted->second;
    for (const std::string& subset : SubsetsOf(*service, counts)) {
      SubsetRow& part = row.subsets.emplace_back();
      part.subset = subset;
      part.labels = LabelText(
          {{"service_name", name}, {"subset", subset}, {"role", roles.RoleOf(name, subset)}});
      part.place = LabelText({{"service_name", name}, {"subset", subset}});
      part.totals = counts != nullptr && counts->contains(subset) ? &counts->at(subset) : &kNothing;
      ApplyViews(*service, part);
      AddCallers(*service, part);
    }
    row.agreeing_ratio = AgreeingRatio(row);
  }
  return rows;
}

}  // namespace consul_canary::metrics
