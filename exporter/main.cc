// consul-canary-exporter: reads the mesh from Consul and its sidecars, and serves what it sees as
// Prometheus metrics. It writes nothing anywhere.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <future>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "exporter/base/daemon.h"
#include "exporter/base/http_server.h"
#include "exporter/base/io_loop.h"
#include "exporter/base/log.h"
#include "exporter/base/web_gate.h"
#include "exporter/collect/collector.h"
#include "exporter/collect/mesh_log.h"
#include "exporter/collect/static_targets.h"
#include "exporter/consul/client.h"
#include "exporter/consul/registration.h"
#include "exporter/daemon_flags.h"
#include "exporter/metrics/mesh_metrics.h"

namespace consul_canary {
namespace {

constexpr int kBadConfiguration = 2;
constexpr const char* kName = "consul-canary-exporter";
constexpr base::milliseconds kShortestInterval{100};
constexpr base::milliseconds kLongestInterval{3'600'000};
constexpr base::milliseconds kLongestScrapeTimeout{10'000};
constexpr base::milliseconds kPatienceAtTheEnd{2'000};

struct Flags : DaemonFlags {
  Flags() {
    listen_addresses = {"127.0.0.1:9655"};
    register_name = kName;
  }

  std::string scrape_interval = "1s";
  std::vector<std::string> services;
  std::string targets_file;
  std::string datacenter;
  metrics::SubsetNames subsets;
};

struct Config {
  Flags flags;
  collect::StaticTargets targets;
  consul::Settings consul;
  collect::CollectorOptions collector;
};

void Declare(CLI::App& app, Flags& flags) {
  Declare(app, kName, static_cast<DaemonFlags&>(flags));
  app.add_option("--scrape.interval", flags.scrape_interval,
                 "Time between two readings of the same sidecar")
      ->capture_default_str();
  app.add_option("--services", flags.services,
                 "Service to show although it has no splitter; may be given several times")
      ->expected(1)
      ->take_all();
  app.add_option("--targets.file", flags.targets_file,
                 "YAML or JSON file of sidecars that are read besides those that Consul names");
  app.add_option("--consul.datacenter", flags.datacenter,
                 "Datacenter to ask Consul for; the agent's own without it");
  app.add_option("--subset.primary", flags.subsets.primary, "Subset whose role is primary")
      ->capture_default_str();
  app.add_option("--subset.canary", flags.subsets.canary, "Subset whose role is canary")
      ->capture_default_str();
}

// Nothing without a file.
base::Result<collect::StaticTargets> ReadTargets(const Flags& flags) {
  if (flags.targets_file.empty()) return collect::StaticTargets();
  return collect::ReadStaticTargets(flags.targets_file);
}

// Checks everything and returns every complaint, so that one run shows all that is wrong.
std::vector<std::string> Complete(Config& config) {
  std::vector<std::string> complaints = Complaints(config.flags);
  const auto complain = [&complaints](std::string_view flag, const std::string& reason) {
    complaints.push_back(fmt::format("{}: {}", flag, reason));
  };
  const auto interval = base::ParseDuration(config.flags.scrape_interval);
  if (!interval) {
    complain("--scrape.interval", interval.error().message);
  } else if (*interval < kShortestInterval || *interval > kLongestInterval) {
    complain("--scrape.interval", "must be 100ms to 1h");
  } else {
    config.collector.interval = *interval;
    config.collector.scrape_timeout = std::min(*interval * 9 / 10, kLongestScrapeTimeout);
  }
  if (config.flags.subsets.primary == config.flags.subsets.canary) {
    complain("--subset.canary", "must differ from --subset.primary");
  }
  auto targets = ReadTargets(config.flags);
  if (targets) {
    config.targets = *std::move(targets);
  } else {
    complain("--targets.file", targets.error().message);
  }
  auto settings = consul::SettingsFromEnvironment();
  if (settings) {
    config.consul = *std::move(settings);
    config.consul.datacenter = config.flags.datacenter;
  } else {
    complaints.push_back(settings.error().message);
  }
  return complaints;
}

class Exporter {
 public:
  explicit Exporter(const Config& config)
      : flags_(config.flags), metrics_(metrics::Roles{config.flags.subsets, {}}) {
    // Client and collector live on the loop's thread, which is already running.
    std::promise<void> started;
    io_.loop().Post([&] {
      client_ = std::make_unique<consul::Client>(
          io_.loop(), config.consul, [this](std::string_view operation, std::string_view result) {
            metrics_.OnConsulRequest(operation, result);
          });
      collector_ = std::make_unique<collect::Collector>(*client_, config.collector);
      collector_->OnPublish([this](const collect::MeshSnapshot& snapshot) {
        metrics_.OnSnapshot(snapshot);
        log_.Observe(snapshot);
      });
      collector_->Follow({config.flags.services.begin(), config.flags.services.end()});
      collector_->SetStaticTargets(config.targets);
      collector_->Start();
      started.set_value();
    });
    started.get_future().wait();
  }

  // The loop stops first, and goes last: the others cancel in it what they still wait for.
  ~Exporter() {
    io_.Stop();
    registration_.reset();
    collector_.reset();
    client_.reset();
  }
  Exporter(const Exporter&) = delete;
  Exporter& operator=(const Exporter&) = delete;

  // Of what is known: it waits neither for a sidecar nor for Consul.
  [[nodiscard]] std::string Metrics(base::MetricsSyntax syntax) {
    const metrics::Now now{std::chrono::steady_clock::now(), std::chrono::system_clock::now()};
    metrics::TextWriter page(syntax, page_size_.Expected());
    metrics_.Write(*collector_->Latest(), collector_->scrape_stats(), now, page);
    metrics::WriteProcess(kName, base::Build(), base::ReadProcessStats(), page);
    std::string text = page.Finish();
    page_size_.Saw(text.size());
    return text;
  }

  [[nodiscard]] std::optional<std::string> WhyNotReady() const {
    if (draining_) return "shutting down";
    const std::shared_ptr<const collect::MeshSnapshot> mesh = collector_->Latest();
    if (mesh->ready) return std::nullopt;
    return mesh->consul_error ? "Consul does not answer: " + mesh->consul_error->message
                              : "the mesh has not been read yet";
  }

  // Once the port is known.
  void Register(const Flags& flags, int port) {
    io_.loop().Post(
        [this, service = consul::DescribeDaemon(flags.register_name, flags.register_address,
                                                flags.listen_addresses.front(), port,
                                                flags.telemetry_path, CONSUL_CANARY_VERSION)] {
          registration_ = std::make_unique<consul::Registration>(*client_, service);
          registration_->Start();
        });
  }

  // Takes itself out of Consul; pages are served until the end.
  void Drain() {
    draining_ = true;
    consul::EndAndWait(io_.loop(), registration_, kPatienceAtTheEnd);
  }

  // The file of targets and the web config file, all or nothing. Consul's token file is read
  // whenever it has changed, so it needs nothing. Any thread.
  base::Result<void> Reload(base::WebGate& gate) {
    const std::lock_guard lock(reload_mutex_);
    auto targets = ReadTargets(flags_);
    const base::Result<void> done = targets ? gate.Reload() : tl::unexpected(targets.error());
    if (!done) {
      base::Log(base::LogLevel::kError, "reload refused; what was read before stays",
                {{"error", done.error().message}});
      return done;
    }
    base::Log(base::LogLevel::kInfo, "reloaded", {{"targets", std::to_string(targets->size())}});
    collector_->SetStaticTargets(*std::move(targets));
    return {};
  }

 private:
  const Flags& flags_;
  std::mutex reload_mutex_;  // so that the files read last are those that are kept
  base::IoThread io_;
  metrics::MeshMetrics metrics_;
  metrics::PageSize page_size_;
  collect::MeshLog log_;
  std::unique_ptr<consul::Client> client_;
  std::unique_ptr<collect::Collector> collector_;
  std::unique_ptr<consul::Registration> registration_;  // of the loop's thread; null: not asked for
  std::atomic<bool> draining_ = false;
};

base::DaemonPages PagesOf(Exporter& exporter, base::WebGate& gate, const Flags& flags) {
  base::DaemonPages pages;
  pages.name = kName;
  pages.version = CONSUL_CANARY_VERSION;
  pages.telemetry_path = flags.telemetry_path;
  pages.metrics = [&exporter](base::MetricsSyntax syntax) { return exporter.Metrics(syntax); };
  pages.why_not_ready = [&exporter] { return exporter.WhyNotReady(); };
  pages.reload = [&exporter, &gate] { return exporter.Reload(gate); };
  return pages;
}

base::Result<std::unique_ptr<base::HttpServer>> StartServer(const Flags& flags,
                                                            base::DaemonPages pages,
                                                            const base::WebGate& gate) {
  const auto answer = [pages = std::move(pages)](const base::ServerRequest& request) {
    return base::AnswerCommonPages(pages, request)
        .value_or(base::ErrorResponse(
            {base::ErrorCode::kNotFound, fmt::format("no page {}", request.path)}));
  };
  base::ServerOptions options;
  options.listen_addresses = flags.listen_addresses;
  return base::HttpServer::Start(options, [answer, &gate](const base::ServerRequest& request) {
    return gate.Answer(request, answer);
  });
}

int Serve(const Config& config, base::WebGate& gate) {
  base::BlockSignals();
  base::ReturnFreedMemory();
  Exporter exporter(config);
  auto server = StartServer(config.flags, PagesOf(exporter, gate, config.flags), gate);
  if (!server) {
    fmt::print(stderr, "{}: --web.listen-address: {}\n", kName, server.error().message);
    return kBadConfiguration;
  }
  for (const int port : (*server)->ports()) {
    base::Log(base::LogLevel::kInfo, "listening",
              {{"port", std::to_string(port)}, {"consul", config.consul.address}});
  }
  if (config.flags.registers) {
    exporter.Register(config.flags, (*server)->ports().front());
  }
  base::WaitForEnd([&exporter, &gate] { (void)exporter.Reload(gate); });
  base::Log(base::LogLevel::kInfo, "shutting down");
  exporter.Drain();
  server->reset();  // waits for requests that are being answered
  return 0;
}

int Main(int argc, char** argv) {
  Config config;
  CLI::App app("Exports what a canary does in Consul's service mesh.", kName);
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
