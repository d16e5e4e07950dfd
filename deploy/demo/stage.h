// Everything that the demo runs, up or down as a whole: mesh, load, exporter, analyzer, Prometheus,
// Alertmanager.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "deploy/demo/options.h"
#include "exporter/base/result.h"
#include "tests/support/daemons.h"
#include "tests/support/load.h"
#include "tests/support/mesh.h"

namespace consul_canary::demo {

class Stage {
 public:
  // Up to the moment at which callers are served by v1 and the analyzer knows its rollout.
  [[nodiscard]] static base::Result<std::unique_ptr<Stage>> Start(const Options& options);

  [[nodiscard]] testing::Mesh& mesh() { return *mesh_; }
  [[nodiscard]] testing::Load& load() { return *load_; }
  [[nodiscard]] const std::string& analyzer_address() const { return analyzer_->address(); }

  // Name and address of all that a person can open.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> Addresses() const;

  // Leaves the folder with the logs behind, for a look at what went wrong, and returns it.
  std::string KeepLogs();

 private:
  Stage() = default;
  [[nodiscard]] base::Result<void> StartDaemons();
  [[nodiscard]] base::Result<void> StartMonitoring();
  [[nodiscard]] base::Result<void> Shield();
  [[nodiscard]] base::Result<void> ApplyRollout(const Options& options);

  std::unique_ptr<testing::Mesh> mesh_;  // first: the others use its Consul and its ports
  std::unique_ptr<testing::Load> load_;
  std::unique_ptr<testing::Daemon> exporter_;
  std::unique_ptr<testing::Daemon> analyzer_;
  std::unique_ptr<testing::Daemon> alertmanager_;
  std::unique_ptr<testing::Daemon> prometheus_;
};

}  // namespace consul_canary::demo
