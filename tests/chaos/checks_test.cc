// That the checks of the chaos test can fail: each finds what it is there for, and nothing else.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/chaos/fault_proxy.h"
#include "tests/chaos/faults.h"
#include "tests/chaos/history.h"
#include "tests/chaos/http_tap.h"
#include "tests/chaos/rollout_kv.h"
#include "tests/support/http.h"
#include "tests/support/mesh.h"

namespace consul_canary::testing {
namespace {

using base::milliseconds;

MonotonicTime At(int ms) { return MonotonicTime(milliseconds(ms)); }

constexpr std::int64_t kLeast = 50;
constexpr milliseconds kFresh{5000};

// A rollout as it should be: 25%, proven by 100 requests, 50%, harm, 0%.
History Good() {
  History history{.service = "api"};
  history.decisions = {
      {.sequence = 1, .index = 10, .action = "start", .cause = "new-version", .version = "v2"},
      {.sequence = 2,
       .index = 12,
       .action = "advance",
       .cause = "ready",
       .weight = 25,
       .version = "v2"},
      {.sequence = 3,
       .index = 20,
       .action = "advance",
       .cause = "proven",
       .weight = 50,
       .version = "v2",
       .decided = At(20'000)},
      {.sequence = 4, .index = 30, .action = "rollback", .cause = "harm", .version = "v2"}};
  history.splitters = {{.index = 11, .epoch = 5, .at = At(1000)},
                       {.index = 13, .canary = 25, .epoch = 5, .at = At(2000)},
                       {.index = 21, .canary = 50, .epoch = 5, .at = At(20'100)},
                       {.index = 31, .epoch = 8, .at = At(30'000)}};
  history.writes = {{.analyzer = "a",
                     .canary = 50,
                     .epoch = 5,
                     .forwarded = At(20'050),
                     .answered = At(20'080),
                     .accepted = true},
                    {.analyzer = "b",
                     .epoch = 8,
                     .forwarded = At(29'900),
                     .answered = At(29'950),
                     .accepted = true}};
  history.requests = {
      {At(2000), {{"v2", 0}}}, {At(15'500), {{"v2", 90}}}, {At(19'900), {{"v2", 100}}}};
  return history;
}

TEST(ChaosChecks, FindNothingInARolloutThatIsAsItShouldBe) {
  EXPECT_EQ(CheckAll(Good(), kLeast, kFresh), Violations());
}

TEST(ChaosChecks, FindWeightsThatDoNotSumTo100) {
  History history = Good();
  history.splitters[1].sum = 99.99;
  history.writes[0].sum = 101;
  EXPECT_EQ(WeightsSumTo100(history).size(), 2U);
}

TEST(ChaosChecks, FindAWeightThatNobodyDecided) {
  History history = Good();
  history.splitters[3].canary = 50;  // after the rollback was decided
  EXPECT_EQ(WeightsAreDecided(history).size(), 1U);
  history.splitters[3].hand = "1";
  history.edits = {{.mark = "1", .canary = 33}};
  EXPECT_EQ(WeightsAreDecided(history).size(), 1U);
  history.splitters[3].canary = 33;
  EXPECT_EQ(WeightsAreDecided(history), Violations());
}

TEST(ChaosChecks, FindAnAdvanceWithTooFewRequests) {
  EXPECT_EQ(EvidenceWasFresh(Good(), 101, kFresh).size(), 1U);
}

TEST(ChaosChecks, FindAnAdvanceOnOldRequests) {
  History history = Good();
  history.requests.pop_back();  // the last request is 4.5 s old then
  EXPECT_EQ(EvidenceWasFresh(history, kLeast, kFresh), Violations());
  EXPECT_EQ(EvidenceWasFresh(history, kLeast, milliseconds(4000)).size(), 1U);
}

TEST(ChaosChecks, FindAnAdvanceThatNoProxySaw) {
  History history = Good();
  history.decisions[2].decided.reset();
  EXPECT_EQ(EvidenceWasFresh(history, kLeast, kFresh).size(), 1U);
}

TEST(ChaosChecks, FindTheWriteOfADeposedLeader) {
  History history = Good();
  history.writes.push_back({.analyzer = "a",
                            .canary = 50,
                            .epoch = 5,
                            .forwarded = At(31'000),
                            .answered = At(31'010),
                            .accepted = true});
  EXPECT_EQ(DeposedLeadersAreRefused(history).size(), 1U);
  history.writes.back().accepted = false;
  EXPECT_EQ(DeposedLeadersAreRefused(history), Violations());
  // Both on their way at once: either may be the first.
  history.writes.back() = {.analyzer = "a",
                           .canary = 50,
                           .epoch = 5,
                           .forwarded = At(29'940),
                           .answered = At(31'010),
                           .accepted = true};
  EXPECT_EQ(DeposedLeadersAreRefused(history), Violations());
}

TEST(ChaosChecks, FindTheWriteOfAResolverByADeposedLeader) {
  History history = Good();
  history.resolver_writes = {{.analyzer = "b",
                              .epoch = 8,
                              .forwarded = At(29'900),
                              .answered = At(29'950),
                              .accepted = true},
                             {.analyzer = "a",
                              .epoch = 5,
                              .forwarded = At(31'000),
                              .answered = At(31'010),
                              .accepted = true}};
  const Violations found = DeposedLeadersAreRefused(history);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0],
            "api: Consul took a write of the resolver by a, epoch 5, after one of a later epoch");
  history.resolver_writes[1].accepted = false;
  EXPECT_EQ(DeposedLeadersAreRefused(history), Violations());
  // Only writes of the same entry tell.
  history.resolver_writes[1].accepted = true;
  history.resolver_writes[0].accepted = false;
  EXPECT_EQ(DeposedLeadersAreRefused(history), Violations());
}

TEST(ChaosChecks, ReadTheWritesOfOneServicesResolver) {
  const auto entry = [](const char* kind, const char* name) {
    return std::string(R"({"Kind": ")") + kind + R"(", "Name": ")" + name +
           R"(", "Meta": {"consul-canary-epoch": "17"}})";
  };
  const auto sent = [](std::string body, std::string answer) {
    return ProxiedWrite{.path = "/v1/config?cas=3",
                        .body = std::move(body),
                        .received = At(1),
                        .forwarded = At(2),
                        .answered = At(3),
                        .status = 200,
                        .answer = std::move(answer)};
  };
  std::vector<ProxiedWrite> writes = {sent(entry("service-resolver", "api"), "true"),
                                      sent(entry("service-splitter", "api"), "true"),
                                      sent(entry("service-resolver", "web"), "true"),
                                      sent(entry("service-resolver", "api"), "false"),
                                      sent(entry("service-resolver", "api"), "true")};
  writes.back().forwarded.reset();  // held for good
  const auto found = ResolverWrites(writes, "api", "analyzer-1");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].analyzer, "analyzer-1");
  EXPECT_EQ(found[0].epoch, 17U);
  EXPECT_EQ(found[0].forwarded, At(2));
  EXPECT_EQ(found[0].answered, At(3));
  EXPECT_TRUE(found[0].accepted);
  EXPECT_FALSE(found[1].accepted);
}

TEST(ChaosChecks, FindAnEpochThatGoesBackAndAGapInTheLog) {
  History history = Good();
  history.splitters[3].epoch = 4;
  EXPECT_EQ(DeposedLeadersAreRefused(history).size(), 1U);
  history.decisions.erase(history.decisions.begin() + 1);
  EXPECT_EQ(LogIsWhole(history).size(), 1U);
}

TEST(ChaosFaults, AreTheSameForTheSameSeedAndLeaveTwoConsulServers) {
  const FaultPlan plan{.seed = 7, .healthy = {true, false}, .faults = 40};
  const std::vector<Fault> faults = DrawFaults(plan);
  EXPECT_EQ(faults, DrawFaults(plan));
  EXPECT_NE(faults, DrawFaults({.seed = 8, .healthy = {true, false}, .faults = 40}));
  milliseconds back{0};
  for (const Fault& fault : faults) {
    if (ToString(fault.kind).find("server-") != 0 && ToString(fault.kind).find("leader-") != 0) {
      continue;
    }
    EXPECT_GT(fault.at, back) << ToString(fault);
    back = fault.at + fault.lasts;
  }
  EXPECT_GT(back.count(), 0);
}

TEST(HttpTap, FindsMessagesHoweverTheirBytesAreCut) {
  const std::string bytes =
      "HTTP/1.1 100 Continue\r\n\r\n"
      "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue"
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
      "HTTP/1.1 204 No Content\r\n\r\n";
  for (std::size_t step = 1; step <= bytes.size(); ++step) {
    std::vector<std::string> bodies;
    HttpTap tap([&bodies](const HttpMessage& message) { bodies.push_back(message.body); });
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      tap.Feed(std::string_view(bytes).substr(at, step));
    }
    EXPECT_EQ(bodies, (std::vector<std::string>{"true", "abcde", ""})) << step;
  }
}

class FaultProxyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto consul = ConsulAgent::Start();
    ASSERT_TRUE(consul) << consul.error().message;
    consul_ = std::move(*consul);
    const std::string& address = consul_->address();
    const int port = consul_->ports().Next();
    proxy_ = std::make_unique<FaultProxy>(port, std::stoi(address.substr(address.rfind(':') + 1)));
    url_ = "http://127.0.0.1:" + std::to_string(port);
  }

  base::Result<base::HttpResponse> Put(const std::string& value, milliseconds timeout) const {
    const std::string entry =
        R"({"Kind": "service-defaults", "Name": "api", "Meta": {"value": ")" + value + R"("}})";
    return http_.Call("PUT", url_ + "/v1/config", entry, {}, timeout);
  }

  std::string Stored() const {
    const auto entry = consul_->ReadEntry("service-defaults", "api");
    return entry && *entry ? **entry : "";
  }

  Http http_;
  std::unique_ptr<ConsulAgent> consul_;
  std::unique_ptr<FaultProxy> proxy_;
  std::string url_;
};

TEST_F(FaultProxyTest, RecordsWritesAndDeliversLateWhatItHeld) {
  ASSERT_TRUE(Put("first", seconds(5)));
  ASSERT_EQ(proxy_->Writes().size(), 1U);
  EXPECT_EQ(proxy_->Writes()[0].path, "/v1/config");
  EXPECT_EQ(proxy_->Writes()[0].status, 200);
  EXPECT_EQ(proxy_->Writes()[0].answer.substr(0, 4), "true");
  proxy_->Behave({.holds_requests = true});
  EXPECT_FALSE(Put("late", milliseconds(300)));
  EXPECT_NE(Stored().find("first"), std::string::npos);
  EXPECT_FALSE(proxy_->Writes().at(1).forwarded);
  proxy_->Behave({});
  EXPECT_TRUE(WaitUntil([&] { return Stored().find("late") != std::string::npos; }, seconds(10)));
  EXPECT_TRUE(WaitUntil([&] { return proxy_->Writes()[1].status == 200; }, seconds(10)));
}

TEST_F(FaultProxyTest, LosesTheAnswerOrTheConnection) {
  proxy_->Behave({.holds_answers = true});
  EXPECT_FALSE(Put("unanswered", milliseconds(500)));
  EXPECT_TRUE(
      WaitUntil([&] { return Stored().find("unanswered") != std::string::npos; }, seconds(10)));
  proxy_->Cut({.refuses = true});
  EXPECT_FALSE(Put("refused", seconds(2)));
  proxy_->Behave({});
  EXPECT_TRUE(Put("again", seconds(5)));
}

}  // namespace
}  // namespace consul_canary::testing
