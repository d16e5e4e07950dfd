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

// nullptr: no such subset. There are few.
SubsetRow* Find(ServiceRow& row, std::string_view subset) {
  const auto it = std::find_if(row.subsets.begin(), row.subsets.end(),
                               [&](const SubsetRow& each) { return each.subset == subset; });
  return it == row.subsets.end() ? nullptr : &*it;
}

// Whether the caller applies what the splitter says. Its shares go into `shares`, one for each
// subset of the row.
bool TakeShares(const CallerReading& caller, ServiceRow& row, std::vector<double>& shares) {
  shares.assign(row.subsets.size(), 0);
  for (const auto& [subset, share] : caller.applied_shares) {
    const SubsetRow* found = Find(row, subset);
    if (found != nullptr) shares[static_cast<std::size_t>(found - row.subsets.data())] = share;
  }
  bool agrees = true;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    SubsetRow& subset = row.subsets[i];
    subset.applied_ratio = std::min(subset.applied_ratio.value_or(shares[i]), shares[i]);
    agrees = agrees && subset.wanted_ratio &&
             std::abs(shares[i] - *subset.wanted_ratio) <= kShareTolerance;
  }
  return agrees;
}

// Sums over passing callers, and what they apply. Each is looked at once: there are many, and they
// lie all over the memory.
void AddCallers(ServiceRow& row) {
  std::vector<double> shares;
  int telling = 0;
  int agreeing = 0;
  for (const CallerReading& caller : row.service->callers) {
    if (!caller.passing) continue;
    for (const auto& [name, counters] : caller.subsets) {
      SubsetRow* subset = Find(row, name);
      if (subset == nullptr) continue;
      subset->active_requests += counters.active;
      subset->active_ejections += counters.ejections_active;
    }
    if (caller.applied_shares.empty()) continue;
    ++telling;
    if (TakeShares(caller, row, shares)) ++agreeing;
  }
  if (telling > 0 && row.service->splitter) {
    row.agreeing_ratio = static_cast<double>(agreeing) / telling;
  }
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
      if (service->splitter) part.wanted_ratio = service->splitter->WeightOf(subset) / 100;
      ApplyViews(*service, part);
    }
    AddCallers(row);
  }
  return rows;
}

}  // namespace consul_canary::metrics
