// The support library keeps its own promises: no child outlives its object, no port is given out
// twice, and the agent that it starts is a real Consul that survives what tests do to it.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>

#include "tests/support/consul_agent.h"
#include "tests/support/ports.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace consul_canary::testing {
namespace {

TEST(Process, GivesExitCodeAndOutput) {
  const auto output =
      RunCommand({.argv = {"sh", "-c", "echo $WORD"}, .env = {{"WORD", "blue"}}}, seconds(5));
  ASSERT_TRUE(output) << output.error().message;
  EXPECT_EQ(*output, "blue\n");
}

TEST(Process, NamesTheProgramThatIsNotThere) {
  const auto process = Process::Start({.argv = {"/nowhere/program"}});
  ASSERT_FALSE(process);
  EXPECT_EQ(process.error().message, "start /nowhere/program: No such file or directory");
}

TEST(Process, ErrorHoldsTheEndOfItsOutput) {
  const auto output = RunCommand({.argv = {"sh", "-c", "echo why >&2; exit 3"}}, seconds(5));
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().message, "sh -c echo why >&2; exit 3: exit code 3: why\n");
}

TEST(Process, IsKilledWhenItIgnoresSigterm) {
  const TempDir folder;
  const auto process =
      Process::Start({.argv = {"sh", "-c", "trap '' TERM; echo deaf; exec sleep 600"},
                      .output = folder.path() / "output"});
  ASSERT_TRUE(process) << process.error().message;
  ASSERT_TRUE(WaitUntil([&] { return (*process)->OutputTail() == "deaf\n"; }, seconds(5)));
  EXPECT_EQ((*process)->Stop(milliseconds(300)), 128 + SIGKILL);
  EXPECT_FALSE((*process)->Running());
}

TEST(Process, IsEndedWithItsObject) {
  pid_t pid = 0;
  {
    const auto process = Process::Start({.argv = {"sleep", "600"}});
    ASSERT_TRUE(process) << process.error().message;
    pid = (*process)->pid();
    EXPECT_EQ(kill(pid, 0), 0);
  }
  EXPECT_NE(kill(pid, 0), 0);
}

TEST(Ports, AreDistinctAndBelowTheEphemeralRange) {
  Ports first;
  Ports second;
  std::set<int> seen;
  for (int i = 0; i < 100; ++i) {
    seen.insert(first.Next());
    seen.insert(second.Next());
  }
  EXPECT_EQ(seen.size(), 200U);
  EXPECT_GE(*seen.begin(), 20000);
  EXPECT_LT(*seen.rbegin(), 32000);
}

TEST(TempDir, IsGoneAfterwards) {
  std::filesystem::path path;
  {
    const TempDir folder;
    path = folder.path();
    folder.Write("below/file", "text");
    EXPECT_EQ(ReadFile(path / "below" / "file"), "text");
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(ConsulAgent, TakesEntriesServicesAndKeys) {
  const auto agent = ConsulAgent::Start();
  ASSERT_TRUE(agent) << agent.error().message;
  ConsulAgent& consul = **agent;
  ASSERT_TRUE(
      consul.WriteEntry(R"({"Kind": "service-defaults", "Name": "api", "Protocol": "http"})"));
  const auto entry = consul.ReadEntry("service-defaults", "api");
  ASSERT_TRUE(entry) << entry.error().message;
  EXPECT_NE(entry->value_or("").find(R"("Protocol": "http")"), std::string::npos)
      << entry->value_or("none");
  EXPECT_EQ(consul.ReadEntry("service-splitter", "api").value_or("error"), std::nullopt);
  ASSERT_TRUE(consul.KvPut("a/b", "value"));
  EXPECT_EQ(consul.KvGet("a/b").value_or(std::nullopt), "value");
  EXPECT_EQ(consul.KvGet("a/c").value_or("error"), std::nullopt);
}

TEST(ConsulAgent, RefusesWhatConsulRefusesInItsWords) {
  const auto agent = ConsulAgent::Start({.token = "8a4f2f8e-0000-4000-8000-000000000001"});
  ASSERT_TRUE(agent) << agent.error().message;
  EXPECT_TRUE((*agent)->KvPut("a", "b"));
  const auto refused = (*agent)->http().Get((*agent)->address() + "/v1/kv/a");  // without the token
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("403"), std::string::npos) << refused.error().message;
}

TEST(ConsulAgent, KeepsItsStateOverAKillWhenPersistent) {
  const auto agent = ConsulAgent::Start({.persistent = true});
  ASSERT_TRUE(agent) << agent.error().message;
  ASSERT_TRUE((*agent)->KvPut("kept", "yes"));
  (*agent)->Kill();
  EXPECT_FALSE((*agent)->Get("/v1/status/leader"));
  const auto restarted = (*agent)->Restart();
  ASSERT_TRUE(restarted) << restarted.error().message;
  EXPECT_EQ((*agent)->KvGet("kept").value_or(std::nullopt), "yes");
}

}  // namespace
}  // namespace consul_canary::testing
