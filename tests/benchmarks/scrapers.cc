#include "tests/benchmarks/scrapers.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <optional>

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

// What the scraper says of itself: the sum of a metric's series.
std::optional<double> OwnMetric(const Http& http, const std::string& address,
                                std::string_view name) {
  const Result<std::string> page = http.Get(address + "/metrics");
  if (!page) return std::nullopt;
  std::optional<double> sum;
  envoy::ParsePrometheusText(
      *page,
      [&](const envoy::Sample& sample) {
        if (sample.name == name) sum = sum.value_or(0) + sample.value;
      },
      [](const envoy::BadLine&) {});
  return sum;
}

struct Names {
  std::string_view scrapes;  // counts them
  std::string_view samples;  // those of all scrapes, after relabelling
  std::vector<std::string> argv;
};

Names NamesOf(const Scraper& scraper, const TempDir& folder, const std::string& address) {
  const std::string configuration = folder.path() / "scrape.yml";
  if (scraper.kind == Scraper::Kind::kVmagent) {
    // It must have somewhere to send samples to; nobody listens there, and it keeps them.
    return {"vm_promscrape_scrapes_total",
            "vm_promscrape_scraped_samples_sum",
            {scraper.program, "-promscrape.config=" + configuration, "-httpListenAddr=" + address,
             "-remoteWrite.url=http://127.0.0.1:9/", "-remoteWrite.maxDiskUsagePerURL=500MB",
             "-remoteWrite.tmpDataPath=" + (folder.path() / "queue").string(),
             "-promscrape.suppressScrapeErrors"}};
  }
  return {"prometheus_target_interval_length_seconds_count",
          "prometheus_tsdb_head_samples_appended_total",
          {scraper.program, "--config.file=" + configuration,
           "--storage.tsdb.path=" + (folder.path() / "data").string(),
           "--web.listen-address=" + address, "--log.level=warn"}};
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

Result<ScrapeCost> MeasureScraper(const Scraper& scraper, const PageServer& server,
                                  const std::string& file, const std::string& pattern, int targets,
                                  int windows, testing::Ports& ports, const Http& http) {
  const TempDir folder("scraper");
  folder.Write("scrape.yml", ScrapeConfiguration(server, file, pattern, targets));
  const std::string listen = fmt::format("127.0.0.1:{}", ports.Next());
  const std::string address = "http://" + listen;
  const Names names = NamesOf(scraper, folder, listen);
  auto process = Process::Start({.argv = names.argv, .output = folder.path() / "log"});
  if (!process) return tl::unexpected(process.error());
  const pid_t pid = (*process)->pid();
  const auto scrapes = [&] { return OwnMetric(http, address, names.scrapes).value_or(0); };
  const auto samples = [&] { return OwnMetric(http, address, names.samples).value_or(0); };
  // The first scrapes make the series and are dearer.
  if (!testing::WaitUntil([&] { return scrapes() >= 3 * targets; }, testing::seconds(30))) {
    return Fail(ErrorCode::kUnavailable,
                scraper.name + " does not scrape: " + (*process)->OutputTail());
  }
  std::vector<double> costs;
  double scrapes_before = scrapes();
  const double first_scrape = scrapes_before;
  const double first_sample = samples();
  double cpu_before = CpuMilliseconds(pid);
  for (int i = 0; i < windows; ++i) {
    testing::Pass(testing::seconds(2));
    const double scrapes_now = scrapes();
    const double cpu_now = CpuMilliseconds(pid);
    if (scrapes_now > scrapes_before) {
      costs.push_back((cpu_now - cpu_before) / (scrapes_now - scrapes_before));
    }
    scrapes_before = scrapes_now;
    cpu_before = cpu_now;
  }
  if (costs.empty()) return Fail(ErrorCode::kUnavailable, scraper.name + " stopped scraping");
  return ScrapeCost{.cpu_ms = Median(costs),
                    .series = static_cast<std::size_t>((samples() - first_sample) /
                                                       (scrapes_before - first_scrape))};
}

}  // namespace consul_canary::benchmarks
