// A real Consul agent on free ports, for tests and for the demo.
#pragma once

#include <signal.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/base/result.h"
#include "tests/support/http.h"
#include "tests/support/ports.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace consul_canary::testing {

struct ConsulOptions {
  // false: `-dev`, in memory, up in about 0.5 s, empty after a restart. true: one server with a
  // data directory, up in about 2 s, that keeps entries, KV and services over Stop(), Kill() and
  // Start().
  bool persistent = false;
  // Not empty: ACLs with default deny, and this (a UUID) as the management token, which all calls
  // below send.
  std::string token{};
  std::string datacenter = "dc1";
  // One of several, which find each other at `join` (lan_address() of any of them). Each has a node
  // name of its own.
  std::string node = "node-1";
  int servers = 1;      // of the cluster; more than one: each is persistent
  bool client = false;  // no server itself
  std::vector<std::string> join{};
  std::string configuration{};  // JSON of the agent's own keys, merged over ours; empty: none
};

// An instance of a service with the sidecar that Consul makes for it.
struct ServiceInstance {
  std::string id{};  // of the service; its sidecar is <id>-sidecar-proxy
  std::string name{};
  int port = 0;                               // of the application, on 127.0.0.1
  std::map<std::string, std::string> meta{};  // the sidecar inherits it
  std::vector<std::string> tags{};
  int health_port = 0;      // of an HTTP check of /health, each second; 0: none
  int sidecar_port = 0;     // 0: no sidecar
  int prometheus_port = 0;  // 0: none; else envoy_prometheus_bind_addr on 127.0.0.1
  struct Upstream {
    std::string name{};
    int local_port = 0;
  };
  std::vector<Upstream> upstreams{};
};

class ConsulAgent {
 public:
  // Starts an agent and waits until it has a leader and takes config entries (20 s at most).
  [[nodiscard]] static base::Result<std::unique_ptr<ConsulAgent>> Start(ConsulOptions options = {});
  // The same without the wait: the first servers of a cluster have no leader before the last is up.
  [[nodiscard]] static base::Result<std::unique_ptr<ConsulAgent>> Begin(ConsulOptions options);
  ~ConsulAgent();

  [[nodiscard]] const std::string& address() const { return address_; }  // http://127.0.0.1:PORT
  [[nodiscard]] const std::string& grpc_address() const { return grpc_address_; }  // 127.0.0.1:PORT
  // 127.0.0.1:PORT, for PUT /v1/agent/join/<address>?wan=true of another datacenter's agent.
  [[nodiscard]] const std::string& wan_address() const { return wan_address_; }
  [[nodiscard]] const std::string& lan_address() const { return lan_address_; }  // 127.0.0.1:PORT
  [[nodiscard]] const std::string& token() const { return options_.token; }
  // CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN and CONSUL_GRPC_ADDR for a child that shall speak to this
  // agent.
  [[nodiscard]] std::map<std::string, std::string> Environment() const;

  void Stop();  // SIGTERM, then SIGKILL
  void Kill();  // SIGKILL
  void Pause() { process_->Signal(SIGSTOP); }
  void Continue() { process_->Signal(SIGCONT); }
  [[nodiscard]] base::Result<void> Restart();     // on the same ports, with the same data directory
  [[nodiscard]] base::Result<void> BeginAgain();  // the same without the wait
  [[nodiscard]] base::Result<void> WaitUntilReady() const;

  // Bodies of answers; `path` begins with /v1/. Any other status than 2xx is an error with Consul's
  // words.
  [[nodiscard]] base::Result<std::string> Get(const std::string& path) const;
  [[nodiscard]] base::Result<std::string> Put(const std::string& path, std::string body = "") const;
  [[nodiscard]] base::Result<std::string> Delete(const std::string& path) const;
  [[nodiscard]] base::Result<base::HttpResponse> Call(std::string_view method,
                                                      const std::string& path,
                                                      std::string body = "") const;

  [[nodiscard]] base::Result<void> WriteEntry(std::string entry_json) const;  // PUT /v1/config
  // The entry's JSON, or nothing when there is none.
  [[nodiscard]] base::Result<std::optional<std::string>> ReadEntry(std::string_view kind,
                                                                   std::string_view name) const;
  [[nodiscard]] base::Result<void> Register(const ServiceInstance& instance) const;
  [[nodiscard]] base::Result<void> Deregister(std::string_view id) const;
  [[nodiscard]] base::Result<void> KvPut(std::string_view key, std::string value) const;
  [[nodiscard]] base::Result<std::optional<std::string>> KvGet(std::string_view key) const;

  // Number of instances whose checks all pass, sidecars included, as /v1/health/connect/<service>
  // tells.
  [[nodiscard]] int PassingSidecars(std::string_view service, std::string_view filter = "") const;

  [[nodiscard]] Ports& ports() { return ports_; }
  [[nodiscard]] const Http& http() const { return http_; }
  [[nodiscard]] TempDir& folder() { return folder_; }
  [[nodiscard]] Process& process() { return *process_; }

 private:
  explicit ConsulAgent(ConsulOptions options);
  void WriteConfiguration();
  [[nodiscard]] base::Result<void> Launch();
  [[nodiscard]] bool Ready() const;
  [[nodiscard]] bool persistent() const { return options_.persistent || options_.servers > 1; }

  ConsulOptions options_;
  TempDir folder_;
  Ports ports_;
  Http http_;
  std::string address_;
  std::string grpc_address_;
  std::string wan_address_;
  std::string lan_address_;
  std::unique_ptr<Process> process_;
};

}  // namespace consul_canary::testing
