// consul-canary-exporter: reads the mesh from Consul and its sidecars, and serves what it sees as
// Prometheus metrics. It writes nothing anywhere.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <future>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "exporter/base/daemon.h"
#include "exporter/base/http_server.h"
#include "exporter/base/io_loop.h"
#include "exporter/base/log.h"
#include "exporter/collect/collector.h"
#include "exporter/collect/mesh_log.h"
#include "exporter/collect/static_targets.h"
#include "exporter/consul/client.h"
#include "exporter/metrics/mesh_metrics.h"

namespace consul_canary {
namespace {

constexpr int kBadConfiguration = 2;
constexpr const char* kName = "consul-canary-exporter";
constexpr base::milliseconds kShortestInterval{100};
constexpr base::milliseconds kLongestInterval{3'600'000};
constexpr base::milliseconds kLongestScrapeTimeout{10'000};

struct Flags {
  std::vector<std::string> listen_addresses{"127.0.0.1:9655"};
  std::string telemetry_path = "/metrics";
  std::string log_level = "info";
  std::string log_format = "logfmt";
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
  app.set_version_flag("--version", fmt::format("{} {}", kName, CONSUL_CANARY_VERSION));
  app.add_option("--web.listen-address", flags.listen_addresses,
                 "Address to serve on; may be given several times")
      ->capture_default_str()
      ->expected(1)
      ->take_all();
  app.add_option("--web.telemetry-path", flags.telemetry_path, "Path of the metrics")
      ->capture_default_str();
  app.add_option("--log.level", flags.log_level, "debug, info, warn or error")
      ->capture_default_str();
  app.add_option("--log.format", flags.log_format, "logfmt or json")->capture_default_str();
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
  std::vector<std::string> complaints;
  const auto complain = [&complaints](std::string_view flag, const std::string& reason) {
    complaints.push_back(fmt::format("{}: {}", flag, reason));
  };
  const base::Result<void> log =
      base::ConfigureLog(config.flags.log_level, config.flags.log_format);
  if (!log) complain("--log.level, --log.format", log.error().message);
  if (!config.flags.telemetry_path.starts_with('/') || config.flags.telemetry_path == "/" ||
      config.flags.telemetry_path.starts_with("/-/")) {
    complain("--web.telemetry-path", "must begin with /, and neither be / nor begin with /-/");
  }
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

  // The loop stops first, and goes last: the other two cancel in it what they still wait for.
  ~Exporter() {
    io_.Stop();
    collector_.reset();
    client_.reset();
  }
  Exporter(const Exporter&) = delete;
  Exporter& operator=(const Exporter&) = delete;

  [[nodiscard]] std::string Metrics() const {
    const metrics::Now now{std::chrono::steady_clock::now(), std::chrono::system_clock::now()};
    std::vector<prometheus::MetricFamily> families =
        metrics_.Families(*collector_->Latest(), collector_->scrape_stats(), now);
    for (prometheus::MetricFamily& family :
         metrics::ProcessFamilies(CONSUL_CANARY_VERSION, base::ReadProcessStats())) {
      families.push_back(std::move(family));
    }
    return metrics::Render(families);
  }

  [[nodiscard]] std::optional<std::string> WhyNotReady() const {
    if (draining_) return "shutting down";
    const std::shared_ptr<const collect::MeshSnapshot> mesh = collector_->Latest();
    if (mesh->ready) return std::nullopt;
    return mesh->consul_error ? "Consul does not answer: " + mesh->consul_error->message
                              : "the mesh has not been read yet";
  }

  void Drain() { draining_ = true; }

  // The file of targets is read anew; a bad one is refused, and the targets stay as they were. The
  // token file is read whenever it has changed, so it needs nothing. Any thread.
  base::Result<void> Reload() {
    base::Result<collect::StaticTargets> targets = ReadTargets(flags_);
    if (!targets) {
      base::Log(base::LogLevel::kError, "reload refused; the old targets stay",
                {{"error", targets.error().message}});
      return tl::unexpected(targets.error());
    }
    base::Log(base::LogLevel::kInfo, "reloaded", {{"targets", std::to_string(targets->size())}});
    collector_->SetStaticTargets(*std::move(targets));
    return {};
  }

 private:
  const Flags& flags_;
  base::IoThread io_;
  metrics::MeshMetrics metrics_;
  collect::MeshLog log_;
  std::unique_ptr<consul::Client> client_;
  std::unique_ptr<collect::Collector> collector_;
  std::atomic<bool> draining_ = false;
};

base::DaemonPages PagesOf(Exporter& exporter, const Flags& flags) {
  base::DaemonPages pages;
  pages.name = kName;
  pages.version = CONSUL_CANARY_VERSION;
  pages.telemetry_path = flags.telemetry_path;
  pages.metrics = [&exporter] { return exporter.Metrics(); };
  pages.why_not_ready = [&exporter] { return exporter.WhyNotReady(); };
  pages.reload = [&exporter] { return exporter.Reload(); };
  return pages;
}

int Serve(const Config& config) {
  base::BlockSignals();
  Exporter exporter(config);
  base::ServerOptions options;
  options.listen_addresses = config.flags.listen_addresses;
  auto server = base::HttpServer::Start(
      options, [pages = PagesOf(exporter, config.flags)](const base::ServerRequest& request) {
        return base::AnswerCommonPages(pages, request)
            .value_or(base::ErrorResponse(
                {base::ErrorCode::kNotFound, fmt::format("no page {}", request.path)}));
      });
  if (!server) {
    fmt::print(stderr, "{}: --web.listen-address: {}\n", kName, server.error().message);
    return kBadConfiguration;
  }
  for (const int port : (*server)->ports()) {
    base::Log(base::LogLevel::kInfo, "listening",
              {{"port", std::to_string(port)}, {"consul", config.consul.address}});
  }
  base::WaitForEnd([&exporter] { (void)exporter.Reload(); });
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
  const std::vector<std::string> complaints = Complete(config);
  for (const std::string& complaint : complaints) fmt::print(stderr, "{}: {}\n", kName, complaint);
  return complaints.empty() ? Serve(config) : kBadConfiguration;
}

}  // namespace
}  // namespace consul_canary

int main(int argc, char** argv) { return consul_canary::Main(argc, argv); }
