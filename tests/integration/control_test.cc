// The durable side of the loop against a real Consul: who leads, what is committed together, what a
// deposed leader can still do (nothing), and that no order gets lost.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "analyzer/control/await.h"
#include "analyzer/control/orders.h"
#include "analyzer/control/rendezvous.h"
#include "analyzer/control/store.h"
#include "analyzer/control/stored_json.h"
#include "exporter/base/io_loop.h"
#include "exporter/consul/client.h"
#include "tests/support/consul_agent.h"
#include "tests/support/consul_front.h"
#include "tests/support/wait.h"

namespace consul_canary::control {
namespace {

using rollout::State;
using testing::ConsulAgent;

// What an analyzer is to Consul: a store with its client, on an I/O thread of its own.
class Analyzer {
 public:
  Analyzer(const ConsulAgent& agent, std::string name)
      : Analyzer(agent.address(), std::move(name)) {}
  Analyzer(const std::string& consul_address, std::string name)
      : io_(std::make_unique<base::IoThread>()) {
    client_ =
        std::make_unique<consul::Client>(io_->loop(), consul::Settings{.address = consul_address});
    StoreEvents events{
        .on_spec =
            [this](std::string id, auto spec) {
              Note([&] { has_spec = spec.has_value(); });
              // Nothing is under way here that would have to end first.
              if (!spec) io_->loop().Post([this, id = std::move(id)] { store_->Forget(id); });
            },
        .on_orders = [this](auto, auto pairs) { Note([&] { orders = std::move(pairs); }); },
        .on_leading =
            [this](auto, std::uint64_t new_epoch, auto stored) {
              Note([&] {
                epoch = new_epoch, state = std::move(stored), leading = true;
                ++leads;
              });
            },
        .on_lost = [this](auto, auto) { Note([&] { leading = false; }); },
        .on_holder = [](auto, auto) {},
        .on_fleet_pause = [this](auto stored) { Note([&] { pause = std::move(stored); }); },
        .on_changed =
            [this](ChangeResult result) { Note([&] { changes.push_back(std::move(result)); }); }};
    store_ = std::make_unique<Store>(
        *client_, MembershipOptions{.analyzer_id = std::move(name), .service = std::nullopt},
        std::move(events));
    io_->loop().Post([this] { store_->Start(); });
  }
  // As by kill -9: nothing is released.
  ~Analyzer() { io_->Stop(); }
  Analyzer(const Analyzer&) = delete;
  Analyzer& operator=(const Analyzer&) = delete;

  template <class Condition>
  bool WaitFor(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), condition);
  }

  bool WaitUntilLeading() {
    return WaitFor([this] { return leading; });
  }

  ChangeResult Apply(Change change) {
    {
      const std::scoped_lock lock(mutex_);
      changes.clear();
    }
    io_->loop().Post([this, change = std::move(change)] { store_->Apply(change); });
    EXPECT_TRUE(WaitFor([this] { return !changes.empty(); }));
    const std::scoped_lock lock(mutex_);
    return changes.front();
  }

  void Forget() {
    io_->loop().Post([this] { store_->Forget("api"); });
  }

  void Release() {
    io_->loop().Post([this] { store_->Release([] {}, [] {}); });
  }

  base::Result<bool> WriteEntry(const std::string& entry, std::uint64_t index) {
    return Await<bool>(io_->loop(), [this, entry, index](auto reply) {
      client_->WriteEntry(entry, index, std::move(reply));
    });
  }

  consul::Splitter ReadSplitter() {
    const auto text = Await<std::optional<std::string>>(
        io_->loop(), [this](consul::Reply<std::optional<std::string>> reply) {
          client_->ReadEntry("service-splitter", "api", true, std::move(reply));
        });
    EXPECT_TRUE(text && *text);
    return consul::ParseSplitter(**text).value();
  }

  base::Result<std::uint64_t> Append(const rollout::Order& order) {
    return AppendOrder(io_->loop(), *client_, "api", order);
  }

  base::Result<void> DeleteRollout() {
    return control::DeleteRollout(io_->loop(), *client_, "api");
  }
  base::Result<void> SetFleetPause(const std::string& reason) {
    return control::SetFleetPause(io_->loop(), *client_, "kim", reason);
  }
  base::Result<void> ClearFleetPause() { return control::ClearFleetPause(io_->loop(), *client_); }
  base::Result<std::optional<FleetPause>> ReadFleetPause() {
    return control::ReadFleetPause(io_->loop(), *client_);
  }

  // Guarded by the store's events: read them inside WaitFor() or when nothing happens any more.
  bool has_spec = false;
  bool leading = false;
  int leads = 0;  // how often it has begun to lead
  std::uint64_t epoch = 0;
  std::optional<consul::KvPair> state;
  std::vector<consul::KvPair> orders;
  std::string pause;
  std::vector<ChangeResult> changes;

 private:
  template <class Change>
  void Note(Change change) {
    {
      const std::scoped_lock lock(mutex_);
      change();
    }
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<base::IoThread> io_;
  std::unique_ptr<consul::Client> client_;
  std::unique_ptr<Store> store_;
};

class ControlTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto agent = ConsulAgent::Start();
    ASSERT_TRUE(agent) << agent.error().message;
    agent_ = std::move(*agent);
    ASSERT_TRUE(agent_->KvPut("consul-canary/specs/api", StoredSpec(R"({"service": "api"})")));
  }

  void WriteSplitter() {
    for (const char* entry :
         {R"({"Kind":"service-defaults","Name":"api","Protocol":"http"})",
          R"({"Kind":"service-resolver","Name":"api","Subsets":{"primary":{"Filter":""},
              "canary":{"Filter":"Service.Meta.version == none"}}})",
          R"({"Kind":"service-splitter","Name":"api","Splits":[
              {"Weight":100,"ServiceSubset":"primary"},{"Weight":0,"ServiceSubset":"canary"}]})"}) {
      ASSERT_TRUE(agent_->WriteEntry(entry));
    }
  }

  std::optional<std::string> Stored(const std::string& part) {
    return agent_->KvGet("consul-canary/rollouts/api/" + part).value_or(std::nullopt);
  }

  // As when an agent fails: Consul invalidates every session.
  void EndSessions() {
    const std::string list = agent_->Get("/v1/session/list").value();
    for (std::size_t at = list.find("\"ID\""); at != std::string::npos;
         at = list.find("\"ID\"", at + 1)) {
      const std::size_t begin = list.find('"', at + 5) + 1;
      const std::string id = list.substr(begin, list.find('"', begin) - begin);
      ASSERT_TRUE(agent_->Put("/v1/session/destroy/" + id));
    }
  }

  static Change NewState(const std::string& reason, std::uint64_t index,
                         std::uint64_t decision = 0) {
    Change change{.id = "api", .state = rollout::State{}, .state_index = index};
    change.state->reason = reason;
    if (decision > 0) change.decisions = {{.sequence = decision, .action = "start"}};
    return change;
  }

  std::unique_ptr<ConsulAgent> agent_;
};

std::string Weighted(const consul::Splitter& splitter, double percent, std::uint64_t epoch) {
  return consul::WithWeights(splitter, "primary", "canary", percent,
                             {{"consul-canary-epoch", std::to_string(epoch)}})
      .value();
}

TEST_F(ControlTest, OneOfTwoLeadsAndTheOtherTakesOverWithAHigherEpoch) {
  Analyzer first(*agent_, "first");
  ASSERT_TRUE(first.WaitUntilLeading());
  EXPECT_GT(first.epoch, 0U);
  EXPECT_FALSE(first.state);
  Analyzer second(*agent_, "second");
  ASSERT_TRUE(second.WaitFor([&] { return second.has_spec; }));
  ASSERT_TRUE(first.Apply(NewState("ruled by first", 0, 1)).committed);
  EXPECT_FALSE(second.leading);
  first.Release();
  ASSERT_TRUE(second.WaitUntilLeading());
  EXPECT_GT(second.epoch, first.epoch);
  ASSERT_TRUE(second.state);
  EXPECT_EQ(StateFromJson(second.state->value)->reason, "ruled by first");
}

TEST_F(ControlTest, AKilledAnalyzerTakesItsLockBackUnderTheSameName) {
  auto killed = std::make_unique<Analyzer>(*agent_, "host:9656");
  ASSERT_TRUE(killed->WaitUntilLeading());
  const std::uint64_t old_epoch = killed->epoch;
  ASSERT_TRUE(killed->Apply(NewState("before the kill", 0)).committed);
  killed.reset();
  const auto begin = std::chrono::steady_clock::now();
  Analyzer restarted(*agent_, "host:9656");
  ASSERT_TRUE(restarted.WaitUntilLeading());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(8));  // no TTL
  EXPECT_GT(restarted.epoch, old_epoch);
  EXPECT_EQ(StateFromJson(restarted.state->value)->reason, "before the kill");
}

TEST_F(ControlTest, StateAndDecisionsAreStoredTogetherOrNotAtAll) {
  Analyzer analyzer(*agent_, "first");
  ASSERT_TRUE(analyzer.WaitUntilLeading());
  const auto committed = analyzer.Apply(NewState("one", 0, 1)).committed;
  ASSERT_TRUE(committed) << committed.error().message;
  EXPECT_NE(Stored("decisions/00000001"), std::nullopt);
  // Someone else has changed the state meanwhile.
  const auto refused = analyzer.Apply(NewState("two", *committed - 1, 2)).committed;
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, base::ErrorCode::kConflict);
  EXPECT_EQ(Stored("decisions/00000002"), std::nullopt);
  EXPECT_EQ(StateFromJson(*Stored("state"))->reason, "one");
}

TEST_F(ControlTest, ADecisionPushesOutTheOneFiveHundredBefore) {
  Analyzer analyzer(*agent_, "first");
  ASSERT_TRUE(analyzer.WaitUntilLeading());
  const auto committed = analyzer.Apply(NewState("one", 0, 1)).committed;
  ASSERT_TRUE(analyzer.Apply(NewState("many", *committed, 501)).committed);
  EXPECT_EQ(Stored("decisions/00000001"), std::nullopt);
  EXPECT_NE(Stored("decisions/00000501"), std::nullopt);
}

TEST_F(ControlTest, ADeposedLeaderStoresNothingAndWritesNothing) {
  ASSERT_NO_FATAL_FAILURE(WriteSplitter());
  Analyzer first(*agent_, "first");
  ASSERT_TRUE(first.WaitUntilLeading());
  const consul::Splitter splitter = first.ReadSplitter();
  // The session ends behind its back; it learns that from Consul's refusal.
  EndSessions();
  Change change = NewState("late", 0, 1);
  change.writes = {{.what = "splitter",
                    .json = Weighted(splitter, 50, first.epoch),
                    .cas_index = splitter.modify_index}};
  const ChangeResult result = first.Apply(std::move(change));
  ASSERT_FALSE(result.committed);
  EXPECT_EQ(result.committed.error().code, base::ErrorCode::kConflict);
  EXPECT_TRUE(result.writes.empty());
  EXPECT_EQ(Stored("decisions/00000001"), std::nullopt);
  EXPECT_EQ(first.ReadSplitter().WeightOf("canary"), 0);
}

TEST_F(ControlTest, TheEpochFencesOffAWriteThatADeposedLeaderHadUnderWay) {
  ASSERT_NO_FATAL_FAILURE(WriteSplitter());
  Analyzer first(*agent_, "first");
  ASSERT_TRUE(first.WaitUntilLeading());
  const consul::Splitter splitter = first.ReadSplitter();
  ASSERT_TRUE(first.Apply(NewState("decided", 0)).committed);
  first.Release();  // with its write to 50% still on the way
  Analyzer second(*agent_, "second");
  ASSERT_TRUE(second.WaitUntilLeading());
  Change claim{.id = "api", .state_index = second.state->modify_index};
  claim.writes = {{.what = "splitter",
                   .json = Weighted(splitter, 0, second.epoch),
                   .cas_index = splitter.modify_index}};
  const ChangeResult claimed = second.Apply(std::move(claim));
  ASSERT_EQ(claimed.writes.size(), 1U);
  EXPECT_EQ(claimed.writes[0].cas_index, splitter.modify_index);
  EXPECT_TRUE(claimed.writes[0].result.value_or(false));
  const auto late = first.WriteEntry(Weighted(splitter, 50, first.epoch), splitter.modify_index);
  EXPECT_FALSE(late.value_or(true));
  EXPECT_EQ(second.ReadSplitter().WeightOf("canary"), 0);
  EXPECT_EQ(second.ReadSplitter().meta.at("consul-canary-epoch"), std::to_string(second.epoch));
}

TEST_F(ControlTest, ADeletedRolloutIsNotLedAnyMore) {
  Analyzer analyzer(*agent_, "first");
  ASSERT_TRUE(analyzer.WaitUntilLeading());
  ASSERT_TRUE(analyzer.Apply(NewState("before", 0, 1)).committed);
  const std::uint64_t first_epoch = analyzer.epoch;
  ASSERT_TRUE(analyzer.Append({.kind = rollout::OrderKind::kAbort}));
  ASSERT_TRUE(analyzer.DeleteRollout());
  EXPECT_TRUE(analyzer.WaitFor([&] { return !analyzer.leading && !analyzer.has_spec; }));
  EXPECT_FALSE(agent_->Get("/v1/kv/consul-canary/rollouts/?keys"));
  EXPECT_EQ(consul::ParseKeyList(*agent_->Get("/v1/kv/consul-canary/orders/?keys")).value(),
            std::vector<std::string>{"consul-canary/orders/"});
  EXPECT_FALSE(analyzer.Apply(NewState("after", 0, 1)).committed);
  EXPECT_EQ(Stored("state"), std::nullopt);
  // And led again when it comes back.
  ASSERT_TRUE(agent_->KvPut("consul-canary/specs/api", StoredSpec(R"({"service": "api"})")));
  EXPECT_TRUE(analyzer.WaitUntilLeading());
  // What was prepared for the first one must find another epoch.
  EXPECT_GT(analyzer.epoch, first_epoch);
  EXPECT_FALSE(analyzer.state);
}

// What a leader left behind that died between the end of a rollout and its own.
TEST_F(ControlTest, ALockWithoutSpecificationIsDeletedWhereNothingIsUnderWay) {
  ASSERT_TRUE(agent_->KvPut("consul-canary/locks/gone", "first"));
  Analyzer analyzer(*agent_, "second");
  ASSERT_TRUE(analyzer.WaitUntilLeading());
  EXPECT_TRUE(testing::WaitUntil(
      [&] { return !agent_->KvGet("consul-canary/locks/gone").value_or("unknown"); },
      std::chrono::seconds(20)));
  EXPECT_EQ(analyzer.leads, 1);  // of the other one nobody is told
}

// Whoever can read it may end it.
TEST_F(ControlTest, ALockWithoutSpecificationIsLeftWhereTheStateCannotBeRead) {
  ASSERT_TRUE(agent_->KvPut("consul-canary/locks/gone", "first"));
  ASSERT_TRUE(agent_->KvPut("consul-canary/rollouts/gone/state", R"({"version": 99})"));
  Analyzer analyzer(*agent_, "second");
  ASSERT_TRUE(analyzer.WaitUntilLeading());
  const auto lock = [&] {
    const auto text = agent_->Get("/v1/kv/consul-canary/locks/gone").value_or("");
    const std::string name = text.find("\"Session\"") == std::string::npos ? "free" : "held";
    return std::pair(name, text.find("\"LockIndex\":0") == std::string::npos);
  };
  EXPECT_TRUE(testing::WaitUntil([&] { return lock() == std::pair(std::string("free"), true); },
                                 std::chrono::seconds(20)));
  EXPECT_EQ(analyzer.leads, 1);
}

TEST_F(ControlTest, ALockWithoutSpecificationIsTakenWhereARolloutIsUnderWay) {
  {
    Analyzer analyzer(*agent_, "first");
    ASSERT_TRUE(analyzer.WaitUntilLeading());
    Change change = NewState("in the middle", 0);
    change.state->phase = rollout::Phase::kProgressing;
    change.state->spec = rollout::Spec{.service = "api", .steps = {{.weight_percent = 10}}};
    ASSERT_TRUE(analyzer.Apply(change).committed);
  }
  ASSERT_TRUE(agent_->Delete("/v1/kv/consul-canary/specs/api"));
  EndSessions();
  Analyzer successor(*agent_, "second");
  // This store's owner gives it up at once, having no specification.
  ASSERT_TRUE(successor.WaitFor([&] { return successor.leads > 0; }));
  EXPECT_EQ(StateFromJson(successor.state->value)->reason, "in the middle");
  EXPECT_FALSE(successor.has_spec);
}

// Put again while its end is on its way from the thread of ticks, which has let go of the lead.
TEST_F(ControlTest, ARolloutThatIsThereAgainWhenItIsForgottenIsLedAnew) {
  Analyzer analyzer(*agent_, "first");
  ASSERT_TRUE(analyzer.WaitUntilLeading());
  ASSERT_TRUE(analyzer.Apply(NewState("before", 0)).committed);
  analyzer.Forget();
  ASSERT_TRUE(analyzer.WaitFor([&] { return analyzer.leads == 2 && analyzer.leading; }));
  ASSERT_TRUE(analyzer.state);
  EXPECT_EQ(StateFromJson(analyzer.state->value)->reason, "before");
  EXPECT_TRUE(analyzer.Apply(NewState("after", analyzer.state->modify_index)).committed);
}

// What is not released holds the lock, and no change in Consul tells so.
TEST_F(ControlTest, ALockThatCannotBeGivenAwayIsTakenBack) {
  const std::string first = Preferred("api", {"a", "b"});
  std::atomic<bool> refuses{true};
  auto front =
      testing::ConsulFront::Start(agent_->address(), [&](const base::ServerRequest& request) {
        return refuses && request.query.contains("release") &&
               request.path == "/v1/kv/" + LockKey("api");
      });
  ASSERT_TRUE(front) << front.error().message;
  Analyzer other((*front)->address(), first == "a" ? "b" : "a");
  ASSERT_TRUE(other.WaitUntilLeading());
  Analyzer preferred(*agent_, first);
  ASSERT_TRUE(other.WaitFor([&] { return !other.leading; }));
  EXPECT_TRUE(other.WaitFor([&] { return other.leads == 2 && other.leading; }));
  EXPECT_GT((*front)->refused(), 0);
  EXPECT_FALSE(preferred.leading);
}

// Counters of more callers than fit into one of Consul's transactions.
TEST_F(ControlTest, AStateThatIsTooLargeIsStoredWithoutWhatTheCallersHadCounted) {
  Analyzer analyzer(*agent_, "first");
  ASSERT_TRUE(analyzer.WaitUntilLeading());
  Change change = NewState("rolled back", 0, 1);
  for (int i = 0; i < 5000; ++i) {
    change.state->baselines[fmt::format("node-{}/web-sidecar-proxy", i)]["primary"].completed = 1;
  }
  const State big = *change.state;
  ASSERT_GT(StateToJson(big).size(), 512U * 1024);
  ::testing::internal::CaptureStderr();
  const ChangeResult result = analyzer.Apply(std::move(change));
  const std::string log = ::testing::internal::GetCapturedStderr();
  ASSERT_TRUE(result.committed) << result.committed.error().message;
  EXPECT_NE(Stored("decisions/00000001"), std::nullopt);
  const auto stored = StateFromJson(*Stored("state"));
  ASSERT_TRUE(stored) << stored.error().message;
  State expected = big;
  expected.baselines.clear();
  EXPECT_EQ(*stored, expected);
  EXPECT_NE(log.find("level=warn"), std::string::npos) << log;
  EXPECT_NE(log.find(fmt::format("bytes={}", StateToJson(big).size())), std::string::npos) << log;
  EXPECT_NE(log.find("max size: 524288"), std::string::npos) << log;
}

TEST_F(ControlTest, OrdersOfARolloutThatDoesNotExistAreRefused) {
  Analyzer analyzer(*agent_, "first");
  ASSERT_TRUE(analyzer.DeleteRollout());
  const auto refused = analyzer.Append({.kind = rollout::OrderKind::kAbort});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, base::ErrorCode::kNotFound);
}

TEST_F(ControlTest, AnOrderIsNumberedAboveAllThatWereTaken) {
  Analyzer analyzer(*agent_, "first");
  ASSERT_TRUE(analyzer.WaitUntilLeading());
  Change change = NewState("after 40 orders", 0);
  change.state->last_order = 40;
  ASSERT_TRUE(analyzer.Apply(std::move(change)).committed);
  EXPECT_EQ(analyzer.Append({.kind = rollout::OrderKind::kAbort}).value_or(0), 41U);
  EXPECT_TRUE(analyzer.WaitFor([&] { return analyzer.orders.size() == 1; }));
  EXPECT_EQ(OrderFromJson(analyzer.orders[0].value)->kind, rollout::OrderKind::kAbort);
}

TEST_F(ControlTest, APauseOfTheFleetReachesEveryAnalyzerAndEnds) {
  Analyzer one(*agent_, "one");
  Analyzer other(*agent_, "other");
  ASSERT_TRUE(one.SetFleetPause("incident 42"));
  for (Analyzer* analyzer : {&one, &other}) {
    ASSERT_TRUE(analyzer->WaitFor([&] { return !analyzer->pause.empty(); }));
  }
  const auto read = FleetPauseFromJson(other.pause);
  ASSERT_TRUE(read && *read);
  EXPECT_EQ((*read)->by, "kim");
  EXPECT_EQ((*read)->reason, "incident 42");
  EXPECT_EQ(one.ReadFleetPause().value(), **read);
  ASSERT_TRUE(other.ClearFleetPause());
  EXPECT_TRUE(one.WaitFor([&] { return one.pause.empty(); }));
  EXPECT_EQ(one.ReadFleetPause().value(), std::nullopt);
}

// The state is stored before the entry is written. Who takes over in between finds what is wanted
// there, and the write that was under way does not come through after its own.
TEST_F(ControlTest, ASuccessorInTheMiddleOfAWriteKnowsWhatIsWanted) {
  ASSERT_NO_FATAL_FAILURE(WriteSplitter());
  Analyzer first(*agent_, "first");
  ASSERT_TRUE(first.WaitUntilLeading());
  const consul::Splitter splitter = first.ReadSplitter();
  const std::string late = Weighted(splitter, 25, first.epoch);
  Change change = NewState("to 25", 0, 1);
  change.state->phase = rollout::Phase::kProgressing;
  change.state->wanted.canary_percent = 25;
  ASSERT_TRUE(first.Apply(std::move(change)).committed);  // killed before its write
  Analyzer second(*agent_, "second");
  first.Release();
  ASSERT_TRUE(second.WaitUntilLeading());
  ASSERT_TRUE(second.state);
  const auto state = StateFromJson(second.state->value);
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->wanted.canary_percent, 25);
  Change claim{.id = "api", .state_index = second.state->modify_index};
  claim.writes = {{.what = "splitter",
                   .json = Weighted(splitter, 25, second.epoch),
                   .cas_index = splitter.modify_index}};
  const ChangeResult claimed = second.Apply(std::move(claim));
  ASSERT_EQ(claimed.writes.size(), 1U);
  EXPECT_TRUE(claimed.writes[0].result.value_or(false));
  EXPECT_FALSE(first.WriteEntry(late, splitter.modify_index).value_or(true));
  EXPECT_EQ(second.ReadSplitter().meta.at("consul-canary-epoch"), std::to_string(second.epoch));
}

// The leader carries out and removes orders while others append: each gets its own number, and each
// is seen by the leader, for what it does not see is an abort that was answered and never happens.
TEST_F(ControlTest, NoOrderIsLostWhileTheLeaderTakesThem) {
  Analyzer leader(*agent_, "first");
  ASSERT_TRUE(leader.WaitUntilLeading());
  constexpr int kThreads = 4;
  constexpr int kOrders = 12;
  std::mutex mutex;
  std::vector<std::uint64_t> numbers;
  std::vector<std::jthread> callers;
  std::vector<std::unique_ptr<Analyzer>> others;
  for (int i = 0; i < kThreads; ++i) {
    others.push_back(std::make_unique<Analyzer>(*agent_, "other-" + std::to_string(i)));
    callers.emplace_back([&, analyzer = others.back().get()] {
      for (int order = 0; order < kOrders; ++order) {
        const auto number = analyzer->Append({.kind = rollout::OrderKind::kAbort});
        const std::scoped_lock lock(mutex);
        EXPECT_TRUE(number) << number.error().message;
        numbers.push_back(number.value_or(0));
      }
    });
  }
  std::set<std::uint64_t> taken;
  std::uint64_t index = 0;
  rollout::State state;
  while (taken.size() < std::size_t{kThreads} * kOrders) {
    std::vector<consul::KvPair> pairs;
    ASSERT_TRUE(leader.WaitFor([&] {
      pairs = leader.orders;
      return !pairs.empty();
    })) << taken.size();
    Change change{.id = "api", .state_index = index};
    for (const consul::KvPair& pair : pairs) {
      const std::uint64_t number = std::stoull(pair.key.substr(pair.key.rfind('/') + 1));
      change.taken_orders.push_back(number);
      if (number <= state.last_order) continue;  // as Decide() does
      taken.insert(number);
      state.last_order = number;
    }
    change.state = state;
    const auto committed = leader.Apply(std::move(change)).committed;
    ASSERT_TRUE(committed) << committed.error().message;
    index = *committed;
  }
  callers.clear();
  EXPECT_EQ(std::set<std::uint64_t>(numbers.begin(), numbers.end()), taken);
  EXPECT_EQ(numbers.size(), taken.size());
}

}  // namespace
}  // namespace consul_canary::control
