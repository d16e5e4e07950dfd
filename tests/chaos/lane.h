// One service of the mesh on which rollouts are tried one after another, with its caller, its load,
// and a person who lets a rollout go on that holds because somebody edited the splitter.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "exporter/base/result.h"
#include "tests/chaos/faults.h"
#include "tests/chaos/history.h"
#include "tests/chaos/rollout_kv.h"
#include "tests/support/load.h"
#include "tests/support/mesh.h"

namespace consul_canary::testing {

class Lane {
 public:
  // `consul`, the agent of the services, must outlive it.
  [[nodiscard]] static base::Result<std::unique_ptr<Lane>> Start(ConsulAgent& consul,
                                                                 std::size_t number);
  ~Lane();

  [[nodiscard]] const std::string& service() const { return mesh_->options().service; }
  [[nodiscard]] std::string Specification() const;

  // Deploys the next version, failing `failure_ratio` of what it is asked, and so begins a rollout.
  [[nodiscard]] base::Result<void> Deploy(double failure_ratio);
  [[nodiscard]] const std::string& version() const { return version_; }
  [[nodiscard]] MonotonicTime deployed_at() const { return deployed_at_; }

  // The rollout of the version deployed last, once it has ended.
  [[nodiscard]] std::optional<StoredRollout> Ended() const;
  [[nodiscard]] base::Result<std::optional<StoredRollout>> Stored() const;

  // Takes the instances out of which nothing came: of the canary, or those that it replaced.
  [[nodiscard]] base::Result<void> TidyUp(bool promoted);

  // Sidecars. Nothing happens while the rollout's instances change (Deploy(), TidyUp()).
  void SignalCaller(int signal) { mesh_->SignalSidecar(mesh_->options().caller, signal); }
  [[nodiscard]] base::Result<void> RestartCaller() {
    return mesh_->RestartSidecar(mesh_->options().caller);
  }
  void KillSidecarOf(bool canary);
  [[nodiscard]] base::Result<void> RestartSidecarOf(bool canary);

  // Writes the splitter as someone else would, who reads it first; false: Consul did not take it.
  [[nodiscard]] bool EditByHand(double canary, bool keeps_meta);

  [[nodiscard]] std::vector<HandEdit> Edits() const;
  [[nodiscard]] std::vector<CanaryRequests> Requests() const;
  [[nodiscard]] Mesh& mesh() { return *mesh_; }

 private:
  explicit Lane(ConsulAgent& consul) : consul_(consul) {}
  void CountRequests();

  ConsulAgent& consul_;
  std::unique_ptr<Mesh> mesh_;
  std::unique_ptr<Load> load_;
  std::string primary_version_ = "v1";
  std::string version_ = "v1";
  int last_version_ = 1;
  MonotonicTime deployed_at_{};

  mutable std::mutex mutex_;  // guards what follows
  std::vector<HandEdit> edits_;
  std::vector<CanaryRequests> requests_;

  std::atomic<bool> stopping_{false};
  std::thread counter_;  // last: it uses all of the above
};

}  // namespace consul_canary::testing
