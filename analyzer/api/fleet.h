// The pause of the whole fleet over HTTP: /api/v1/paused.
#pragma once

#include <string>

#include "exporter/base/http_server.h"
#include "exporter/base/io_loop.h"
#include "exporter/consul/client.h"

namespace consul_canary::api {

// GET tells, PUT sets it (body {"reason": "…"}, optional), DELETE ends it; each answers with what
// then holds: {"paused": true, "by", "reason", "since"} or {"paused": false}. `by`: who asks.
// Blocks (server workers only).
[[nodiscard]] base::ServerResponse AnswerFleetPause(base::IoLoop& io, consul::Client& client,
                                                    const base::ServerRequest& request,
                                                    const std::string& by);

}  // namespace consul_canary::api
