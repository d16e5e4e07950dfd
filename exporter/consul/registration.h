// Keeps a daemon of ours registered as a service at the agent that it speaks to, so that Prometheus
// finds it there (deploy/prometheus). Nothing depends on it: where Consul refuses, the daemon goes
// on, says so once, and tries again.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "exporter/base/io_loop.h"
#include "exporter/base/result.h"
#include "exporter/consul/client.h"

namespace consul_canary::consul {

struct OwnService {
  std::string name{};
  std::string address{};  // empty: the agent's own
  int port = 0;
  std::map<std::string, std::string> meta{};
  std::string health_url{};  // which the agent asks for
  base::seconds check_every{5};
  base::seconds check_timeout{3};
  bool starts_passing = false;  // until the first check: whoever registers it does answer
  bool is_for_others = true;    // an address that only this host can reach is warned of
};

// Of a daemon that listens at `listen_address` ("127.0.0.1:9655", ":9655") with this port really
// bound. `address` (may be empty) wins over the one that it listens at; who listens everywhere has
// the agent's. The agent checks /-/healthy.
[[nodiscard]] OwnService DescribeDaemon(std::string_view name, std::string_view address,
                                        std::string_view listen_address, int port,
                                        std::string_view telemetry_path, std::string_view version);

// The same after a restart; another for each address and port of the same name.
[[nodiscard]] std::string IdOf(const OwnService& service);

// Of its check, for sessions.
[[nodiscard]] std::string CheckIdOf(const OwnService& service);

// The body of /v1/agent/service/register.
[[nodiscard]] std::string RegistrationJson(const OwnService& service);

// Lives on the loop's thread: every member is to be called there.
class Registration {
 public:
  // `client` must outlive it. `on_outcome` is told of each try: whether the agent knows the service
  // now.
  Registration(Client& client, OwnService service,
               std::function<void(const base::Result<void>&)> on_outcome = {});
  ~Registration();  // leaves the service registered
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

  // Registers, and from then on looks whether the agent still knows it: an agent that lost its data
  // forgets.
  void Start();

  // Does now what it would do within the next seconds; on_outcome follows.
  void LookNow();

  // Takes the service out, and calls `done` when the agent has answered. Nothing is registered
  // after that.
  void End(std::function<void()> done);

 private:
  void Register();
  void Look();
  void After(base::Result<void> outcome);
  void Deregister();

  Client& client_;
  OwnService service_;
  std::function<void(const base::Result<void>&)> on_outcome_;
  std::string id_;
  std::string complaint_;  // of the last try; empty: it succeeded
  bool registered_ = false;
  bool waits_for_agent_ = false;  // a request is under way
  std::function<void()> on_end_;
  base::IoLoop::Id timer_ = 0;
};

// End() of what is registered (null: nothing is), from any other thread than the loop's; comes back
// after `limit` at the latest. Whoever `registration` belongs to makes it on the loop's thread.
void EndAndWait(base::IoLoop& loop, const std::unique_ptr<Registration>& registration,
                base::milliseconds limit);

}  // namespace consul_canary::consul
