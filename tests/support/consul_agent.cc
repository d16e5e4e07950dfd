#include "tests/support/consul_agent.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tests/support/real_parts.h"

namespace consul_canary::testing {
namespace {

using base::ErrorCode;
using base::Fail;
using base::Result;
using nlohmann::json;

Result<void> Discard(const Result<std::string>& body) {
  if (!body) return tl::unexpected(body.error());
  return {};
}

json SidecarOf(const ServiceInstance& instance) {
  json config = json::object();
  if (instance.prometheus_port != 0) {
    config["envoy_prometheus_bind_addr"] = fmt::format("127.0.0.1:{}", instance.prometheus_port);
  }
  json upstreams = json::array();
  for (const ServiceInstance::Upstream& upstream : instance.upstreams) {
    upstreams.push_back(
        {{"DestinationName", upstream.name}, {"LocalBindPort", upstream.local_port}});
  }
  // Consul's own check runs each 10 s and starts critical; each second keeps tests short.
  const json checks = {{{"Name", "sidecar listening"},
                        {"TCP", fmt::format("127.0.0.1:{}", instance.sidecar_port)},
                        {"Interval", "1s"},
                        {"Timeout", "1s"}},
                       {{"Name", "service"}, {"AliasService", instance.id}}};
  return {{"Port", instance.sidecar_port},
          {"Checks", checks},
          {"Proxy",
           {{"Config", config}, {"Upstreams", upstreams}, {"LocalServiceAddress", "127.0.0.1"}}}};
}

json RegistrationOf(const ServiceInstance& instance) {
  json body = {{"ID", instance.id},     {"Name", instance.name}, {"Address", "127.0.0.1"},
               {"Port", instance.port}, {"Meta", instance.meta}, {"Tags", instance.tags}};
  if (instance.health_port != 0) {
    body["Check"] = {{"Name", "application"},
                     {"HTTP", fmt::format("http://127.0.0.1:{}/health", instance.health_port)},
                     {"Interval", "1s"},
                     // Of a busy machine; what is gone refuses at once.
                     {"Timeout", "5s"}};
  }
  if (instance.sidecar_port != 0) body["Connect"] = {{"SidecarService", SidecarOf(instance)}};
  return body;
}

}  // namespace

ConsulAgent::ConsulAgent(ConsulOptions options) : options_(std::move(options)), folder_("consul") {}

ConsulAgent::~ConsulAgent() {
  if (process_) process_->Signal(SIGKILL);  // nothing here is worth the seconds of an orderly leave
}

Result<std::unique_ptr<ConsulAgent>> ConsulAgent::Start(ConsulOptions options) {
  auto agent = Begin(std::move(options));
  if (!agent) return agent;
  if (const Result<void> up = (*agent)->WaitUntilReady(); !up) return tl::unexpected(up.error());
  return agent;
}

Result<std::unique_ptr<ConsulAgent>> ConsulAgent::Begin(ConsulOptions options) {
  std::unique_ptr<ConsulAgent> agent(new ConsulAgent(std::move(options)));
  agent->WriteConfiguration();
  if (const Result<void> begun = agent->Launch(); !begun) return tl::unexpected(begun.error());
  return agent;
}

void ConsulAgent::WriteConfiguration() {
  const int http = ports_.Next();
  const int grpc = ports_.Next();
  const int wan = ports_.Next();
  const int lan = ports_.Next();
  address_ = fmt::format("http://127.0.0.1:{}", http);
  grpc_address_ = fmt::format("127.0.0.1:{}", grpc);
  wan_address_ = fmt::format("127.0.0.1:{}", wan);
  lan_address_ = fmt::format("127.0.0.1:{}", lan);
  json config = {{"bind_addr", "127.0.0.1"},
                 {"client_addr", "127.0.0.1"},
                 {"node_name", options_.node},
                 {"datacenter", options_.datacenter},
                 {"disable_update_check", true},
                 {"connect", {{"enabled", true}}},
                 {"ui_config", {{"enabled", true}}},
                 {"performance", {{"raft_multiplier", 1}}},
                 {"ports",
                  {{"http", http},
                   {"grpc", grpc},
                   {"grpc_tls", -1},
                   {"dns", -1},
                   {"server", ports_.Next()},
                   {"serf_lan", lan},
                   {"serf_wan", wan}}}};
  if (persistent() || options_.client) config["data_dir"] = (folder_.path() / "data").string();
  if (persistent()) {
    config["server"] = true;
    config["bootstrap_expect"] = options_.servers;
    // A server that comes back votes at once: else two short absences in a row cost the quorum.
    config["autopilot"] = {{"cleanup_dead_servers", false}};
  }
  if (!options_.join.empty()) {
    config["retry_join"] = options_.join;
    config["retry_interval"] = "1s";
  }
  if (!options_.token.empty()) {
    config["acl"] = {
        {"enabled", true},
        {"default_policy", "deny"},
        {"tokens", {{"initial_management", options_.token}, {"agent", options_.token}}}};
  }
  if (!options_.configuration.empty()) {
    config.merge_patch(json::parse(options_.configuration));
  }
  folder_.Write("agent.json", config.dump(1));
}

Result<void> ConsulAgent::Launch() {
  const Result<std::string> program = FindPart("consul");
  if (!program) return tl::unexpected(program.error());
  Command command{.argv = {*program, "agent", "-config-file", folder_.path() / "agent.json"}};
  if (!persistent() && !options_.client) command.argv.emplace_back("-dev");
  command.output = folder_.path() / "agent.log";
  auto process = Process::Start(command);
  if (!process) return tl::unexpected(process.error());
  process_ = std::move(*process);
  return {};
}

Result<void> ConsulAgent::WaitUntilReady() const {
  const bool up = WaitUntil([this] { return !process_->Running() || Ready(); }, seconds(20));
  if (!up || !process_->Running()) {
    return Fail(ErrorCode::kUnavailable, fmt::format("consul agent at {} has no leader: {}",
                                                     address_, process_->OutputTail()));
  }
  return {};
}

bool ConsulAgent::Ready() const {
  const Result<std::string> leader = Get("/v1/status/leader");
  if (!leader || leader->size() <= 2) return false;
  // The leader serves before its first state is in place: certificates and the agent itself come
  // last.
  return Get("/v1/agent/connect/ca/roots").has_value() &&
         Get("/v1/catalog/node/" + options_.node).value_or("null") != "null";
}

std::map<std::string, std::string> ConsulAgent::Environment() const {
  std::map<std::string, std::string> env = {{"CONSUL_HTTP_ADDR", address_},
                                            {"CONSUL_GRPC_ADDR", grpc_address_}};
  if (!options_.token.empty()) env["CONSUL_HTTP_TOKEN"] = options_.token;
  return env;
}

void ConsulAgent::Stop() { process_->Stop(); }

void ConsulAgent::Kill() {
  process_->Signal(SIGKILL);
  process_->Stop();
}

Result<void> ConsulAgent::Restart() {
  return BeginAgain().and_then([this] { return WaitUntilReady(); });
}

Result<void> ConsulAgent::BeginAgain() {
  process_->Stop();
  return Launch();
}

Result<base::HttpResponse> ConsulAgent::Call(std::string_view method, const std::string& path,
                                             std::string body) const {
  std::vector<std::string> headers;
  if (!options_.token.empty()) headers.push_back("X-Consul-Token: " + options_.token);
  return http_.Call(method, address_ + path, std::move(body), std::move(headers));
}

Result<std::string> ConsulAgent::Get(const std::string& path) const {
  return BodyOf(Call("GET", path), "GET " + path);
}

Result<std::string> ConsulAgent::Put(const std::string& path, std::string body) const {
  return BodyOf(Call("PUT", path, std::move(body)), "PUT " + path);
}

Result<std::string> ConsulAgent::Delete(const std::string& path) const {
  return BodyOf(Call("DELETE", path), "DELETE " + path);
}

Result<void> ConsulAgent::WriteEntry(std::string entry_json) const {
  return Discard(Put("/v1/config", std::move(entry_json)));
}

Result<std::optional<std::string>> ConsulAgent::ReadEntry(std::string_view kind,
                                                          std::string_view name) const {
  const std::string path = fmt::format("/v1/config/{}/{}", kind, name);
  const Result<base::HttpResponse> answer = Call("GET", path);
  if (answer && answer->status == 404) return std::optional<std::string>();
  return BodyOf(answer, "GET " + path).map([](const std::string& body) {
    return std::optional(body);
  });
}

Result<void> ConsulAgent::Register(const ServiceInstance& instance) const {
  return Discard(Put("/v1/agent/service/register", RegistrationOf(instance).dump()));
}

Result<void> ConsulAgent::Deregister(std::string_view id) const {
  return Discard(Put(fmt::format("/v1/agent/service/deregister/{}", id)));
}

Result<void> ConsulAgent::KvPut(std::string_view key, std::string value) const {
  return Discard(Put(fmt::format("/v1/kv/{}", key), std::move(value)));
}

Result<std::optional<std::string>> ConsulAgent::KvGet(std::string_view key) const {
  const std::string path = fmt::format("/v1/kv/{}?raw", key);
  const Result<base::HttpResponse> answer = Call("GET", path);
  if (answer && answer->status == 404) return std::optional<std::string>();
  return BodyOf(answer, "GET " + path).map([](const std::string& body) {
    return std::optional(body);
  });
}

int ConsulAgent::PassingSidecars(std::string_view service, std::string_view filter) const {
  std::string path = fmt::format("/v1/health/connect/{}?passing", service);
  if (!filter.empty()) path += "&filter=" + base::UrlEncode(filter);
  const json found = json::parse(Get(path).value_or("[]"), nullptr, false);
  return found.is_array() ? static_cast<int>(found.size()) : 0;
}

}  // namespace consul_canary::testing
