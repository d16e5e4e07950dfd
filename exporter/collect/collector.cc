#include "exporter/collect/collector.h"

#include <mutex>
#include <utility>

#include "exporter/collect/gateways.h"
#include "exporter/collect/mesh_state.h"
#include "exporter/collect/path_set.h"
#include "exporter/collect/scraper.h"

namespace consul_canary::collect {
namespace {

using base::HttpResponse;
using base::Result;
using Clock = std::chrono::steady_clock;

constexpr base::milliseconds kMinInterval{100};
// Blocking queries say nothing while nothing changes, and may hang for a minute when the agent
// does.
constexpr base::milliseconds kHeartbeat{5000};

template <class T>
Result<std::map<std::string, T>> ByName(Result<std::vector<T>> entries) {
  if (!entries) return tl::unexpected(entries.error());
  std::map<std::string, T> by_name;
  for (T& entry : *entries) {
    std::string name = entry.name;
    by_name.insert_or_assign(std::move(name), std::move(entry));
  }
  return by_name;
}

// Keeps the last value when `news` is an error. False when nothing is new.
template <class T>
bool Take(Answer<T>& answer, Result<T> news) {
  if (!news) {
    if (answer.error == news.error()) return false;
    answer.error = news.error();
    return true;
  }
  if (!answer.error && answer.value == *news) return false;
  answer.error.reset();
  answer.value = *std::move(news);
  return true;
}

// A 404 arrives as an answer, but none of these paths may be absent.
template <class Parser>
auto Parse(const Result<HttpResponse>& answer, const Parser& parser)
    -> decltype(parser(std::string_view())) {
  if (!answer) return tl::unexpected(answer.error());
  if (answer->status != 200) {
    return base::Fail(base::ErrorCode::kUnavailable,
                      "Consul: unexpected status " + std::to_string(answer->status));
  }
  return parser(answer->body);
}

Result<bool> ParseLeader(std::string_view body) {
  if (body.find_first_not_of("\" \n") != std::string_view::npos) return true;
  return base::Fail(base::ErrorCode::kUnavailable, "GET /v1/status/leader: Consul has no leader");
}

}  // namespace

struct Collector::Impl : std::enable_shared_from_this<Collector::Impl> {
  Impl(consul::Client& consul_client, CollectorOptions collector_options)
      : client(consul_client), options(collector_options) {}

  ~Impl() {
    client.loop().Cancel(refresh_timer);
    client.loop().Cancel(heartbeat_timer);
  }

  void Start() {
    scraper = std::make_unique<Scraper>(client.loop(), options, [this] {
      Publish();
      if (on_round) on_round();
    });
    paths = std::make_unique<PathSet>(client, PathSetOptions(),
                                      [this](const std::string& path, Result<HttpResponse> answer) {
                                        OnPath(path, std::move(answer));
                                      });
    WatchEntries("service-splitter", state.splitters, consul::ParseSplitters);
    WatchEntries("service-resolver", state.resolvers, consul::ParseResolvers);
    WatchEntries("service-router", state.routers, consul::ParseRouters);
    WatchNames(consul::Client::ProxyServicesPath(), state.proxy_services);
    WatchNames(GatewaysPath(), state.gateways);
    scraper->Start();
    Heartbeat();
  }

  template <class T>
  void WatchEntries(std::string_view kind, Answer<std::map<std::string, T>>& entries,
                    Result<std::vector<T>> (*parser)(std::string_view)) {
    watches.push_back(client.WatchPath("config", consul::Client::EntriesPath(kind), kMinInterval,
                                       [this, &entries, parser](Result<HttpResponse> answer) {
                                         OnAnswer(entries, ByName(Parse(answer, parser)));
                                       }));
  }

  void WatchNames(const std::string& path, Answer<std::vector<std::string>>& names) {
    watches.push_back(client.WatchPath("catalog", path, kMinInterval,
                                       [this, &names](Result<HttpResponse> answer) {
                                         OnAnswer(names, Parse(answer, consul::ParseServiceNames));
                                       }));
  }

  void OnPath(const std::string& path, Result<HttpResponse> answer) {
    if (path.starts_with(GatewayServicesPath(""))) {
      OnAnswer(state.gateway_services[path], Parse(answer, ParseGatewayServices));
    } else {
      OnAnswer(state.health[path], Parse(answer, consul::ParseInstances));
    }
  }

  template <class T>
  void OnAnswer(Answer<T>& answer, Result<T> news) {
    if (news) answered_at = Clock::now();
    if (Take(answer, std::move(news))) RefreshSoon();
  }

  void Heartbeat() {
    client.Get("status", "/v1/status/leader",
               [weak = weak_from_this()](Result<HttpResponse> answer) {
                 const std::shared_ptr<Impl> self = weak.lock();
                 if (!self) return;
                 self->OnAnswer(self->state.heartbeat, Parse(answer, ParseLeader));
                 self->heartbeat_timer = self->client.loop().After(kHeartbeat, [self_weak = weak] {
                   if (const auto alive = self_weak.lock()) alive->Heartbeat();
                 });
               });
  }

  // Answers come in bursts (a new service brings a handful); one pass serves them all.
  void RefreshSoon() {
    if (refresh_timer != 0) return;
    refresh_timer = client.loop().After(base::milliseconds(0), [this] {
      refresh_timer = 0;
      Refresh();
    });
  }

  void Refresh() {
    const std::vector<std::string> wanted = WantedPaths(state);
    const std::set<std::string> wanted_set(wanted.begin(), wanted.end());
    const auto is_past = [&](const auto& answer) { return !wanted_set.contains(answer.first); };
    std::erase_if(state.health, is_past);
    std::erase_if(state.gateway_services, is_past);
    paths->Sync(wanted);
    outline = Outline(state);
    scraper->SetTargets(WantedTargets(state));
    TellHealth();
    ready = ready || IsComplete(state);
    Publish();
    if (on_consul_change) on_consul_change();
  }

  void TellHealth() {
    for (const auto& [name, service] : outline) {
      for (const CallerReading& caller : service.callers) {
        scraper->SetPassing(caller.id, caller.passing);
      }
      for (const ServerReading& server : service.servers) {
        scraper->SetPassing(server.id, server.passing);
      }
    }
  }

  void Publish() {
    auto snapshot = std::make_shared<MeshSnapshot>();
    snapshot->taken_at = Clock::now();
    snapshot->consul_error = FirstError(state);
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
    if (paths) RefreshSoon();
  }

  consul::Client& client;
  const CollectorOptions options;
  std::function<void()> on_consul_change;
  std::function<void()> on_round;
  std::function<void(const MeshSnapshot&)> on_publish;

  // Of the loop's thread alone.
  MeshState state;
  MeshOutline outline;  // of `state`
  std::optional<base::MonotonicTime> answered_at;
  bool ready = false;
  base::IoLoop::Id refresh_timer = 0;
  base::IoLoop::Id heartbeat_timer = 0;
  std::unique_ptr<Scraper> scraper;
  std::unique_ptr<PathSet> paths;
  std::vector<std::unique_ptr<consul::Watch>> watches;

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
