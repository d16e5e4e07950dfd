#include "tests/chaos/watcher.h"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>

namespace consul_canary::testing {
namespace {

using nlohmann::json;

constexpr const char* kEpochKey = "consul-canary-epoch";

}  // namespace

std::uint64_t EpochOf(const json& entry) {
  if (!entry.contains("Meta") || !entry["Meta"].is_object()) return 0;
  return std::strtoull(entry["Meta"].value(kEpochKey, "0").c_str(), nullptr, 10);
}

std::optional<std::pair<std::string, SplitterSeen>> ReadSplitter(const json& entry) {
  if (!entry.is_object() || entry.value("Kind", "") != "service-splitter") return std::nullopt;
  SplitterSeen seen{.index = entry.value("ModifyIndex", std::uint64_t{0})};
  seen.sum = 0;
  seen.epoch = EpochOf(entry);
  for (const json& split : entry.value("Splits", json::array())) {
    const double weight = split.value("Weight", 0.0);
    seen.sum += weight;
    if (split.value("ServiceSubset", "") == "canary") seen.canary = weight;
  }
  if (entry.contains("Meta") && entry["Meta"].is_object()) {
    seen.hand = entry["Meta"].value(kHandMark, "");
  }
  return std::pair(entry.value("Name", ""), seen);
}

struct Watcher::Impl {
  void Watch(const std::string& address) {
    const Http http;
    std::uint64_t index = 0;
    while (!stopping) {
      const auto answer = http.Call(
          "GET",
          fmt::format("{}/v1/config/service-splitter?stale&index={}&wait=1s", address, index), "",
          {}, seconds(3));
      if (!answer || answer->status != 200) {
        Pass(milliseconds(50));
        index = 0;
        continue;
      }
      const auto header = answer->headers.find("x-consul-index");
      index =
          header == answer->headers.end() ? 0 : std::strtoull(header->second.c_str(), nullptr, 10);
      Take(json::parse(answer->body, nullptr, false));
    }
  }

  void Take(const json& entries) {
    const MonotonicTime now = std::chrono::steady_clock::now();
    const std::lock_guard lock(mutex);
    for (const json& entry : entries) {
      auto splitter = ReadSplitter(entry);
      if (!splitter) continue;
      splitter->second.at = now;
      seen[splitter->first].emplace(splitter->second.index, splitter->second);
    }
  }

  std::atomic<bool> stopping{false};
  mutable std::mutex mutex;
  std::map<std::string, std::map<std::uint64_t, SplitterSeen>> seen;
  std::array<std::thread, Cluster::kServers> threads;
};

Watcher::Watcher(Cluster& cluster) : impl_(std::make_unique<Impl>()) {
  for (std::size_t i = 0; i < Cluster::kServers; ++i) {
    impl_->threads.at(i) = std::thread(
        [impl = impl_.get(), address = cluster.server(i).address()] { impl->Watch(address); });
  }
}

Watcher::~Watcher() {
  impl_->stopping = true;
  for (std::thread& thread : impl_->threads) thread.join();
}

std::vector<SplitterSeen> Watcher::Of(const std::string& service) const {
  const std::lock_guard lock(impl_->mutex);
  std::vector<SplitterSeen> all;
  const auto found = impl_->seen.find(service);
  if (found == impl_->seen.end()) return all;
  for (const auto& [index, seen] : found->second) all.push_back(seen);
  return all;
}

std::optional<SplitterSeen> Watcher::Latest(const std::string& service) const {
  const std::lock_guard lock(impl_->mutex);
  const auto found = impl_->seen.find(service);
  if (found == impl_->seen.end() || found->second.empty()) return std::nullopt;
  return found->second.rbegin()->second;
}

}  // namespace consul_canary::testing
