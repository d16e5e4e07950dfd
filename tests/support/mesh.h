// A whole mesh on one machine: a real Consul agent, the service `api` in any number of versions,
// each instance with a real Envoy sidecar, and callers of it (`web`) with theirs. Tests and the
// demo use it alike.
//
// What it leaves to the product: subsets and weights begin as an operator would have them before a
// first rollout (subset primary: the first version; subset canary: nobody, unless canary_version
// says otherwise; weights 100/0).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/base/result.h"
#include "tests/support/consul_agent.h"
#include "tests/support/process.h"

namespace consul_canary::testing {

struct MeshOptions {
  ConsulOptions consul{};
  ConsulAgent* agent =
      nullptr;                 // not null: that one, which outlives the mesh, instead of a new one
  std::string caller = "web";  // of the callers' service; several meshes at one agent differ in it
  std::vector<std::string> versions = {
      "v1"};                       // an instance of api each; the first is the primary's version
  std::string canary_version{};    // empty: the canary subset holds nobody
  double canary_weight = 0;        // percent
  std::vector<int> retry_codes{};  // not empty: a router that retries these
  int retries = 3;
  std::string service = "api";
  int callers = 1;  // web, web-2, …, after `caller`
  std::string protocol = "http";
  std::vector<std::string>
      app{};     // argv of another application with the test application's options
  int seed = 1;  // which requests the applications fail, when told to fail a share
};

// What an application has answered, as it counted itself.
struct AppCounts {
  std::int64_t served = 0;
  std::int64_t failed = 0;
};

class Mesh {
 public:
  // Brings all parts up, the slow ones at once, and waits until the callers' upstream answers,
  // every sidecar passes its check and, where there is a canary, the callers reach it: about 3 s.
  [[nodiscard]] static base::Result<std::unique_ptr<Mesh>> Start(MeshOptions options = {});
  ~Mesh();

  [[nodiscard]] ConsulAgent& consul() { return *consul_; }
  [[nodiscard]] const MeshOptions& options() const { return options_; }

  // Where a caller reaches the service: http://127.0.0.1:PORT/.
  [[nodiscard]] std::string url(int caller = 0) const;
  // Of the caller's sidecar: http://127.0.0.1:PORT.
  [[nodiscard]] std::string caller_admin(int caller = 0) const;
  [[nodiscard]] std::string caller_metrics(int caller = 0) const;

  // Deploys an instance of `version` with its sidecar, and waits until both pass their checks in
  // Consul. Its id (api-1, api-2, … never reused) is the value.
  [[nodiscard]] base::Result<std::string> AddInstance(std::string_view version);
  // Takes it out of Consul first, then ends it, as a deployment does.
  [[nodiscard]] base::Result<void> RemoveInstance(std::string_view id);
  [[nodiscard]] std::vector<std::string> InstancesOf(std::string_view version) const;

  // By SIGKILL; Consul learns of it by its checks. `id` may be a caller's (web).
  void KillSidecar(std::string_view id);
  void SignalSidecar(std::string_view id, int signal);
  // Ends what runs and starts it again, with the same bootstrap; does not wait.
  [[nodiscard]] base::Result<void> RestartSidecar(std::string_view id);
  void KillApplication(std::string_view id);

  // Sets the behaviour of all instances of a version: "failure_ratio=0.2&delay_ms=50"
  // (app_main.cc).
  [[nodiscard]] base::Result<void> Control(std::string_view version,
                                           std::string_view settings) const;
  [[nodiscard]] AppCounts CountsOf(std::string_view version) const;

  // As an operator would: both subsets of the splitter, other fields as in a fresh one.
  [[nodiscard]] base::Result<void> WriteSplitter(double canary_weight);
  // Percent by subset; empty when there is no splitter or no answer.
  [[nodiscard]] std::map<std::string, double> Weights() const;
  // As the caller's sidecar applies them now, in percent by subset; empty when it does not tell.
  [[nodiscard]] std::map<std::string, double> AppliedWeights(int caller = 0) const;
  [[nodiscard]] base::Result<void> WriteResolver(std::string_view primary_filter,
                                                 std::string_view canary_filter);

 private:
  struct Node;  // an application (callers have none) and its sidecar

  explicit Mesh(MeshOptions options);
  [[nodiscard]] base::Result<void> BringUp();
  [[nodiscard]] base::Result<void> WriteEntries();
  [[nodiscard]] base::Result<void> StartNodes(const std::vector<Node*>& nodes);
  [[nodiscard]] base::Result<void> StartApplications(const std::vector<Node*>& nodes);
  [[nodiscard]] base::Result<void> WriteBootstraps(const std::vector<Node*>& nodes);
  [[nodiscard]] base::Result<void> StartSidecar(Node& node);
  [[nodiscard]] base::Result<void> StartSidecars(const std::vector<Node*>& nodes);
  [[nodiscard]] base::Result<void> WaitForCallers();
  [[nodiscard]] bool Reaches(int caller, std::string_view subset) const;
  Node* NewNode(std::string id, std::string name, std::string version);
  [[nodiscard]] Node* Find(std::string_view id) const;
  [[nodiscard]] std::string CallerId(int index) const;
  [[nodiscard]] const Node& Caller(int index) const;

  MeshOptions options_;
  std::unique_ptr<ConsulAgent> own_consul_;  // null with options_.agent
  ConsulAgent* consul_ = nullptr;
  std::vector<std::unique_ptr<Node>> nodes_;
  int last_instance_ = 0;
};

}  // namespace consul_canary::testing
