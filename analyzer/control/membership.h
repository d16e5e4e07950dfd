// This analyzer among the others: its session at Consul, which holds whatever it holds, and who
// else is alive. On the I/O thread.
//
// The session is bound to the health check of a service that the analyzer registers for itself, so
// it ends within a second or two when the process is killed or hangs. Where that service may not
// be registered, the session ends by its TTL alone, 10 to 20 s later; the log says so. An analyzer
// is alive while a session holds its key below analyzers/.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "exporter/consul/client.h"
#include "exporter/consul/registration.h"

namespace consul_canary::control {

struct MembershipOptions {
  // Stable over restarts: sessions left by a predecessor of the same name are destroyed at the
  // start, so a killed analyzer takes its locks back at once.
  std::string analyzer_id;
  std::optional<consul::OwnService> service;  // nullopt: the session has its TTL alone
};

struct MembershipEvents {
  std::function<void()> on_session;              // a new one, which holds no lock yet
  std::function<void(std::string why)> on_lost;  // it has ended; a new one is under way
  std::function<void()> on_alive;                // who is alive has changed
};

class Membership {
 public:
  // `client` must outlive it.
  Membership(consul::Client& client, MembershipOptions options, MembershipEvents events);
  ~Membership();
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  void Start();

  // Empty: none now.
  [[nodiscard]] const std::string& session() const;
  // This one included while it has a session; nullopt: not known yet.
  [[nodiscard]] const std::optional<std::set<std::string>>& alive() const;

  // Something speaks against the session: asks Consul now, and calls on_lost where it is gone.
  void Doubt();

  // Destroys the session, which gives back all that it holds, then takes key and service out.
  // `released` is called when Consul has answered the former or refused, `done` after the rest.
  // Nothing is made anew after that.
  void Release(std::function<void()> released, std::function<void()> done);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace consul_canary::control
