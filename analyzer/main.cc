// consul-canary-analyzer: rules rollouts. Reads the mesh in-process, compares canary with primary
// once a second, and moves the splitter's weights. State is in Consul's KV; this process may be
// killed at any moment.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <atomic>
#include <cstdio>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "analyzer/api/api.h"
#include "analyzer/api/auth.h"
#include "analyzer/api/metrics.h"
#include "analyzer/api/waiting_room.h"
#include "analyzer/control/loop.h"
#include "analyzer/control/record.h"
#include "analyzer/hooks/alertmanager.h"
#include "exporter/base/daemon.h"
#include "exporter/base/http_server.h"
#include "exporter/base/io_loop.h"
#include "exporter/base/log.h"
#include "exporter/base/web_gate.h"
#include "exporter/collect/collector.h"
#include "exporter/collect/mesh_log.h"
#include "exporter/consul/client.h"
#include "exporter/consul/registration.h"
#include "exporter/daemon_flags.h"
#include "exporter/metrics/mesh_metrics.h"

namespace consul_canary {
namespace {

constexpr int kBadConfiguration = 2;
constexpr const char* kName = "consul-canary-analyzer";
constexpr base::seconds kCheckEvery{1};
constexpr base::seconds kCheckTimeout{2};

struct Flags : DaemonFlags {
  Flags() {
    listen_addresses = {"127.0.0.1:9656"};
    register_name = kName;
    registers = true;  // its session is bound to that service's check
  }

  std::string source = "envoy";
  std::string auth_file;
  std::string id;
  std::string record;
  bool none_on_loopback = false;
};

struct Config {
  Flags flags;
  consul::Settings consul;
  api::AuthOptions auth;
};

void Declare(CLI::App& app, Flags& flags) {
  Declare(app, kName, static_cast<DaemonFlags&>(flags));
  app.add_option("--source", flags.source, "Where outcomes come from: envoy (read in-process)")
      ->capture_default_str();
  app.add_option("--auth.file", flags.auth_file,
                 "Bearer tokens, one a line: role:name:hash (viewer, operator, hook)");
  app.add_flag("--auth.none-on-loopback", flags.none_on_loopback,
               "Callers on this machine may write without a token");
  app.add_option("--analyzer.id", flags.id,
                 "Name of this analyzer, the same after a restart (default host:port)");
  app.add_option("--record", flags.record,
                 "Folder for a recording of each rollout, which consul-canaryctl replay reads");
}

// None without a file.
base::Result<std::vector<api::Token>> ReadTokens(const Flags& flags) {
  if (flags.auth_file.empty()) return std::vector<api::Token>();
  return api::ReadTokenFile(flags.auth_file);
}

// Checks everything and returns every complaint, so that one run shows all that is wrong.
std::vector<std::string> Complete(Config& config) {
  std::vector<std::string> complaints = Complaints(config.flags);
  if (config.flags.source != "envoy") {
    complaints.push_back(fmt::format("--source: \"{}\" is not built in this version; envoy is",
                                     config.flags.source));
  }
  if (!config.flags.record.empty()) {
    const auto folder = control::CheckRecordFolder(config.flags.record);
    if (!folder) complaints.push_back("--record: " + folder.error().message);
  }
  config.auth.none_on_loopback = config.flags.none_on_loopback;
  auto tokens = ReadTokens(config.flags);
  if (tokens) {
    config.auth.tokens = *std::move(tokens);
  } else {
    complaints.push_back("--auth.file: " + tokens.error().message);
  }
  auto settings = consul::SettingsFromEnvironment();
  if (settings) {
    config.consul = *std::move(settings);
  } else {
    complaints.push_back(settings.error().message);
  }
  return complaints;
}

std::string DefaultId(int port) {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) return fmt::format("analyzer:{}", port);
  return fmt::format("{}:{}", host.data(), port);
}

class Analyzer {
 public:
  // Both must outlive it.
  Analyzer(const Config& config, base::WebGate& gate)
      : config_(config), gate_(gate), auth_(config.auth), metrics_(metrics::Roles{}) {
    // Client and collector live on the loop's thread, which is already running.
    std::promise<void> started;
    io_.loop().Post([&] {
      client_ = std::make_unique<consul::Client>(
          io_.loop(), config.consul, [this](std::string_view operation, std::string_view result) {
            metrics_.OnConsulRequest(operation, result);
          });
      collector_ = std::make_unique<collect::Collector>(*client_, collect::CollectorOptions{});
      collector_->OnPublish([this](const collect::MeshSnapshot& snapshot) {
        metrics_.OnSnapshot(snapshot);
        log_.Observe(snapshot);
      });
      started.set_value();
    });
    started.get_future().wait();
  }

  // The loop of ticks ends first and gives its locks back; then the loop of I/O, which goes last.
  ~Analyzer() {
    if (loop_) loop_->Stop();
    io_.Stop();
    hook_.reset();
    api_.reset();
    loop_.reset();
    collector_.reset();
    client_.reset();
  }
  Analyzer(const Analyzer&) = delete;
  Analyzer& operator=(const Analyzer&) = delete;

  // Once the port is known, which is part of the default name.
  void Start(int port) {
    control::LoopOptions options;
    options.membership = MembershipAt(port);
    options.record_folder = config_.flags.record;
    loop_ = std::make_unique<control::Loop>(io_.loop(), *client_, *collector_, options);
    api_ = std::make_unique<api::Api>(io_.loop(), *client_, *loop_, auth_, room_);
    hook_ = std::make_unique<hooks::AlertmanagerHook>(io_.loop(), *client_, auth_, room_);
    loop_->Start();
    io_.loop().Post([this] { collector_->Start(); });
    base::Log(base::LogLevel::kInfo, "analyzer started",
              {{"id", options.membership.analyzer_id}, {"consul", config_.consul.address}});
    running_ = true;
  }

  // Gives the locks back, so that another analyzer goes on at once; pages are served until the end.
  void Drain() {
    running_ = false;
    loop_->Stop();
  }

  // What brings a bearer token is for the API and the hook to check; nothing else takes one.
  [[nodiscard]] base::ServerResponse Answer(const base::ServerRequest& request) {
    const auto dispatch = [this](const base::ServerRequest& each) { return Dispatch(each); };
    const auto header = request.headers.find("authorization");
    const bool checks_itself =
        (request.path.starts_with("/api/") || request.path.starts_with("/hooks/")) &&
        header != request.headers.end() && header->second.starts_with("Bearer ");
    return checks_itself ? gate_.AnswerUnchecked(request, dispatch)
                         : gate_.Answer(request, dispatch);
  }

  // The web config file and the bearer tokens, all or nothing. Consul's token file is read whenever
  // it has changed, so it needs nothing. Any thread.
  base::Result<void> Reload() {
    const std::lock_guard lock(reload_mutex_);
    auto tokens = ReadTokens(config_.flags);
    const base::Result<void> done = tokens ? gate_.Reload() : tl::unexpected(tokens.error());
    if (!done) {
      base::Log(base::LogLevel::kError, "reload refused; what was read before stays",
                {{"error", done.error().message}});
      return done;
    }
    base::Log(base::LogLevel::kInfo, "reloaded", {{"tokens", std::to_string(tokens->size())}});
    auth_.SetTokens(*std::move(tokens));
    return {};
  }

 private:
  // A check each second, by HTTP: a process that was stopped still takes connections.
  [[nodiscard]] control::MembershipOptions MembershipAt(int port) const {
    const Flags& flags = config_.flags;
    control::MembershipOptions options;
    options.analyzer_id = flags.id.empty() ? DefaultId(port) : flags.id;
    if (!flags.registers) return options;
    options.service = consul::DescribeDaemon(flags.register_name, flags.register_address,
                                             flags.listen_addresses.front(), port,
                                             flags.telemetry_path, CONSUL_CANARY_VERSION);
    options.service->check_every = kCheckEvery;
    options.service->check_timeout = kCheckTimeout;
    options.service->starts_passing = true;
    options.service->is_for_others = false;
    return options;
  }

  [[nodiscard]] base::ServerResponse Dispatch(const base::ServerRequest& request) {
    if (auto response = base::AnswerCommonPages(pages_, request)) return *std::move(response);
    const bool api = request.path.starts_with("/api/");
    const bool hook = request.path == "/hooks/alertmanager";
    if (!api && !hook) {
      return base::ErrorResponse({base::ErrorCode::kNotFound, "no page " + request.path});
    }
    if (!running_) {
      return base::ErrorResponse({base::ErrorCode::kUnavailable, "starting or shutting down"});
    }
    return api ? api_->Handle(request) : hook_->Handle(request);
  }

  base::DaemonPages Pages() {
    base::DaemonPages pages;
    pages.name = kName;
    pages.version = CONSUL_CANARY_VERSION;
    pages.telemetry_path = config_.flags.telemetry_path;
    pages.links = {{"/api/v1/rollouts", "Rollouts"}};
    pages.metrics = [this](base::MetricsSyntax syntax) { return Metrics(syntax); };
    pages.why_not_ready = [this] { return WhyNotReady(); };
    pages.reload = [this] { return Reload(); };
    return pages;
  }

  [[nodiscard]] std::string Metrics(base::MetricsSyntax syntax) {
    const metrics::Now now{std::chrono::steady_clock::now(), std::chrono::system_clock::now()};
    metrics::TextWriter page(syntax, page_size_.Expected());
    if (running_) {
      NameSubsets(*loop_->Latest());
      api::WriteAnalyzer(*loop_->Latest(), hook_->results(), page);
    }
    metrics_.Write(*collector_->Latest(), collector_->scrape_stats(), now, page);
    metrics::WriteProcess(kName, base::Build(), base::ReadProcessStats(), page);
    std::string text = page.Finish();
    page_size_.Saw(text.size());
    return text;
  }

  // The roles of subsets on the exporter's metrics are those that the specifications name.
  void NameSubsets(const control::FleetView& fleet) {
    metrics::Roles roles;
    for (const auto& [id, view] : fleet.rollouts) {
      if (!view->spec) continue;
      roles.by_service[view->spec->service] = {view->spec->primary_subset,
                                               view->spec->canary_subset};
    }
    metrics_.SetRoles(std::move(roles));
  }

  [[nodiscard]] std::optional<std::string> WhyNotReady() const {
    if (!running_) return "starting or shutting down";
    const auto mesh = collector_->Latest();
    // Whoever may not keep state and locks rules nothing, however well the mesh is read.
    for (const consul::Refusal& refusal : mesh->refusals) {
      if (refusal.rule.starts_with("key") || refusal.rule.starts_with("session")) {
        return InWords(refusal);
      }
    }
    if (mesh->ready) return std::nullopt;
    return mesh->consul_error ? "Consul does not answer: " + mesh->consul_error->message
                              : "the mesh has not been read yet";
  }

  const Config& config_;
  base::WebGate& gate_;
  api::Auth auth_;
  api::WaitingRoom room_{base::ServerOptions{}.threads};
  std::mutex reload_mutex_;  // so that the files read last are those that are kept
  base::IoThread io_;
  metrics::MeshMetrics metrics_;
  metrics::PageSize page_size_;
  collect::MeshLog log_;
  std::unique_ptr<consul::Client> client_;
  std::unique_ptr<collect::Collector> collector_;
  std::unique_ptr<control::Loop> loop_;
  std::unique_ptr<api::Api> api_;
  std::unique_ptr<hooks::AlertmanagerHook> hook_;
  std::atomic<bool> running_ = false;
  const base::DaemonPages pages_ = Pages();
};

int Serve(const Config& config, base::WebGate& gate) {
  base::BlockSignals();
  base::ReturnFreedMemory();
  Analyzer analyzer(config, gate);
  base::ServerOptions options;
  options.listen_addresses = config.flags.listen_addresses;
  auto server = base::HttpServer::Start(
      options, [&](const base::ServerRequest& request) { return analyzer.Answer(request); });
  if (!server) {
    fmt::print(stderr, "{}: --web.listen-address: {}\n", kName, server.error().message);
    return kBadConfiguration;
  }
  for (const int port : (*server)->ports()) {
    base::Log(base::LogLevel::kInfo, "listening", {{"port", std::to_string(port)}});
  }
  analyzer.Start((*server)->ports().front());
  base::WaitForEnd([&analyzer] { (void)analyzer.Reload(); });
  base::Log(base::LogLevel::kInfo, "shutting down");
  analyzer.Drain();
  server->reset();  // waits for requests that are being answered
  return 0;
}

int Main(int argc, char** argv) {
  Config config;
  CLI::App app("Rules canary rollouts in Consul's service mesh.", kName);
  Declare(app, config.flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kBadConfiguration;
  }
  std::vector<std::string> complaints = Complete(config);
  const auto gate = base::WebGate::Open(config.flags.web_config_file);
  if (!gate) complaints.push_back("--web.config.file: " + gate.error().message);
  for (const std::string& complaint : complaints) fmt::print(stderr, "{}: {}\n", kName, complaint);
  return complaints.empty() ? Serve(config, **gate) : kBadConfiguration;
}

}  // namespace
}  // namespace consul_canary

int main(int argc, char** argv) { return consul_canary::Main(argc, argv); }
