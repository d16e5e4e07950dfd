// A TCP proxy between one analyzer and its Consul server that can cut, hold and slow down what
// passes, and that keeps a record of every write which passed: what was asked, when it came, when
// it was let through, and what the server answered. Held bytes are delivered in the end, as a
// network may: also those of a client that has given up meanwhile, which is how a deposed leader's
// write arrives late.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "exporter/base/clock.h"

namespace consul_canary::testing {

// A PUT of a configuration entry or of a KV transaction.
struct ProxiedWrite {
  std::string path;  // with its query
  std::string body;
  base::MonotonicTime received{};                  // whole at the proxy
  std::optional<base::MonotonicTime> forwarded{};  // whole on its way to the server
  std::optional<base::MonotonicTime> answered{};   // by the server; the client may never see it
  int status = 0;
  std::string answer{};
};

struct ProxyBehaviour {
  // Nothing more reaches the server on a connection on which a configuration entry was put.
  bool holds_entries = false;
  bool refuses = false;         // new connections are reset
  bool holds_requests = false;  // nothing reaches the server
  bool holds_answers = false;   // nothing reaches the client
  base::milliseconds delay{0};  // of each byte, either way
};

class FaultProxy {
 public:
  // Listens on `port` of 127.0.0.1, and passes on to `target_port` there.
  FaultProxy(int port, int target_port);
  ~FaultProxy();
  FaultProxy(const FaultProxy&) = delete;
  FaultProxy& operator=(const FaultProxy&) = delete;

  // All of any thread.
  void Behave(const ProxyBehaviour& behaviour);
  // Resets every connection, so that what is held is lost, and behaves so from then on.
  void Cut(const ProxyBehaviour& then = {});
  [[nodiscard]] std::vector<ProxiedWrite> Writes() const;
  [[nodiscard]] bool HoldsEntry() const;  // the write of one, at this moment

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace consul_canary::testing
