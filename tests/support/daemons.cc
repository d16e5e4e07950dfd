#include "tests/support/daemons.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>

#include "tests/support/places.h"
#include "tests/support/real_parts.h"

namespace consul_canary::testing {
namespace {

using base::ErrorCode;
using base::Fail;
using base::Result;

std::string HostAndPort(const std::string& address) {
  return address.substr(address.rfind('/') + 1);
}

DaemonResult StartOurs(ConsulAgent& consul, std::string_view name, const std::string& program,
                       std::vector<std::string> flags,
                       const std::map<std::string, std::string>& env = {}) {
  Daemon::Options options{
      .name = std::string(name), .command = {}, .address = {}, .ready_path = "/-/ready"};
  options.address = fmt::format("http://127.0.0.1:{}", consul.ports().Next());
  options.command.argv = {program, "--web.listen-address", HostAndPort(options.address)};
  for (std::string& flag : flags) options.command.argv.push_back(std::move(flag));
  options.command.env = consul.Environment();
  for (const auto& [key, value] : env) options.command.env[key] = value;
  options.command.output = consul.folder().path() / fmt::format("{}.log", name);
  return Daemon::Start(consul.http(), std::move(options));
}

DaemonResult StartMonitoring(ConsulAgent& consul, const std::string& part,
                             std::string_view configuration,
                             const std::vector<std::string>& flags) {
  const Result<std::string> program = FindPart(part);
  if (!program) return tl::unexpected(program.error());
  Daemon::Options options{.name = part, .command = {}, .address = {}, .ready_path = "/-/ready"};
  options.address = fmt::format("http://127.0.0.1:{}", consul.ports().Next());
  const auto file = consul.folder().Write(part + ".yaml", configuration);
  options.command.argv = {*program, fmt::format("--config.file={}", file.string()),
                          fmt::format("--web.listen-address={}", HostAndPort(options.address)),
                          "--log.level=info"};
  for (const std::string& flag : flags) options.command.argv.push_back(flag);
  options.command.output = consul.folder().path() / (part + ".log");
  return Daemon::Start(consul.http(), std::move(options));
}

}  // namespace

DaemonResult Daemon::Start(const Http& http, Options options) {
  std::unique_ptr<Daemon> daemon(new Daemon(http, std::move(options)));
  if (const Result<void> up = daemon->Restart(); !up) return tl::unexpected(up.error());
  return daemon;
}

Result<void> Daemon::Launch() {
  auto process = Process::Start(options_.command);
  if (!process) return tl::unexpected(process.error());
  process_ = std::move(*process);
  return {};
}

Result<void> Daemon::WaitUntilReady() {
  const std::string url = options_.address + options_.ready_path;
  const auto ready_or_gone = [&] { return http_.Answers(url) || !process_->Running(); };
  if (WaitUntil(ready_or_gone, options_.patience) && process_->Running()) return {};
  return Fail(ErrorCode::kUnavailable,
              fmt::format("{} is not ready at {}: {}", options_.name, url, process_->OutputTail()));
}

std::string Daemon::port() const {
  return options_.address.substr(options_.address.rfind(':') + 1);
}

void Daemon::Kill() {
  process_->Signal(SIGKILL);
  process_->Stop();
}

Result<void> Daemon::Restart() {
  return BeginAgain().and_then([this] { return WaitUntilReady(); });
}

Result<void> Daemon::BeginAgain() {
  if (process_) process_->Stop();
  return Launch();
}

DaemonResult StartExporter(ConsulAgent& consul, std::vector<std::string> flags) {
  return StartOurs(consul, "exporter", ExporterProgram(), std::move(flags));
}

DaemonResult StartAnalyzer(ConsulAgent& consul, std::vector<std::string> flags,
                           std::string_view name, const std::map<std::string, std::string>& env) {
  const bool has_tokens = std::any_of(flags.begin(), flags.end(), [](const std::string& flag) {
    return flag.starts_with("--auth.");
  });
  if (!has_tokens) flags.emplace_back("--auth.none-on-loopback");
  return StartOurs(consul, name, AnalyzerProgram(), std::move(flags), env);
}

DaemonResult StartPrometheus(ConsulAgent& consul, std::string_view configuration) {
  return StartMonitoring(
      consul, "prometheus", configuration,
      {fmt::format("--storage.tsdb.path={}", (consul.folder().path() / "prometheus").string())});
}

DaemonResult StartAlertmanager(ConsulAgent& consul, std::string_view configuration) {
  return StartMonitoring(
      consul, "alertmanager", configuration,
      {fmt::format("--storage.path={}", (consul.folder().path() / "alertmanager").string()),
       "--cluster.listen-address="});
}

Result<CtlResult> RunCtl(const std::string& analyzer_address, std::vector<std::string> arguments,
                         milliseconds limit) {
  const TempDir folder("ctl");
  Command command{.argv = {CtlProgram()},
                  .env = {{"CONSUL_CANARY_ADDR", analyzer_address}},
                  .output = folder.path() / "output"};
  for (std::string& argument : arguments) command.argv.push_back(std::move(argument));
  auto process = Process::Start(command);
  if (!process) return tl::unexpected(process.error());
  const std::optional<ExitCode> code = (*process)->Wait(limit);
  if (!code) {
    return Fail(ErrorCode::kUnavailable, fmt::format("consul-canaryctl {}: not done after {} ms",
                                                     command.argv.back(), limit.count()));
  }
  return CtlResult{.code = *code, .output = ReadFile(command.output)};
}

std::string PrometheusConfiguration(const std::map<std::string, std::string>& jobs,
                                    const std::vector<std::string>& rule_files,
                                    std::string_view alertmanager, int interval_seconds) {
  std::string text = fmt::format("global: {{scrape_interval: {0}s, evaluation_interval: {0}s}}\n",
                                 interval_seconds);
  text += "scrape_configs:\n";
  for (const auto& [job, target] : jobs) {
    text +=
        fmt::format("  - {{job_name: {}, static_configs: [{{targets: ['{}']}}]}}\n", job, target);
  }
  if (!rule_files.empty()) text += "rule_files:\n";
  for (const std::string& file : rule_files) text += fmt::format("  - '{}'\n", file);
  if (!alertmanager.empty()) {
    text += fmt::format(
        "alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{}']}}]}}]}}\n", alertmanager);
  }
  return text;
}

}  // namespace consul_canary::testing
