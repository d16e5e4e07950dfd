// `check` and `shield` before a server in Consul's place: exit codes, the order of writes, and what
// becomes of a write that somebody was quicker than.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "analyzer/cli/command_line.h"
#include "exporter/base/http_server.h"

namespace consul_canary::cli {
namespace {

using base::ServerRequest;
using base::ServerResponse;
using nlohmann::json;

// A service api in two subsets that web calls, on as much of Consul as the commands ask for.
class FakeConsul {
 public:
  FakeConsul() {
    Store({{"Kind", "service-resolver"},
           {"Name", "api"},
           {"Subsets", {{"primary", {{"Filter", "v1"}}}, {"canary", {{"Filter", "v2"}}}}}});
    Store({{"Kind", "service-splitter"},
           {"Name", "api"},
           {"Splits",
            {{{"Weight", 100}, {"ServiceSubset", "primary"}},
             {{"Weight", 0}, {"ServiceSubset", "canary"}}}}});
    base::ServerOptions options;
    options.listen_addresses = {"127.0.0.1:0"};
    auto server = base::HttpServer::Start(
        options, [this](const ServerRequest& request) { return Answer(request); });
    EXPECT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
    const std::string address = "127.0.0.1:" + std::to_string(server_->ports().front());
    setenv("CONSUL_HTTP_ADDR", address.c_str(), 1);
  }
  ~FakeConsul() { unsetenv("CONSUL_HTTP_ADDR"); }

  void Store(json entry) {
    const std::scoped_lock lock(mutex_);
    StoreLocked(std::move(entry));
  }
  json Stored(const std::string& name) {
    const std::scoped_lock lock(mutex_);
    const auto found = entries_.find(name);
    return found == entries_.end() ? json() : found->second;
  }
  std::vector<std::string> written() {
    const std::scoped_lock lock(mutex_);
    return written_;
  }
  // Somebody changes the entry just before the next write of it.
  void BeQuicker(const std::string& name, const std::string& meta) {
    const std::scoped_lock lock(mutex_);
    quicker_ = {name, meta};
  }
  void LeaveOut() { leaves_out_ = true; }
  void Refuse(const std::string& kind) { refused_kind_ = kind; }
  std::string version_ = "1.16.3";

 private:
  static ServerResponse Json(const json& body) {
    ServerResponse response;
    response.body = body.dump();
    return response;
  }
  static ServerResponse Refusal(int status, const std::string& words) {
    ServerResponse response;
    response.status = status;
    response.body = words;
    return response;
  }

  void StoreLocked(json entry) {
    entry["ModifyIndex"] = ++index_;
    const std::string name =
        entry["Kind"].get<std::string>() + "/" + entry["Name"].get<std::string>();
    entries_[name] = std::move(entry);
  }

  ServerResponse Write(const ServerRequest& request) {
    const json entry = json::parse(request.body);
    const std::string kind = entry["Kind"];
    const std::string name = kind + "/" + entry["Name"].get<std::string>();
    if (kind == refused_kind_) {
      return Refusal(403, "Permission denied: token lacks permission 'service:write' on \"api\"");
    }
    if (quicker_.first == name) {
      json theirs = entries_[name];
      theirs["Meta"]["theirs"] = quicker_.second;
      StoreLocked(std::move(theirs));
      quicker_ = {};
    }
    const auto found = entries_.find(name);
    const std::uint64_t index =
        found == entries_.end() ? 0 : found->second["ModifyIndex"].get<std::uint64_t>();
    if (request.query.at("cas") != std::to_string(index)) return Json(false);
    StoreLocked(entry);
    written_.push_back(name);
    return Json(true);
  }

  ServerResponse Config(const ServerRequest& request, const std::string& name) {
    if (request.method == "DELETE") {
      written_.push_back("-" + name);
      return Json(entries_.erase(name) == 1);
    }
    if (name.find('/') == std::string::npos) {
      json list = json::array();
      for (const auto& [each, entry] : entries_) {
        if (each.starts_with(name + "/")) list.push_back(entry);
      }
      return Json(list);
    }
    const auto found = entries_.find(name);
    return found == entries_.end() ? Refusal(404, "not found") : Json(found->second);
  }

  static json Instance(const json& service) {
    return {{{"Node", {{"Node", "n"}, {"Address", "127.0.0.1"}}},
             {"Service", service},
             {"Checks", {{{"Status", "passing"}}}}}};
  }

  ServerResponse Answer(const ServerRequest& request) {
    const std::scoped_lock lock(mutex_);
    const std::string& path = request.path;
    if (path == "/v1/config") return Write(request);
    if (path.starts_with("/v1/config/")) return Config(request, path.substr(11));
    if (path == "/v1/agent/self") return Json({{"Config", {{"Version", version_}}}});
    if (path == "/v1/discovery-chain/api") return Json({{"Chain", {{"Protocol", "http"}}}});
    if (path == "/v1/internal/acl/authorize") return Json({{{"Allow", true}}});
    if (path == "/v1/connect/intentions/check") return Json({{"Allowed", true}});
    if (path == "/v1/health/connect/api") return Json(Instance({{"ID", "a"}, {"Service", "a"}}));
    if (path == "/v1/health/service/web-sidecar-proxy") {
      return Json(Instance(
          {{"ID", "w"},
           {"Service", "web-sidecar-proxy"},
           {"Kind", "connect-proxy"},
           {"Proxy",
            {{"DestinationServiceName", "web"}, {"Upstreams", {{{"DestinationName", "api"}}}}}}}));
    }
    if (path == "/v1/catalog/services") {
      const bool proxies = request.query.at("filter").find("connect-proxy") != std::string::npos;
      ServerResponse response =
          Json(proxies ? json{{"web-sidecar-proxy", json::array()}} : json::object());
      if (leaves_out_) response.headers["X-Consul-Results-Filtered-By-ACLs"] = "true";
      return response;
    }
    return Json(json::array());
  }

  std::mutex mutex_;
  std::map<std::string, json> entries_;
  std::vector<std::string> written_;
  std::pair<std::string, std::string> quicker_;
  std::string refused_kind_;
  bool leaves_out_ = false;
  std::uint64_t index_ = 10;
  std::unique_ptr<base::HttpServer> server_;  // last: its workers use the others
};

struct Ran {
  int code = -1;
  std::string out;
  std::string err;
};

Ran Ctl(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "consul-canaryctl");
  std::vector<char*> argv;
  argv.reserve(arguments.size());
  for (std::string& argument : arguments) argv.push_back(argument.data());
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  Ran ran{.code = RunCommandLine(static_cast<int>(argv.size()), argv.data())};
  ran.out = ::testing::internal::GetCapturedStdout();
  ran.err = ::testing::internal::GetCapturedStderr();
  return ran;
}

using Names = std::vector<std::string>;

TEST(ShieldCommand, WritesInOrderAndTakesOutInTheOtherOne) {
  FakeConsul consul;
  EXPECT_EQ(Ctl({"check", "api"}).code, 1);
  const json before = consul.Stored("service-resolver/api");
  const Ran applied = Ctl({"shield", "api", "--apply"});
  EXPECT_EQ(applied.code, 0) << applied.err;
  EXPECT_EQ(consul.written(),
            (Names{"service-defaults/web", "service-resolver/api", "service-router/api"}));
  const Ran checked = Ctl({"check", "api", "-o", "json"});
  EXPECT_EQ(checked.code, 0) << checked.out;
  EXPECT_EQ(json::parse(checked.out)["ok"], true);
  EXPECT_EQ(Ctl({"shield", "api", "--apply"}).out, "api: nothing to write\n");
  EXPECT_EQ(Ctl({"shield", "api", "--remove"}).code, 0);
  EXPECT_EQ(consul.written().size(), 6U);
  EXPECT_EQ(consul.written()[3], "-service-router/api");
  EXPECT_EQ(consul.written()[4], "service-resolver/api");
  EXPECT_EQ(consul.written()[5], "-service-defaults/web");
  EXPECT_EQ(consul.Stored("service-resolver/api")["Subsets"], before["Subsets"]);
  EXPECT_FALSE(consul.Stored("service-resolver/api").contains("Failover"));
}

TEST(ShieldCommand, ReadsAgainWhereSomebodyWasQuickerAndKeepsWhatHeWrote) {
  FakeConsul consul;
  consul.BeQuicker("service-resolver/api", "kept");
  const Ran applied = Ctl({"shield", "api", "--apply"});
  EXPECT_EQ(applied.code, 0) << applied.err;
  const json resolver = consul.Stored("service-resolver/api");
  EXPECT_EQ(resolver["Meta"]["theirs"], "kept");
  EXPECT_EQ(resolver["Failover"]["canary"]["ServiceSubset"], "primary");
}

TEST(ShieldCommand, StopsWhereConsulRefusesAndSaysWhichRuleIsMissing) {
  FakeConsul consul;
  consul.Refuse("service-resolver");
  const Ran applied = Ctl({"shield", "api", "--apply"});
  EXPECT_EQ(applied.code, 1);
  EXPECT_NE(applied.err.find(R"(service "api" { policy = "write" })"), std::string::npos)
      << applied.err;
  EXPECT_EQ(consul.written(), Names{"service-defaults/web"});
}

TEST(ShieldCommand, PassesOverWhatKubernetesOwnsAndNamesIt) {
  FakeConsul consul;
  json resolver = consul.Stored("service-resolver/api");
  resolver["Meta"]["consul.hashicorp.com/source-datacenter"] = "dc1";
  consul.Store(resolver);
  const Ran applied = Ctl({"shield", "api", "--apply"});
  EXPECT_EQ(applied.code, 1);
  EXPECT_NE(applied.err.find("service-resolver/api is owned by Kubernetes"), std::string::npos);
  EXPECT_EQ(consul.written(), (Names{"service-defaults/web", "service-router/api"}));
  EXPECT_NE(Ctl({"shield", "api", "-o", "kubernetes"}).out.find("kind: ServiceResolver"),
            std::string::npos);
}

TEST(ShieldCommand, SaysWhichMemoryIsDamagedAndDoesNothingByHalves) {
  FakeConsul consul;
  EXPECT_EQ(Ctl({"shield", "api", "--apply"}).code, 0);
  const std::size_t writes = consul.written().size();
  json web = consul.Stored("service-defaults/web");
  web["Meta"]["consul-canary-shield-1"] = "{\"edits\":";
  consul.Store(web);
  for (const char* what : {"--remove", "--apply"}) {
    const Ran ran = Ctl({"shield", "api", what});
    EXPECT_EQ(ran.code, 1) << what << ran.out;
    EXPECT_NE(ran.err.find("service-defaults/web: how it was before"), std::string::npos)
        << ran.err;
    EXPECT_NE(ran.err.find("consul-canary-shield-1"), std::string::npos) << ran.err;
    EXPECT_EQ(ran.out, "");
  }
  EXPECT_EQ(consul.written().size(), writes);
  EXPECT_NE(Ctl({"check", "api"}).out.find("consul-canary-shield-1"), std::string::npos);
}

TEST(ShieldCommand, WritesNothingOnAnOlderConsul) {
  FakeConsul consul;
  consul.version_ = "1.15.4";
  const Ran applied = Ctl({"shield", "api", "--apply"});
  EXPECT_EQ(applied.code, 1);
  EXPECT_NE(applied.err.find("from 1.16 on"), std::string::npos) << applied.err;
  EXPECT_TRUE(consul.written().empty());
  EXPECT_EQ(Ctl({"check", "api"}).code, 1);
}

TEST(ShieldCommand, CheckKnowsNothingWhereSomethingIsLeftOutOrNobodyAnswers) {
  {
    FakeConsul consul;
    EXPECT_EQ(Ctl({"shield", "api", "--apply"}).code, 0);
    consul.LeaveOut();
    const Ran checked = Ctl({"check", "api"});
    EXPECT_EQ(checked.code, 3);
    EXPECT_NE(checked.out.find("its policy needs service_prefix"), std::string::npos)
        << checked.out;
  }
  setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1", 1);
  const Ran checked = Ctl({"check", "api"});
  EXPECT_EQ(checked.code, 3);
  EXPECT_NE(checked.err, "");
  EXPECT_EQ(Ctl({"shield", "api", "--apply"}).code, 1);
  unsetenv("CONSUL_HTTP_ADDR");
}

TEST(ShieldCommand, FlagsThatSayNothingTogetherAreWrong) {
  EXPECT_EQ(Ctl({"shield"}).code, 2);
  EXPECT_EQ(Ctl({"shield", "api", "--apply", "--remove"}).code, 2);
  EXPECT_EQ(Ctl({"shield", "api", "--now"}).code, 2);
  EXPECT_EQ(Ctl({"shield", "api", "-o", "table"}).code, 2);
  EXPECT_EQ(Ctl({"check", ""}).code, 2);
  setenv("CONSUL_HTTP_SSL", "perhaps", 1);
  EXPECT_EQ(Ctl({"check", "api"}).code, 2);
  unsetenv("CONSUL_HTTP_SSL");
}

}  // namespace
}  // namespace consul_canary::cli
