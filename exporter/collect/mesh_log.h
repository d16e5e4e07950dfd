// Says in the log what changes in reading the mesh: Consul lost and found, sidecars that cannot be
// read and those that can again. One line a change.
#pragma once

#include <map>
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
  std::string consul_error_;                    // empty: none
  std::map<std::string, std::string> failing_;  // sidecar id → error
};

}  // namespace consul_canary::collect
