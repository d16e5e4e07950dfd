#include "exporter/base/poller.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace consul_canary::base {

Poller::Poller()
    : epoll_(epoll_create1(EPOLL_CLOEXEC)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = wake_;
  if (epoll_ < 0 || wake_ < 0 || epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event) != 0) {
    std::perror("epoll");
    std::abort();
  }
  ready_.reserve(kMostEvents);
}

Poller::~Poller() {
  close(wake_);
  close(epoll_);
}

Poller::Socket& Poller::At(int fd) {
  const auto index = static_cast<std::size_t>(fd);
  if (index >= sockets_.size()) sockets_.resize(index + 1);
  return sockets_[index];
}

void Poller::Opened(int fd) {
  At(fd) = Socket{};  // what the number stood for before is gone from the kernel's list
  At(fd).stays = true;
}

void Poller::Closed(int fd) { At(fd) = Socket{}; }

void Poller::Watch(int fd, std::uint32_t pool, std::uint32_t events) {
  Socket& socket = At(fd);
  socket.pool = pool;
  socket.wanted = events;
  if (events == 0 && !socket.stays) return Unregister(fd, socket);
  if (events == 0 || socket.registered == events) return;
  Register(fd, socket, events);
}

void Poller::Register(int fd, Socket& socket, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  const bool known = socket.registered != 0;
  int failed = epoll_ctl(epoll_, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
  // A descriptor that was closed unseen, or is one of two for the same file.
  if (failed != 0 && known && errno == ENOENT)
    failed = epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  if (failed != 0 && !known && errno == EEXIST)
    failed = epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
  socket.registered = failed == 0 ? events : 0;
}

void Poller::Unregister(int fd, Socket& socket) {
  if (socket.registered != 0) (void)epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
  socket.registered = 0;
}

std::span<const Poller::Ready> Poller::Wait(milliseconds limit) {
  ready_.clear();
  const int count = epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()),
                               static_cast<int>(limit.count()));
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events_[static_cast<std::size_t>(i)];
    const int fd = event.data.fd;
    if (fd == wake_) {
      std::uint64_t ignored = 0;
      (void)!read(wake_, &ignored, sizeof(ignored));
      continue;
    }
    Socket& socket = At(fd);
    if (socket.wanted == 0) {
      Unregister(fd, socket);  // an idle connection that its peer has closed
      continue;
    }
    ready_.push_back({fd, socket.pool, event.events});
  }
  return ready_;
}

void Poller::Wake() const {
  const std::uint64_t one = 1;
  (void)!write(wake_, &one, sizeof(one));
}

}  // namespace consul_canary::base
