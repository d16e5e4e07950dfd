// From what a state wants to the entries that say so, as text and with the index that each was read
// at. Pure.
#include <map>
#include <string>
#include <utility>

#include "analyzer/control/entry_writer.h"
#include "analyzer/control/managed.h"
#include "analyzer/control/match_routes.h"
#include "analyzer/control/observe.h"
#include "analyzer/rollout/decide.h"

namespace consul_canary::control {
namespace {

struct Prepared {
  EntryWrite write;
  base::Result<void> made;
};

void Take(base::Result<std::string> json, Prepared& prepared) {
  if (json) {
    prepared.write.json = std::move(*json);
  } else {
    prepared.made = tl::unexpected(json.error());
  }
}

Prepared PrepareRoutes(const rollout::Spec& spec, const rollout::State& state,
                       const rollout::Observation& seen, const collect::ServiceSnapshot& service,
                       const std::map<std::string, std::string>& meta) {
  Prepared prepared{.write = {.what = kRouterWrite}, .made = {}};
  const rollout::Routes wanted = state.wanted.routes;
  if (!service.router) {
    prepared.write.json = consul::RouterForRoutes(spec.service, meta);
    return prepared;
  }
  prepared.write.cas_index = service.router->modify_index;
  if (wanted == rollout::Routes::kNone && seen.router->made_for_ours) {
    prepared.write.removes = true;
    prepared.write.json = service.router->raw;
  } else if (wanted == rollout::Routes::kPlaced) {
    Take(consul::WithRoutes(*service.router, RoutesOf(spec), meta), prepared);
  } else {
    Take(consul::WithoutRoutes(*service.router, RoutesOf(spec), meta), prepared);
  }
  return prepared;
}

Prepared PrepareFilter(rollout::Write due, const rollout::Spec& spec, const rollout::State& state,
                       const collect::ServiceSnapshot& service,
                       const std::map<std::string, std::string>& meta) {
  const bool canary = due == rollout::Write::kCanaryFilter;
  Prepared prepared{.write = {.what = canary ? "canary filter" : "primary filter",
                              .cas_index = service.resolver->modify_index},
                    .made = {}};
  Take(consul::WithSubsetFilter(
           *service.resolver, canary ? spec.canary_subset : spec.primary_subset,
           canary ? *state.wanted.canary_filter : *state.wanted.primary_filter, meta),
       prepared);
  return prepared;
}

Prepared PrepareSplitter(const rollout::Spec& spec, const rollout::State& state,
                         const collect::ServiceSnapshot& service,
                         const std::map<std::string, std::string>& meta) {
  Prepared prepared{.write = {.what = kSplitterWrite, .cas_index = service.splitter->modify_index},
                    .made = {}};
  Take(consul::WithWeights(*service.splitter, spec.primary_subset, spec.canary_subset,
                           state.wanted.canary_percent, meta),
       prepared);
  return prepared;
}

Prepared PrepareOne(rollout::Write due, const rollout::Spec& spec, const rollout::State& state,
                    const rollout::Observation& seen, const collect::ServiceSnapshot& service,
                    const std::map<std::string, std::string>& meta) {
  switch (due) {
    case rollout::Write::kSplitter:
      return PrepareSplitter(spec, state, service, meta);
    case rollout::Write::kRoutes:
      return PrepareRoutes(spec, state, seen, service, meta);
    case rollout::Write::kCanaryFilter:
    case rollout::Write::kPrimaryFilter:
      break;
  }
  return PrepareFilter(due, spec, state, service, meta);
}

}  // namespace

PreparedWrites PrepareWrites(const Managed& managed, const rollout::State& state,
                             const rollout::Observation& seen,
                             const collect::ServiceSnapshot& service) {
  PreparedWrites prepared;
  const rollout::Spec* given = SpecToRuleBy(managed.spec, state);
  if (given == nullptr) return prepared;
  const rollout::Spec& spec = rollout::RulingSpec(*given, state);
  if (!spec.act) return prepared;
  const std::map<std::string, std::string> meta{{kEpochMetaKey, std::to_string(managed.epoch)}};
  for (const rollout::Write due : rollout::DueWrites(state, seen, managed.epoch)) {
    auto [write, made] = PrepareOne(due, spec, state, seen, service, meta);
    if (!made) {
      prepared.refused.push_back({write.what, write.cas_index, tl::unexpected(made.error())});
      continue;
    }
    if (const std::string why = WhyNotWritable(write.json); !why.empty()) {
      prepared.refused.push_back({write.what, write.cas_index,
                                  base::Fail(base::ErrorCode::kConflict, why),
                                  /*unwritable=*/true});
      continue;
    }
    prepared.writes.push_back(std::move(write));
  }
  return prepared;
}

}  // namespace consul_canary::control
