// Which file descriptors are ready: a thin owner of one epoll instance, and of the means to end its
// wait from another thread. For io_loop.cc and curl_pool.cc only.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "exporter/base/clock.h"

namespace consul_canary::base {

class Poller {
 public:
  struct Ready {
    int fd = -1;
    std::uint32_t pool = 0;    // as given to Watch()
    std::uint32_t events = 0;  // EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP
  };

  Poller();  // aborts where the kernel has no descriptor left for it: nothing could go on
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // A socket of which every end is told to Closed(). Between two requests such a one stays
  // registered, which saves two system calls for each request on a kept connection.
  void Opened(int fd);
  void Closed(int fd);

  // From now on `events` of `fd` are reported for `pool`; 0: none.
  void Watch(int fd, std::uint32_t pool, std::uint32_t events);

  // What is ready now or becomes so within `limit`; valid until the next call. Wake() ends it.
  [[nodiscard]] std::span<const Ready> Wait(milliseconds limit);

  void Wake() const;  // any thread

 private:
  struct Socket {
    std::uint32_t registered = 0;  // in the kernel
    std::uint32_t wanted = 0;
    std::uint32_t pool = 0;
    bool stays = false;  // between Opened() and Closed()
  };
  static constexpr std::size_t kMostEvents = 512;

  Socket& At(int fd);
  void Register(int fd, Socket& socket, std::uint32_t events);
  void Unregister(int fd, Socket& socket);

  int epoll_ = -1;
  int wake_ = -1;
  std::vector<Socket> sockets_;  // by descriptor
  std::array<epoll_event, kMostEvents> events_{};
  std::vector<Ready> ready_;
};

}  // namespace consul_canary::base
