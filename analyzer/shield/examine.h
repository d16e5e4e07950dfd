// What each part of the mesh does for a rollout of a service, and what mends it. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "analyzer/shield/mesh_view.h"

namespace consul_canary::shield {

enum class State { kOk, kNote, kMissing, kDangerous };

struct Finding {
  std::string part;  // "failover", "caller web: patches", …
  State state = State::kOk;
  std::string what;   // how it is
  std::string why;    // what that means for a rollout; empty where it is ok
  std::string mends;  // the entry, "service-router/api", or a command; empty: nothing of the kind
};

struct Examination {
  std::vector<Finding> findings;
  std::vector<Json> entries;  // that mend what is missing, in the order of writing; as a person
                              // would write them
};

[[nodiscard]] Examination Examine(const MeshView& view);
// Whether nothing is missing or dangerous.
[[nodiscard]] bool IsWhole(const Examination& examination);
[[nodiscard]] const char* NameOf(State state);

}  // namespace consul_canary::shield
