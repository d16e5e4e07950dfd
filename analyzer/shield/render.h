// The shield's entries as a person reads or applies them: HCL for `consul config write`, JSON, and
// the custom resources of consul-k8s, each with the difference to what is stored. Pure.
#pragma once

#include <string>
#include <vector>

#include "analyzer/shield/plan.h"

namespace consul_canary::shield {

// One entry, as Consul's own tools take it.
[[nodiscard]] std::string Hcl(const Json& entry);
// The custom resource of the entry: ServiceDefaults, ServiceResolver, ServiceRouter, ….
[[nodiscard]] Json CustomResource(const Json& entry);

// One line for each field that changes, "+", "-" or "~" before it; empty: none does.
[[nodiscard]] std::vector<std::string> Difference(const Write& write);
// What is to be said of the write in one line: "service-router/api: new".
[[nodiscard]] std::string Headline(const Write& write);

// All entries; the difference in comments.
[[nodiscard]] std::string PlanInHcl(const Plan& plan);
[[nodiscard]] Json PlanInJson(const Plan& plan);

}  // namespace consul_canary::shield
