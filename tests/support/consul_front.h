// Stands before a Consul agent and passes on what it is asked, but for requests that it shall
// refuse, as a Consul does that fails at one thing alone. Blocking queries end after a second.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "exporter/base/http_server.h"
#include "exporter/base/result.h"
#include "tests/support/http.h"

namespace consul_canary::testing {

class ConsulFront {
 public:
  // refuses: asked for each request, on several threads; those are answered 500.
  [[nodiscard]] static base::Result<std::unique_ptr<ConsulFront>> Start(
      std::string consul_address, std::function<bool(const base::ServerRequest&)> refuses);

  [[nodiscard]] std::string address() const;  // http://127.0.0.1:PORT
  [[nodiscard]] int refused() const { return refused_; }

 private:
  ConsulFront(std::string consul_address, std::function<bool(const base::ServerRequest&)> refuses)
      : consul_(std::move(consul_address)), refuses_(std::move(refuses)) {}
  base::ServerResponse Answer(const base::ServerRequest& request);

  std::string consul_;
  std::function<bool(const base::ServerRequest&)> refuses_;
  std::atomic<int> refused_{0};
  Http http_;
  std::unique_ptr<base::HttpServer> server_;  // the last: ends before what its handler uses
};

}  // namespace consul_canary::testing
