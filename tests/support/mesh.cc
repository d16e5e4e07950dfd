#include "tests/support/mesh.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "tests/support/places.h"
#include "tests/support/real_parts.h"

namespace consul_canary::testing {
namespace {

using base::ErrorCode;
using base::Fail;
using base::Result;
using nlohmann::json;

constexpr std::string_view kNobody = R"(Service.Meta.version == "consul-canary-none")";

std::string VersionFilter(std::string_view version) {
  return version.empty() ? std::string(kNobody)
                         : fmt::format(R"(Service.Meta.version == "{}")", version);
}

// Each instance draws its own sequence, the same in each run.
std::string SeedOf(int seed, const std::string& id) {
  return std::to_string(static_cast<std::size_t>(seed) * 1000 +
                        std::hash<std::string>()(id) % 1000);
}

json ParseOrNull(const std::string& text) { return json::parse(text, nullptr, false); }

}  // namespace

struct Mesh::Node {
  std::string id;
  std::string name;
  std::string version;  // empty: a caller
  int app_port = 0;
  int control_port = 0;  // the application's
  int sidecar_port = 0;
  int admin_port = 0;
  int metrics_port = 0;
  int upstream_port = 0;  // callers only
  std::unique_ptr<Process> app{};
  std::unique_ptr<Process> bootstrap{};
  std::unique_ptr<Process> sidecar{};

  [[nodiscard]] bool is_caller() const { return version.empty(); }
};

Mesh::Mesh(MeshOptions options) : options_(std::move(options)) {}

Mesh::~Mesh() {
  // All at once: one after another would add up their endings.
  for (const auto& node : nodes_) {
    if (node->sidecar) node->sidecar->Signal(SIGKILL);
    if (node->app) node->app->Signal(SIGKILL);
  }
}

Result<std::unique_ptr<Mesh>> Mesh::Start(MeshOptions options) {
  std::unique_ptr<Mesh> mesh(new Mesh(std::move(options)));
  if (const Result<void> up = mesh->BringUp(); !up) return tl::unexpected(up.error());
  return mesh;
}

Result<void> Mesh::BringUp() {
  consul_ = options_.agent;
  if (consul_ == nullptr) {
    auto agent = ConsulAgent::Start(options_.consul);
    if (!agent) return tl::unexpected(agent.error());
    own_consul_ = std::move(*agent);
    consul_ = own_consul_.get();
  }
  if (const Result<void> written = WriteEntries(); !written) return written;
  std::vector<Node*> nodes;
  for (const std::string& version : options_.versions) {
    nodes.push_back(NewNode(fmt::format("{}-{}", options_.service, ++last_instance_),
                            options_.service, version));
  }
  for (int i = 0; i < options_.callers; ++i) {
    nodes.push_back(NewNode(CallerId(i), options_.caller, ""));
    nodes.back()->upstream_port = consul_->ports().Next();
  }
  return StartNodes(nodes).and_then([this] { return WaitForCallers(); });
}

Mesh::Node* Mesh::NewNode(std::string id, std::string name, std::string version) {
  Ports& ports = consul_->ports();
  nodes_.push_back(std::make_unique<Node>(Node{.id = std::move(id),
                                               .name = std::move(name),
                                               .version = std::move(version),
                                               .app_port = ports.Next(),
                                               .control_port = ports.Next(),
                                               .sidecar_port = ports.Next(),
                                               .admin_port = ports.Next(),
                                               .metrics_port = ports.Next()}));
  return nodes_.back().get();
}

Mesh::Node* Mesh::Find(std::string_view id) const {
  const auto found =
      std::find_if(nodes_.begin(), nodes_.end(), [id](const auto& node) { return node->id == id; });
  return found == nodes_.end() ? nullptr : found->get();
}

std::string Mesh::CallerId(int index) const {
  return index == 0 ? options_.caller : fmt::format("{}-{}", options_.caller, index + 1);
}

const Mesh::Node& Mesh::Caller(int index) const {
  const Node* node = Find(CallerId(index));
  assert(node != nullptr);
  return *node;
}

std::string Mesh::url(int caller) const {
  return fmt::format("http://127.0.0.1:{}/", Caller(caller).upstream_port);
}

std::string Mesh::caller_admin(int caller) const {
  return fmt::format("http://127.0.0.1:{}", Caller(caller).admin_port);
}

std::string Mesh::caller_metrics(int caller) const {
  return fmt::format("http://127.0.0.1:{}/metrics", Caller(caller).metrics_port);
}

Result<void> Mesh::WriteEntries() {
  std::vector<json> entries = {{{"Kind", "proxy-defaults"},
                                {"Name", "global"},
                                {"Config", {{"protocol", options_.protocol}}}}};
  if (!options_.consul.token.empty()) {  // default deny holds for connections as well
    entries.push_back({{"Kind", "service-intentions"},
                       {"Name", options_.service},
                       {"Sources", {{{"Name", options_.caller}, {"Action", "allow"}}}}});
  }
  if (!options_.retry_codes.empty()) {
    const json route = {
        {"Destination",
         {{"NumRetries", options_.retries}, {"RetryOnStatusCodes", options_.retry_codes}}}};
    entries.push_back(
        {{"Kind", "service-router"}, {"Name", options_.service}, {"Routes", {route}}});
  }
  const bool http = options_.protocol != "tcp";  // nothing below exists for tcp but the resolver
  for (const json& entry : entries) {
    if (const auto written = consul_->WriteEntry(entry.dump()); !written) return written;
  }
  const std::string primary = options_.versions.empty() ? "" : options_.versions.front();
  const auto resolver =
      WriteResolver(VersionFilter(primary), VersionFilter(options_.canary_version));
  return resolver && http ? WriteSplitter(options_.canary_weight) : resolver;
}

Result<void> Mesh::WriteResolver(std::string_view primary_filter, std::string_view canary_filter) {
  const json entry = {
      {"Kind", "service-resolver"},
      {"Name", options_.service},
      {"DefaultSubset", "primary"},
      {"Subsets",
       {{"primary", {{"Filter", primary_filter}}}, {"canary", {{"Filter", canary_filter}}}}}};
  return consul_->WriteEntry(entry.dump());
}

Result<void> Mesh::WriteSplitter(double canary_weight) {
  const json entry = {{"Kind", "service-splitter"},
                      {"Name", options_.service},
                      {"Splits",
                       {{{"Weight", 100 - canary_weight}, {"ServiceSubset", "primary"}},
                        {{"Weight", canary_weight}, {"ServiceSubset", "canary"}}}}};
  return consul_->WriteEntry(entry.dump());
}

Result<void> Mesh::StartNodes(const std::vector<Node*>& nodes) {
  return StartApplications(nodes).and_then([&] { return WriteBootstraps(nodes); }).and_then([&] {
    return StartSidecars(nodes);
  });
}

Result<void> Mesh::StartApplications(const std::vector<Node*>& nodes) {
  for (Node* node : nodes) {
    if (node->is_caller()) continue;
    std::vector<std::string> argv =
        options_.app.empty() ? std::vector<std::string>{TestApp()} : options_.app;
    argv.insert(argv.end(), {"--port", std::to_string(node->app_port), "--control-port",
                             std::to_string(node->control_port), "--name", node->name, "--version",
                             node->version, "--seed", SeedOf(options_.seed, node->id)});
    auto app =
        Process::Start({.argv = argv, .output = consul_->folder().path() / (node->id + ".log")});
    if (!app) return tl::unexpected(app.error());
    node->app = std::move(*app);
  }
  for (const Node* node : nodes) {
    ServiceInstance instance{
        .id = node->id,
        .name = node->name,
        .port = node->app_port,
        .meta = {{"canary-admin", fmt::format("127.0.0.1:{}", node->admin_port)}},
        .health_port = node->is_caller() ? 0 : node->control_port,
        .sidecar_port = node->sidecar_port,
        .prometheus_port = node->metrics_port};
    if (node->is_caller()) {
      instance.upstreams = {{.name = options_.service, .local_port = node->upstream_port}};
    } else {
      instance.meta["version"] = node->version;
      instance.tags = {"release-" + node->version};
    }
    if (const Result<void> registered = consul_->Register(instance); !registered) return registered;
  }
  return {};
}

Result<void> Mesh::WriteBootstraps(const std::vector<Node*>& nodes) {
  const Result<std::string> program = FindPart("consul");
  if (!program) return tl::unexpected(program.error());
  const std::filesystem::path& folder = consul_->folder().path();
  for (Node* node : nodes) {
    auto process =
        Process::Start({.argv = {*program, "connect", "envoy", "-sidecar-for", node->id,
                                 "-admin-bind", fmt::format("127.0.0.1:{}", node->admin_port),
                                 "-bootstrap", "-ignore-envoy-compatibility"},
                        .env = consul_->Environment(),
                        .output = folder / (node->id + "-bootstrap.log"),
                        .stdout_only = folder / (node->id + ".json")});
    if (!process) return tl::unexpected(process.error());
    node->bootstrap = std::move(*process);
  }
  for (Node* node : nodes) {
    if (node->bootstrap->Wait(seconds(15)) != 0) {
      return Fail(ErrorCode::kUnavailable, fmt::format("consul connect envoy -sidecar-for {}: {}",
                                                       node->id, node->bootstrap->OutputTail()));
    }
    node->bootstrap.reset();
  }
  return {};
}

Result<void> Mesh::StartSidecar(Node& node) {
  const Result<std::string> program = FindPart("envoy");
  if (!program) return tl::unexpected(program.error());
  const std::filesystem::path& folder = consul_->folder().path();
  auto process = Process::Start(
      {.argv = {*program, "-c", folder / (node.id + ".json"), "--disable-hot-restart",
                "--concurrency", "1", "--log-level", "warning"},
       .output = folder / (node.id + "-envoy.log")});
  if (!process) return tl::unexpected(process.error());
  node.sidecar = std::move(*process);
  return {};
}

Result<void> Mesh::StartSidecars(const std::vector<Node*>& nodes) {
  for (Node* node : nodes) {
    if (const Result<void> started = StartSidecar(*node); !started) return started;
  }
  for (Node* node : nodes) {
    const std::string filter = fmt::format(R"(Service.ID == "{}-sidecar-proxy")", node->id);
    const auto passes = [&] { return consul_->PassingSidecars(node->name, filter) == 1; };
    if (!WaitUntil([&] { return passes() || !node->sidecar->Running(); }, seconds(20)) ||
        !passes()) {
      const std::string listeners = fmt::format("http://127.0.0.1:{}/listeners", node->admin_port);
      return Fail(
          ErrorCode::kUnavailable,
          fmt::format("the sidecar of {} does not pass its checks on port {}; it listens on: {}; "
                      "Consul says: {}; its log: {}",
                      node->id, node->sidecar_port,
                      consul_->http().Get(listeners).value_or("nothing"),
                      consul_->Get("/v1/health/connect/" + node->name).value_or("nothing"),
                      node->sidecar->OutputTail(2)));
    }
  }
  return {};
}

Result<void> Mesh::WaitForCallers() {
  if (options_.versions.empty() || options_.protocol == "tcp") return {};
  for (int caller = 0; caller < options_.callers; ++caller) {
    const bool speaks_http = options_.protocol != "grpc";
    if (speaks_http &&
        !WaitUntil([&] { return consul_->http().Answers(url(caller)); }, seconds(15))) {
      const auto answer = consul_->http().Call("GET", url(caller));
      return Fail(ErrorCode::kUnavailable,
                  fmt::format("{} gets no answer through its sidecar: {}", url(caller),
                              answer ? fmt::format("{} {}", answer->status, answer->body)
                                     : answer.error().message));
    }
    std::vector<const char*> subsets = {"primary"};
    if (!options_.canary_version.empty()) subsets.push_back("canary");
    for (const char* subset : subsets) {  // the answer was of either
      if (WaitUntil([&] { return Reaches(caller, subset); }, seconds(15))) continue;
      return Fail(ErrorCode::kUnavailable,
                  fmt::format("{} does not reach the {}", url(caller), subset));
    }
  }
  return {};
}

// Until then the caller's sidecar answers the subset's share with 503 itself.
bool Mesh::Reaches(int caller, std::string_view subset) const {
  const auto stats = consul_->http().Get(
      fmt::format("{}/stats?filter={}%5C..*membership_healthy", caller_admin(caller), subset));
  return stats && stats->find("membership_healthy: ") != std::string::npos &&
         stats->find("membership_healthy: 0") == std::string::npos;
}

Result<std::string> Mesh::AddInstance(std::string_view version) {
  Node* node = NewNode(fmt::format("{}-{}", options_.service, ++last_instance_), options_.service,
                       std::string(version));
  if (const Result<void> up = StartNodes({node}); !up) return tl::unexpected(up.error());
  return node->id;
}

Result<void> Mesh::RemoveInstance(std::string_view id) {
  const Node* node = Find(id);
  if (node == nullptr) return Fail(ErrorCode::kNotFound, fmt::format("no instance {}", id));
  const Result<void> gone = consul_->Deregister(id);
  if (!gone) return gone;
  // Consul takes the sidecar out together with its service; callers' sidecars follow within
  // moments.
  const std::string endpoint = fmt::format("127.0.0.1:{}::", node->sidecar_port);
  for (int caller = 0; caller < options_.callers; ++caller) {
    const std::string clusters = caller_admin(caller) + "/clusters";
    const auto forgotten = [&] {
      return consul_->http().Get(clusters).value_or("").find(endpoint) == std::string::npos;
    };
    if (!WaitUntil(forgotten, seconds(10))) {
      return Fail(ErrorCode::kUnavailable, fmt::format("{} is still in {}", id, clusters));
    }
  }
  std::erase_if(nodes_, [node](const auto& other) { return other.get() == node; });
  return {};
}

std::vector<std::string> Mesh::InstancesOf(std::string_view version) const {
  std::vector<std::string> ids;
  for (const auto& node : nodes_) {
    if (node->version == version) ids.push_back(node->id);
  }
  return ids;
}

void Mesh::KillSidecar(std::string_view id) {
  if (Node* node = Find(id)) node->sidecar->Signal(SIGKILL);
}

void Mesh::SignalSidecar(std::string_view id, int signal) {
  if (Node* node = Find(id)) node->sidecar->Signal(signal);
}

Result<void> Mesh::RestartSidecar(std::string_view id) {
  Node* node = Find(id);
  if (node == nullptr) return Fail(ErrorCode::kNotFound, fmt::format("no instance {}", id));
  node->sidecar->Signal(SIGKILL);
  node->sidecar->Stop();
  return StartSidecar(*node);
}

void Mesh::KillApplication(std::string_view id) {
  if (Node* node = Find(id); node != nullptr && node->app) node->app->Signal(SIGKILL);
}

Result<void> Mesh::Control(std::string_view version, std::string_view settings) const {
  for (const auto& node : nodes_) {
    if (node->version != version) continue;
    const std::string url = fmt::format("http://127.0.0.1:{}/?{}", node->control_port, settings);
    const auto body = BodyOf(consul_->http().Call("POST", url), "POST " + url);
    if (!body) return tl::unexpected(body.error());
  }
  return {};
}

AppCounts Mesh::CountsOf(std::string_view version) const {
  AppCounts sum;
  for (const auto& node : nodes_) {
    if (node->version != version) continue;
    const auto body = consul_->http().Get(fmt::format("http://127.0.0.1:{}/", node->control_port));
    const json counts = ParseOrNull(body.value_or("{}"));
    sum.served += counts.value("served", std::int64_t{0});
    sum.failed += counts.value("failed", std::int64_t{0});
  }
  return sum;
}

}  // namespace consul_canary::testing
