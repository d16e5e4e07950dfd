// The loop: sense, decide, act, report, once a second, on a thread of its own that does no I/O.
// What the I/O thread learns (specifications, orders, leadership, results) arrives through a
// mailbox; what is decided is posted to it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "analyzer/control/membership.h"
#include "analyzer/control/view.h"
#include "exporter/base/io_loop.h"
#include "exporter/collect/collector.h"
#include "exporter/consul/client.h"

namespace consul_canary::control {

struct LoopOptions {
  MembershipOptions membership;
  base::milliseconds interval{1000};
  base::milliseconds checkpoint_every{10000};
  // After Consul was away its health checks need 10 s and more to speak the truth again; nobody is
  // declared gone before.
  base::milliseconds settle{15000};
  std::string record_folder;  // where each rollout's ticks are recorded; empty: nowhere
};

class Loop {
 public:
  // All references must outlive the loop; io's thread must be running until Stop() has returned.
  Loop(base::IoLoop& io, consul::Client& client, collect::Collector& collector,
       LoopOptions options);
  ~Loop();

  void Start();
  // Ends the thread of ticks, gives the locks back, so that another analyzer goes on at once, and
  // takes this one out of Consul; comes back after some seconds at the latest. Idempotent.
  void Stop();

  // Any thread; never null.
  [[nodiscard]] std::shared_ptr<const FleetView> Latest() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace consul_canary::control
