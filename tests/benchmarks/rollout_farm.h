// A thousand services under rollout without a thousand Envoys: their instances and callers stand in
// the catalog of a real Consul, and nginx answers for each caller's sidecar with a page that is
// written anew each second, as a sidecar counts that sends half of its requests to the canary.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "exporter/base/result.h"
#include "tests/support/consul_agent.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace consul_canary::benchmarks {

class RolloutFarm {
 public:
  // Fills the catalog and serves the pages. `consul` must outlive the farm. kInvalid where nginx is
  // missing or Consul refuses.
  [[nodiscard]] static base::Result<std::unique_ptr<RolloutFarm>> Start(
      testing::ConsulAgent& consul, std::size_t services);
  ~RolloutFarm();

  // svc-0000, …
  [[nodiscard]] const std::vector<std::string>& services() const { return services_; }

  // From now on each request to this service's canary fails.
  void Fail(const std::string& service);

 private:
  explicit RolloutFarm(testing::ConsulAgent& consul) : consul_(consul) {}
  [[nodiscard]] base::Result<void> Register(const std::string& service,
                                            const std::string& address) const;
  [[nodiscard]] base::Result<void> StartServer();
  void WritePages(int second);

  testing::ConsulAgent& consul_;
  testing::TempDir folder_{"rollout-farm"};
  std::string page_;  // as recorded
  std::vector<std::string> services_;
  std::vector<std::string> hosts_;  // of the sidecars, by service
  std::vector<long> failures_;      // of each service's canary
  int port_ = 0;
  std::unique_ptr<testing::Process> server_;
  std::mutex mutex_;  // guards failing_
  std::set<std::string> failing_;
  std::jthread writer_;
};

}  // namespace consul_canary::benchmarks
