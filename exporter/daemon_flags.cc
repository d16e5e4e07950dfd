#include "exporter/daemon_flags.h"

#include <CLI/CLI.hpp>

#include "exporter/base/build_info.h"
#include "exporter/base/log.h"

namespace consul_canary {

void Declare(CLI::App& app, const char* program, DaemonFlags& flags) {
  app.set_version_flag("--version", base::VersionLine(program));
  app.add_option("--web.listen-address", flags.listen_addresses,
                 "Address to serve on; may be given several times")
      ->capture_default_str()
      ->expected(1)
      ->take_all();
  app.add_option("--web.telemetry-path", flags.telemetry_path, "Path of the metrics")
      ->capture_default_str();
  app.add_option("--web.config.file", flags.web_config_file,
                 "Users and headers, in the format of Prometheus' exporter-toolkit (no TLS)");
  app.add_flag("--consul.register", flags.registers,
               "Register as a service at Consul's agent, so that Prometheus finds it");
  app.add_option("--consul.register-name", flags.register_name, "Name of that service")
      ->capture_default_str();
  app.add_option("--consul.register-address", flags.register_address,
                 "Its address (default: of --web.listen-address, else the agent's)");
  app.add_option("--log.level", flags.log_level, "debug, info, warn or error")
      ->capture_default_str();
  app.add_option("--log.format", flags.log_format, "logfmt or json")->capture_default_str();
}

std::vector<std::string> Complaints(const DaemonFlags& flags) {
  std::vector<std::string> complaints;
  const auto log = base::ConfigureLog(flags.log_level, flags.log_format);
  if (!log) complaints.push_back("--log.level, --log.format: " + log.error().message);
  const std::string& path = flags.telemetry_path;
  if (!path.starts_with('/') || path == "/" || path.starts_with("/-/") ||
      path.starts_with("/api/") || path.starts_with("/hooks/")) {
    complaints.emplace_back(
        "--web.telemetry-path: must begin with /, and neither be / nor lie below /-/, /api/ or "
        "/hooks/");
  }
  if (flags.register_name.empty()) {
    complaints.emplace_back("--consul.register-name: must not be empty");
  }
  return complaints;
}

}  // namespace consul_canary
