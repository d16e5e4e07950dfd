// The analyzer's HTTP API under /api/v1/ (docs/api.md). Reads the published view, or Consul where
// another analyzer leads; changes nothing but Consul's KV: specifications and orders.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "analyzer/api/auth.h"
#include "analyzer/api/waiting_room.h"
#include "analyzer/control/loop.h"
#include "exporter/base/http_server.h"
#include "exporter/base/io_loop.h"
#include "exporter/consul/client.h"

namespace consul_canary::api {

class Api {
 public:
  // All references must outlive the API.
  Api(base::IoLoop& io, consul::Client& client, const control::Loop& loop, const Auth& auth,
      WaitingRoom& room);

  // Any worker thread. `request.path` begins with /api/v1/.
  [[nodiscard]] base::ServerResponse Handle(const base::ServerRequest& request) const;

 private:
  // From the published view, or from Consul where the loop has not read it yet.
  [[nodiscard]] base::Result<std::shared_ptr<const control::RolloutView>> Find(
      const std::string& id) const;
  base::ServerResponse List() const;
  base::ServerResponse Get(const std::string& id) const;
  base::ServerResponse Put(const std::string& id, const base::ServerRequest& request) const;
  base::ServerResponse Delete(const std::string& id, const base::ServerRequest& request) const;
  // kConflict while a rollout is under way.
  [[nodiscard]] base::Result<void> MayChange(const std::string& id,
                                             const rollout::Spec& spec) const;
  base::ServerResponse Act(const std::string& id, const std::string& action,
                           const base::ServerRequest& request, const std::string& by) const;
  base::ServerResponse Decisions(const std::string& id, const base::ServerRequest& request) const;
  base::ServerResponse Route(const base::ServerRequest& request) const;
  // All that waits for Consul: whoever calls it has a seat in the waiting room.
  base::ServerResponse RouteService(const std::string& id, const std::vector<std::string>& parts,
                                    const base::ServerRequest& request,
                                    const std::string& by) const;

  base::IoLoop& io_;
  consul::Client& client_;
  const control::Loop& loop_;
  const Auth& auth_;
  WaitingRoom& room_;
};

}  // namespace consul_canary::api
