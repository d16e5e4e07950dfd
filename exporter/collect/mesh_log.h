// Says in the log what changes in reading the mesh: questions that Consul
// does not answer and those that it answers again, what its token may not do, sidecars that cannot
// be read and those that can again. One line a change.
#pragma once

#include <map>
#include <set>
#include <string>

#include "exporter/collect/snapshot.h"

namespace consul_canary::collect {

// Of one thread (for Collector::OnPublish).
class MeshLog {
 public:
  void Observe(const MeshSnapshot& snapshot);

 private:
  void ObserveConsul(const MeshSnapshot& snapshot);

  bool ready_ = false;
  std::set<std::string> missing_rules_;
  std::map<std::string, base::Error> consul_failures_;  // question → error
  std::map<std::string, std::string> failing_;          // sidecar id → error
};

}  // namespace consul_canary::collect
