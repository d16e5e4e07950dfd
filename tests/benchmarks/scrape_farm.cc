#include "tests/benchmarks/scrape_farm.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "tests/support/http.h"
#include "tests/support/places.h"
#include "tests/support/wait.h"

namespace consul_canary::benchmarks {
namespace {

constexpr int kSteps = 100;
constexpr std::size_t kWholeBytes = 5'400'000;
// nginx holds a file for each address and one for each connection, of at most 20,000 here and
// there.
constexpr std::size_t kSidecarsOfServer = 2500;
constexpr long kRequestsInStep = 3;
constexpr int kStepsInFlush = 5;  // Envoy's histograms move every five seconds

std::string WithoutOldLabels(const std::string& line) {
  const std::size_t from = line.find(",consul_custom_hash=");
  const std::size_t to = line.rfind('}');
  if (from == std::string::npos || to == std::string::npos) return line;
  return line.substr(0, from) + line.substr(to);
}

long AddedTo(const std::string& line, int step) {
  const auto is = [&line](std::string_view name) { return line.starts_with(name); };
  if (is("envoy_cluster_upstream_rq_time_"))
    return step / kStepsInFlush * kRequestsInStep * kStepsInFlush;
  if (is("envoy_cluster_upstream_rq_completed{") ||
      is("envoy_cluster_upstream_rq{envoy_response_code=\"200\"")) {
    return step * kRequestsInStep;
  }
  return 0;
}

constexpr std::string_view kConfig = R"(daemon off;
master_process off;
pid {folder}/{number}.pid;
error_log {folder}/error.log;
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  default_type "text/plain; charset=UTF-8";
  keepalive_timeout 1h;
  keepalive_requests 10000000;
  open_file_cache max={steps};
  open_file_cache_valid 1h;
  client_body_temp_path {folder};
  proxy_temp_path {folder};
  fastcgi_temp_path {folder};
  uwsgi_temp_path {folder};
  scgi_temp_path {folder};
  map $connection_requests $step {{ "~(?<digits>\d?\d)$" $digits; }}
  server {{
{listens}    root {folder};
    location = /metrics {{ try_files /page$step =404; }}
  }}
}}
)";

}  // namespace

std::string SidecarPageText(PageKind kind, int step) {
  std::istringstream lines(
      testing::ReadFile(testing::SourceFolder() + "/tests/data/envoy/caller_with_retries.prom"));
  std::string page;
  for (std::string line; std::getline(lines, line);) {
    if (kind == PageKind::kCounters) {
      if (line.find("upstream_rq_time") != std::string::npos) continue;
      line = WithoutOldLabels(line);
    }
    const std::size_t blank = line.rfind(' ');
    if (const long added = AddedTo(line, step); added > 0) {
      const double value = std::strtod(line.c_str() + blank, nullptr);
      line = fmt::format("{} {:.15g}", line.substr(0, blank), value + static_cast<double>(added));
    }
    page += line + '\n';
  }
  if (kind != PageKind::kWhole) return page;
  for (int cluster = 0; page.size() < kWholeBytes; ++cluster) {
    page += fmt::format(
        "envoy_server_worker_watchdog_miss{{local_cluster=\"web\",envoy_worker_id=\"{}\"}} 0\n",
        cluster);
  }
  return page;
}

base::Result<std::unique_ptr<ScrapeFarm>> ScrapeFarm::Start(std::size_t sidecars, PageKind kind,
                                                            int core) {
  std::unique_ptr<ScrapeFarm> farm(new ScrapeFarm());
  for (int step = 0; step < kSteps; ++step) {
    const std::string page = SidecarPageText(kind, step);
    farm->folder_.Write(fmt::format("page{}", step), page);
    if (step < 10) farm->folder_.Write(fmt::format("page0{}", step), page);
  }
  for (std::size_t begun = 0; begun < sidecars; begun += kSidecarsOfServer) {
    const auto started = farm->StartServer(begun / kSidecarsOfServer,
                                           std::min(kSidecarsOfServer, sidecars - begun), core);
    if (!started) return tl::unexpected(started.error());
  }
  return farm;
}

base::Result<void> ScrapeFarm::StartServer(std::size_t number, std::size_t sidecars, int core) {
  std::string listens;
  for (std::size_t i = 0; i < sidecars; ++i) {
    const std::string address =
        fmt::format("127.{}.{}.{}:{}", number + 1, i / 250, i % 250 + 1, port_);
    listens += fmt::format("    listen {};\n", address);
    addresses_.push_back(address);
  }
  const std::string folder = folder_.path().string();
  const auto config = folder_.Write(
      fmt::format("{}.conf", number),
      fmt::format(fmt::runtime(kConfig), fmt::arg("folder", folder), fmt::arg("number", number),
                  fmt::arg("connections", 4 * sidecars + 200), fmt::arg("steps", 2 * kSteps),
                  fmt::arg("listens", listens)));
  auto server = testing::Process::Start({.argv = {"taskset", "--cpu-list", std::to_string(core),
                                                  "nginx", "-p", folder, "-c", config.string()},
                                         .output = folder_.path() / "out.log"});
  if (!server) return tl::unexpected(server.error());
  const std::string url = "http://" + addresses_.back() + "/metrics";
  const testing::Http http;
  const bool answers = testing::WaitUntil([&] { return http.Answers(url); }, base::seconds(20));
  if (!answers) {
    return base::Fail(base::ErrorCode::kInvalid,
                      "nginx does not answer: " + (*server)->OutputTail() +
                          testing::ReadFile(folder_.path() / "error.log"));
  }
  servers_.push_back(*std::move(server));
  return {};
}

}  // namespace consul_canary::benchmarks
