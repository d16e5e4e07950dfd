// How both programs come to Consul: by TLS with a client's certificate, with a token that is
// rotated while they run, and what they say where it cannot work.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/e2e/rollout_mesh.h"
#include "tests/support/daemons.h"
#include "tests/support/places.h"
#include "tests/support/real_parts.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace consul_canary::testing {
namespace {

using Variables = std::map<std::string, std::string>;

constexpr const char* kManagementToken = "8a4f2f8e-0000-4000-8000-000000000006";

// What `consul tls` makes: an authority, and certificates of a server and of a client by it. Two
// addresses: the certificates bear the first one alone.
class Authority {
 public:
  Authority() : folder_("tls") {
    const auto consul = FindPart("consul");
    EXPECT_TRUE(consul) << consul.error().message;
    const std::string script = fmt::format(
        "cd {0} && {1} tls ca create && {1} tls cert create -server -dc dc1 && "
        "{1} tls cert create -client -dc dc1",
        folder_.path().string(), consul.value_or(""));
    Run(script);
  }

  // The server gets another certificate, which has expired.
  void Expire() {
    Run(fmt::format(
        "cd {} && openssl req -new -key {} -subj /CN=server.dc1.consul -out server.csr && "
        "echo subjectAltName=IP:127.0.0.1 > names && openssl x509 -req -in server.csr -days -1 "
        "-CA {} -CAkey {} -CAcreateserial -extfile names -out {}",
        folder_.path().string(), Path("dc1-server-consul-0-key.pem"), ca(),
        Path("consul-agent-ca-key.pem"), Path("dc1-server-consul-0.pem")));
  }

  [[nodiscard]] std::string Path(const std::string& file) const { return folder_.path() / file; }
  [[nodiscard]] std::string ca() const { return Path("consul-agent-ca.pem"); }
  [[nodiscard]] std::string client_cert() const { return Path("dc1-client-consul-0.pem"); }
  [[nodiscard]] std::string client_key() const { return Path("dc1-client-consul-0-key.pem"); }

  // Of an agent that asks for a client's certificate.
  [[nodiscard]] std::string Configuration(int https_port) const {
    const json configuration = {{"ports", {{"https", https_port}}},
                                {"addresses", {{"https", "127.0.0.1 127.0.0.2"}}},
                                {"tls",
                                 {{"https",
                                   {{"ca_file", ca()},
                                    {"cert_file", Path("dc1-server-consul-0.pem")},
                                    {"key_file", Path("dc1-server-consul-0-key.pem")},
                                    {"verify_incoming", true}}}}}};
    return configuration.dump();
  }

  [[nodiscard]] Variables Client() const {
    return {{"CONSUL_CACERT", ca()},
            {"CONSUL_CLIENT_CERT", client_cert()},
            {"CONSUL_CLIENT_KEY", client_key()}};
  }

 private:
  static void Run(const std::string& script) {
    const auto made = RunCommand({.argv = {"/bin/sh", "-c", script}}, seconds(20));
    EXPECT_TRUE(made) << made.error().message;
  }

  TempDir folder_;
};

// Does not wait until it is ready.
std::unique_ptr<Daemon> Begin(ConsulAgent& consul, const std::string& program,
                              const Variables& env) {
  static int number = 0;
  Daemon::Options options{.name = fmt::format("daemon-{}", ++number), .ready_path = "/-/healthy"};
  options.address = fmt::format("http://127.0.0.1:{}", consul.ports().Next());
  options.command.argv = {program, "--web.listen-address", options.address.substr(7)};
  if (program == AnalyzerProgram()) options.command.argv.emplace_back("--auth.none-on-loopback");
  options.command.env = consul.Environment();
  for (const auto& [name, value] : env) options.command.env[name] = value;
  options.command.output = consul.folder().path() / (options.name + ".log");
  auto daemon = Daemon::Start(consul.http(), std::move(options));
  EXPECT_TRUE(daemon) << daemon.error().message;
  return daemon ? std::move(*daemon) : nullptr;
}

std::string WhyNotReady(const Daemon& daemon, const Http& http) {
  const auto answer = http.Call("GET", daemon.address() + "/-/ready");
  if (!answer) return answer.error().message;
  return answer->status == 200 ? "ready" : answer->body;
}

void ExpectReadySays(ConsulAgent& consul, const Variables& env, const std::string& words) {
  for (const std::string& program : {AnalyzerProgram(), ExporterProgram()}) {
    const auto daemon = Begin(consul, program, env);
    if (!daemon) return;
    const auto says = [&] { return WhyNotReady(*daemon, consul.http()); };
    EXPECT_TRUE(WaitUntil([&] { return says().find(words) != std::string::npos; }, seconds(10)))
        << program << " does not say: " << words << "\nbut: " << says();
    if (words != "ready" && program == ExporterProgram()) std::cout << says();
  }
}

Variables With(Variables variables, const Variables& more) {
  for (const auto& [name, value] : more) variables[name] = value;
  return variables;
}

Variables Without(Variables variables, const std::vector<std::string>& names) {
  for (const std::string& name : names) variables.erase(name);
  return variables;
}

class Tls : public ::testing::Test {
 protected:
  void SetUp() override {
    port_ = ports_.Next();
    auto consul = ConsulAgent::Start({.configuration = authority_.Configuration(port_)});
    ASSERT_TRUE(consul) << consul.error().message;
    consul_ = std::move(*consul);
  }

  [[nodiscard]] Variables Good() const {
    return With(authority_.Client(),
                {{"CONSUL_HTTP_ADDR", fmt::format("https://127.0.0.1:{}", port_)}});
  }

  Authority authority_;
  Ports ports_;
  int port_ = 0;
  std::unique_ptr<ConsulAgent> consul_;
};

TEST_F(Tls, ReachesAnAgentThatAsksForACertificate) {
  ExpectReadySays(*consul_, Good(), "ready");
  ExpectReadySays(*consul_,
                  With(Good(), {{"CONSUL_HTTP_ADDR", fmt::format("127.0.0.1:{}", port_)},
                                {"CONSUL_HTTP_SSL", "true"}}),
                  "ready");
}

TEST_F(Tls, ReachesItByAnotherAddressUnderTheNameInTheCertificate) {
  const Variables elsewhere =
      With(Good(), {{"CONSUL_HTTP_ADDR", fmt::format("https://127.0.0.2:{}", port_)}});
  ExpectReadySays(*consul_, elsewhere,
                  "set CONSUL_TLS_SERVER_NAME to one that it bears, as server.dc1.consul");
  ExpectReadySays(*consul_, With(elsewhere, {{"CONSUL_TLS_SERVER_NAME", "server.dc1.consul"}}),
                  "ready");
  ExpectReadySays(*consul_, With(elsewhere, {{"CONSUL_TLS_SERVER_NAME", "other.example"}}),
                  "set CONSUL_TLS_SERVER_NAME to one that it bears");
}

TEST_F(Tls, SaysWhichVariableIsWrong) {
  const Authority other;
  const std::string signer =
      "CONSUL_CACERT must be the certificate of the authority that signed Consul's";
  ExpectReadySays(*consul_, Without(Good(), {"CONSUL_CACERT"}), signer);
  ExpectReadySays(*consul_, With(Good(), {{"CONSUL_CACERT", other.ca()}}), signer);
  ExpectReadySays(*consul_, Without(Good(), {"CONSUL_CLIENT_CERT", "CONSUL_CLIENT_KEY"}),
                  "set CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY");
  ExpectReadySays(*consul_,
                  With(Good(), {{"CONSUL_CLIENT_CERT", other.client_cert()},
                                {"CONSUL_CLIENT_KEY", other.client_key()}}),
                  "CONSUL_CLIENT_CERT");
  ExpectReadySays(*consul_, With(Good(), {{"CONSUL_CLIENT_KEY", other.client_key()}}),
                  "CONSUL_CLIENT_KEY is no key of CONSUL_CLIENT_CERT");
  ExpectReadySays(
      *consul_, With(Good(), {{"CONSUL_CACERT", consul_->folder().Write("ca.pem", "x").string()}}),
      "CONSUL_CACERT or CONSUL_CAPATH holds no certificate in PEM");
}

TEST_F(Tls, SaysWhereOneSideSpeaksPlainHttp) {
  ExpectReadySays(*consul_,
                  With(Good(), {{"CONSUL_HTTP_ADDR", fmt::format("http://127.0.0.1:{}", port_)}}),
                  "Consul speaks TLS there: set CONSUL_HTTP_SSL=true");
  ExpectReadySays(*consul_,
                  With(Good(), {{"CONSUL_HTTP_ADDR", "https" + consul_->address().substr(4)}}),
                  "Consul speaks no TLS there: unset CONSUL_HTTP_SSL");
}

TEST(TlsOfAnAgent, WhoseCertificateHasExpiredIsNamed) {
  Authority authority;
  authority.Expire();
  Ports ports;
  const int port = ports.Next();
  auto consul = ConsulAgent::Start({.configuration = authority.Configuration(port)});
  ASSERT_TRUE(consul) << consul.error().message;
  ExpectReadySays(
      **consul,
      With(authority.Client(), {{"CONSUL_HTTP_ADDR", fmt::format("https://127.0.0.1:{}", port)}}),
      "Consul's certificate (or the authority's) has expired");
}

// The agent's check of the analyzer stays plain HTTP: without it the session would end.
TEST(TlsOfAnAgent, CarriesAWholeRollout) {
  const Authority authority;
  Ports ports;
  const int port = ports.Next();
  auto mesh = Mesh::Start({.consul = {.configuration = authority.Configuration(port)}});
  ASSERT_TRUE(mesh) << mesh.error().message;
  ConsulAgent& consul = (*mesh)->consul();
  const auto analyzer = StartAnalyzer(
      consul, {}, "analyzer",
      With(authority.Client(), {{"CONSUL_HTTP_ADDR", fmt::format("https://127.0.0.2:{}", port)},
                                {"CONSUL_TLS_SERVER_NAME", "server.dc1.consul"}}));
  ASSERT_TRUE(analyzer) << analyzer.error().message;
  const Load load({.url = (*mesh)->url(), .rate = 200});
  const auto file = consul.folder().Write(
      "spec.yaml", "service: api\nstrategy: {steps: [{weight: 50}], warmup: 1s}\n");
  const auto applied = RunCtl((*analyzer)->address(), {"apply", "-f", file.string()});
  ASSERT_TRUE(applied && applied->code == 0) << applied->output;
  ASSERT_TRUE((*mesh)->AddInstance("v2"));
  const auto phase = [&] {
    const auto got = RunCtl((*analyzer)->address(), {"get", "api", "-o", "json"});
    return got ? json::parse(got->output, nullptr, false).value("phase", "") : "";
  };
  EXPECT_TRUE(WaitUntil([&] { return phase() == "succeeded"; }, seconds(120)))
      << phase() << RunCtl((*analyzer)->address(), {"get", "api", "-o", "json"})->output
      << ReadFile((*analyzer)->process().output());
  const std::string log = ReadFile((*analyzer)->process().output());
  EXPECT_NE(log.find("registered in Consul"), std::string::npos) << log;
  EXPECT_EQ(log.find("ends by its TTL alone"), std::string::npos) << log;
}

// Open-source Consul knows neither: every request is refused, and the reason stands in its answer.
TEST(Enterprise, NamespaceAndPartitionAreRefusedWithTheVariable) {
  auto consul = ConsulAgent::Start();
  ASSERT_TRUE(consul) << consul.error().message;
  ExpectReadySays(**consul, {{"CONSUL_NAMESPACE", "team"}},
                  "CONSUL_NAMESPACE is set, and this Consul is not Enterprise: unset it");
  ExpectReadySays(**consul, {{"CONSUL_PARTITION", "west"}},
                  "CONSUL_PARTITION is set, and this Consul is not Enterprise: unset it");
}

// --- a token that is rotated
// -------------------------------------------------------------------------------------------------

class RotatedToken : public ::testing::Test {
 protected:
  void SetUp() override {
    auto consul = ConsulAgent::Start({.token = kManagementToken});
    ASSERT_TRUE(consul) << consul.error().message;
    consul_ = std::move(*consul);
    first_ = NewToken();
    file_ = consul_->folder().Write("token", first_.at("SecretID").get<std::string>() + "\n");
    analyzer_ = Begin(*consul_, AnalyzerProgram(), Env());
    exporter_ = Begin(*consul_, ExporterProgram(), Env());
    ASSERT_TRUE(analyzer_ && exporter_);
    for (const Daemon* daemon : {analyzer_.get(), exporter_.get()}) {
      ASSERT_TRUE(
          WaitUntil([&] { return WhyNotReady(*daemon, consul_->http()) == "ready"; }, seconds(15)))
          << WhyNotReady(*daemon, consul_->http());
    }
  }

  [[nodiscard]] Variables Env() const {
    return {{"CONSUL_HTTP_TOKEN_FILE", file_.string()}, {"CONSUL_HTTP_TOKEN", "not this one"}};
  }

  [[nodiscard]] json NewToken() const {
    const json token = {{"Policies", {{{"Name", "global-management"}}}}};
    const auto made = consul_->Put("/v1/acl/token", token.dump());
    EXPECT_TRUE(made) << made.error().message;
    return made ? json::parse(*made) : json::object();
  }

  void Revoke(const json& token) const {
    ASSERT_TRUE(consul_->Delete("/v1/acl/token/" + token.at("AccessorID").get<std::string>()));
  }

  // Something new in Consul makes the exporter ask anew.
  void ExpectBothWork(const std::string& service) {
    ASSERT_TRUE(consul_->WriteEntry(fmt::format(
        R"({{"Kind": "service-defaults", "Name": "{}", "Protocol": "http"}})", service)));
    ASSERT_TRUE(consul_->WriteEntry(fmt::format(
        R"({{"Kind": "service-splitter", "Name": "{}", "Splits": [{{"Weight": 100}}]}})",
        service)));
    const auto shows = [&] {
      const auto page = consul_->http().Get(exporter_->address() + "/metrics");
      return page && page->find(fmt::format("service_name=\"{}\"", service)) != std::string::npos;
    };
    EXPECT_TRUE(WaitUntil(shows, seconds(15))) << ReadFile(exporter_->process().output());
    const auto paused = RunCtl(analyzer_->address(), {"pause", "--all", "--reason", service});
    ASSERT_TRUE(paused) << paused.error().message;
    EXPECT_EQ(paused->code, 0) << paused->output;
  }

  void ExpectBothLog(const std::string& words) {
    for (const Daemon* daemon : {analyzer_.get(), exporter_.get()}) {
      const auto logged = [&] {
        return ReadFile(const_cast<Daemon*>(daemon)->process().output()).find(words) !=
               std::string::npos;
      };
      EXPECT_TRUE(WaitUntil(logged, seconds(15))) << words;
    }
  }

  std::unique_ptr<ConsulAgent> consul_;
  json first_;
  std::filesystem::path file_;
  std::unique_ptr<Daemon> analyzer_, exporter_;
};

TEST_F(RotatedToken, IsTakenWithoutARestart) {
  ExpectBothWork("before");
  const json second = NewToken();
  consul_->folder().Write("token", second.at("SecretID").get<std::string>());
  Revoke(first_);
  ExpectBothWork("after");
  ExpectBothLog("Consul token read anew");
}

TEST_F(RotatedToken, StaysInUseWhereItsFileIsEmptyOrGone) {
  consul_->folder().Write("token", "\n");
  ExpectBothWork("empty");
  ExpectBothLog("Consul token file cannot be read; the token read before stays in use");
  std::filesystem::remove(file_);
  ExpectBothWork("gone");
  ExpectBothLog("No such file or directory");
}

TEST_F(RotatedToken, ThatConsulDoesNotKnowIsNamedWithItsVariable) {
  Revoke(first_);
  const std::string words = "Consul does not know the token";
  ExpectReadySays(*consul_, Env(), words);
}

}  // namespace
}  // namespace consul_canary::testing
