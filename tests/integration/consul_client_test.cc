// Keys, sessions, rights and health on a real Consul agent: what our code believes of them is true.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "exporter/consul/client.h"
#include "tests/integration/consul_fixture.h"
#include "tests/support/wait.h"

namespace consul_canary::consul {
namespace {

using base::ErrorCode;
using base::HttpResponse;
using base::Result;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using Json = nlohmann::json;

constexpr const char* kManagementToken = "11111111-2222-3333-4444-555555555555";
constexpr const char* kLimitedToken = "22222222-2222-3333-4444-555555555555";

TEST_F(ConsulTest, HoldsALockForAsLongAsItsSessionLives) {
  StartAgent();
  const std::string mine = CreateSession();
  const std::string other = CreateSession();
  ASSERT_NE(mine, "");
  EXPECT_EQ(Acquire(mine), true);
  EXPECT_EQ(Acquire(mine), true) << "again, by the same session";
  EXPECT_EQ(Acquire(other), false);
  const auto lock =
      Call<std::optional<KvPair>>([this](auto reply) { client_->KvGet("lock", reply); });
  ASSERT_TRUE(lock.has_value() && lock->has_value());
  EXPECT_EQ((*lock)->session, mine);
  EXPECT_EQ((*lock)->value, "me");
  EXPECT_EQ((*lock)->lock_index, 1u);

  EXPECT_TRUE(Call<void>([&](auto reply) { client_->SessionRenew(mine, reply); }).has_value());
  const auto sessions =
      Call<std::vector<Client::SessionInfo>>([this](auto reply) { client_->SessionList(reply); });
  ASSERT_TRUE(sessions.has_value());
  EXPECT_THAT(*sessions, SizeIs(2));

  EXPECT_TRUE(Call<void>([&](auto reply) { client_->SessionDestroy(mine, reply); }).has_value());
  const auto renewed = Call<void>([&](auto reply) { client_->SessionRenew(mine, reply); });
  ASSERT_FALSE(renewed.has_value());
  EXPECT_EQ(renewed.error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(
      consul_canary::testing::WaitUntil([&] { return Acquire(other) == true; }, base::seconds{5}))
      << "the lock's delay is a millisecond";
  const auto held = Acquire(mine);
  ASSERT_FALSE(held.has_value());
  EXPECT_EQ(held.error().code, ErrorCode::kNotFound) << held.error().message;
  EXPECT_EQ(Call<bool>([&](auto reply) { client_->KvRelease("lock", "", other, reply); }), true);
}

TEST_F(ConsulTest, CommitsATransactionOnlyForWhoHoldsTheLock) {
  StartAgent();
  const std::string mine = CreateSession();
  const std::string other = CreateSession();
  ASSERT_EQ(Acquire(mine), true);
  const TxnOp create{.verb = "cas", .key = "state", .value = "one"};
  const auto first = Txn({{.verb = "check-session", .key = "lock", .session = mine}, create});
  ASSERT_TRUE(first.has_value()) << first.error().message;
  const KvPair stored = first->back();
  EXPECT_EQ(stored.key, "state");
  EXPECT_GT(stored.modify_index, 0u);

  const TxnOp change{.verb = "cas", .key = "state", .value = "two", .index = stored.modify_index};
  const auto foreign = Txn({{.verb = "check-session", .key = "lock", .session = other}, change});
  ASSERT_FALSE(foreign.has_value());
  EXPECT_EQ(foreign.error().code, ErrorCode::kConflict);
  EXPECT_THAT(foreign.error().message, HasSubstr("PUT /v1/txn: 409 failed session check"));

  EXPECT_TRUE(Txn({{.verb = "check-session", .key = "lock", .session = mine}, change}));
  const auto stale = Txn({{.verb = "check-session", .key = "lock", .session = mine}, change});
  ASSERT_FALSE(stale.has_value());
  EXPECT_EQ(stale.error().code, ErrorCode::kConflict);
  EXPECT_THAT(stale.error().message, HasSubstr("index is stale"));
}

TEST_F(ConsulTest, ReadsWritesAndDeletesKeys) {
  StartAgent();
  const std::string key = "consul-canary/a b/\xC3\xA9?#%";
  const std::string value("\0\xFFv", 3);
  const auto put = [&](std::optional<std::uint64_t> cas) {
    return Call<bool>([&](auto reply) { client_->KvPut(key, value, cas, reply); });
  };
  EXPECT_EQ(put(0), true);
  EXPECT_EQ(put(0), false);
  EXPECT_EQ(put(std::nullopt), true);
  const auto pairs =
      Call<std::vector<KvPair>>([this](auto reply) { client_->KvList("consul-canary/", reply); });
  ASSERT_TRUE(pairs.has_value()) << pairs.error().message;
  ASSERT_THAT(*pairs, SizeIs(1));
  EXPECT_EQ(pairs->front().key, key);
  EXPECT_EQ(pairs->front().value, value);
  const auto keys = Call<HttpResponse>(
      [this](auto reply) { client_->Get("kv", "/v1/kv/consul-canary/?keys", reply); });
  ASSERT_TRUE(keys.has_value());
  EXPECT_THAT(*ParseKeyList(keys->body), ElementsAre(key));
  EXPECT_TRUE(Call<void>([this](auto reply) {
                client_->KvDelete("consul-canary/", true, reply);
              }).has_value());
  EXPECT_EQ(Call<std::optional<KvPair>>([&](auto reply) { client_->KvGet(key, reply); }),
            std::nullopt);
  const std::string huge(600'000, 'x');
  const auto refused =
      Call<bool>([&](auto reply) { client_->KvPut("huge", huge, std::nullopt, reply); });
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalid) << refused.error().message;
}

TEST_F(ConsulTest, KnowsTheProtocolOfAService) {
  StartAgent();
  const auto protocol = [this] {
    return Call<std::string>([this](auto reply) { client_->ReadProtocol("api", reply); });
  };
  EXPECT_EQ(protocol(), "tcp");
  WriteApi();
  EXPECT_EQ(protocol(), "http");
}

TEST_F(ConsulTest, MayDoEverythingWhereAclsAreOff) {
  StartAgent();
  EXPECT_EQ(MayAccess("service", "api"), true);
}

TEST_F(ConsulTest, KnowsWhatItsTokenMayDo) {
  StartAgent({.token = kManagementToken});
  const Json policy{{"Name", "limited"},
                    {"Rules",
                     "service \"api\" {policy=\"write\"} "
                     "service_prefix \"\" {policy=\"read\"} "
                     "key_prefix \"consul-canary/\" {policy=\"write\"}"}};
  const Json token{{"SecretID", kLimitedToken},
                   {"Policies", Json::array({Json{{"Name", "limited"}}})}};
  ASSERT_TRUE(agent_->Put("/v1/acl/policy", policy.dump()).has_value());
  ASSERT_TRUE(agent_->Put("/v1/acl/token", token.dump()).has_value());

  Connect(kLimitedToken);
  EXPECT_EQ(MayAccess("service", "api"), true);
  EXPECT_EQ(MayAccess("service", "web"), false);
  EXPECT_EQ(MayAccess("key_prefix", "consul-canary/"), true);
  EXPECT_EQ(MayAccess("key_prefix", "other/"), false);
  EXPECT_EQ(MayAccess("session", "node"), false);
  const auto denied = Write(R"({"Kind":"service-defaults","Name":"web","Protocol":"http"})", 0);
  ASSERT_FALSE(denied.has_value());
  EXPECT_EQ(denied.error().code, ErrorCode::kForbidden);
  EXPECT_THAT(denied.error().message, HasSubstr("lacks permission 'service:write' on \"web\""));

  Connect("");
  EXPECT_EQ(MayAccess("service", "api"), false) << "the anonymous token";
  Connect("99999999-2222-3333-4444-555555555555");
  const auto unknown = MayAccess("service", "api");
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(unknown.error().message, HasSubstr("403 ACL not found"));
}

TEST_F(ConsulTest, FindsTheInstancesOfASubsetAndTheirProxies) {
  StartAgent();
  ASSERT_TRUE(agent_->WriteEntry(R"({"Kind":"proxy-defaults","Name":"global","Config":{
      "protocol":"http","envoy_prometheus_bind_addr":"0.0.0.0:9102"}})"));
  WriteApi();
  for (const char* version : {"v1", "v2"}) {
    ASSERT_TRUE(agent_->Register({.id = "api-" + std::string(version),
                                  .name = "api",
                                  .port = agent_->ports().Next(),
                                  .meta = {{"version", version}},
                                  .sidecar_port = agent_->ports().Next()}));
  }
  const int prometheus_port = agent_->ports().Next();
  ASSERT_TRUE(agent_->Register({.id = "web-1",
                                .name = "web",
                                .port = agent_->ports().Next(),
                                .sidecar_port = agent_->ports().Next(),
                                .prometheus_port = prometheus_port,
                                .upstreams = {{"api", agent_->ports().Next()}}}));

  const auto canary = Instances(Client::ConnectPath("api", "Service.Meta.version == v2"));
  ASSERT_TRUE(canary.has_value()) << canary.error().message;
  ASSERT_THAT(*canary, SizeIs(1));
  EXPECT_EQ(canary->front().kind, "connect-proxy");
  EXPECT_EQ(canary->front().destination_id, "api-v2");
  EXPECT_EQ(canary->front().meta.at("version"), "v2");
  EXPECT_EQ(canary->front().prometheus_bind_addr, "0.0.0.0:9102") << "from proxy-defaults";
  EXPECT_FALSE(canary->front().passing) << "nothing listens where its sidecar should";

  const auto callers = Instances(Client::HealthPath("web-sidecar-proxy"));
  ASSERT_TRUE(callers.has_value()) << callers.error().message;
  ASSERT_THAT(*callers, SizeIs(1));
  EXPECT_THAT(callers->front().upstreams, ElementsAre("api"));
  EXPECT_EQ(callers->front().destination_service, "web");
  EXPECT_THAT(callers->front().prometheus_bind_addr, HasSubstr(std::to_string(prometheus_port)))
      << "its own";

  const auto names = Call<HttpResponse>(
      [this](auto reply) { client_->Get("catalog", Client::ProxyServicesPath(), reply); });
  ASSERT_TRUE(names.has_value());
  EXPECT_THAT(*ParseServiceNames(names->body),
              UnorderedElementsAre("api-sidecar-proxy", "web-sidecar-proxy"));

  const auto refused = Instances(Client::ConnectPath("api", "no expression =="));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalid) << refused.error().message;
}

}  // namespace
}  // namespace consul_canary::consul
