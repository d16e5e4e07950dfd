// A server that does what an HTTP server must not: closes early, never answers, sends without end.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <thread>

namespace consul_canary::base {

// Serves its connections one after another on a thread of its own; `serve` gets each one's socket
// and returns when it is done with it. Listens on 127.0.0.1, on a port that the kernel chooses.
class RawServer {
 public:
  explicit RawServer(std::function<void(int)> serve);
  ~RawServer();  // waits until `serve` has returned; what it reads from ends first
  RawServer(const RawServer&) = delete;
  RawServer& operator=(const RawServer&) = delete;

  [[nodiscard]] std::string Url(std::string_view path) const;
  [[nodiscard]] int connections() const { return connections_; }

 private:
  void AcceptAll();

  std::function<void(int)> serve_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<int> connections_ = 0;
  std::atomic<int> current_ = -1;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

// Reads one request without a body; false when the peer has closed.
bool ReadRequest(int socket);
// False when the peer has closed.
bool WriteAll(int socket, std::string_view text);

}  // namespace consul_canary::base
