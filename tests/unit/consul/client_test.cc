#include "exporter/consul/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/unit/consul/await.h"
#include "tests/unit/consul/scripted_consul.h"

namespace consul_canary::consul {
namespace {

using base::Error;
using base::ErrorCode;
using base::Result;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::StartsWith;
using Parameters = std::map<std::string, std::string>;

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() { Connect({}); }
  ~ClientTest() override { io_->Stop(); }

  // A client with these settings, and the address of the scripted server.
  void Connect(Settings settings) {
    if (io_) io_->Stop();
    client_.reset();
    io_ = std::make_unique<base::IoThread>();
    settings.address = consul_.Address();
    client_ = std::make_unique<Client>(io_->loop(), std::move(settings),
                                       [this](std::string_view operation, std::string_view result) {
                                         observed_.emplace_back(operation, result);
                                       });
  }

  template <class T>
  Result<T> Call(std::function<void(Reply<T>)> start) {
    return Await<T>(io_->loop(), std::move(start));
  }

  Result<std::optional<std::string>> ReadEntry(bool consistent = false) {
    return Call<std::optional<std::string>>([this, consistent](auto reply) {
      client_->ReadEntry("service-splitter", "a b", consistent, reply);
    });
  }

  Result<bool> WriteEntry(std::string entry, std::uint64_t index) {
    return Call<bool>(
        [this, entry, index](auto reply) { client_->WriteEntry(entry, index, reply); });
  }

  base::ServerRequest LastRequest() { return consul_.WaitForRequests(1).back(); }

  ScriptedConsul consul_;
  std::unique_ptr<base::IoThread> io_;
  std::unique_ptr<Client> client_;
  std::vector<std::pair<std::string, std::string>> observed_;  // written on the loop's thread only
};

TEST_F(ClientTest, ReadsAnEntry) {
  consul_.Answer({.body = "{\"Kind\":\"service-splitter\"}"});
  EXPECT_EQ(ReadEntry(true), "{\"Kind\":\"service-splitter\"}");
  EXPECT_EQ(LastRequest().path, "/v1/config/service-splitter/a b");
  EXPECT_EQ(LastRequest().query, (Parameters{{"consistent", ""}}));
}

TEST_F(ClientTest, TakesAnAbsentEntryForAnAnswer) {
  consul_.Answer({.status = 404, .body = "Config entry not found"});
  EXPECT_EQ(ReadEntry(), std::nullopt);
  io_->Stop();
  EXPECT_THAT(observed_, ElementsAre(Pair("config", "ok")));
}

TEST_F(ClientTest, SendsTokenAndScopeWithEachRequest) {
  Settings settings;
  settings.token = "secret";
  settings.datacenter = "dc2";
  settings.namespace_name = "team";
  settings.partition = "p1";
  Connect(settings);
  consul_.Answer({.body = "{}"});
  ASSERT_TRUE(ReadEntry(true).has_value());
  EXPECT_EQ(LastRequest().headers.at("x-consul-token"), "secret");
  EXPECT_EQ(LastRequest().query,
            (Parameters{{"consistent", ""}, {"dc", "dc2"}, {"ns", "team"}, {"partition", "p1"}}));
}

TEST_F(ClientTest, ReadsTheTokenFileAgainWhenItHasChanged) {
  const std::string path = ::testing::TempDir() + "token-" + std::to_string(getpid());
  const auto write = [&](const std::string& text) { std::ofstream(path) << text; };
  std::remove(path.c_str());
  Settings settings;
  settings.token = "ignored";
  settings.token_file = path;
  Connect(settings);

  const auto absent = ReadEntry();
  ASSERT_FALSE(absent.has_value());
  EXPECT_EQ(absent.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(absent.error().message,
              StartsWith("GET /v1/config/service-splitter/a%20b: token file " + path));

  const struct {
    std::string text;
    std::string expected;
  } kRows[] = {{"first\n", "first"}, {"the second\n", "the second"}, {"", "the second"}};
  for (const auto& row : kRows) {
    write(row.text);
    consul_.Answer({.body = "{}"});
    ASSERT_TRUE(ReadEntry().has_value());
    EXPECT_EQ(LastRequest().headers.at("x-consul-token"), row.expected);
  }
  std::remove(path.c_str());
}

TEST_F(ClientTest, MapsStatusesToErrors) {
  const struct {
    int status;
    std::string body;
    ErrorCode code;
  } kRows[] = {
      {400, "Request decoding failed", ErrorCode::kInvalid},
      {401, "", ErrorCode::kForbidden},
      {403, "Permission denied", ErrorCode::kForbidden},
      {404, "", ErrorCode::kNotFound},
      {409, "", ErrorCode::kConflict},
      {413, "Request body too large", ErrorCode::kInvalid},
      {429, "Your IP is issuing too many concurrent connections", ErrorCode::kUnavailable},
      {500, "No cluster leader", ErrorCode::kUnavailable},
      {500, "rpc error making call: EOF", ErrorCode::kUnavailable},
      {500, "rpc error getting client: failed to get conn: dial tcp", ErrorCode::kUnavailable},
      {500, "leadership lost while committing log", ErrorCode::kUnavailable},
      {500, "the sum of all split weights must be 100, not 99.989998", ErrorCode::kInvalid},
      {500, "rpc error making call: service \"leader\" does not have a subset named \"v9\"",
       ErrorCode::kInvalid},
      {502, "", ErrorCode::kUnavailable},
      {503, "", ErrorCode::kUnavailable},
  };
  for (const auto& row : kRows) {
    consul_.Answer({.status = row.status, .body = row.body});
    const auto written = WriteEntry("{\"Kind\":\"service-splitter\",\"Name\":\"api\"}", 7);
    ASSERT_FALSE(written.has_value()) << row.status;
    EXPECT_EQ(
        written.error(),
        (Error{row.code, "PUT /v1/config service-splitter/api: " + std::to_string(row.status) +
                             (row.body.empty() ? "" : " ") + row.body}));
  }
}

TEST_F(ClientTest, CallsAServersErrorOnReadingUnavailable) {
  consul_.Answer({.status = 500, .body = "whatever it is"});
  EXPECT_EQ(ReadEntry().error().code, ErrorCode::kUnavailable);
  consul_.Answer({.status = 500, .body = "Failed to create boolean expression evaluator: 1:9"});
  EXPECT_EQ(ReadEntry().error().code, ErrorCode::kInvalid);
}

TEST_F(ClientTest, ShortensConsulsWordsAndCutsTheTokenOut) {
  Settings settings;
  settings.token = "secret";
  Connect(settings);
  consul_.Answer(
      {.status = 403, .body = "token secret:\n\n\tno  " + std::string(5000, 'x') + "\n"});
  const auto entry = ReadEntry();
  ASSERT_FALSE(entry.has_value());
  EXPECT_THAT(entry.error().message, HasSubstr(": 403 token [token]: no xxx"));
  EXPECT_THAT(entry.error().message, Not(HasSubstr("secret")));
  EXPECT_LT(entry.error().message.size(), 400u);
}

TEST_F(ClientTest, TellsTheObserverOfEachRequest) {
  consul_.Answer({.body = "{}"});
  consul_.Answer({.status = 503});
  consul_.Answer({.status = 403});
  consul_.Answer({.body = "neither"});
  (void)ReadEntry();
  (void)ReadEntry();
  (void)ReadEntry();
  (void)WriteEntry("{}", 0);
  io_->Stop();
  EXPECT_THAT(observed_, ElementsAre(Pair("config", "ok"), Pair("config", "unavailable"),
                                     Pair("config", "forbidden"), Pair("config", "invalid")));
}

TEST_F(ClientTest, CallsNobodyBackOnceItIsDestroyed) {
  bool called = false;
  auto started = std::make_shared<std::promise<void>>();
  io_->loop().Post([&, started] {
    client_->KvList("x", [&](const auto&) { called = true; });
    started->set_value();
  });
  started->get_future().wait();
  (void)consul_.WaitForRequests(1);
  auto destroyed = std::make_shared<std::promise<void>>();
  io_->loop().Post([&, destroyed] {
    client_.reset();
    destroyed->set_value();
  });
  destroyed->get_future().wait();
  consul_.Release();
  io_->Stop();
  EXPECT_FALSE(called);
}

TEST_F(ClientTest, WritesAnEntryWithItsIndex) {
  consul_.Answer({.body = "true\n"});
  consul_.Answer({.body = "false"});
  EXPECT_EQ(WriteEntry("{\"Kind\":\"k\"}", 12), true);
  EXPECT_EQ(LastRequest().method, "PUT");
  EXPECT_EQ(LastRequest().path, "/v1/config");
  EXPECT_EQ(LastRequest().query, (Parameters{{"cas", "12"}}));
  EXPECT_EQ(LastRequest().body, "{\"Kind\":\"k\"}");
  EXPECT_EQ(WriteEntry("{\"Kind\":\"k\"}", 0), false);
  EXPECT_EQ(LastRequest().query, (Parameters{{"cas", "0"}}));
}

TEST_F(ClientTest, ReadsTheProtocolOfTheChain) {
  consul_.Answer({.body = R"({"Chain":{"Protocol":"http2"}})"});
  consul_.Answer({.body = R"({"Chain":null})"});
  const auto read = [this](auto reply) { client_->ReadProtocol("api", reply); };
  EXPECT_EQ(Call<std::string>(read), "http2");
  EXPECT_EQ(LastRequest().path, "/v1/discovery-chain/api");
  EXPECT_EQ(Call<std::string>(read).error(),
            (Error{ErrorCode::kInvalid, "GET /v1/discovery-chain/api: the chain has no Protocol"}));
}

TEST_F(ClientTest, AsksWhetherItMayWrite) {
  const auto ask = [this](auto reply) {
    client_->MayAccess("key_prefix", "consul-canary/", "write", reply);
  };
  consul_.Answer({.body = R"([{"Allow":true}])"});
  consul_.Answer({.body = R"([{"Allow":false}])"});
  consul_.Answer({.status = 401, .body = "ACL support disabled"});
  consul_.Answer({.status = 404, .body = "Invalid URL path"});
  consul_.Answer({.status = 403, .body = "ACL not found"});
  consul_.Answer({.body = "[]"});
  EXPECT_EQ(Call<bool>(ask), true);
  EXPECT_EQ(LastRequest().method, "POST");
  EXPECT_EQ(
      nlohmann::json::parse(LastRequest().body),
      nlohmann::json::parse(R"([{"Resource":"key","Segment":"consul-canary/","Access":"write"}])"));
  EXPECT_EQ(Call<bool>(ask), false);
  EXPECT_EQ(Call<bool>(ask), true) << "ACLs are off";
  for (int i = 0; i < 3; ++i) {
    const auto allowed = Call<bool>(ask);
    ASSERT_FALSE(allowed.has_value());
    EXPECT_EQ(allowed.error().code, ErrorCode::kUnavailable);
  }
}

TEST_F(ClientTest, ReadsAndListsKeys) {
  const std::string pairs =
      R"([{"Key":"a/b c","Value":"aGk=","ModifyIndex":9,"LockIndex":2,"Session":"s"}])";
  const KvPair expected{
      .key = "a/b c", .value = "hi", .modify_index = 9, .lock_index = 2, .session = "s"};
  const auto get = [this](auto reply) { client_->KvGet("a/b c", reply); };
  const auto list = [this](auto reply) { client_->KvList("a/", reply); };
  consul_.Answer({.body = pairs});
  EXPECT_EQ(Call<std::optional<KvPair>>(get), expected);
  EXPECT_EQ(LastRequest().path, "/v1/kv/a/b c");
  consul_.Answer({.status = 404});
  EXPECT_EQ(Call<std::optional<KvPair>>(get), std::nullopt);
  consul_.Answer({.body = pairs});
  EXPECT_EQ(Call<std::vector<KvPair>>(list), std::vector{expected});
  EXPECT_EQ(LastRequest().path, "/v1/kv/a/");
  EXPECT_EQ(LastRequest().query, (Parameters{{"recurse", ""}}));
  consul_.Answer({.status = 404});
  EXPECT_EQ(Call<std::vector<KvPair>>(list), std::vector<KvPair>{});
}

TEST_F(ClientTest, WritesKeys) {
  const struct {
    std::function<void(Client&, const Reply<bool>&)> call;
    Parameters query;
  } kRows[] = {
      {[](Client& c, const auto& r) { c.KvPut("k", "v", std::nullopt, r); }, {}},
      {[](Client& c, const auto& r) { c.KvPut("k", "v", 0, r); }, {{"cas", "0"}}},
      {[](Client& c, const auto& r) { c.KvPut("k", "v", 5, r); }, {{"cas", "5"}}},
      {[](Client& c, const auto& r) { c.KvAcquire("k", "v", "s", r); }, {{"acquire", "s"}}},
      {[](Client& c, const auto& r) { c.KvRelease("k", "v", "s", r); }, {{"release", "s"}}},
  };
  for (const auto& row : kRows) {
    consul_.Answer({.body = "true"});
    EXPECT_EQ(Call<bool>([&](const auto& reply) { row.call(*client_, reply); }), true);
    EXPECT_EQ(LastRequest().method, "PUT");
    EXPECT_EQ(LastRequest().path, "/v1/kv/k");
    EXPECT_EQ(LastRequest().query, row.query);
    EXPECT_EQ(LastRequest().body, "v");
  }
}

TEST_F(ClientTest, DeletesKeys) {
  consul_.Answer({.body = "true"});
  EXPECT_TRUE(Call<void>([this](auto reply) { client_->KvDelete("a/", true, reply); }).has_value());
  EXPECT_EQ(LastRequest().method, "DELETE");
  EXPECT_EQ(LastRequest().path, "/v1/kv/a/");
  EXPECT_EQ(LastRequest().query, (Parameters{{"recurse", ""}}));
}

TEST_F(ClientTest, SaysThatALockForALostSessionIsNotFound) {
  consul_.Answer({.status = 500, .body = "raft apply failed: invalid session \"s\""});
  const auto held = Call<bool>([this](auto reply) { client_->KvAcquire("k", "v", "s", reply); });
  ASSERT_FALSE(held.has_value());
  EXPECT_EQ(held.error().code, ErrorCode::kNotFound);
}

TEST_F(ClientTest, SendsATransactionAndReadsItsResults) {
  consul_.Answer(
      {.body = R"({"Results":[{"KV":{"Key":"k","Value":null,"ModifyIndex":8}}],"Errors":null})"});
  const auto results = Call<std::vector<KvPair>>([this](auto reply) {
    client_->Txn({{.verb = "check-session", .key = "lock", .session = "s"},
                  {.verb = "cas", .key = "k", .value = std::string("\0v", 2), .index = 7}},
                 reply);
  });
  EXPECT_EQ(results, (std::vector{KvPair{.key = "k", .modify_index = 8}}));
  EXPECT_EQ(LastRequest().path, "/v1/txn");
  EXPECT_EQ(nlohmann::json::parse(LastRequest().body), nlohmann::json::parse(R"([
      {"KV":{"Verb":"check-session","Key":"lock","Session":"s"}},
      {"KV":{"Verb":"cas","Key":"k","Value":"AHY=","Index":7}}])"));
}

TEST_F(ClientTest, GivesTheReasonsOfATransactionThatDidNotHold) {
  consul_.Answer(
      {.status = 409, .body = R"({"Results":null,"Errors":[{"OpIndex":0,"What":"index is stale"},
                              {"OpIndex":1,"What":"failed session check"}]})"});
  const auto results =
      Call<std::vector<KvPair>>([this](auto reply) { client_->Txn({{.verb = "get"}}, reply); });
  EXPECT_EQ(results.error(),
            (Error{ErrorCode::kConflict, "PUT /v1/txn: 409 index is stale; failed session check"}));
}

TEST_F(ClientTest, CreatesRenewsListsAndDestroysSessions) {
  consul_.Answer({.body = R"({"ID":"s1"})"});
  EXPECT_EQ(Call<std::string>([this](auto reply) {
              client_->SessionCreate("canary", base::seconds{15}, "", reply);
            }),
            "s1");
  EXPECT_EQ(nlohmann::json::parse(LastRequest().body),
            nlohmann::json::parse(
                R"({"Name":"canary","TTL":"15s","Behavior":"release","LockDelay":"1ms"})"));

  consul_.Answer({.body = R"({"ID":"s2"})"});
  EXPECT_EQ(Call<std::string>([this](auto reply) {
              client_->SessionCreate("canary", base::seconds{15}, "service:canary-1", reply);
            }),
            "s2");
  EXPECT_EQ(nlohmann::json::parse(LastRequest().body).at("ServiceChecks").dump(),
            R"([{"ID":"service:canary-1"}])");

  consul_.Answer({.body = "[]"});
  EXPECT_TRUE(Call<void>([this](auto reply) { client_->SessionRenew("s1", reply); }).has_value());
  EXPECT_EQ(LastRequest().path, "/v1/session/renew/s1");

  consul_.Answer({.status = 404, .body = "Session id 's1' not found"});
  EXPECT_EQ(Call<void>([this](auto reply) { client_->SessionRenew("s1", reply); }).error().code,
            ErrorCode::kNotFound);

  consul_.Answer({.body = R"([{"ID":"s1","Name":"canary"},{"ID":"s2"}])"});
  const auto sessions =
      Call<std::vector<Client::SessionInfo>>([this](auto reply) { client_->SessionList(reply); });
  ASSERT_TRUE(sessions.has_value());
  ASSERT_THAT(*sessions, SizeIs(2));
  EXPECT_EQ((*sessions)[0].name, "canary");
  EXPECT_EQ((*sessions)[1].id, "s2");

  consul_.Answer({.body = "true"});
  EXPECT_TRUE(Call<void>([this](auto reply) { client_->SessionDestroy("s1", reply); }).has_value());
  EXPECT_EQ(LastRequest().path, "/v1/session/destroy/s1");
}

TEST_F(ClientTest, GetsAnyPath) {
  consul_.Answer({.body = "x", .headers = {{"X-Consul-Index", "3"}}});
  const auto response = Call<base::HttpResponse>(
      [this](auto reply) { client_->Get("other", "/v1/status/leader?a=b", reply); });
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->headers.at("x-consul-index"), "3");
  EXPECT_EQ(LastRequest().query, (Parameters{{"a", "b"}}));
}

TEST(ClientPaths, AreEncoded) {
  EXPECT_EQ(Client::EntriesPath("service-splitter"), "/v1/config/service-splitter");
  EXPECT_EQ(Client::ConnectPath("a b", "Service.Meta.version == \"v2\""),
            "/v1/health/connect/a%20b?merge-central-config&filter="
            "Service.Meta.version%20%3D%3D%20%22v2%22");
  EXPECT_EQ(Client::ConnectPath("api", ""), "/v1/health/connect/api?merge-central-config");
  EXPECT_EQ(Client::HealthPath("api/x"), "/v1/health/service/api%2Fx?merge-central-config");
  EXPECT_EQ(Client::ProxyServicesPath(),
            "/v1/catalog/services?filter=ServiceKind%20%3D%3D%20%22connect-proxy%22");
  EXPECT_EQ(Client::KvPrefixPath("consul-canary/a b/"), "/v1/kv/consul-canary/a%20b/?recurse");
}

}  // namespace
}  // namespace consul_canary::consul
