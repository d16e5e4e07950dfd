// The shield's way to Consul: reads what a MeshView holds and writes what a Plan wants, one entry
// after the other. Blocking, for the command line; never on the client's own loop.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "analyzer/shield/mesh_view.h"
#include "analyzer/shield/plan.h"
#include "exporter/base/result.h"
#include "exporter/consul/client.h"

namespace consul_canary::shield {

struct Question {
  std::string service;
  std::string primary_subset = "primary";
  std::string canary_subset = "canary";
  std::optional<int> max_failures{};   // as MeshView has it
  std::vector<std::string> callers{};  // besides those that Consul knows
};

// An error where Consul does not answer or refuses what there is no judging without.
[[nodiscard]] base::Result<MeshView> ReadMesh(consul::Client& client, const Question& question);

struct Outcome {
  std::vector<std::string> written{};  // "service-defaults/web", in order
  std::vector<std::string> left{};     // fields that somebody changed meanwhile, by entry
  std::vector<std::string> refused{};  // entries that cannot be written, and why
  std::string stopped{};               // the failure that ended it; empty: none

  [[nodiscard]] bool whole() const { return refused.empty() && stopped.empty(); }
};

// Each entry by compare-and-set; where somebody else was quicker, all is read and planned anew. A
// write that fails ends it: what is written stays, and is a safe state in itself. An error: nothing
// was written.
[[nodiscard]] base::Result<Outcome> ApplyShield(consul::Client& client, const Question& question,
                                                Moment moment);
[[nodiscard]] base::Result<Outcome> RemoveShield(consul::Client& client, const Question& question);

}  // namespace consul_canary::shield
