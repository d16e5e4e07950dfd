#include "tests/chaos/fault_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <list>
#include <mutex>
#include <string_view>
#include <thread>

#include "tests/chaos/http_tap.h"

namespace consul_canary::testing {
namespace {

using base::milliseconds;
using base::MonotonicTime;

constexpr milliseconds kLongestWait{50};

MonotonicTime Now() { return std::chrono::steady_clock::now(); }

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::abort();
}

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

int Listen(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const sockaddr_in address = Loopback(port);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) Die("bind");
  if (listen(fd, SOMAXCONN) != 0) Die("listen");
  return fd;
}

// On the loopback this takes no time: the kernel answers for a process that is stopped as well.
int Connect(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    close(fd);
    return -1;
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return fd;
}

void Reset(int fd) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  close(fd);
}

// What waits to be passed on in one direction.
struct Piece {
  MonotonicTime due{};
  std::string bytes{};  // empty: the end of the stream
};

struct Way {
  int from = -1;
  int to = -1;
  bool ended = false;     // `from` has said its last
  bool finished = false;  // and `to` was told
  std::deque<Piece> waiting{};
};

bool IsWrite(std::string_view start) {
  return start.starts_with("PUT /v1/config") || start.starts_with("PUT /v1/txn");
}

std::string PathOf(const std::string& start) {
  const std::size_t begin = start.find(' ') + 1;
  return start.substr(begin, start.rfind(' ') - begin);
}

}  // namespace

struct FaultProxy::Impl {
  // One client's connection. The n-th request, the n-th one let through and the n-th answer belong
  // together.
  struct Connection {
    Way requests{};
    Way answers{};
    std::vector<std::optional<std::size_t>>
        kept{};  // index into `writes`; nullopt: not of interest
    std::size_t passed = 0;
    std::size_t answered = 0;
    std::unique_ptr<HttpTap> received_tap{};
    std::unique_ptr<HttpTap> forwarded_tap{};
    std::unique_ptr<HttpTap> answer_tap{};
  };

  Impl(int port, int target) : target_port(target), listener(Listen(port)) {
    wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    thread = std::thread([this] { Run(); });
  }

  ~Impl() {
    stopping = true;
    Wake();
    thread.join();
    for (Connection& connection : connections) Drop(connection);
    close(listener);
    close(wake);
  }

  void Wake() const {
    const std::uint64_t one = 1;
    if (write(wake, &one, sizeof(one)) < 0 && errno != EAGAIN) Die("eventfd");
  }

  void Run() {
    while (!stopping) {
      Wait();
      const std::lock_guard lock(mutex);
      if (cut) {
        for (Connection& connection : connections) Drop(connection);
        connections.clear();
        cut = false;
      }
      Accept();
      for (Connection& connection : connections) Turn(connection);
      connections.remove_if([](const Connection& c) { return c.requests.from < 0; });
    }
  }

  // Until something arrives; or for a moment, when something is held or delayed.
  void Wait() {
    std::vector<pollfd> fds = {{listener, POLLIN, 0}, {wake, POLLIN, 0}};
    bool waits = false;
    for (const Connection& connection : connections) {
      for (const Way* way : {&connection.requests, &connection.answers}) {
        if (!way->ended) fds.push_back({way->from, POLLIN, 0});
        waits = waits || !way->waiting.empty();
      }
    }
    const int patience = waits ? 5 : static_cast<int>(kLongestWait.count());
    if (poll(fds.data(), fds.size(), patience) < 0 && errno != EINTR) Die("poll");
    std::uint64_t count = 0;
    if (read(wake, &count, sizeof(count)) < 0 && errno != EAGAIN) Die("eventfd");
  }

  void Accept() {
    while (true) {
      const int client = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) return;
      const int server = behaviour.refuses ? -1 : Connect(target_port);
      if (server < 0) {
        Reset(client);
        continue;
      }
      const int on = 1;
      setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      Begin(connections.emplace_back(), client, server);
    }
  }

  void Begin(Connection& connection, int client, int server) {
    connection.requests = {.from = client, .to = server};
    connection.answers = {.from = server, .to = client};
    connection.received_tap = std::make_unique<HttpTap>([this, &connection](HttpMessage message) {
      connection.kept.emplace_back();
      if (!IsWrite(message.start)) return;
      connection.kept.back() = writes.size();
      writes.push_back(
          {.path = PathOf(message.start), .body = std::move(message.body), .received = Now()});
    });
    connection.forwarded_tap =
        std::make_unique<HttpTap>([this, &connection](const HttpMessage& /*message*/) {
          const auto kept = connection.kept.at(connection.passed++);
          if (kept) writes[*kept].forwarded = Now();
        });
    connection.answer_tap = std::make_unique<HttpTap>([this, &connection](HttpMessage message) {
      if (connection.answered >= connection.kept.size()) return;
      const auto kept = connection.kept[connection.answered++];
      if (!kept) return;
      ProxiedWrite& write = writes[*kept];
      write.answered = Now();
      const std::string_view status = std::string_view(message.start).substr(9);
      std::from_chars(status.data(), status.data() + status.size(), write.status);
      write.answer = std::move(message.body);
    });
  }

  void Turn(Connection& connection) {
    Read(connection.requests, *connection.received_tap);
    const bool holds =
        behaviour.holds_requests || (behaviour.holds_entries && HasEntry(connection));
    Pass(connection.requests, holds, connection.forwarded_tap.get());
    Read(connection.answers, *connection.answer_tap);
    Pass(connection.answers, behaviour.holds_answers, nullptr);
    // A client that has gone is waited for only until the server has seen that as well.
    if (connection.answers.finished) Drop(connection);
  }

  // One that is whole and not let through yet.
  [[nodiscard]] bool HasEntry(const Connection& connection) const {
    return std::any_of(connection.kept.begin() + static_cast<std::ptrdiff_t>(connection.passed),
                       connection.kept.end(), [this](const auto& kept) {
                         return kept && writes[*kept].path.starts_with("/v1/config");
                       });
  }

  void Read(Way& way, HttpTap& tap) const {
    std::array<char, 65536> buffer;
    while (!way.ended) {
      const ssize_t got = recv(way.from, buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
      const MonotonicTime due = Now() + behaviour.delay;
      if (got <= 0) {
        way.ended = true;
        way.waiting.push_back({due, {}});
        return;
      }
      const std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
      way.waiting.push_back({due, std::string(bytes)});
      tap.Feed(bytes);
    }
  }

  static void Pass(Way& way, bool holds, HttpTap* tap) {
    while (!holds && !way.waiting.empty() && way.waiting.front().due <= Now()) {
      Piece& piece = way.waiting.front();
      if (piece.bytes.empty()) {
        shutdown(way.to, SHUT_WR);
        way.finished = true;
        way.waiting.pop_front();
        continue;
      }
      const ssize_t sent =
          send(way.to, piece.bytes.data(), piece.bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return;
      // Whoever has gone reads no more; what it would have got is dropped.
      const std::size_t done = sent < 0 ? piece.bytes.size() : static_cast<std::size_t>(sent);
      if (tap != nullptr && sent > 0) tap->Feed(std::string_view(piece.bytes).substr(0, done));
      piece.bytes.erase(0, done);
      if (piece.bytes.empty()) way.waiting.pop_front();
    }
  }

  static void Drop(Connection& connection) {
    if (connection.requests.from < 0) return;
    Reset(connection.requests.from);
    Reset(connection.requests.to);
    connection.requests.from = -1;
  }

  const int target_port;
  const int listener;
  int wake = -1;
  std::atomic<bool> stopping{false};

  std::mutex mutex;  // guards what follows, but for the thread's own reading in Wait()
  ProxyBehaviour behaviour;
  bool cut = false;
  std::vector<ProxiedWrite> writes;
  std::list<Connection> connections;

  std::thread thread;  // last: it uses all of the above
};

FaultProxy::FaultProxy(int port, int target_port)
    : impl_(std::make_unique<Impl>(port, target_port)) {}

FaultProxy::~FaultProxy() = default;

void FaultProxy::Behave(const ProxyBehaviour& behaviour) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->behaviour = behaviour;
  }
  impl_->Wake();
}

void FaultProxy::Cut(const ProxyBehaviour& then) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->behaviour = then;
    impl_->cut = true;
  }
  impl_->Wake();
}

bool FaultProxy::HoldsEntry() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->behaviour.holds_entries &&
         std::any_of(impl_->connections.begin(), impl_->connections.end(),
                     [this](const Impl::Connection& c) { return impl_->HasEntry(c); });
}

std::vector<ProxiedWrite> FaultProxy::Writes() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->writes;
}

}  // namespace consul_canary::testing
