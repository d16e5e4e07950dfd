// Sidecars' endpoints that do what networks and broken programs do: refuse, hang, end early, send
// what was not asked for. Each has an address of its own (127.77.x.y) on one port and serves the
// page, and the dump of routes, that a real one would; what it counts grows with each page while
// there is traffic. One thread serves all; the calls below are safe from any other.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/churn/envoy_sidecar.h"

namespace consul_canary::soak {

enum class Conduct {
  kSound,
  kRefuse,      // nobody listens; what was open is closed
  kHang,        // takes the request and says nothing
  kStall,       // half a page, and nothing more
  kCut,         // half a page, closed
  kDrop,        // closed without a word
  kReset,       // the same with a reset
  kNoHttp,      // bytes that are no HTTP
  kGarbage,     // text that has no samples
  kHtml,        // somebody else's page
  kOversized,   // more than is read, and says so
  kEndless,     // never ends, and does not say so
  kGzip,        // compressed, though nobody asked
  kRedirect,    // elsewhere
  kOverloaded,  // 503
  kBadLine,     // the page with a line among the others that is no sample
};
inline constexpr int kConducts = 16;

struct CountingSidecar {
  std::map<envoy::Destination, churn::EnvoyCluster> clusters;
  std::optional<churn::EnvoyCluster> local_app;
};

class SidecarFarm {
 public:
  // Listens on `port` of each sidecar's address. Ends the program where no socket can be had.
  SidecarFarm(int port, std::uint64_t seed);
  ~SidecarFarm();
  SidecarFarm(const SidecarFarm&) = delete;
  SidecarFarm& operator=(const SidecarFarm&) = delete;

  [[nodiscard]] std::string AddressOf(std::size_t number) const;  // host:port
  [[nodiscard]] static std::string HostOf(std::size_t number);

  // Begins to serve, from 0. There must be none with this number.
  void Open(std::size_t number, CountingSidecar sidecar);
  // Closes its socket and its connections; its address may be opened again.
  void Close(std::size_t number);

  void Behave(std::size_t number, Conduct conduct);
  // All its counters from 0, its connections closed.
  void Restart(std::size_t number);
  // Each caller's requests in flight, as its page tells them.
  void SetActive(std::uint64_t requests);
  // false: pages stay as they are.
  void SetTraffic(bool on);

  // All that this sidecar has counted since it was opened, restarts or not.
  [[nodiscard]] CountingSidecar TruthOf(std::size_t number);
  // Connections that clients hold open at this moment.
  [[nodiscard]] std::size_t connections();
  [[nodiscard]] std::uint64_t pages() const { return pages_; }

 private:
  struct Sidecar {
    int listener = -1;
    Conduct conduct = Conduct::kSound;
    CountingSidecar counted;
    CountingSidecar truth;
  };
  struct Connection {
    std::size_t sidecar = 0;
    std::string in;
    std::string out;
    bool closes = false;   // once all is sent
    bool resets = false;   // instead of an orderly end
    bool endless = false;  // what is sent comes again and again
    bool waits = false;    // epoll tells when it can be written to
  };

  void Serve();
  void OnEvent(int fd, std::uint32_t events);
  void Listen(std::size_t number, Sidecar& sidecar);
  void StopListening(std::size_t number, Sidecar& sidecar);
  void CloseConnections(std::size_t number);
  void Accept(int listener, std::size_t number);
  void Read(int fd);
  void Answer(Connection& connection, std::string_view request);
  void AnswerBadly(Connection& connection, Conduct conduct, std::string_view page);
  void Write(int fd);
  void Drop(int fd);
  void Watch(int fd, std::uint32_t events, int operation) const;
  [[nodiscard]] std::string PageOf(Sidecar& sidecar);
  void ServeRequests(Sidecar& sidecar);
  [[nodiscard]] churn::Request MakeRequest();

  int port_;
  int epoll_;
  std::mutex mutex_;  // guards all that follows but `pages_` and `ending_`
  std::mt19937_64 random_;
  std::map<std::size_t, Sidecar> sidecars_;
  std::map<int, std::size_t> listeners_;   // fd → number
  std::map<int, Connection> connections_;  // fd →
  std::uint64_t active_ = 0;
  bool traffic_ = false;
  std::atomic<std::uint64_t> pages_ = 0;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

}  // namespace consul_canary::soak
