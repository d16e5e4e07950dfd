#include "tests/soak/sidecar_farm.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace consul_canary::soak {
namespace {

constexpr std::string_view kText = "text/plain; charset=UTF-8";
constexpr std::size_t kTooMuch = std::size_t{9} << 20u;  // the exporter reads 8 MiB
constexpr int kWakeMs = 100;

std::string Answered(std::string_view status, std::string_view more, std::string_view body,
                     std::size_t length) {
  return fmt::format("HTTP/1.1 {}\r\nContent-Length: {}\r\n{}\r\n{}", status, length, more, body);
}

std::string Ok(std::string_view type, std::string_view body) {
  return Answered("200 OK", fmt::format("Content-Type: {}\r\n", type), body, body.size());
}

// What the routes of /config_dump say of each destination's service: nine parts of ten to primary.
std::string RouteDump(const CountingSidecar& sidecar) {
  constexpr std::string_view kRoute =
      R"({{"@type":"type.googleapis.com/envoy.admin.v3.RoutesConfigDump.DynamicRouteConfig",
"route_config":{{"name":"{0}","virtual_hosts":[{{"name":"{0}","domains":["*"],"routes":[
{{"match":{{"prefix":"/"}},"route":{{"weighted_clusters":{{"clusters":[
{{"name":"primary.{0}.default.dc1.internal.11111111-2222-3333-4444-555555555555.consul","weight":9000}},
{{"name":"canary.{0}.default.dc1.internal.11111111-2222-3333-4444-555555555555.consul","weight":1000}}],
"total_weight":10000}}}}}}]}}]}}}})";
  std::string routes;
  for (const auto& [destination, cluster] : sidecar.clusters) {
    if (destination.subset != "primary") continue;
    routes += (routes.empty() ? "" : ",") + fmt::format(kRoute, destination.service);
  }
  return fmt::format(R"({{"configs":[{}]}})", routes);
}

template <typename Visit>
void EachCluster(CountingSidecar& sidecar, const Visit& visit) {
  for (auto& [destination, cluster] : sidecar.clusters) visit(cluster);
  if (sidecar.local_app) visit(*sidecar.local_app);
}

}  // namespace

SidecarFarm::SidecarFarm(int port, std::uint64_t seed)
    : port_(port), epoll_(epoll_create1(EPOLL_CLOEXEC)), random_(seed) {
  thread_ = std::thread([this] { Serve(); });
}

SidecarFarm::~SidecarFarm() {
  ending_ = true;
  thread_.join();
  for (const auto& [fd, number] : listeners_) close(fd);
  for (const auto& [fd, connection] : connections_) close(fd);
  close(epoll_);
}

std::string SidecarFarm::HostOf(std::size_t number) {
  return fmt::format("127.77.{}.{}", number / 250, number % 250 + 1);
}

std::string SidecarFarm::AddressOf(std::size_t number) const {
  return fmt::format("{}:{}", HostOf(number), port_);
}

void SidecarFarm::Open(std::size_t number, CountingSidecar sidecar) {
  const std::lock_guard lock(mutex_);
  Sidecar& opened = sidecars_[number];
  opened.truth = sidecar;
  opened.counted = std::move(sidecar);
  Listen(number, opened);
}

void SidecarFarm::Close(std::size_t number) {
  const std::lock_guard lock(mutex_);
  StopListening(number, sidecars_.at(number));
  sidecars_.erase(number);
}

void SidecarFarm::Behave(std::size_t number, Conduct conduct) {
  const std::lock_guard lock(mutex_);
  Sidecar& sidecar = sidecars_.at(number);
  if (std::exchange(sidecar.conduct, conduct) == conduct) return;
  // What was begun badly is not ended well.
  CloseConnections(number);
  if (conduct == Conduct::kRefuse) StopListening(number, sidecar);
  if (conduct != Conduct::kRefuse && sidecar.listener < 0) Listen(number, sidecar);
}

void SidecarFarm::Restart(std::size_t number) {
  const std::lock_guard lock(mutex_);
  EachCluster(sidecars_.at(number).counted,
              [](churn::EnvoyCluster& cluster) { cluster.Restart(); });
  CloseConnections(number);
}

void SidecarFarm::SetActive(std::uint64_t requests) {
  const std::lock_guard lock(mutex_);
  active_ = requests;
}

void SidecarFarm::SetTraffic(bool on) {
  const std::lock_guard lock(mutex_);
  traffic_ = on;
}

CountingSidecar SidecarFarm::TruthOf(std::size_t number) {
  const std::lock_guard lock(mutex_);
  return sidecars_.at(number).truth;
}

std::size_t SidecarFarm::connections() {
  const std::lock_guard lock(mutex_);
  return connections_.size();
}

// --- Sockets. A descriptor that epoll tells of may be closed, or another one, by the time it is
// looked at; none of what follows blocks, so that costs nothing.

void SidecarFarm::Serve() {
  std::array<epoll_event, 64> events{};
  while (!ending_) {
    const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), kWakeMs);
    const std::lock_guard lock(mutex_);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events.at(static_cast<std::size_t>(i));
      OnEvent(event.data.fd, event.events);
    }
  }
}

void SidecarFarm::OnEvent(int fd, std::uint32_t events) {
  if (const auto listener = listeners_.find(fd); listener != listeners_.end()) {
    return Accept(fd, listener->second);
  }
  if ((events & EPOLLOUT) != 0 && connections_.contains(fd)) Write(fd);
  if ((events & ~std::uint32_t{EPOLLOUT}) != 0 && connections_.contains(fd)) Read(fd);
}

void SidecarFarm::Watch(int fd, std::uint32_t events, int operation) const {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  (void)epoll_ctl(epoll_, operation, fd, &event);
}

void SidecarFarm::Listen(std::size_t number, Sidecar& sidecar) {
  sidecar.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int yes = 1;
  (void)setsockopt(sidecar.listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port_));
  (void)inet_pton(AF_INET, HostOf(number).c_str(), &address.sin_addr);
  if (bind(sidecar.listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(sidecar.listener, 64) != 0) {
    std::perror(AddressOf(number).c_str());
    std::abort();
  }
  listeners_[sidecar.listener] = number;
  Watch(sidecar.listener, EPOLLIN, EPOLL_CTL_ADD);
}

void SidecarFarm::StopListening(std::size_t number, Sidecar& sidecar) {
  CloseConnections(number);
  if (sidecar.listener < 0) return;
  listeners_.erase(sidecar.listener);
  close(std::exchange(sidecar.listener, -1));
}

void SidecarFarm::CloseConnections(std::size_t number) {
  for (auto it = connections_.begin(); it != connections_.end();) {
    const auto connection = it++;
    if (connection->second.sidecar == number) Drop(connection->first);
  }
}

void SidecarFarm::Accept(int listener, std::size_t number) {
  for (;;) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    connections_[fd].sidecar = number;
    Watch(fd, EPOLLIN, EPOLL_CTL_ADD);
  }
}

void SidecarFarm::Read(int fd) {
  Connection& connection = connections_.at(fd);
  std::array<char, 8192> chunk{};
  for (;;) {
    const ssize_t count = recv(fd, chunk.data(), chunk.size(), 0);
    if (count < 0 && errno == EAGAIN) break;
    if (count <= 0) return Drop(fd);
    connection.in.append(chunk.data(), static_cast<std::size_t>(count));
  }
  constexpr std::string_view kEnd = "\r\n\r\n";
  const std::size_t end = connection.in.find(kEnd);
  if (end == std::string::npos) return;
  const std::string request = connection.in.substr(0, end);
  connection.in.erase(0, end + kEnd.size());
  Answer(connection, request);
  Write(fd);
}

void SidecarFarm::Write(int fd) {
  Connection& connection = connections_.at(fd);
  std::size_t sent = 0;
  while (sent < connection.out.size()) {
    const std::string_view rest = std::string_view(connection.out).substr(sent);
    const ssize_t count = send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EAGAIN) break;
    if (count < 0) return Drop(fd);
    sent += static_cast<std::size_t>(count);
    // One round each time, so that the others have their turn.
    if (connection.endless && sent == connection.out.size()) break;
  }
  if (!connection.endless) connection.out.erase(0, sent);
  if (connection.out.empty() && connection.closes) return Drop(fd);
  const bool waits = !connection.out.empty();
  if (std::exchange(connection.waits, waits) == waits) return;
  Watch(fd, waits ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
}

void SidecarFarm::Drop(int fd) {
  if (connections_.at(fd).resets) {
    const linger now{.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  connections_.erase(fd);
  close(fd);
}

// --- What is answered

void SidecarFarm::Answer(Connection& connection, std::string_view request) {
  Sidecar& sidecar = sidecars_.at(connection.sidecar);
  ++pages_;
  const bool is_dump = request.find(" /config_dump") != std::string_view::npos;
  const bool is_served = sidecar.conduct == Conduct::kSound || sidecar.conduct == Conduct::kBadLine;
  if (is_served && !is_dump && traffic_) ServeRequests(sidecar);
  const std::string page = is_dump ? RouteDump(sidecar.counted) : PageOf(sidecar);
  if (sidecar.conduct == Conduct::kSound) {
    connection.out = Ok(is_dump ? "application/json" : kText, page);
  } else {
    AnswerBadly(connection, sidecar.conduct, page);
  }
}

void SidecarFarm::AnswerBadly(Connection& connection, Conduct conduct, std::string_view page) {
  const std::string_view half = page.substr(0, page.size() / 2);
  const std::string of_text = fmt::format("Content-Type: {}\r\n", kText);
  std::string& out = connection.out;
  switch (conduct) {
    case Conduct::kSound:
    case Conduct::kRefuse:
    case Conduct::kHang:
      return;
    case Conduct::kStall:
    case Conduct::kCut:
      out = Answered("200 OK", of_text, half, page.size());
      connection.closes = conduct == Conduct::kCut;
      return;
    case Conduct::kDrop:
    case Conduct::kReset:
      connection.closes = true;
      connection.resets = conduct == Conduct::kReset;
      return;
    case Conduct::kNoHttp:
      for (int i = 0; i < 300; ++i) out += static_cast<char>(random_() % 256);
      connection.closes = true;
      return;
    case Conduct::kGarbage:
      out = Ok(kText, "envoy_cluster_upstream_rq{ 1\n\xff\xfe{}{}\n\n= 3\n");
      return;
    case Conduct::kHtml:
      out = Ok("text/html", "<!doctype html><title>It works</title>\n");
      return;
    case Conduct::kOversized:
      out = Answered("200 OK", of_text, half, kTooMuch);
      connection.closes = true;
      return;
    case Conduct::kEndless:
      out = fmt::format("HTTP/1.1 200 OK\r\n{}\r\n", of_text);
      while (out.size() < std::size_t{1} << 18u) out += page;
      connection.endless = true;
      return;
    case Conduct::kGzip:
      out = Answered("200 OK", of_text + "Content-Encoding: gzip\r\n", half, half.size());
      return;
    case Conduct::kRedirect:
      out =
          Answered("302 Found", fmt::format("Location: http://{}/stats\r\n", AddressOf(0)), "", 0);
      return;
    case Conduct::kOverloaded:
      out = Answered("503 Service Unavailable", of_text, "overloaded\n", 11);
      return;
    case Conduct::kBadLine:
      out = Ok(kText, fmt::format("envoy_cluster_upstream_rq_completed{{a=\"b 7\n{}", page));
      return;
  }
}

std::string SidecarFarm::PageOf(Sidecar& sidecar) {
  churn::EnvoySidecar shown;
  for (const auto& [to, cluster] : sidecar.counted.clusters) shown.clusters[to] = &cluster;
  if (sidecar.counted.local_app) shown.local_app = &*sidecar.counted.local_app;
  std::string page = PageText(shown, {});
  page += "# TYPE envoy_cluster_upstream_rq_active gauge\n";
  for (const auto& [destination, cluster] : sidecar.counted.clusters) {
    page += fmt::format("envoy_cluster_upstream_rq_active{{{}}} {}\n", cluster.labels, active_);
  }
  return page;
}

void SidecarFarm::ServeRequests(Sidecar& sidecar) {
  std::vector<churn::EnvoyCluster*> truths;
  EachCluster(sidecar.truth, [&](churn::EnvoyCluster& cluster) { truths.push_back(&cluster); });
  auto truth = truths.begin();
  EachCluster(sidecar.counted, [&](churn::EnvoyCluster& cluster) {
    for (std::uint64_t left = random_() % 4; left > 0; --left) {
      const churn::Request request = MakeRequest();
      cluster.Serve(request);
      (*truth)->Serve(request);
    }
    cluster.Flush();
    (*truth++)->Flush();
  });
}

// One in six fails at first; half of these in the end.
churn::Request SidecarFarm::MakeRequest() {
  churn::Request request;
  request.milliseconds = random_() % 1500;
  const std::uint64_t luck = random_() % 12;
  if (luck < 2) request.attempts.push_back({.code = 503});
  if (luck == 0) request.last_is_retriable = true;
  request.attempts.push_back({.code = luck == 0 ? 503 : 200});
  return request;
}

}  // namespace consul_canary::soak
