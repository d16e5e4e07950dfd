// Prometheus and our daemons: it finds them in Consul by deploy/prometheus and scrapes them, and
// gets its page whatever sidecars and Consul do.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "tests/observability/monitoring_files.h"
#include "tests/support/daemons.h"
#include "tests/support/real_parts.h"
#include "tests/support/wait.h"

namespace consul_canary::testing {
namespace {

using nlohmann::json;

// Takes connections and never says a word.
class SilentServer {
 public:
  SilentServer() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const place = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(socket_, place, size), 0);
    EXPECT_EQ(::listen(socket_, 16), 0);
    EXPECT_EQ(::getsockname(socket_, place, &size), 0);
    port_ = ntohs(address.sin_port);
  }
  ~SilentServer() { ::close(socket_); }
  SilentServer(const SilentServer&) = delete;
  SilentServer& operator=(const SilentServer&) = delete;

  [[nodiscard]] int port() const { return port_; }

 private:
  int socket_;
  int port_ = 0;
};

class Scrapes : public ::testing::Test {
 protected:
  void SetUp() override {
    auto consul = ConsulAgent::Start();
    ASSERT_TRUE(consul) << consul.error().message;
    consul_ = std::move(*consul);
  }

  [[nodiscard]] json Get(const std::string& url) const {
    const auto body = consul_->http().Get(url);
    return body ? json::parse(*body, nullptr, false) : json();
  }

  std::unique_ptr<ConsulAgent> consul_;
};

// --- Prometheus

// Debian builds its Prometheus without Consul's service discovery.
bool KnowsConsul(const TempDir& folder) {
  const auto promtool = FindPart("promtool");
  EXPECT_TRUE(promtool) << promtool.error().message;
  const auto file = folder.Write(
      "probe.yaml",
      "scrape_configs: [{job_name: a, consul_sd_configs: [{server: 127.0.0.1:8500}]}]\n");
  return promtool &&
         RunCommand({.argv = {*promtool, "check", "config", file.string()}}, seconds(20))
             .has_value();
}

// What Prometheus makes of a service in Consul, as a file that any Prometheus reads.
std::string AsFile(ConsulAgent& consul, std::initializer_list<const char*> services) {
  json targets = json::array();
  for (const char* name : services) {
    const auto body = consul.Get(std::string("/v1/health/service/") + name);
    EXPECT_TRUE(body) << body.error().message;
    for (const json& entry : json::parse(body.value_or("[]"))) {
      const json& service = entry.at("Service");
      const std::string port = service.at("Port").dump();
      json labels = {{"__meta_consul_service", service.at("Service")},
                     {"__meta_consul_node", entry.at("Node").at("Node")},
                     {"__meta_consul_dc", entry.at("Node").at("Datacenter")},
                     {"__meta_consul_service_port", port}};
      for (const auto& [key, value] : service.at("Meta").items()) {
        labels["__meta_consul_service_metadata_" + key] = value;
      }
      const auto address = service.at("Address").get<std::string>();
      targets.push_back({{"targets", {address + ":" + port}}, {"labels", labels}});
    }
  }
  return consul.folder().Write("targets.json", targets.dump()).string();
}

// deploy/prometheus with this agent's address; where this Prometheus does not know Consul, with the
// same targets from a file. Everything behind the discovery is as shipped.
std::string Configuration(ConsulAgent& consul) {
  std::string text = RepositoryFile("deploy/prometheus/prometheus.yaml");
  text = Replaced(std::move(text), "../../alerts/rules/*.yaml",
                  RepositoryPath("alerts/rules/consul-canary.yaml"));
  text = Replaced(std::move(text), "scrape_interval: 5s", "scrape_interval: 1s");
  if (KnowsConsul(consul.folder())) {
    return Replaced(std::move(text), "server: 127.0.0.1:8500",
                    "server: " + consul.address().substr(consul.address().rfind('/') + 1));
  }
  fmt::print("this Prometheus does not know Consul: the same targets from a file\n");
  const std::size_t begin = text.find("    consul_sd_configs:");
  const std::size_t end = text.find("    relabel_configs:");
  EXPECT_LT(begin, end);
  if (begin >= end || end == std::string::npos) return text;
  return text.replace(
      begin, end - begin,
      fmt::format("    file_sd_configs: [{{files: ['{}']}}]\n",
                  AsFile(consul, {"consul-canary-exporter", "consul-canary-analyzer"})));
}

TEST_F(Scrapes, OfRegisteredDaemonsBringTheirMetricsUnderJobInstanceAndPath) {
  const auto exporter =
      StartExporter(*consul_, {"--consul.register", "--web.telemetry-path", "/telemetry"});
  ASSERT_TRUE(exporter) << exporter.error().message;
  const auto analyzer = StartAnalyzer(*consul_, {"--consul.register"});
  ASSERT_TRUE(analyzer) << analyzer.error().message;
  for (const char* name : {"consul-canary-exporter", "consul-canary-analyzer"}) {
    ASSERT_TRUE(WaitUntil(
        [&] {
          return Get(consul_->address() + "/v1/health/service/" + name + "?passing").size() == 1;
        },
        seconds(20)))
        << name;
  }
  const auto prometheus = StartPrometheus(*consul_, Configuration(*consul_));
  ASSERT_TRUE(prometheus) << prometheus.error().message;

  for (const auto* daemon : {&*exporter, &*analyzer}) {
    const std::string name =
        daemon == &*exporter ? "consul-canary-exporter" : "consul-canary-analyzer";
    const std::string series =
        fmt::format(R"(consul_canary_build_info{{job="{0}", program="{0}", dc="dc1", )"
                    R"(instance="node-1:{1}"}} == 1 and on(instance) up == 1)",
                    name, (*daemon)->port());
    const auto found = [&] {
      const json answer =
          Get((*prometheus)->address() + "/api/v1/query?query=" + base::UrlEncode(series));
      return answer.is_object() && answer.at("data").at("result").size() == 1;
    };
    EXPECT_TRUE(WaitUntil(found, seconds(30)))
        << Get((*prometheus)->address() + "/api/v1/targets").dump(1);
  }
  // By these names Prometheus knows what OpenMetrics describes: it asked for it, and got it.
  const json metadata =
      Get((*prometheus)->address() + "/api/v1/targets/metadata?metric=process_cpu_seconds");
  ASSERT_EQ(metadata.at("data").size(), 2u) << metadata;
  EXPECT_EQ(metadata.at("data").at(0).at("type"), "counter");
}

// --- A mesh that does not answer

TEST_F(Scrapes, AreAnsweredWhileASidecarHangsAndConsulIsStopped) {
  const SilentServer sidecar;
  for (const char* entry : {R"({"Kind": "service-defaults", "Name": "api", "Protocol": "http"})",
                            R"({"Kind": "service-resolver", "Name": "api", "Subsets": {
            "primary": {"Filter": "Service.Meta.version == v1"},
            "canary": {"Filter": "Service.Meta.version == v2"}}})",
                            R"({"Kind": "service-splitter", "Name": "api", "Splits": [
            {"Weight": 90, "ServiceSubset": "primary"}, {"Weight": 10, "ServiceSubset": "canary"}]})"}) {
    const auto written = consul_->WriteEntry(entry);
    ASSERT_TRUE(written) << written.error().message;
  }
  const auto registered = consul_->Put(
      "/v1/agent/service/register",
      json{{"Name", "web"},
           {"Port", 1},
           {"Connect",
            {{"SidecarService",
              {{"Port", 2},
               {"Checks", json::array({json{{"TTL", "1h"}, {"Status", "passing"}}})},
               {"Proxy",
                {{"Config",
                  {{"envoy_prometheus_bind_addr", fmt::format("127.0.0.1:{}", sidecar.port())}}},
                 {"Upstreams", {{{"DestinationName", "api"}, {"LocalBindPort", 3}}}}}}}}}}}
          .dump());
  ASSERT_TRUE(registered) << registered.error().message;
  const auto exporter = StartExporter(*consul_);
  ASSERT_TRUE(exporter) << exporter.error().message;
  const auto shows = [&](std::string_view line) {
    const auto page = consul_->http().Get((*exporter)->address() + "/metrics");
    return page && page->find(line) != std::string::npos;
  };
  const std::string_view no_timeout =
      "consul_canary_sidecar_scrape_errors_total{reason=\"timeout\"} 0";
  ASSERT_TRUE(
      WaitUntil([&] { return !shows(no_timeout) && shows("state=\"failing\"} 1"); }, seconds(20)))
      << consul_->http().Get((*exporter)->address() + "/metrics").value_or("");
  consul_->Pause();
  // Each within the time that the test's client gives an answer.
  EXPECT_TRUE(shows("consul_canary_sidecars{state=\"failing\"} 1"));
  EXPECT_TRUE(
      shows("consul_canary_split_weight_ratio{service_name=\"api\",subset=\"canary\","
            "role=\"canary\"} 0.1"));
  EXPECT_TRUE(consul_->http().Answers((*exporter)->address() + "/-/healthy"));
  EXPECT_EQ((*exporter)->Stop(), 0);
  consul_->Continue();
}

}  // namespace
}  // namespace consul_canary::testing
