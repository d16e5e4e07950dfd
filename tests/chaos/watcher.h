// Sees every version of every splitter, by asking each server of the cluster for its own copy:
// while one is down the others tell, and what several tell is one version by its index.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/chaos/cluster.h"
#include "tests/chaos/history.h"

namespace consul_canary::testing {

class Watcher {
 public:
  explicit Watcher(Cluster& cluster);  // which must outlive it
  ~Watcher();

  // All that was seen of one, by index. Any thread.
  [[nodiscard]] std::vector<SplitterSeen> Of(const std::string& service) const;
  [[nodiscard]] std::optional<SplitterSeen> Latest(const std::string& service) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The fields of a splitter's JSON that count here. nullopt: it is none.
[[nodiscard]] std::optional<std::pair<std::string, SplitterSeen>> ReadSplitter(
    const nlohmann::json& entry);

// Of the leader who wrote the entry, by its Meta; 0: none.
[[nodiscard]] std::uint64_t EpochOf(const nlohmann::json& entry);

// Key of a splitter's Meta that a hand edit of this test sets.
inline constexpr const char* kHandMark = "edited-by-hand";

}  // namespace consul_canary::testing
