#include "analyzer/api/match_check.h"

#include <fmt/format.h>

#include "analyzer/control/entry_writer.h"
#include "analyzer/control/match_routes.h"

namespace consul_canary::api {

void CheckMatch(const rollout::Spec& spec, const std::optional<consul::Router>& router,
                MeshCheck& check) {
  if (spec.match.empty()) return;
  if (!spec.act) {
    check.warnings.push_back(
        {"strategy.match",
         "act: false puts no routes into the service-router; only requests that "
         "somebody else leads to the canary are judged"});
  }
  if (!router) return;
  if (std::string why = control::WhyNotWritable("service-router", spec.service, router->meta);
      !why.empty() && spec.act) {
    check.problems.push_back({"strategy.match", std::move(why)});
  }
  const consul::FoundRoutes found = consul::FindRoutes(*router, control::RoutesOf(spec));
  if (!found.unnamed.empty()) {
    check.problems.push_back(
        {"strategy.match",
         fmt::format("the service-router \"{}\" has a route of its own from {} to subset \"{}\": "
                     "the rollout puts that route in and takes it out again; take yours out",
                     spec.service, found.unnamed, spec.canary_subset)});
  }
  if (found.others_by_path > 0) {
    check.warnings.push_back(
        {"strategy.match",
         fmt::format("{} route(s) of the service-router \"{}\" are for some requests alone; those "
                     "of them that match go to the canary subset instead, whatever their path",
                     found.others_by_path, spec.service)});
  }
}

}  // namespace consul_canary::api
