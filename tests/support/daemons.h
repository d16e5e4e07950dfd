// The product's own programs and the monitoring around them, as children on free ports, ready when
// returned. Each writes its log to <folder>/<name>.log; folder and ports are those of the agent
// that they speak to.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/base/result.h"
#include "tests/support/consul_agent.h"
#include "tests/support/process.h"

namespace consul_canary::testing {

// A child that serves HTTP.
class Daemon {
 public:
  struct Options {
    std::string name;
    Command command;
    std::string address;     // http://127.0.0.1:PORT
    std::string ready_path;  // answers 200 when it is ready
    milliseconds patience = seconds(15);
  };
  // kUnavailable with the log's end when it ends or is not ready in time. `http` must outlive the
  // object.
  [[nodiscard]] static base::Result<std::unique_ptr<Daemon>> Start(const Http& http,
                                                                   Options options);

  [[nodiscard]] const std::string& address() const { return options_.address; }
  [[nodiscard]] std::string port() const;
  [[nodiscard]] Process& process() { return *process_; }

  void Kill();                                  // SIGKILL
  ExitCode Stop() { return process_->Stop(); }  // SIGTERM, then SIGKILL
  [[nodiscard]] base::Result<void> Restart();   // the same command on the same port; ends what runs
  [[nodiscard]] base::Result<void> BeginAgain();  // the same without the wait

 private:
  Daemon(const Http& http, Options options) : http_(http), options_(std::move(options)) {}
  [[nodiscard]] base::Result<void> Launch();
  [[nodiscard]] base::Result<void> WaitUntilReady();

  const Http& http_;
  Options options_;
  std::unique_ptr<Process> process_;
};

using DaemonResult = base::Result<std::unique_ptr<Daemon>>;

// consul-canary-exporter and consul-canary-analyzer of this build, with the agent's address and
// token in their environment. The analyzer takes orders from loopback without a token unless
// `flags` say otherwise (--auth.file). `env` wins over the agent's. Wait for /-/ready: Consul must
// answer.
[[nodiscard]] DaemonResult StartExporter(ConsulAgent& consul, std::vector<std::string> flags = {});
[[nodiscard]] DaemonResult StartAnalyzer(ConsulAgent& consul, std::vector<std::string> flags = {},
                                         std::string_view name = "analyzer",
                                         const std::map<std::string, std::string>& env = {});

// Prometheus with this configuration (YAML) and an empty store; Alertmanager alone, without a
// cluster.
[[nodiscard]] DaemonResult StartPrometheus(ConsulAgent& consul, std::string_view configuration);
[[nodiscard]] DaemonResult StartAlertmanager(ConsulAgent& consul, std::string_view configuration);

// consul-canaryctl of this build: its exit code, and stdout and stderr in one text.
struct CtlResult {
  ExitCode code = 0;
  std::string output;
};
[[nodiscard]] base::Result<CtlResult> RunCtl(const std::string& analyzer_address,
                                             std::vector<std::string> arguments,
                                             milliseconds limit = seconds(20));

// A Prometheus configuration that scrapes each "job: host:port" at `interval_seconds`, loads rule
// files and sends alerts to an Alertmanager at host:port (empty: to none).
[[nodiscard]] std::string PrometheusConfiguration(const std::map<std::string, std::string>& jobs,
                                                  const std::vector<std::string>& rule_files,
                                                  std::string_view alertmanager,
                                                  int interval_seconds);

}  // namespace consul_canary::testing
