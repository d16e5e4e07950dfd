// Whether the mesh, as it is now, can carry a rollout: what is asked before a specification is
// accepted.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "analyzer/api/first_contact.h"
#include "analyzer/rollout/spec.h"
#include "exporter/base/io_loop.h"
#include "exporter/base/result.h"
#include "exporter/consul/client.h"

namespace consul_canary::api {

// A field of the specification and why the mesh refuses it, with what would be right.
struct MeshProblem {
  std::string field;
  std::string problem;

  bool operator==(const MeshProblem&) const = default;
};

// What to make of a service that has no resolver or splitter yet.
enum class Missing {
  kIsAProblem,  // with what `apply --create` would write
  kIsCreated,   // checked as if it had been created
};

struct MeshCheck {
  std::vector<MeshProblem> problems;  // empty: the mesh carries the rollout
  // What the mesh keeps from being judged; no reason to refuse.
  std::vector<MeshProblem> warnings;
  FirstContact contact;  // kIsCreated: what is still to be created, once there is no problem
};

// Blocks (server workers only). An error means that the question could not be asked.
[[nodiscard]] base::Result<MeshCheck> CheckMesh(base::IoLoop& io, consul::Client& client,
                                                const rollout::Spec& spec, Missing missing);

// The part that needs no I/O: given the entries as read.
[[nodiscard]] std::vector<MeshProblem> CheckEntries(const rollout::Spec& spec,
                                                    const std::optional<consul::Splitter>& splitter,
                                                    const std::optional<consul::Resolver>& resolver,
                                                    const std::string& protocol);
[[nodiscard]] std::vector<MeshProblem> WarningsOf(const rollout::Spec& spec,
                                                  const std::string& protocol);

}  // namespace consul_canary::api
