#include "tests/benchmarks/rollout_farm.h"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>

#include "tests/benchmarks/scrape_farm.h"
#include "tests/support/http.h"
#include "tests/support/wait.h"

namespace consul_canary::benchmarks {
namespace {

constexpr int kRequestsEachSecond = 5;  // of each subset
constexpr std::size_t kHostsOfNet = 250;

constexpr std::string_view kConfig = R"(daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  default_type "text/plain; charset=UTF-8";
  keepalive_timeout 1h;
  keepalive_requests 10000000;
  client_body_temp_path {folder};
  proxy_temp_path {folder};
  fastcgi_temp_path {folder};
  uwsgi_temp_path {folder};
  scgi_temp_path {folder};
  server {{
{listens}    root {folder}/pages;
    location = /metrics {{ try_files /$server_addr =404; }}
  }}
}}
)";

void ReplaceAll(std::string& text, std::string_view what, std::string_view by) {
  for (std::size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
}

// What a line counts more each second; a canary that fails counts 500 in place of 200.
struct Counted {
  long each_second = 0;
  bool is_failure = false;
  bool is_success = false;
};

Counted CountedOf(const std::string& line) {
  const auto is = [&line](std::string_view name) { return line.starts_with(name); };
  const bool is_canary = line.find("service_subset=\"canary\"") != std::string::npos;
  if (is("envoy_cluster_membership_change{") || is("envoy_http_rds_")) return {.each_second = 1};
  if (is("envoy_cluster_upstream_rq_completed{")) return {.each_second = kRequestsEachSecond};
  if (is("envoy_cluster_upstream_rq{envoy_response_code=\"200\"")) {
    return {.each_second = kRequestsEachSecond, .is_success = is_canary};
  }
  return {.is_failure = is("envoy_cluster_upstream_rq{envoy_response_code=\"500\"") && is_canary};
}

// The recorded page of one who calls `service`, `second` later; of the requests to the canary
// `failures` failed.
std::string PageOf(const std::string& recorded, const std::string& service, int second,
                   long failures) {
  std::istringstream lines(recorded);
  std::string page;
  for (std::string line; std::getline(lines, line);) {
    const Counted counted = CountedOf(line);
    long added = counted.each_second * second;
    if (counted.is_success) added -= failures;
    if (counted.is_failure) added += failures;
    if (added != 0) {
      const std::size_t blank = line.rfind(' ');
      const double value = std::strtod(line.c_str() + blank, nullptr);
      line = fmt::format("{} {:.15g}", line.substr(0, blank), value + static_cast<double>(added));
    }
    page += line + '\n';
  }
  ReplaceAll(page, "\"api\"", '"' + service + '"');
  ReplaceAll(page, ".api.", '.' + service + '.');
  return page;
}

}  // namespace

base::Result<std::unique_ptr<RolloutFarm>> RolloutFarm::Start(testing::ConsulAgent& consul,
                                                              std::size_t services) {
  std::unique_ptr<RolloutFarm> farm(new RolloutFarm(consul));
  farm->page_ = SidecarPageText(PageKind::kCounters, 0);
  farm->port_ = consul.ports().Next();
  farm->failures_.resize(services);
  std::filesystem::create_directories(farm->folder_.path() / "pages");
  for (std::size_t i = 0; i < services; ++i) {
    farm->services_.push_back(fmt::format("svc-{:04}", i));
    farm->hosts_.push_back(fmt::format("127.1.{}.{}", i / kHostsOfNet, i % kHostsOfNet + 1));
    const auto registered = farm->Register(farm->services_.back(), farm->hosts_.back());
    if (!registered) return tl::unexpected(registered.error());
  }
  farm->WritePages(0);
  if (const auto started = farm->StartServer(); !started) return tl::unexpected(started.error());
  farm->writer_ = std::jthread([self = farm.get()](const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any ended;
    std::unique_lock lock(mutex);
    auto next = std::chrono::steady_clock::now();
    for (int second = 1; !stop.stop_requested(); ++second) {
      self->WritePages(second);
      next += std::chrono::seconds(1);
      ended.wait_until(lock, stop, next, [] { return false; });
    }
  });
  return farm;
}

RolloutFarm::~RolloutFarm() = default;

void RolloutFarm::Fail(const std::string& service) {
  const std::scoped_lock lock(mutex_);
  failing_.insert(service);
}

base::Result<void> RolloutFarm::Register(const std::string& service,
                                         const std::string& address) const {
  for (const std::string& entry :
       {fmt::format(R"({{"Kind":"service-defaults","Name":"{}","Protocol":"http"}})", service),
        fmt::format(R"({{"Kind":"service-resolver","Name":"{}","Subsets":{{
            "primary":{{"Filter":"Service.Meta.version == \"v1\""}},
            "canary":{{"Filter":"Service.Meta.version == \"\""}}}}}})",
                    service),
        fmt::format(R"({{"Kind":"service-splitter","Name":"{}","Splits":[
            {{"Weight":100,"ServiceSubset":"primary"}},{{"Weight":0,"ServiceSubset":"canary"}}]}})",
                    service)}) {
    if (const auto written = consul_.WriteEntry(entry); !written) return written;
  }
  const std::string node = fmt::format(R"("Node":"node-{}","Address":"{}")", service, address);
  std::vector<std::string> instances;
  for (const char* version : {"v1", "v2"}) {
    const std::string meta = fmt::format(R"("Port":80,"Meta":{{"version":"{}"}})", version);
    instances.push_back(
        fmt::format(R"("ID":"{0}-{1}","Service":"{0}",{2})", service, version, meta));
    instances.push_back(fmt::format(
        R"("Kind":"connect-proxy","ID":"{0}-{1}-sidecar-proxy","Service":"{0}-sidecar-proxy",{2},
           "Proxy":{{"DestinationServiceName":"{0}","DestinationServiceID":"{0}-{1}"}})",
        service, version, meta));
  }
  instances.push_back(fmt::format(
      R"("Kind":"connect-proxy","ID":"web-{0}-sidecar-proxy","Service":"web-{0}-sidecar-proxy",
         "Port":81,"Proxy":{{"DestinationServiceName":"web-{0}","DestinationServiceID":"web-{0}",
         "Config":{{"envoy_prometheus_bind_addr":"{1}:{2}"}},
         "Upstreams":[{{"DestinationName":"{0}","LocalBindPort":5000}}]}})",
      service, address, port_));
  for (const std::string& instance : instances) {
    const auto put = consul_.Put("/v1/catalog/register",
                                 fmt::format(R"({{{},"Service":{{{}}}}})", node, instance));
    if (!put) return tl::unexpected(put.error());
  }
  return {};
}

base::Result<void> RolloutFarm::StartServer() {
  std::string listens;
  for (const std::string& host : hosts_) {
    listens += fmt::format("    listen {}:{};\n", host, port_);
  }
  const auto config = folder_.Write(
      "nginx.conf",
      fmt::format(fmt::runtime(kConfig), fmt::arg("folder", folder_.path().string()),
                  fmt::arg("connections", 4 * hosts_.size() + 200), fmt::arg("listens", listens)));
  auto server = testing::Process::Start(
      {.argv = {"nginx", "-p", folder_.path().string(), "-c", config.string()},
       .output = folder_.path() / "out.log"});
  if (!server) return tl::unexpected(server.error());
  server_ = *std::move(server);
  const testing::Http http;
  const std::string url = fmt::format("http://{}:{}/metrics", hosts_.back(), port_);
  if (testing::WaitUntil([&] { return http.Answers(url); }, base::seconds(20))) return {};
  return base::Fail(base::ErrorCode::kInvalid, "nginx does not answer: " + server_->OutputTail());
}

// Each page appears whole.
void RolloutFarm::WritePages(int second) {
  for (std::size_t i = 0; i < services_.size(); ++i) {
    {
      const std::scoped_lock lock(mutex_);
      if (failing_.contains(services_[i])) failures_[i] += kRequestsEachSecond;
    }
    const auto page = folder_.Write("next", PageOf(page_, services_[i], second, failures_[i]));
    std::filesystem::rename(page, folder_.path() / "pages" / hosts_[i]);
  }
}

}  // namespace consul_canary::benchmarks
