// Flags that both daemons take: where they serve, how they log, and how they are found in Consul.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace consul_canary {

struct DaemonFlags {
  std::vector<std::string> listen_addresses;
  std::string telemetry_path = "/metrics";
  std::string web_config_file;
  bool registers = false;
  std::string register_name;
  std::string register_address;
  std::string log_level = "info";
  std::string log_format = "logfmt";
};

// What `flags` holds are the defaults. It must outlive the parsing.
void Declare(CLI::App& app, const char* program, DaemonFlags& flags);

// Sets up the log, and returns what is wrong: a line for each flag, with its name.
[[nodiscard]] std::vector<std::string> Complaints(const DaemonFlags& flags);

}  // namespace consul_canary
