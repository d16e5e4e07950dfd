// A Consul and sidecars in memory, behind real HTTP on loopback: answers are set by path, and
// blocking queries end when theirs changes.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "exporter/base/http_server.h"

namespace consul_canary::collect {

class FakeConsul {
 public:
  FakeConsul() {
    base::ServerOptions options;
    options.listen_addresses = {"127.0.0.1:0"};
    options.threads = 48;
    auto server = base::HttpServer::Start(
        options, [this](const base::ServerRequest& request) { return Answer(request); });
    server_ = *std::move(server);
    Set("/v1/status/leader", "\"127.0.0.1:8300\"");
    Set("/v1/catalog/services?filter ServiceKind == \"ingress-gateway\" or ServiceKind == "
        "\"api-gateway\"",
        "{}");
  }

  ~FakeConsul() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
  }
  FakeConsul(const FakeConsul&) = delete;
  FakeConsul& operator=(const FakeConsul&) = delete;

  [[nodiscard]] std::string address() const {
    return "http://127.0.0.1:" + std::to_string(server_->ports().front());
  }

  // `key` is a path, with "?filter" and the filter's text where it has one.
  void Set(const std::string& key, const std::string& body) {
    {
      const std::lock_guard lock(mutex_);
      answers_[key] = {body, ++index_};
    }
    changed_.notify_all();
  }

  // Every request fails with this status until it is 200 again.
  void Fail(int status) {
    {
      const std::lock_guard lock(mutex_);
      status_ = status;
    }
    changed_.notify_all();
  }

  // How often the key was asked, by blocking queries (true) and by plain reads (false).
  [[nodiscard]] int Asked(const std::string& key, bool blocking) const {
    const std::lock_guard lock(mutex_);
    const auto it = asked_.find({key, blocking});
    return it == asked_.end() ? 0 : it->second;
  }

 private:
  struct Entry {
    std::string body = "[]";
    std::uint64_t index = 1;
  };

  base::ServerResponse Answer(const base::ServerRequest& request) {
    std::string key = request.path;
    if (const auto filter = request.query.find("filter"); filter != request.query.end()) {
      key += "?filter " + filter->second;
    }
    const auto known = request.query.find("index");
    const bool blocking = known != request.query.end();
    std::unique_lock lock(mutex_);
    ++asked_[{key, blocking}];
    changed_.wait(lock, [&] {
      return stopped_ || status_ != 200 || !blocking ||
             std::to_string(answers_[key].index) != known->second;
    });
    base::ServerResponse response;
    response.status = stopped_ ? 503 : status_;
    response.body = response.status == 200 ? answers_[key].body : "out of order";
    response.headers["X-Consul-Index"] = std::to_string(answers_[key].index);
    return response;
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Entry> answers_;
  std::map<std::pair<std::string, bool>, int> asked_;
  std::uint64_t index_ = 1;
  int status_ = 200;
  bool stopped_ = false;
  std::unique_ptr<base::HttpServer> server_;  // last: its handlers use the rest
};

// A sidecar's port. While it hangs, it answers nobody.
class FakeSidecar {
 public:
  FakeSidecar() {
    base::ServerOptions options;
    options.listen_addresses = {"127.0.0.1:0"};
    auto server = base::HttpServer::Start(
        options, [this](const base::ServerRequest& request) { return Answer(request); });
    server_ = *std::move(server);
  }

  ~FakeSidecar() { Hang(false); }
  FakeSidecar(const FakeSidecar&) = delete;
  FakeSidecar& operator=(const FakeSidecar&) = delete;

  [[nodiscard]] std::string address() const {
    return "127.0.0.1:" + std::to_string(server_->ports().front());
  }

  void SetPage(std::string page, int status = 200) {
    const std::lock_guard lock(mutex_);
    page_ = std::move(page);
    status_ = status;
  }

  void SetRoutes(std::string dump, int status = 200) {
    const std::lock_guard lock(mutex_);
    dump_ = std::move(dump);
    dump_status_ = status;
  }

  void Hang(bool hang) {
    {
      const std::lock_guard lock(mutex_);
      hangs_ = hang;
    }
    changed_.notify_all();
  }

  [[nodiscard]] std::set<std::string> paths() const {
    const std::lock_guard lock(mutex_);
    return paths_;
  }

 private:
  base::ServerResponse Answer(const base::ServerRequest& request) {
    std::unique_lock lock(mutex_);
    paths_.insert(request.path);
    changed_.wait(lock, [this] { return !hangs_; });
    base::ServerResponse response;
    const bool dump = request.path == "/config_dump";
    response.status = dump ? dump_status_ : status_;
    response.body = dump ? dump_ : page_;
    return response;
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string page_;
  std::string dump_ = "{}";
  int status_ = 200;
  int dump_status_ = 200;
  bool hangs_ = false;
  std::set<std::string> paths_;
  std::unique_ptr<base::HttpServer> server_;
};

struct FakeInstance {
  std::string id;
  std::string service;
  std::string kind = "";
  bool passing = true;
  std::string destination_service = "";
  std::string destination_id = "";
  std::vector<std::string> upstreams = {};
  std::string prometheus_bind_addr = "";
  std::map<std::string, std::string> meta = {};
};

// As /v1/health/… answers.
inline std::string HealthJson(const std::vector<FakeInstance>& instances) {
  nlohmann::json list = nlohmann::json::array();
  for (const FakeInstance& instance : instances) {
    nlohmann::json upstreams = nlohmann::json::array();
    for (const std::string& upstream : instance.upstreams) {
      upstreams.push_back({{"DestinationType", "service"}, {"DestinationName", upstream}});
    }
    nlohmann::json proxy = {{"DestinationServiceName", instance.destination_service},
                            {"DestinationServiceID", instance.destination_id},
                            {"Upstreams", upstreams},
                            {"Config", nlohmann::json::object()}};
    if (!instance.prometheus_bind_addr.empty()) {
      proxy["Config"]["envoy_prometheus_bind_addr"] = instance.prometheus_bind_addr;
    }
    list.push_back({{"Node", {{"Node", "n1"}, {"Address", "127.0.0.1"}}},
                    {"Service",
                     {{"ID", instance.id},
                      {"Service", instance.service},
                      {"Kind", instance.kind},
                      {"Address", "127.0.0.1"},
                      {"Port", 1000},
                      {"Meta", instance.meta},
                      {"Proxy", proxy},
                      {"CreateIndex", 7}}},
                    {"Checks", {{{"Status", instance.passing ? "passing" : "critical"}}}}});
  }
  return list.dump();
}

inline std::string SplitterJson(const std::string& name, double canary) {
  return nlohmann::json::array({{{"Kind", "service-splitter"},
                                 {"Name", name},
                                 {"Splits",
                                  {{{"Weight", 100 - canary}, {"ServiceSubset", "primary"}},
                                   {{"Weight", canary}, {"ServiceSubset", "canary"}}}},
                                 {"ModifyIndex", 12}}})
      .dump();
}

inline std::string ResolverJson(const std::string& name, const std::string& canary_filter) {
  return nlohmann::json::array({{{"Kind", "service-resolver"},
                                 {"Name", name},
                                 {"Subsets",
                                  {{"primary", {{"Filter", "Service.Meta.version == v1"}}},
                                   {"canary", {{"Filter", canary_filter}}}}},
                                 {"ModifyIndex", 11}}})
      .dump();
}

// What a caller of `api` counted.
inline std::string CallerPage(std::uint64_t primary_completed, std::uint64_t canary_completed) {
  const auto series = [](const std::string& subset, std::uint64_t completed) {
    return "envoy_cluster_upstream_rq_completed{consul_destination_service=\"api\","
           "consul_destination_service_subset=\"" +
           subset + "\"} " + std::to_string(completed) + "\n";
  };
  return series("primary", primary_completed) + series("canary", canary_completed) +
         "envoy_http_rds_api_config_reload{consul_upstream_service=\"api\"} 3\n";
}

}  // namespace consul_canary::collect
