// A mesh that could have a shield and has none: web calls api, both subsets are there.
#pragma once

#include "analyzer/shield/plan.h"

namespace consul_canary::shield {

inline Json Parsed(const char* text) { return Json::parse(text); }

inline MeshView PlainMesh() {
  MeshView view{.service = "api", .consul_version = "1.16.3", .protocol = "http"};
  view.resolver = Parsed(R"({"Kind": "service-resolver", "Name": "api", "ModifyIndex": 18,
      "DefaultSubset": "primary",
      "Subsets": {"primary": {"Filter": "Service.Meta.version == v1"},
                  "canary": {"Filter": "Service.Meta.version == v2"}}})");
  view.splitter = Parsed(R"({"Kind": "service-splitter", "Name": "api", "Splits": [
      {"Weight": 100, "ServiceSubset": "primary"}, {"Weight": 0, "ServiceSubset": "canary"}]})");
  view.passing = 2;
  view.primary_passing = 1;
  view.canary_passing = 1;
  view.callers = {{.name = "web", .sidecars = 1, .passing = 1}};
  return view;
}

// As Consul would answer after the writes.
inline MeshView After(MeshView view, const Plan& plan) {
  for (const Write& write : plan.writes) {
    if (write.changes_nothing() || !write.not_possible.empty()) continue;
    if (write.kind == "service-resolver") view.resolver = write.wanted;
    if (write.kind == "service-router") view.router = write.wanted;
    for (Caller& caller : view.callers) {
      if (write.kind == "service-defaults" && caller.name == write.name) {
        caller.defaults = write.wanted;
      }
    }
  }
  view.remembering.clear();
  for (const Caller& caller : view.callers) {
    if (caller.defaults && HasMemory(*caller.defaults)) {
      view.remembering.push_back(*caller.defaults);
    }
  }
  return view;
}

inline Plan Planned(const MeshView& view) {
  auto plan = PlanShield(view, Moment::kIdle);
  return plan ? *plan : Plan{};
}

}  // namespace consul_canary::shield
