#include "deploy/demo/stage.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "tests/support/places.h"

namespace consul_canary::demo {
namespace {

using base::Fail;
using base::Result;
using testing::Daemon;

// Everything that is not here is the default.
std::string RolloutFor(const Options& options) {
  std::string steps;
  std::istringstream weights(options.weights);
  for (std::string weight; std::getline(weights, weight, ',');) {
    steps += fmt::format("    - {{weight: {}}}\n", weight);
  }
  return fmt::format("service: api\nstart: new-version\n{}strategy:\n  steps:\n{}  warmup: 5s\n",
                     options.shield ? "shield: require\n" : "", steps);
}

std::vector<std::string> RuleFiles() {
  std::vector<std::string> files;
  std::error_code none;
  for (const auto& entry :
       std::filesystem::directory_iterator(testing::SourceFolder() + "/alerts/rules", none)) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// alerts/alertmanager.yaml with the demo's addresses: the analyzer's port is not the default one,
// and its hook needs no token on loopback.
std::string AlertmanagerConfiguration(const std::string& analyzer) {
  return fmt::format(R"(route:
  receiver: nobody
  group_by: [alertname, service_name]
  routes:
    - receiver: consul-canary
      matchers: ['canary_action="rollback"']
      group_by: [service_name]
      group_wait: 0s
      group_interval: 30s
      repeat_interval: 5m
      continue: true
receivers:
  - name: nobody
  - name: consul-canary
    webhook_configs:
      - url: {}/hooks/alertmanager
        send_resolved: true
        http_config: {{follow_redirects: false}}
)",
                     analyzer);
}

Result<void> Take(testing::DaemonResult started, std::unique_ptr<Daemon>& daemon) {
  if (!started) return tl::unexpected(started.error());
  daemon = std::move(*started);
  return {};
}

}  // namespace

Result<std::unique_ptr<Stage>> Stage::Start(const Options& options) {
  std::unique_ptr<Stage> stage(new Stage);
  auto mesh = testing::Mesh::Start(
      {.versions = std::vector<std::string>(static_cast<std::size_t>(options.instances), "v1"),
       .retry_codes = options.scenario.retry_codes,
       .seed = options.seed});
  if (!mesh) return tl::unexpected(mesh.error());
  stage->mesh_ = std::move(*mesh);
  const std::string base = fmt::format("failure_ratio={}", options.base_failures);
  const Result<void> up =
      stage->mesh_->Control("v1", base)
          .and_then([&] { return stage->StartDaemons(); })
          .and_then(
              [&] { return options.no_monitoring ? Result<void>() : stage->StartMonitoring(); })
          .and_then([&] { return options.shield ? stage->Shield() : Result<void>(); })
          .and_then([&] { return stage->ApplyRollout(options); });
  if (!up) {
    return Fail(up.error().code,
                fmt::format("{}\nThe logs are in {}", up.error().message, stage->KeepLogs()));
  }
  stage->load_ = std::make_unique<testing::Load>(
      testing::LoadOptions{.url = stage->mesh_->url(), .rate = options.rate});
  return stage;
}

Result<void> Stage::StartDaemons() {
  testing::ConsulAgent& consul = mesh_->consul();
  return Take(testing::StartExporter(consul), exporter_).and_then([&] {
    return Take(testing::StartAnalyzer(consul), analyzer_);
  });
}

Result<void> Stage::StartMonitoring() {
  testing::ConsulAgent& consul = mesh_->consul();
  return Take(testing::StartAlertmanager(consul, AlertmanagerConfiguration(analyzer_->address())),
              alertmanager_)
      .and_then([&] {
        const std::string configuration = testing::PrometheusConfiguration(
            {{"consul-canary-exporter", "127.0.0.1:" + exporter_->port()},
             {"consul-canary-analyzer", "127.0.0.1:" + analyzer_->port()}},
            RuleFiles(), "127.0.0.1:" + alertmanager_->port(), 2);
        return Take(testing::StartPrometheus(consul, configuration), prometheus_);
      });
}

Result<void> Stage::Shield() {
  for (const auto& [name, value] : mesh_->consul().Environment()) {
    setenv(name.c_str(), value.c_str(), 1);  // consul-canaryctl shield speaks to Consul itself
  }
  const auto applied = testing::RunCtl(analyzer_->address(), {"shield", "api", "--apply"});
  if (!applied) return tl::unexpected(applied.error());
  if (applied->code == 0) return {};
  return Fail(base::ErrorCode::kInvalid, fmt::format("consul-canaryctl shield: exit code {}: {}",
                                                     applied->code, applied->output));
}

Result<void> Stage::ApplyRollout(const Options& options) {
  const auto file = mesh_->consul().folder().Write("rollout.yaml", RolloutFor(options));
  const auto applied = testing::RunCtl(
      analyzer_->address(), {"apply", "-f", file.string(), "--analyzer.url", analyzer_->address()});
  if (!applied) return tl::unexpected(applied.error());
  if (applied->code != 0) {
    return Fail(base::ErrorCode::kInvalid, fmt::format("consul-canaryctl apply: exit code {}: {}",
                                                       applied->code, applied->output));
  }
  return {};
}

std::vector<std::pair<std::string, std::string>> Stage::Addresses() const {
  std::vector<std::pair<std::string, std::string>> addresses = {
      {"rollout", analyzer_->address() + "/api/v1/rollouts/api"},
      {"analyzer", analyzer_->address() + "/"},
      {"exporter", exporter_->address() + "/metrics"},
      {"Consul", mesh_->consul().address() + "/ui/"},
      {"api, as web calls it", mesh_->url()},
      {"web's sidecar", mesh_->caller_admin() + "/"}};
  if (prometheus_) addresses.emplace_back("Prometheus", prometheus_->address() + "/");
  if (alertmanager_) addresses.emplace_back("Alertmanager", alertmanager_->address() + "/");
  addresses.emplace_back("logs", mesh_->consul().folder().path().string());
  return addresses;
}

std::string Stage::KeepLogs() {
  mesh_->consul().folder().Keep();
  return mesh_->consul().folder().path().string();
}

}  // namespace consul_canary::demo
