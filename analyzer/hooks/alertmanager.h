// Alertmanager's webhook (payload version 4): alerts labelled canary_action="rollback" for a
// service that has a rollout become an order, recorded before the answer. It never advances
// anything; `resolved` alerts and duplicates are no-ops.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "analyzer/api/auth.h"
#include "analyzer/api/waiting_room.h"
#include "exporter/base/http_server.h"
#include "exporter/base/io_loop.h"
#include "exporter/consul/client.h"

namespace consul_canary::hooks {

struct RollbackAlert {
  std::string service;  // Consul's name, or the rollout's own
  std::string name;     // alertname and summary
  std::string key;      // fingerprint@startsAt
  double started_wall_seconds = 0;

  bool operator==(const RollbackAlert&) const = default;
};

// The firing rollback alerts of a payload. Unknown keys are ignored; kInvalid says what makes it no
// payload of ours.
[[nodiscard]] base::Result<std::vector<RollbackAlert>> ParsePayload(std::string_view json);

class AlertmanagerHook {
 public:
  // All references must outlive the hook.
  AlertmanagerHook(base::IoLoop& io, consul::Client& client, const api::Auth& auth,
                   api::WaitingRoom& room);

  // Any worker thread. 200: acted, no-op or ignored, with what was done in the body; 503 only where
  // a retry helps.
  [[nodiscard]] base::ServerResponse Handle(const base::ServerRequest& request);

  // result (acted, ignored, refused, invalid, unavailable) → requests. Any thread.
  [[nodiscard]] std::map<std::string, std::uint64_t> results() const;

 private:
  base::ServerResponse Answer(const base::ServerRequest& request, std::string& result);
  base::Result<std::string> Act(const RollbackAlert& alert);

  base::IoLoop& io_;
  consul::Client& client_;
  const api::Auth& auth_;
  api::WaitingRoom& room_;
  mutable std::mutex mutex_;  // guards results_
  std::map<std::string, std::uint64_t> results_;
};

}  // namespace consul_canary::hooks
