// A collector on a Consul and a sidecar in memory.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "exporter/base/io_loop.h"
#include "exporter/collect/collector.h"
#include "tests/unit/collect/fake_mesh.h"

namespace consul_canary::collect {
using base::milliseconds;

inline constexpr const char* kSplitters = "/v1/config/service-splitter";
inline constexpr const char* kResolvers = "/v1/config/service-resolver";
inline constexpr const char* kProxies =
    "/v1/catalog/services?filter ServiceKind == \"connect-proxy\"";
inline constexpr const char* kApi = "/v1/health/service/api";
inline constexpr const char* kWebProxy = "/v1/health/service/web-sidecar-proxy";
inline constexpr const char* kPrimary = "/v1/health/connect/api?filter Service.Meta.version == v1";
inline constexpr const char* kCanary = "/v1/health/connect/api?filter Service.Meta.version == v2";
inline constexpr const char* kNext = "/v1/health/connect/api?filter Service.Meta.version == v3";

inline FakeInstance Web(const std::string& id, const FakeSidecar& sidecar) {
  return {.id = id,
          .service = "web-sidecar-proxy",
          .kind = "connect-proxy",
          .destination_service = "web",
          .upstreams = {"api"},
          .prometheus_bind_addr = sidecar.address()};
}

class CollectorTest : public ::testing::Test {
 protected:
  CollectorTest() {
    consul_.Set(kSplitters, SplitterJson("api", 10));
    consul_.Set(kResolvers, ResolverJson("api", "Service.Meta.version == v2"));
    consul_.Set(kProxies, R"({"web-sidecar-proxy":[]})");
    consul_.Set(kApi, HealthJson({{.id = "api-1", .service = "api"}}));
    consul_.Set(kPrimary, HealthJson({{.id = "api-1-proxy", .service = "api-sidecar-proxy"}}));
    consul_.Set(kWebProxy, HealthJson({Web("web-1", sidecar_)}));
    sidecar_.SetPage(CallerPage(90, 10));
  }

  void Start(std::set<std::string> follow = {}) {
    consul::Settings settings = settings_;
    settings.address = consul_.address();
    std::promise<void> started;
    io_.loop().Post([&] {
      client_ = std::make_unique<consul::Client>(
          io_.loop(), settings, [this](std::string_view operation, std::string_view result) {
            const std::lock_guard lock(mutex_);
            ++requests_[{std::string(operation), std::string(result)}];
          });
      collector_ = std::make_unique<Collector>(*client_,
                                               CollectorOptions{.interval = milliseconds(40),
                                                                .scrape_timeout = milliseconds(200),
                                                                .max_page_bytes = 4000});
      collector_->OnPublish([this](const MeshSnapshot& snapshot) {
        const std::lock_guard lock(mutex_);
        newest_ = std::make_shared<MeshSnapshot>(snapshot);
        changed_.notify_all();
      });
      collector_->OnConsulChange([this] {
        const std::lock_guard lock(mutex_);
        ++consul_changes_;
        changed_.notify_all();
      });
      collector_->Follow(std::move(follow));
      collector_->Start();
      started.set_value();
    });
    started.get_future().wait();
  }

  void TearDown() override {
    io_.Stop();
    collector_.reset();
    client_.reset();
  }

  // The first published snapshot that satisfies `condition`; null when none does in time.
  std::shared_ptr<const MeshSnapshot> WaitFor(
      const std::function<bool(const MeshSnapshot&)>& condition) {
    std::unique_lock lock(mutex_);
    const bool met = changed_.wait_for(lock, std::chrono::seconds(10),
                                       [&] { return newest_ && condition(*newest_); });
    return met ? newest_ : nullptr;
  }

  static const ServiceSnapshot* Api(const MeshSnapshot& mesh) {
    const auto it = mesh.services.find("api");
    return it == mesh.services.end() ? nullptr : it->second.get();
  }

  static const CallerReading* Caller(const MeshSnapshot& mesh, const std::string& id = "n1/web-1") {
    if (const ServiceSnapshot* api = Api(mesh)) {
      for (const CallerReading& caller : api->callers) {
        if (caller.id == id) return &caller;
      }
    }
    return nullptr;
  }

  static bool IsRead(const MeshSnapshot& mesh) {
    const CallerReading* caller = Caller(mesh);
    return mesh.ready && caller != nullptr && caller->scraped_at;
  }

  // Waits for a caller's error that contains `text`.
  std::string WaitForError(const std::string& text) {
    const auto mesh = WaitFor([&](const MeshSnapshot& seen) {
      const CallerReading* caller = Caller(seen);
      return caller != nullptr && caller->error.find(text) != std::string::npos;
    });
    return mesh ? Caller(*mesh)->error : "";
  }

  FakeConsul consul_;
  FakeSidecar sidecar_;
  consul::Settings settings_;  // but for the address
  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<const MeshSnapshot> newest_;
  int consul_changes_ = 0;
  std::map<std::pair<std::string, std::string>, int> requests_;  // by operation and result
  base::IoThread io_;
  std::unique_ptr<consul::Client> client_;
  std::unique_ptr<Collector> collector_;
};

}  // namespace consul_canary::collect
