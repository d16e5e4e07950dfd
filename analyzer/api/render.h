// A rollout and its decisions as the API shows them. docs/api.md describes the fields. Pure.
#pragma once

#include <string>
#include <vector>

#include "analyzer/api/mesh_check.h"
#include "analyzer/config/spec_file.h"
#include "analyzer/control/view.h"
#include "exporter/base/http_server.h"

namespace consul_canary::api {

[[nodiscard]] std::string RolloutJson(const control::RolloutView& view);
// {"rollouts": […]}
[[nodiscard]] std::string RolloutsJson(
    const std::vector<std::shared_ptr<const control::RolloutView>>& views);
// {"decisions": […]}; the stored texts, oldest first.
[[nodiscard]] std::string DecisionsJson(const std::vector<std::string>& stored);

// The specification as it is stored, and where there are any "warnings": [{"field", "problem"}].
[[nodiscard]] std::string AppliedJson(const std::string& spec_json,
                                      const std::vector<MeshProblem>& warnings);

// {"error": …, "fields": [{"field", "problem", "line"}]}
[[nodiscard]] base::ServerResponse SpecErrors(const std::vector<config::FieldError>& errors);
[[nodiscard]] base::ServerResponse MeshErrors(const std::vector<MeshProblem>& problems);

}  // namespace consul_canary::api
