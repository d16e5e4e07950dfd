// A rollout and its decisions as the API shows them. docs/api.md describes the fields. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "analyzer/api/first_contact.h"
#include "analyzer/api/mesh_check.h"
#include "analyzer/config/spec_file.h"
#include "analyzer/control/view.h"
#include "exporter/base/http_server.h"

namespace consul_canary::api {

[[nodiscard]] std::string RolloutJson(const control::RolloutView& view);
// {"rollouts": […], "paused": "…"}; fleet_pause: who has paused all of them and why; empty: nobody.
[[nodiscard]] std::string RolloutsJson(
    const std::vector<std::shared_ptr<const control::RolloutView>>& views,
    const std::string& fleet_pause);
// {"spec": {…}, "created": [{…}], "warnings": [{"field", "problem"}]}: what was stored, the entries
// that were written for it, and what keeps failures from being seen.
[[nodiscard]] std::string AppliedJson(const rollout::Spec& spec, const FirstContact& contact,
                                      const std::vector<MeshProblem>& warnings);

// Which decisions are asked for.
struct DecisionRange {
  std::optional<double> since_wall_seconds;  // seconds since 1970; nullopt: from the first one on
  std::optional<std::size_t> limit;          // the newest ones; nullopt: all that are kept
};
// {"decisions": […]}; the stored texts, oldest first, as they are ordered here.
[[nodiscard]] std::string DecisionsJson(const std::vector<std::string>& stored,
                                        const DecisionRange& range = {});

// {"error": …, "fields": [{"field", "problem", "line"}]}
[[nodiscard]] base::ServerResponse SpecErrors(const std::vector<config::FieldError>& errors);
[[nodiscard]] base::ServerResponse MeshErrors(const std::vector<MeshProblem>& problems);

}  // namespace consul_canary::api
