#include "tests/chaos/lane.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/chaos/watcher.h"

namespace consul_canary::testing {
namespace {

using base::Result;
using nlohmann::json;

constexpr double kRequestsPerSecond = 100;
constexpr milliseconds kCountEvery{100};

}  // namespace

Result<std::unique_ptr<Lane>> Lane::Start(ConsulAgent& consul, std::size_t number) {
  std::unique_ptr<Lane> lane(new Lane(consul));
  MeshOptions options;
  options.agent = &consul;
  options.service = fmt::format("lane-{}", number);
  options.caller = fmt::format("caller-{}", number);
  options.seed = static_cast<int>(number);
  auto mesh = Mesh::Start(std::move(options));
  if (!mesh) return tl::unexpected(mesh.error());
  lane->mesh_ = std::move(*mesh);
  // A caller that gives up early counts on with what it has when sidecars are away.
  lane->load_ = std::make_unique<Load>(
      LoadOptions{.url = lane->mesh_->url(), .rate = kRequestsPerSecond, .timeout = seconds(2)});
  lane->counter_ = std::thread([raw = lane.get()] { raw->CountRequests(); });
  return lane;
}

Lane::~Lane() {
  stopping_ = true;
  if (counter_.joinable()) counter_.join();
}

// One proof over both steps, since each takes as long as a request may, Envoy's 15 s: some 25 s in
// all.
std::string Lane::Specification() const {
  return fmt::format(
      "service: {}\n"
      "strategy:\n"
      "  steps: [{{weight: 25}}, {{weight: 50, min_duration: 3s}}]\n"
      "  warmup: 1s\n"
      "analysis:\n"
      "  proof: once\n"
      "  failure_ratio: {{margin: {{absolute: 0.05}}}}\n",
      service());
}

void Lane::CountRequests() {
  while (!stopping_) {
    const LoadCounts counts = load_->Counts();
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back({std::chrono::steady_clock::now(), counts.by_version});
    }
    Pass(kCountEvery);
  }
}

Result<void> Lane::Deploy(double failure_ratio) {
  version_ = fmt::format("v{}", ++last_version_);
  deployed_at_ = std::chrono::steady_clock::now();
  if (const auto added = mesh_->AddInstance(version_); !added) {
    return tl::unexpected(added.error());
  }
  return mesh_->Control(version_, fmt::format("failure_ratio={}", failure_ratio));
}

Result<std::optional<StoredRollout>> Lane::Stored() const {
  return ReadRollout(consul_, service());
}

std::optional<StoredRollout> Lane::Ended() const {
  const auto stored = Stored();
  if (!stored || !*stored || !(*stored)->ended() || (*stored)->version != version_) {
    return std::nullopt;
  }
  return *stored;
}

Result<void> Lane::TidyUp(bool promoted) {
  const std::string gone = promoted ? primary_version_ : version_;
  if (promoted) primary_version_ = version_;
  for (const std::string& id : mesh_->InstancesOf(gone)) {
    if (const auto removed = mesh_->RemoveInstance(id); !removed) return removed;
  }
  return {};
}

void Lane::KillSidecarOf(bool canary) {
  for (const std::string& id : mesh_->InstancesOf(canary ? version_ : primary_version_)) {
    mesh_->KillSidecar(id);
  }
}

Result<void> Lane::RestartSidecarOf(bool canary) {
  for (const std::string& id : mesh_->InstancesOf(canary ? version_ : primary_version_)) {
    if (const auto begun = mesh_->RestartSidecar(id); !begun) return begun;
  }
  return {};
}

bool Lane::EditByHand(double canary, bool keeps_meta) {
  const auto read = consul_.ReadEntry("service-splitter", service());
  if (!read || !*read) return false;
  json entry = json::parse(**read, nullptr, false);
  if (!entry.is_object()) return false;
  for (json& split : entry["Splits"]) {
    split["Weight"] = split.value("ServiceSubset", "") == "canary" ? canary : 100 - canary;
  }
  HandEdit edit{.mark = {}, .canary = canary, .at = std::chrono::steady_clock::now()};
  {
    const std::lock_guard lock(mutex_);
    edit.mark = std::to_string(edits_.size() + 1);
    // Before it is written: whether Consul took it may not be known.
    edits_.push_back(edit);
  }
  if (!keeps_meta || !entry["Meta"].is_object()) entry["Meta"] = json::object();
  entry["Meta"][kHandMark] = edit.mark;
  entry.erase("CreateIndex");
  entry.erase("ModifyIndex");
  return consul_.WriteEntry(entry.dump()).has_value();
}

std::vector<HandEdit> Lane::Edits() const {
  const std::lock_guard lock(mutex_);
  return edits_;
}

std::vector<CanaryRequests> Lane::Requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

}  // namespace consul_canary::testing
