#include "exporter/collect/collector.h"

#include <algorithm>
#include <iterator>
#include <mutex>
#include <utility>

#include "exporter/collect/answer.h"
#include "exporter/collect/entries.h"
#include "exporter/collect/gateways.h"
#include "exporter/collect/mesh_state.h"
#include "exporter/collect/path_set.h"
#include "exporter/collect/scraper.h"

namespace consul_canary::collect {
namespace {

using base::Result;
using Clock = std::chrono::steady_clock;

constexpr base::milliseconds kMinInterval{100};
// A weight must not wait because another service's was written just before.
constexpr base::milliseconds kEntryInterval{20};
// Each registration anywhere wakes these, and is a reason to look at every proxy.
constexpr base::milliseconds kCatalogInterval{1000};
// Blocking queries say nothing while nothing changes, and may hang for a minute when the agent
// does.
constexpr base::milliseconds kHeartbeat{5000};
// After a pass over all that is known, others have the loop for this many times as long.
constexpr int kRest = 4;

Result<bool> ParseLeader(std::string_view body) {
  if (!body.starts_with('"')) {
    return base::Fail(base::ErrorCode::kInvalid, "the answer is not an address");
  }
  if (body.find_first_not_of("\" \n") != std::string_view::npos) return true;
  return base::Fail(base::ErrorCode::kUnavailable, "Consul has no leader");
}

// Of entries that matter only in what Consul merges from them.
Result<bool> ParseDefaults(std::string_view body) {
  if (body.starts_with('[') || body.starts_with("null")) return true;
  return base::Fail(base::ErrorCode::kInvalid, "the answer is not a JSON array");
}

}  // namespace

struct Collector::Impl : std::enable_shared_from_this<Collector::Impl> {
  Impl(consul::Client& consul_client, CollectorOptions collector_options)
      : client(consul_client),
        options(collector_options),
        place(consul::PlaceOf(client.settings().namespace_name, client.settings().partition)) {}

  ~Impl() {
    client.loop().Cancel(refresh_timer);
    client.loop().Cancel(heartbeat_timer);
  }

  void Start() {
    scraper = std::make_unique<Scraper>(
        client.loop(), options,
        [this] {
          Publish();
          if (on_round) on_round();
        },
        place);
    paths = std::make_unique<PathSet>(client, PathSetOptions(), ReadPath,
                                      [this](const std::string& path, Result<PathValue> answer) {
                                        OnPath(path, std::move(answer));
                                      });
    WatchEntries("service-splitter", state.splitters, consul::ParseSplitters);
    WatchEntries("service-resolver", state.resolvers, consul::ParseResolvers);
    WatchEntries("service-router", state.routers, consul::ParseRouters);
    WatchNames(consul::Client::ProxyServicesPath(), state.proxy_services, /*announces=*/true);
    WatchNames(GatewaysPath(), state.gateways, /*announces=*/false);
    WatchFailingChecks();
    WatchDefaults("proxy-defaults");
    WatchDefaults("service-defaults");
    scraper->Start();
    Heartbeat();
  }

  template <class T>
  void WatchEntries(std::string_view kind, Answer<std::map<std::string, T>>& entries,
                    Result<std::vector<T>> (*parser)(std::string_view)) {
    using Entries = std::map<std::string, T>;
    watches.push_back(client.WatchValue<Entries>(
        "config", consul::Client::EntriesPath(kind), kEntryInterval,
        [parser, this](std::string_view body) -> Result<Entries> {
          return parser(body).map(
              [this](std::vector<T> list) { return ByName(std::move(list), place); });
        },
        [this, &entries](Result<Entries> answer) {
          const bool same = answer && entries.value && AreAlike(*answer, *entries.value);
          OnAnswer(entries, std::move(answer), /*leads_on=*/!same);
        }));
  }

  // The index of such a list moves with every registration in the catalog, whatever it holds.
  void WatchNames(const std::string& path, Answer<std::vector<std::string>>& names,
                  bool announces) {
    using Names = std::vector<std::string>;
    watches.push_back(client.WatchValue<Names>("catalog", path, kCatalogInterval,
                                               consul::ParseServiceNames,
                                               [this, &names, announces](Result<Names> answer) {
                                                 if (announces && answer) paths->MarkAll();
                                                 OnAnswer(names, std::move(answer));
                                               }));
  }

  // These two kinds are merged into what Consul says of proxies, so any of those may have changed.
  void WatchDefaults(std::string_view kind) {
    Answer<bool>& read = state.defaults[std::string(kind)];
    watches.push_back(client.WatchValue<bool>("config", consul::Client::EntriesPath(kind),
                                              kMinInterval, ParseDefaults,
                                              [this, &read](Result<bool> answer) {
                                                if (answer) paths->MarkAll();
                                                OnAnswer(read, std::move(answer));
                                              }));
  }

  void WatchFailingChecks() {
    using Checks = std::set<consul::FailingCheck>;
    watches.push_back(client.WatchValue<Checks>(
        "health", consul::FailingChecksPath(), kMinInterval, consul::ParseFailingChecks,
        [this](Result<Checks> answer) {
          if (answer && state.failing_checks.value) {
            Checks changed;
            std::set_symmetric_difference(
                answer->begin(), answer->end(), state.failing_checks.value->begin(),
                state.failing_checks.value->end(), std::inserter(changed, changed.begin()));
            paths->Mark(PathsOf(state, changed));
          }
          // Nothing that is shown follows from it, but that it fails.
          const bool failed = state.failing_checks.error.has_value();
          (void)Take(state.failing_checks, std::move(answer));
          if (failed != state.failing_checks.error.has_value()) RefreshSoon();
        }));
  }

  // Only transparent proxies call what they do not declare.
  void SyncIntentions() {
    if (!HasTransparentProxy(state)) {
      intentions.reset();
      state.intentions = {};
      state.allowed_by_default = {};
      return;
    }
    if (intentions) return;
    using Intentions = std::vector<consul::Intention>;
    intentions = client.WatchValue<Intentions>(
        "intentions", consul::IntentionsPath(), kMinInterval,
        [settings = &client.settings()](std::string_view body) {
          return consul::ParseIntentions(body, settings->namespace_name, settings->partition);
        },
        [this](Result<Intentions> answer) {
          if (answer) AskDefaultIntention();
          OnAnswer(state.intentions, std::move(answer));
        });
  }

  // Consul's configuration decides it, so it changes with a restart only; but intentions for all
  // ("*") show in it too.
  void AskDefaultIntention() {
    client.ReadValue<bool>("intentions", consul::DefaultIntentionPath(),
                           consul::ParseAllowedByDefault,
                           [weak = weak_from_this()](Result<bool> answer) {
                             const std::shared_ptr<Impl> self = weak.lock();
                             if (self) self->OnAnswer(self->state.allowed_by_default, answer);
                           });
  }

  void OnPath(const std::string& path, Result<PathValue> answer) {
    if (path.starts_with(GatewayServicesPath(""))) {
      OnAnswer(state.gateway_services[path], ValueOf<std::vector<std::string>>(std::move(answer)));
    } else {
      OnAnswer(state.health[path], ValueOf<std::vector<consul::Instance>>(std::move(answer)));
    }
  }

  template <class T>
  static Result<T> ValueOf(Result<PathValue> answer) {
    if (!answer) return tl::unexpected(answer.error());
    return std::get<T>(*std::move(answer));
  }

  // `leads_on`: what is asked and whom is read may follow from the news.
  template <class T>
  void OnAnswer(Answer<T>& answer, Result<T> news, bool leads_on = true) {
    if (news) answered_at = Clock::now();
    if (!Take(answer, std::move(news))) return;
    leads = leads || leads_on;
    RefreshSoon(/*urgent=*/!leads_on);
  }

  void Heartbeat() {
    client.ReadValue<bool>(
        "status", "/v1/status/leader", ParseLeader, [weak = weak_from_this()](Result<bool> answer) {
          const std::shared_ptr<Impl> self = weak.lock();
          if (!self) return;
          self->OnAnswer(self->state.heartbeat, std::move(answer));
          self->heartbeat_timer = self->client.loop().After(kHeartbeat, [self_weak = weak] {
            if (const auto alive = self_weak.lock()) alive->Heartbeat();
          });
        });
  }

  // Answers come in bursts (a new service brings a handful); one pass serves them all. A mesh of
  // thousands, each of which answers by itself at first, must not fill the loop with passes; but a
  // weight waits for nobody.
  void RefreshSoon(bool urgent = false) {
    if (refresh_timer != 0 && !urgent) return;
    client.loop().Cancel(std::exchange(refresh_timer, 0));
    const auto wait = std::chrono::ceil<base::milliseconds>(refresh_due - Clock::now());
    refresh_timer = client.loop().After(
        urgent ? base::milliseconds(0) : std::max(wait, base::milliseconds(0)), [this] {
          refresh_timer = 0;
          Refresh();
        });
  }

  void Refresh() {
    const Clock::time_point begin = Clock::now();
    const bool rested = begin >= refresh_due;
    if (leads && rested) {
      leads = false;
      FollowLeads();
    } else {
      UpdateEntries(state, outline);
    }
    failures = Failures(state);
    Publish();
    if (on_consul_change) on_consul_change();
    if (rested) refresh_due = Clock::now() + kRest * (Clock::now() - begin);
    if (leads) RefreshSoon();
  }

  // Asks and reads what follows from what is known now.
  void FollowLeads() {
    const std::vector<std::string> wanted = WantedPaths(state);
    const std::set<std::string> wanted_set(wanted.begin(), wanted.end());
    const auto is_past = [&](const auto& answer) { return !wanted_set.contains(answer.first); };
    std::erase_if(state.health, is_past);
    std::erase_if(state.gateway_services, is_past);
    paths->Sync(wanted);
    SyncIntentions();
    outline = Outline(state);
    scraper->SetTargets(WantedTargets(state));
    TellHealth();
    ready = ready || IsComplete(state);
  }

  void TellHealth() {
    for (const auto& [name, service] : outline.services) {
      for (const CallerReading& caller : service.callers) {
        scraper->SetPassing(caller.id, caller.passing);
      }
      for (const ServerReading& server : service.servers) {
        scraper->SetPassing(server.id, server.passing);
      }
    }
    for (const OpenCaller& open : outline.open_callers) {
      scraper->SetPassing(open.caller.id, open.caller.passing);
    }
  }

  void Publish() {
    auto snapshot = std::make_shared<MeshSnapshot>();
    snapshot->taken_at = Clock::now();
    snapshot->consul_error = FirstError(state);
    snapshot->consul_failures = failures;
    snapshot->refusals = client.Refused();
    snapshot->left_out = client.LeftOut();
    snapshot->consul_answered_at = answered_at;
    snapshot->ready = ready;
    snapshot->services = Assemble(outline, scraper->readings());
    {
      const std::lock_guard lock(mutex);
      latest = snapshot;
      stats = scraper->stats();
    }
    if (on_publish) on_publish(*snapshot);
  }

  void Follow(std::set<std::string> services) {
    if (state.followed == services) return;
    state.followed = std::move(services);
    leads = true;
    if (paths) RefreshSoon();
  }

  void SetStaticTargets(StaticTargets targets) {
    if (state.static_targets == targets) return;
    state.static_targets = std::move(targets);
    leads = true;
    if (paths) RefreshSoon();
  }

  consul::Client& client;
  const CollectorOptions options;
  const consul::Place place;
  std::function<void()> on_consul_change;
  std::function<void()> on_round;
  std::function<void(const MeshSnapshot&)> on_publish;

  // Of the loop's thread alone.
  MeshState state;
  MeshOutline outline;  // of `state`
  std::optional<base::MonotonicTime> answered_at;
  bool ready = false;
  bool leads = false;  // something new may lead to further questions and sidecars
  std::map<std::string, base::Error> failures;
  Clock::time_point refresh_due{};  // before it, others have the loop
  base::IoLoop::Id refresh_timer = 0;
  base::IoLoop::Id heartbeat_timer = 0;
  std::unique_ptr<Scraper> scraper;
  std::unique_ptr<PathSet> paths;
  std::vector<std::unique_ptr<consul::Watch>> watches;
  std::unique_ptr<consul::Watch> intentions;

  mutable std::mutex mutex;  // guards what follows
  std::shared_ptr<const MeshSnapshot> latest = std::make_shared<MeshSnapshot>();
  ScrapeStats stats;
};

Collector::Collector(consul::Client& client, CollectorOptions options)
    : impl_(std::make_shared<Impl>(client, options)) {}

Collector::~Collector() = default;

void Collector::Start() { impl_->Start(); }

void Collector::Follow(std::set<std::string> services) {
  impl_->client.loop().Post(
      [weak = std::weak_ptr(impl_), services = std::move(services)]() mutable {
        if (const std::shared_ptr<Impl> impl = weak.lock()) impl->Follow(std::move(services));
      });
}

void Collector::SetStaticTargets(StaticTargets targets) {
  impl_->client.loop().Post([weak = std::weak_ptr(impl_), targets = std::move(targets)]() mutable {
    if (const std::shared_ptr<Impl> impl = weak.lock()) {
      impl->SetStaticTargets(std::move(targets));
    }
  });
}

std::shared_ptr<const MeshSnapshot> Collector::Latest() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->latest;
}

ScrapeStats Collector::scrape_stats() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->stats;
}

void Collector::OnConsulChange(std::function<void()> callback) {
  impl_->on_consul_change = std::move(callback);
}

void Collector::OnRound(std::function<void()> callback) { impl_->on_round = std::move(callback); }

void Collector::OnPublish(std::function<void(const MeshSnapshot&)> callback) {
  impl_->on_publish = std::move(callback);
}

}  // namespace consul_canary::collect
