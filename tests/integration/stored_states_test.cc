// The states of rollouts that others lead, read from a real Consul.
#include "analyzer/control/stored_states.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "analyzer/control/keys.h"
#include "analyzer/control/stored_json.h"
#include "exporter/base/io_loop.h"
#include "tests/integration/consul_fixture.h"

namespace consul_canary::control {
namespace {

using testing::ConsulAgent;

// Asks the agent itself; counts what it asks, by operation.
struct Reader {
  explicit Reader(const ConsulAgent& agent)
      : client(io.loop(), {.address = agent.address()},
               [this](std::string_view operation, std::string_view) {
                 ++asked[std::string(operation)];
               }) {}
  ~Reader() { io.Stop(); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  auto Read(const std::vector<std::string>& ids, base::seconds patience) {
    return ReadStoredStates(io.loop(), client, ids, std::chrono::steady_clock::now() + patience);
  }

  std::map<std::string, int> asked;  // on the I/O thread; read it when nothing is under way
  base::IoThread io;
  consul::Client client;
};

class StoredStatesTest : public consul::ConsulTest {
 protected:
  void SetUp() override { ASSERT_NO_FATAL_FAILURE(StartAgent()); }
};

TEST_F(StoredStatesTest, TheStatesOfManyRolloutsTakeARequestForEachSixtyFour) {
  std::vector<std::string> ids;
  for (int i = 0; i < 150; ++i) {
    ids.push_back("service-" + std::to_string(i));
    rollout::State state;
    state.reason = "of " + ids.back();
    ASSERT_TRUE(agent_->KvPut(RolloutKey(ids.back(), "state"), StateToJson(state)));
  }
  ASSERT_TRUE(agent_->KvPut(RolloutKey("service-7", "decisions/00000001"), "not read"));
  ASSERT_TRUE(agent_->KvPut(RolloutKey("service-8", "state"), "garbage"));
  ids.emplace_back("nobody");
  Reader reader(*agent_);
  const auto states = reader.Read(ids, base::seconds(20));
  EXPECT_EQ(reader.asked, (std::map<std::string, int>{{"txn", 3}}));
  ASSERT_EQ(states.size(), ids.size());
  ASSERT_TRUE(states.at("service-7")) << states.at("service-7").error().message;
  EXPECT_EQ(states.at("service-7")->reason, "of service-7");
  EXPECT_EQ(states.at("service-149")->reason, "of service-149");
  EXPECT_EQ(states.at("service-8").error().code, base::ErrorCode::kInvalid);
  EXPECT_EQ(states.at("nobody").error().code, base::ErrorCode::kNotFound);
}

TEST_F(StoredStatesTest, StatesThatDoNotComeInTimeAreUnknownAndTheOthersAreNotWaitedForLonger) {
  Reader reader(*agent_);
  agent_->Pause();
  std::vector<std::string> ids;
  ids.reserve(200);
  for (int i = 0; i < 200; ++i) ids.push_back("service-" + std::to_string(i));
  const auto states = reader.Read(ids, base::seconds(0));
  agent_->Continue();
  ASSERT_EQ(states.size(), ids.size());
  for (const auto& [id, state] : states) {
    ASSERT_FALSE(state);
    EXPECT_EQ(state.error().message, "Consul: no answer in time") << id;
  }
}

}  // namespace
}  // namespace consul_canary::control
