#include "tests/unit/base/raw_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <utility>

namespace consul_canary::base {

RawServer::RawServer(std::function<void(int)> serve) : serve_(std::move(serve)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  if (listener_ < 0 || bind(listener_, plain, size) != 0 || listen(listener_, 16) != 0 ||
      getsockname(listener_, plain, &size) != 0) {
    std::abort();
  }
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { AcceptAll(); });
}

RawServer::~RawServer() {
  ending_ = true;
  shutdown(listener_, SHUT_RDWR);
  if (const int socket = current_; socket >= 0) shutdown(socket, SHUT_RDWR);
  thread_.join();
  close(listener_);
}

std::string RawServer::Url(std::string_view path) const {
  return "http://127.0.0.1:" + std::to_string(port_) + std::string(path);
}

void RawServer::AcceptAll() {
  while (!ending_) {
    const int socket = accept(listener_, nullptr, nullptr);
    if (socket < 0) continue;
    ++connections_;
    current_ = socket;
    if (!ending_) serve_(socket);
    current_ = -1;
    close(socket);
  }
}

bool ReadRequest(int socket) {
  std::string text;
  std::array<char, 4096> chunk{};
  while (text.find("\r\n\r\n") == std::string::npos) {
    const ssize_t count = recv(socket, chunk.data(), chunk.size(), 0);
    if (count <= 0) return false;
    text.append(chunk.data(), static_cast<std::size_t>(count));
  }
  return true;
}

bool WriteAll(int socket, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = send(socket, text.data(), text.size(), MSG_NOSIGNAL);
    if (count <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

}  // namespace consul_canary::base
