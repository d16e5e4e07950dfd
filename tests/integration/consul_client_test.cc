// The typed client against a real Consul agent: what its code believes of Consul is true.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "exporter/base/io_loop.h"
#include "exporter/consul/client.h"
#include "exporter/consul/config_entries.h"
#include "tests/support/consul_agent.h"
#include "tests/support/wait.h"
#include "tests/unit/consul/await.h"

namespace consul_canary::consul {
namespace {

using base::ErrorCode;
using base::HttpResponse;
using base::Result;
using consul_canary::testing::ConsulAgent;
using consul_canary::testing::ConsulOptions;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using Json = nlohmann::json;

constexpr const char* kManagementToken = "11111111-2222-3333-4444-555555555555";
constexpr const char* kLimitedToken = "22222222-2222-3333-4444-555555555555";

class ConsulTest : public ::testing::Test {
 protected:
  ~ConsulTest() override {
    if (io_) io_->Stop();
  }

  void StartAgent(ConsulOptions options = {}) {
    auto agent = ConsulAgent::Start(std::move(options));
    ASSERT_TRUE(agent.has_value()) << agent.error().message;
    agent_ = *std::move(agent);
    Connect(agent_->token());
  }

  void Connect(const std::string& token) {
    if (io_) io_->Stop();
    client_.reset();
    io_ = std::make_unique<base::IoThread>();
    Settings settings;
    settings.address = agent_->address();
    settings.token = token;
    client_ = std::make_unique<Client>(io_->loop(), settings);
  }

  // Defaults (http), subsets v1 and v2, and a splitter 90/10 for the service `api`.
  void WriteApi() {
    for (const char* entry :
         {R"({"Kind":"service-defaults","Name":"api","Protocol":"http"})",
          R"({"Kind":"service-resolver","Name":"api","RequestTimeout":"7s","Subsets":{
              "v1":{"Filter":"Service.Meta.version == v1"},
              "v2":{"Filter":"Service.Meta.version == v2"}}})",
          R"({"Kind":"service-splitter","Name":"api","Meta":{"owner":"team"},"Splits":[
              {"Weight":90,"ServiceSubset":"v1","RequestHeaders":{"Add":{"x":"y"}}},
              {"Weight":10,"ServiceSubset":"v2"}]})"}) {
      const auto written = agent_->WriteEntry(entry);
      ASSERT_TRUE(written.has_value()) << written.error().message;
    }
  }

  template <class T>
  Result<T> Call(std::function<void(Reply<T>)> start) {
    return Await<T>(io_->loop(), std::move(start));
  }

  Result<bool> Write(std::string entry, std::uint64_t index) {
    return Call<bool>(
        [this, entry, index](auto reply) { client_->WriteEntry(entry, index, reply); });
  }

  Splitter ReadSplitter() {
    const auto entry = Call<std::optional<std::string>>(
        [this](auto reply) { client_->ReadEntry("service-splitter", "api", true, reply); });
    if (!entry || !*entry) return {};
    return ParseSplitter(**entry).value_or(Splitter{});
  }

  Result<std::vector<Instance>> Instances(const std::string& path) {
    const auto response =
        Call<HttpResponse>([this, path](auto reply) { client_->Get("health", path, reply); });
    if (!response) return tl::unexpected(response.error());
    return ParseInstances(response->body);
  }

  std::string CreateSession() {
    return Call<std::string>(
               [this](auto reply) { client_->SessionCreate("canary", base::seconds{10}, reply); })
        .value_or("");
  }

  Result<bool> Acquire(const std::string& session) {
    return Call<bool>(
        [this, session](auto reply) { client_->KvAcquire("lock", "me", session, reply); });
  }

  Result<bool> MayAccess(const std::string& resource, const std::string& segment) {
    return Call<bool>([this, resource, segment](auto reply) {
      client_->MayAccess(resource, segment, "write", reply);
    });
  }

  Result<std::vector<KvPair>> Txn(const std::vector<TxnOp>& operations) {
    return Call<std::vector<KvPair>>(
        [this, operations](auto reply) { client_->Txn(operations, reply); });
  }

  std::unique_ptr<ConsulAgent> agent_;
  std::unique_ptr<base::IoThread> io_;
  std::unique_ptr<Client> client_;
};

TEST_F(ConsulTest, TakesAWriteOnlyAtTheIndexThatWasRead) {
  StartAgent();
  WriteApi();
  const Splitter before = ReadSplitter();
  const auto five = WithWeights(before, "v1", "v2", 5, {});
  const auto six = WithWeights(before, "v1", "v2", 6, {});
  ASSERT_TRUE(five && six);
  EXPECT_EQ(Write(*five, 0), false) << "0 creates only what is absent";
  EXPECT_EQ(Write(*five, before.modify_index), true);
  EXPECT_EQ(Write(*six, before.modify_index), false) << "the index of before the last write";
  EXPECT_EQ(ReadSplitter().WeightOf("v2"), 5);
  EXPECT_EQ(Write(R"({"Kind":"service-defaults","Name":"new","Protocol":"http"})", 0), true);
}

TEST_F(ConsulTest, StoresWhatWasSentWhenAnIdenticalWriteIsTrue) {
  StartAgent();
  WriteApi();
  const Splitter before = ReadSplitter();
  EXPECT_EQ(Write(before.raw, before.modify_index), true);
  const Splitter after = ReadSplitter();
  EXPECT_EQ(after.splits, before.splits);
  EXPECT_EQ(after.meta, before.meta);
  EXPECT_GE(after.modify_index, before.modify_index);  // 1.16.3: equal, 1.22.0: greater
}

TEST_F(ConsulTest, KeepsEveryOtherFieldOverAChangeOfWeights) {
  StartAgent();
  WriteApi();
  const Splitter before = ReadSplitter();
  const auto changed = WithWeights(before, "v1", "v2", 0.53, {{"consul-canary-epoch", "3"}});
  ASSERT_TRUE(changed.has_value());
  EXPECT_EQ(Write(*changed, before.modify_index), true);
  Json expected = Json::parse(before.raw);
  expected["Splits"][0]["Weight"] = 99.47;
  expected["Splits"][1]["Weight"] = 0.53;
  expected["Meta"]["consul-canary-epoch"] = "3";
  Json stored = Json::parse(ReadSplitter().raw);
  expected.erase("ModifyIndex");
  stored.erase("ModifyIndex");
  EXPECT_EQ(stored, expected);
}

TEST_F(ConsulTest, ChangesASubsetsFilter) {
  StartAgent();
  WriteApi();
  const auto entry = agent_->ReadEntry("service-resolver", "api");
  ASSERT_TRUE(entry.has_value() && entry->has_value());
  const auto resolver = ParseResolver(**entry);
  ASSERT_TRUE(resolver.has_value());
  const auto changed = WithSubsetFilter(*resolver, "v1", "Service.Meta.version == v2");
  ASSERT_TRUE(changed.has_value());
  EXPECT_EQ(Write(*changed, resolver->modify_index), true);
  const auto after = ParseResolver(*agent_->ReadEntry("service-resolver", "api").value());
  ASSERT_TRUE(after.has_value());
  EXPECT_EQ(after->subset_filters.at("v1"), "Service.Meta.version == v2");
  EXPECT_THAT(after->raw, HasSubstr("\"RequestTimeout\":\"7s\""));
}

TEST_F(ConsulTest, CallsAnEntryThatConsulRefusesInvalid) {
  StartAgent();
  WriteApi();
  const struct {
    const char* splits;
    const char* words;
  } kRows[] = {
      {R"([{"Weight":99.99,"ServiceSubset":"v1"}])", "sum of all split weights must be 100"},
      {R"([{"Weight":100,"ServiceSubset":"v9"}])", "does not have a subset named \"v9\""},
      {R"([{"Weight":50,"ServiceSubset":"v1"},{"Weight":50,"ServiceSubset":"v1"}])",
       "more than once"},
      {R"([{"Wait":100}])", "invalid config key"},
  };
  const std::uint64_t index = ReadSplitter().modify_index;
  for (const auto& row : kRows) {
    const auto written = Write(
        R"({"Kind":"service-splitter","Name":"api","Splits":)" + std::string(row.splits) + "}",
        index);
    ASSERT_FALSE(written.has_value()) << row.splits;
    EXPECT_EQ(written.error().code, ErrorCode::kInvalid) << written.error().message;
    EXPECT_THAT(written.error().message, HasSubstr("PUT /v1/config service-splitter/api: "));
    EXPECT_THAT(written.error().message, HasSubstr(row.words));
  }
  const auto deleted =
      Call<void>([this](auto reply) { client_->DeleteEntry("service-resolver", "api", reply); });
  ASSERT_FALSE(deleted.has_value()) << "the splitter needs it";
  EXPECT_EQ(deleted.error().code, ErrorCode::kInvalid);
}

TEST_F(ConsulTest, DeletesWhatIsAbsentWithoutAnError) {
  StartAgent();
  EXPECT_TRUE(Call<void>([this](auto reply) {
                client_->DeleteEntry("service-splitter", "none", reply);
              }).has_value());
  EXPECT_EQ(Call<std::optional<std::string>>([this](auto reply) {
              client_->ReadEntry("service-splitter", "none", false, reply);
            }),
            std::nullopt);
}

// Collects a watch's answers, for another thread to wait for.
class Answers {
 public:
  void Add(const Result<HttpResponse>& answer) {
    const std::lock_guard lock(mutex_);
    answers_.push_back(answer);
    changed_.notify_all();
  }
  // The first answer from `index` on that satisfies `condition`, which must come within 40 s.
  bool WaitFor(const std::function<bool(const Result<HttpResponse>&)>& condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, base::seconds{40}, [&] {
      for (; next_ < answers_.size(); ++next_) {
        if (condition(answers_[next_])) return true;
      }
      return false;
    });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Result<HttpResponse>> answers_;
  std::size_t next_ = 0;
};

std::optional<double> CanaryWeight(const Result<HttpResponse>& answer) {
  if (!answer) return std::nullopt;
  const auto splitters = ParseSplitters(answer->body);
  if (!splitters || splitters->size() != 1) return std::nullopt;
  return splitters->front().WeightOf("v2");
}

TEST_F(ConsulTest, AWatchOfAllSplittersSeesAChange) {
  StartAgent();
  WriteApi();
  Answers answers;
  std::unique_ptr<Watch> watch;
  io_->loop().Post([&] {
    watch = client_->WatchPath("config", Client::EntriesPath("service-splitter"),
                               base::milliseconds{10}, [&](const auto& a) { answers.Add(a); });
  });
  EXPECT_TRUE(answers.WaitFor([](const auto& a) { return CanaryWeight(a) == 10; }));
  const auto changed = WithWeights(ReadSplitter(), "v1", "v2", 25, {});
  ASSERT_TRUE(agent_->WriteEntry(*changed).has_value());
  EXPECT_TRUE(answers.WaitFor([](const auto& a) { return CanaryWeight(a) == 25; }));
  io_->Stop();
}

TEST_F(ConsulTest, AWatchReportsALostAgentOnceAndTheRestoredState) {
  StartAgent({.persistent = true});
  WriteApi();
  Answers answers;
  std::unique_ptr<Watch> watch;
  io_->loop().Post([&] {
    watch = client_->WatchPath("config", Client::EntriesPath("service-splitter"),
                               base::milliseconds{10}, [&](const auto& a) { answers.Add(a); });
  });
  EXPECT_TRUE(answers.WaitFor([](const auto& a) { return CanaryWeight(a) == 10; }));
  agent_->Kill();
  EXPECT_TRUE(answers.WaitFor(
      [](const auto& a) { return !a && a.error().code == ErrorCode::kUnavailable; }));
  const auto restarted = agent_->Restart();
  ASSERT_TRUE(restarted.has_value()) << restarted.error().message;
  EXPECT_TRUE(answers.WaitFor([](const auto& a) { return CanaryWeight(a) == 10; }));
  io_->Stop();
}

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
  const std::string huge(600 * 1024, 'x');
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
