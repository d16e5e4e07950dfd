// Lets those in whom the web config file names, by basic authentication, and adds the headers that
// it asks for. The file is read anew on Reload(); a bad one changes nothing.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "exporter/base/http_server.h"
#include "exporter/base/result.h"

namespace consul_canary::base {

class WebGate {
 public:
  // An empty path: no file, everyone may. Errors are those of ReadWebConfig().
  [[nodiscard]] static Result<std::unique_ptr<WebGate>> Open(const std::string& path);
  ~WebGate();
  WebGate(const WebGate&) = delete;
  WebGate& operator=(const WebGate&) = delete;

  // Any thread.
  [[nodiscard]] Result<void> Reload();

  // What `handler` answers, or 401 to who is not known, or 503 while too many others are being
  // checked. `/-/healthy` is answered to everyone: it tells nothing, and Consul's and Kubernetes'
  // checks bring no password. Any thread.
  [[nodiscard]] ServerResponse Answer(const ServerRequest& request,
                                      const HttpServer::Handler& handler) const;

  // What `handler` answers, with the file's headers: for requests that are checked otherwise.
  [[nodiscard]] ServerResponse AnswerUnchecked(const ServerRequest& request,
                                               const HttpServer::Handler& handler) const;

  // How many passwords have been hashed; the same ones are hashed once. For tests.
  [[nodiscard]] std::size_t hashed() const;

 private:
  struct Impl;
  explicit WebGate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace consul_canary::base
