#include "analyzer/control/membership.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "analyzer/control/keys.h"
#include "analyzer/control/prefix_watch.h"
#include "exporter/base/log.h"

namespace consul_canary::control {
namespace {

using base::ErrorCode;
using base::LogLevel;
using consul::KvPair;
using Clock = std::chrono::steady_clock;

constexpr base::seconds kSessionTtl{10};
constexpr base::milliseconds kRenewEvery{3000};
constexpr base::milliseconds kRetryEvery{1000};
// The agent tells the servers of a new check within milliseconds, and has run it within a second.
constexpr base::milliseconds kCheckRetry{100};
constexpr base::milliseconds kCheckPatience{5000};

// Consul's words on a check that it does not know yet or that is critical.
bool IsAboutTheCheck(const base::Error& error) {
  return error.message.find("heck '") != std::string::npos;
}

}  // namespace

struct Membership::Impl : std::enable_shared_from_this<Membership::Impl> {
  Impl(consul::Client& consul_client, MembershipOptions its_options, MembershipEvents its_events)
      : client(consul_client), options(std::move(its_options)), events(std::move(its_events)) {}

  consul::Client& client;
  MembershipOptions options;
  MembershipEvents events;
  std::unique_ptr<consul::Registration> registration;
  std::unique_ptr<consul::Watch> watch;
  std::string session;
  bool connecting = false;  // no session yet, and the registration's next outcome is waited for
  bool creating = false;    // Consul has been asked for a session
  bool announced = false;   // our key is held by our session
  base::IoLoop::Id renew_timer = 0;
  base::IoLoop::Id connect_timer = 0;
  bool stopping = false;
  std::optional<Clock::time_point> check_missing_since;
  std::string complaint;  // of the last try to make a session; empty: it succeeded
  std::optional<std::set<std::string>> alive;

  // Wraps a member so that a late answer to a destroyed object is dropped.
  template <class F>
  auto Guard(F f) {
    return [weak = weak_from_this(), f = std::move(f)](auto&&... args) {
      if (const auto self = weak.lock()) f(*self, std::forward<decltype(args)>(args)...);
    };
  }

  void Later(base::milliseconds delay, void (Impl::*next)()) {
    client.loop().After(delay, Guard([next](Impl& self) { (self.*next)(); }));
  }

  void ConnectLater() {
    client.loop().Cancel(connect_timer);
    connect_timer = client.loop().After(kRetryEvery, Guard([](Impl& self) { self.Connect(); }));
  }

  void RenewLater(base::milliseconds delay) {
    client.loop().Cancel(renew_timer);
    renew_timer = client.loop().After(delay, Guard([](Impl& self) { self.Renew(); }));
  }

  void Start() {
    watch =
        WatchPrefix(client, kAnalyzersPrefix,
                    Guard([](Impl& self, std::vector<KvPair> pairs) { self.ReadAlive(pairs); }));
    if (options.service) {
      registration = std::make_unique<consul::Registration>(
          client, *options.service,
          Guard([](Impl& self, const base::Result<void>& outcome) { self.OnService(outcome); }));
    }
    connecting = true;
    ClearOldSessions();
  }

  // --- the session
  // -----------------------------------------------------------------------------------------------

  void ClearOldSessions() {
    client.SessionList(
        Guard([](Impl& self, base::Result<std::vector<consul::Client::SessionInfo>> list) {
          if (self.stopping) return;
          if (!list) {
            self.Complain(list.error());
            return self.Later(kRetryEvery, &Impl::ClearOldSessions);
          }
          for (const auto& old : *list) {
            if (old.name == self.options.analyzer_id) {
              self.client.SessionDestroy(old.id, [](const base::Result<void>&) {});
            }
          }
          if (!self.registration) return self.CreateSession(/*with_check=*/false);
          self.registration->Start();
        }));
  }

  // The agent has been asked to know our service.
  void OnService(const base::Result<void>& outcome) {
    if (!connecting || stopping) return;
    if (outcome) return CreateSession(/*with_check=*/true);
    if (outcome.error().code == ErrorCode::kUnavailable) return ConnectLater();
    CreateSession(/*with_check=*/false, outcome.error().message);
  }

  void Connect() {
    if (stopping || !session.empty()) return;
    connecting = true;
    if (registration) {
      registration->LookNow();
    } else {
      CreateSession(/*with_check=*/false);
    }
  }

  // why_without: what stands against the check; empty: it was not wanted.
  void CreateSession(bool with_check, const std::string& why_without = "") {
    if (creating || stopping || !session.empty()) return;
    connecting = false;
    creating = true;
    client.SessionCreate(options.analyzer_id, kSessionTtl,
                         with_check ? consul::CheckIdOf(*options.service) : std::string(),
                         Guard([with_check, why_without](Impl& self, base::Result<std::string> id) {
                           self.creating = false;
                           // One that comes after the end is left to its TTL and its check.
                           if (self.stopping) return;
                           if (!id) return self.NoSession(id.error(), with_check);
                           self.HaveSession(*std::move(id), with_check, why_without);
                         }));
  }

  void NoSession(const base::Error& error, bool with_check) {
    if (!with_check || !IsAboutTheCheck(error)) {
      Complain(error);
      check_missing_since.reset();
      return ConnectLater();
    }
    const auto now = Clock::now();
    if (!check_missing_since) check_missing_since = now;
    if (now - *check_missing_since > kCheckPatience) {
      return CreateSession(/*with_check=*/false, error.message);
    }
    client.loop().After(kCheckRetry,
                        Guard([](Impl& self) { self.CreateSession(/*with_check=*/true); }));
  }

  void Complain(const base::Error& error) {
    if (error.message == complaint) return;
    complaint = error.message;
    base::Log(LogLevel::kWarn, "no Consul session", {{"error", complaint}});
  }

  void HaveSession(std::string id, bool with_check, const std::string& why_without) {
    session = std::move(id);
    complaint.clear();
    check_missing_since.reset();
    if (!with_check) {
      base::Log(LogLevel::kWarn,
                "this analyzer's session ends by its TTL alone: others take over 10 to 20 s after "
                "it was killed, instead of 2",
                {{"why", why_without.empty() ? "--consul.register=false" : why_without}});
    }
    RenewLater(kRenewEvery);
    Announce();
    NoteAlive(alive);
    events.on_session();
  }

  void Renew() {
    if (stopping || session.empty()) return;
    RenewLater(kRenewEvery);
    client.SessionRenew(session, Guard([asked = session](Impl& self, base::Result<void> renewed) {
                          if (self.session != asked) return;
                          if (renewed) return self.AnnounceAgain();
                          if (renewed.error().code == ErrorCode::kNotFound) return self.Lose();
                          self.RenewLater(kRetryEvery);
                        }));
  }

  void Lose() {
    session.clear();
    announced = false;
    if (alive) alive->erase(options.analyzer_id);
    events.on_lost("the Consul session is gone");
    Connect();
  }

  // --- who is alive
  // -----------------------------------------------------------------------------------------------

  void Announce() {
    if (stopping || session.empty()) return;
    announced = false;
    const std::string value = nlohmann::json{{"version", 1}}.dump();
    client.KvAcquire(AnalyzerKey(options.analyzer_id), value, session,
                     Guard([asked = session](Impl& self, base::Result<bool> acquired) {
                       if (self.session != asked) return;
                       self.announced = acquired.value_or(false);
                       if (acquired && !*acquired) self.NoteNamesake();
                     }));
  }

  void AnnounceAgain() {
    if (!announced) Announce();
  }

  // Said once: the next renewal tries again.
  void NoteNamesake() {
    const std::string what = "its key is held by another session";
    if (complaint == what) return;
    complaint = what;
    base::Log(LogLevel::kWarn, "another analyzer has the same --analyzer.id",
              {{"id", options.analyzer_id}, {"why", what}});
  }

  void ReadAlive(const std::vector<KvPair>& pairs) {
    std::set<std::string> now;
    bool own = false;
    for (const KvPair& pair : pairs) {
      const std::string name(After(kAnalyzersPrefix, pair.key));
      if (name.empty()) continue;
      if (name == options.analyzer_id) own = pair.session == session;
      if (!pair.session.empty()) now.insert(name);
    }
    RemoveDead(pairs, now);
    NoteAlive(std::move(now));
    if (announced && !own) {
      announced = false;
      Renew();
    }
  }

  // An analyzer without a session has no say in it, one with a session is alive.
  void NoteAlive(std::optional<std::set<std::string>> now) {
    if (!now) return;
    now->erase(options.analyzer_id);
    if (!session.empty()) now->insert(options.analyzer_id);
    if (alive == now) return;
    alive = std::move(now);
    events.on_alive();
  }

  // Keys of analyzers that did not come back; one of those that live is enough for it.
  void RemoveDead(const std::vector<KvPair>& pairs, const std::set<std::string>& living) {
    if (living.empty() || *living.begin() != options.analyzer_id) return;
    for (const KvPair& pair : pairs) {
      if (!pair.session.empty() || After(kAnalyzersPrefix, pair.key).empty()) continue;
      client.Txn({{.verb = "delete-cas", .key = pair.key, .index = pair.modify_index}},
                 [](const base::Result<std::vector<KvPair>>&) {});
    }
  }

  // --- the end
  // -----------------------------------------------------------------------------------------------

  void Release(std::function<void()> released, std::function<void()> done) {
    stopping = true;
    const std::string held = std::exchange(session, "");
    const auto leave = Guard([done = std::move(done)](Impl& self) { self.Leave(done); });
    if (held.empty()) {
      released();
      return leave();
    }
    client.SessionDestroy(held, [released = std::move(released), leave](const base::Result<void>&) {
      released();
      leave();
    });
  }

  void Leave(const std::function<void()>& done) {
    client.KvDelete(AnalyzerKey(options.analyzer_id), false,
                    Guard([done](Impl& self, const base::Result<void>&) {
                      if (!self.registration) return done();
                      self.registration->End(done);
                    }));
  }
};

Membership::Membership(consul::Client& client, MembershipOptions options, MembershipEvents events)
    : impl_(std::make_shared<Impl>(client, std::move(options), std::move(events))) {}

Membership::~Membership() = default;

void Membership::Start() { impl_->Start(); }

const std::string& Membership::session() const { return impl_->session; }

const std::optional<std::set<std::string>>& Membership::alive() const { return impl_->alive; }

void Membership::Doubt() { impl_->Renew(); }

void Membership::Release(std::function<void()> released, std::function<void()> done) {
  impl_->Release(std::move(released), std::move(done));
}

}  // namespace consul_canary::control
