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

// nullopt: not known.
std::optional<Shielding> ShieldingOf(const CallerReading& caller, const std::string& subset) {
  if (!caller.scraped_at || !caller.error.empty()) return std::nullopt;
  const auto counters = caller.subsets.find(subset);
  if (counters == caller.subsets.end() || !counters->second.has_failover) {
    return Shielding::kWithoutFailover;
  }
  if (!caller.ejects_after) return std::nullopt;
  return *caller.ejects_after > 0 ? Shielding::kShielded : Shielding::kWithoutEjection;
}

void AddShields(ServiceRow& row) {
  if (!row.service->resolver || row.service->resolver->failover_subsets.empty()) return;
  for (const SubsetRow& subset : row.subsets) {
    if (!row.service->resolver->FailoverOf(subset.subset)) continue;
    ShieldRow& shield = row.shields.emplace_back(ShieldRow{.subset = &subset});
    for (const CallerReading& caller : row.service->callers) {
      if (!caller.passing) continue;
      const Shielding state = ShieldingOf(caller, subset.subset).value_or(Shielding::kUnknown);
      ++shield.callers[static_cast<std::size_t>(state)];
    }
  }
}

// An instance with two sidecars is one instance.
void AddInstances(const Totals& totals, const Roles& roles, ServiceRow& row) {
  const std::string& service = row.service->service;
  std::map<std::pair<std::string, std::string>, std::size_t> places;  // subset, instance
  for (const collect::ServerReading& server : row.service->servers) {
    const std::string name =
        server.instance_id.empty()
            ? server.id
            : server.id.substr(0, server.id.find('/') + 1) + server.instance_id;
    for (const std::string& subset : server.subsets) {
      const SubsetTotals* counted = totals.OfInstance(service, server.id, subset);
      if (counted == nullptr) continue;
      const auto [place, is_new] =
          places.try_emplace(std::pair(subset, name), row.instances.size());
      if (is_new) {
        row.instances.push_back({.labels = LabelText({{"service_name", service},
                                                      {"subset", subset},
                                                      {"role", roles.RoleOf(service, subset)},
                                                      {"instance_id", name}})});
      }
      InstanceRow& instance = row.instances[place->second];
      for (const auto& [code, count] : ResponsesOf(*counted)) instance.classes[code / 100] += count;
      instance.failures +=
          envoy::Apply(envoy::View::kAttempts, counted->outcomes, {}).failures_high;
    }
  }
}

void TakeSeen(const Totals& totals, ServiceRow& row) {
  const auto seen = totals.seen_by_callers().find(row.service->service);
  if (seen == totals.seen_by_callers().end()) return;
  row.seen_by_callers = envoy::Apply(envoy::View::kRequests, seen->second, {});
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
    AddShields(row);
    AddInstances(totals, roles, row);
    TakeSeen(totals, row);
  }
  return rows;
}

}  // namespace consul_canary::metrics
