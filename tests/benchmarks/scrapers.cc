#include "tests/benchmarks/scrapers.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "exporter/envoy/prometheus_text.h"
#include "tests/support/wait.h"

namespace consul_canary::benchmarks {
namespace {

using base::ErrorCode;
using base::Fail;
using base::Result;
using testing::Http;
using testing::Process;
using testing::TempDir;

constexpr std::string_view kNginxConfiguration = R"(
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  types {{ }}
  default_type "text/plain; version=0.0.4; charset=utf-8";
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location ~ ^/[^/]+/(?<file>[a-z0-9.-]+)$ {{ alias {folder}/pages/$file; }}
  }}
}}
)";

// Prometheus and vmagent read the same; the second leaves out what it does not know.
constexpr std::string_view kScrapeConfiguration = R"(
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: pages
    metric_relabel_configs:
      - {{source_labels: [__name__], regex: '{pattern}', action: keep}}
    static_configs: [{targets}]
)";

std::string ScrapeConfiguration(const PageServer& server, const std::string& file,
                                const std::string& pattern, int targets) {
  std::string list;
  for (int i = 0; i < targets; ++i) {
    list += fmt::format("{}{{targets: ['{}'], labels: {{__metrics_path__: /{}/{}, copy: '{}'}}}}",
                        i == 0 ? "" : ", ", server.host(), i, file, i);
  }
  return fmt::format(kScrapeConfiguration, fmt::arg("pattern", pattern), fmt::arg("targets", list));
}

// User and system time of all threads so far; 0 when the process is gone.
double CpuMilliseconds(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text((std::istreambuf_iterator<char>(file)), {});
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  unsigned long user = 0;
  unsigned long system = 0;
  if (std::sscanf(text.c_str() + name_end + 1,
                  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) {
    return 0;
  }
  return static_cast<double>(user + system) * 1000 / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// Sum of a metric's series on a page; 0 without any.
double SumOf(const std::string& page, std::string_view name) {
  double sum = 0;
  envoy::ParsePrometheusText(
      page,
      [&](const envoy::Sample& sample) {
        if (sample.name == name) sum += sample.value;
      },
      [](const envoy::BadLine&) {});
  return sum;
}

// How many scrapes have succeeded so far, as the scraper itself counts them.
double Scrapes(const Scraper& scraper, const Http& http, const std::string& address) {
  if (scraper.kind == Scraper::Kind::kVmagent) {
    const std::string page = http.Get(address + "/metrics").value_or("");
    return SumOf(page, "vm_promscrape_scrapes_total") -
           SumOf(page, "vm_promscrape_scrapes_failed_total");
  }
  const std::string query =
      "/api/v1/query?query=" + base::UrlEncode("sum(sum_over_time(up{job=\"pages\"}[1h]))");
  const auto answer = nlohmann::json::parse(http.Get(address + query).value_or(""), nullptr, false);
  const auto at = nlohmann::json::json_pointer("/data/result/0/value/1");
  if (answer.is_discarded() || !answer.contains(at)) return 0;
  return envoy::ParseFloat(answer.at(at).get<std::string>()).value_or(0);
}

std::vector<std::string> CommandOf(const Scraper& scraper, const TempDir& folder,
                                   const std::string& listen) {
  const std::string configuration = folder.path() / "scrape.yml";
  if (scraper.kind == Scraper::Kind::kVmagent) {
    // It must have somewhere to send samples to; nobody listens there, and it keeps them.
    return {scraper.program,
            "-promscrape.config=" + configuration,
            "-httpListenAddr=" + listen,
            "-remoteWrite.url=http://127.0.0.1:9/",
            "-remoteWrite.maxDiskUsagePerURL=500MB",
            "-remoteWrite.tmpDataPath=" + (folder.path() / "queue").string()};
  }
  return {scraper.program, "--config.file=" + configuration,
          "--storage.tsdb.path=" + (folder.path() / "data").string(),
          "--web.listen-address=" + listen, "--log.level=warn"};
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

Result<std::unique_ptr<PageServer>> PageServer::Start(const std::string& nginx,
                                                      testing::Ports& ports, const Http& http) {
  std::unique_ptr<PageServer> server(new PageServer(ports.Next()));
  const std::string folder = server->folder_.path();
  std::filesystem::create_directory(server->folder_.path() / "pages");
  server->folder_.Write("nginx.conf", fmt::format(kNginxConfiguration, fmt::arg("folder", folder),
                                                  fmt::arg("port", server->port_)));
  server->Write("ready", "up 1\n");
  auto process = Process::Start({.argv = {nginx, "-p", folder, "-c", folder + "/nginx.conf"},
                                 .output = server->folder_.path() / "nginx.log"});
  if (!process) return tl::unexpected(process.error());
  server->process_ = std::move(*process);
  const std::string url = "http://" + server->host() + "/0/ready";
  if (!testing::WaitUntil([&] { return http.Answers(url); }, testing::seconds(10))) {
    return Fail(ErrorCode::kUnavailable, "nginx does not serve: " + server->process_->OutputTail());
  }
  return server;
}

void PageServer::Write(const std::string& file, const std::string& page) const {
  folder_.Write("pages/" + file, page);
}

Result<Scraper> PrometheusAt(const std::string& program) {
  const TempDir folder("version");
  auto process = Process::Start({.argv = {program, "--version"}, .output = folder.path() / "out"});
  if (!process) return tl::unexpected(process.error());
  if (!(*process)->Wait(testing::seconds(10))) {
    return Fail(ErrorCode::kUnavailable, program + " --version does not end");
  }
  // prometheus, version 2.42.0+ds (branch: …
  const std::string text = testing::ReadFile(folder.path() / "out");
  constexpr std::string_view kBefore = "version ";
  const std::size_t begin = text.find(kBefore);
  if (begin == std::string::npos) {
    return Fail(ErrorCode::kNotFound, program + " --version: " + text);
  }
  const std::size_t number = begin + kBefore.size();
  return Scraper{
      .name = "prometheus-" +
              text.substr(number, text.find_first_not_of("0123456789.", number) - number),
      .kind = Scraper::Kind::kPrometheus,
      .program = program};
}

Result<double> MeasureScraper(const Scraper& scraper, const PageServer& server,
                              const std::string& file, const std::string& pattern, int targets,
                              int windows, testing::Ports& ports, const Http& http) {
  const TempDir folder("scraper");
  folder.Write("scrape.yml", ScrapeConfiguration(server, file, pattern, targets));
  const std::string listen = fmt::format("127.0.0.1:{}", ports.Next());
  auto process =
      Process::Start({.argv = CommandOf(scraper, folder, listen), .output = folder.path() / "log"});
  if (!process) return tl::unexpected(process.error());
  const auto scrapes = [&] { return Scrapes(scraper, http, "http://" + listen); };
  // The first scrapes make the series and are dearer.
  if (!testing::WaitUntil([&] { return scrapes() >= 3 * targets; }, testing::seconds(60),
                          testing::milliseconds(500))) {
    return Fail(ErrorCode::kUnavailable,
                scraper.name + " does not scrape: " + (*process)->OutputTail());
  }
  std::vector<double> costs;
  double scrapes_before = scrapes();
  double cpu_before = CpuMilliseconds((*process)->pid());
  for (int i = 0; i < windows; ++i) {
    testing::Pass(testing::seconds(2));
    const double scrapes_now = scrapes();
    const double cpu_now = CpuMilliseconds((*process)->pid());
    if (scrapes_now > scrapes_before) {
      costs.push_back((cpu_now - cpu_before) / (scrapes_now - scrapes_before));
    }
    scrapes_before = scrapes_now;
    cpu_before = cpu_now;
  }
  if (costs.empty()) return Fail(ErrorCode::kUnavailable, scraper.name + " stopped scraping");
  return Median(costs);
}

}  // namespace consul_canary::benchmarks
