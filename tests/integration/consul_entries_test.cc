// Configuration entries and watches of them on a real Consul agent: what our code believes of them
// is true.
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

#include "exporter/consul/client.h"
#include "exporter/consul/config_entries.h"
#include "exporter/consul/match_routes.h"
#include "tests/integration/consul_fixture.h"

namespace consul_canary::consul {
namespace {

using base::ErrorCode;
using base::HttpResponse;
using base::Result;
using ::testing::HasSubstr;
using Json = nlohmann::json;

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

TEST_F(ConsulTest, TakesARouterAwayOnlyAtTheIndexThatWasReadAndAnswersTheRoutesAsTheyWerePut) {
  StartAgent();
  WriteApi();
  const MatchRoutes routes{.subset = "v2",
                           .conditions = {{"x-canary", "Exact", "always"},
                                          {"cookie", "Regex", "(.*; *)?canary=1\\.0(;.*)?"},
                                          {"x-any", "Present", ""}}};
  const auto router = [this] {
    const auto json = Call<std::optional<std::string>>(
        [this](auto reply) { client_->ReadEntry("service-router", "api", true, reply); });
    return json && *json ? ParseRouter(**json).value_or(Router{}) : Router{};
  };
  ASSERT_EQ(Write(RouterForRoutes("api", {{"consul-canary-epoch", "3"}}), 0), true);
  const Router made = router();
  EXPECT_TRUE(FindRoutes(made, routes).made_for_ours);
  const auto filled = WithRoutes(made, routes, {{"consul-canary-epoch", "3"}});
  ASSERT_TRUE(filled.has_value());
  ASSERT_EQ(Write(*filled, made.modify_index), true);
  const Router full = router();
  EXPECT_EQ(FindRoutes(full, routes).ours, RoutesFound::kWhole) << full.raw;
  const auto remove = [this](std::uint64_t index) {
    return Call<bool>([this, index](auto reply) {
      client_->DeleteEntryAt("service-router", "api", index, reply);
    });
  };
  EXPECT_EQ(remove(made.modify_index), false);
  EXPECT_EQ(remove(full.modify_index), true);
  EXPECT_EQ(router().name, "");
  EXPECT_EQ(remove(full.modify_index), true) << "what is gone is gone";
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

}  // namespace
}  // namespace consul_canary::consul
