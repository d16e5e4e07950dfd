// consul-canaryctl against a real Consul agent and the analyzer, without sidecars: watch through a
// restart of the analyzer, on a terminal and off it; orders and what became of them; the fleet's
// pause; first contact and the way back; output for programs; completion in the shells themselves.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <future>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "analyzer/control/store.h"
#include "analyzer/control/stored_json.h"
#include "tests/support/daemons.h"
#include "tests/support/places.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace consul_canary::testing {
namespace {

using nlohmann::json;
using rollout::Phase;

constexpr const char* kSpec = "service: api\nstrategy: {steps: [{weight: 10}, {weight: 50}]}\n";
constexpr const char* kApi = "/api/v1/rollouts/api";
constexpr std::uint64_t kStageDecision = 3;  // with which a stored rollout's stage has begun

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A terminal of 100 × 40 that keeps what is written to it.
class Terminal {
 public:
  Terminal() : master_(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)) {
    EXPECT_EQ(grantpt(master_), 0);
    EXPECT_EQ(unlockpt(master_), 0);
    std::array<char, 64> name{};
    EXPECT_EQ(ptsname_r(master_, name.data(), name.size()), 0);
    name_ = name.data();
    slave_ = open(name_.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);  // so that it does not hang up
    const winsize size{.ws_row = 40, .ws_col = 100, .ws_xpixel = 0, .ws_ypixel = 0};
    EXPECT_EQ(ioctl(master_, TIOCSWINSZ, &size), 0);
  }
  ~Terminal() {
    close(slave_);
    close(master_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }

  const std::string& Written() {
    std::array<char, 4096> buffer{};
    for (ssize_t n = 0; (n = read(master_, buffer.data(), buffer.size())) > 0;) {
      written_.append(buffer.data(), static_cast<std::size_t>(n));
    }
    return written_;
  }

 private:
  int master_;
  int slave_ = -1;
  std::string name_;
  std::string written_;
};

class CtlTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto consul = ConsulAgent::Start();
    ASSERT_TRUE(consul) << consul.error().message;
    consul_ = std::move(*consul);
    ASSERT_TRUE(
        consul_->WriteEntry(R"({"Kind":"service-defaults","Name":"api","Protocol":"http"})"));
  }

  void StartTheAnalyzer() {
    auto analyzer = StartAnalyzer(*consul_);
    ASSERT_TRUE(analyzer) << analyzer.error().message;
    analyzer_ = std::move(*analyzer);
  }

  void WriteEntries() {
    for (const char* entry :
         {R"({"Kind":"service-resolver","Name":"api","ConnectTimeout":"3s","Subsets":{
              "primary":{"Filter":"Service.Meta.version == v1"},
              "canary":{"Filter":"Service.Meta.version == v0"}}})",
          R"({"Kind":"service-splitter","Name":"api","Splits":[
              {"Weight":100,"ServiceSubset":"primary"},{"Weight":0,"ServiceSubset":"canary"}]})"}) {
      ASSERT_TRUE(consul_->WriteEntry(entry));
    }
  }

  // A rollout as an analyzer has left it.
  void StoreRollout(Phase phase) {
    rollout::State state;
    state.phase = phase;
    state.stage = rollout::IsActive(phase) ? rollout::Stage::kStepping : rollout::Stage::kNone;
    state.canary_version = "v2";
    state.primary_version = "v1";
    state.started_wall_seconds = 1795539600;
    state.decisions = kStageDecision;
    state.stage_decision = kStageDecision;
    state.wanted.canary_percent = rollout::IsActive(phase) ? 10 : 0;
    ASSERT_TRUE(consul_->KvPut(
        control::SpecKey("api"),
        control::StoredSpec(
            R"({"service": "api", "strategy": {"steps": [{"weight": 10}, {"weight": 50}]}})")));
    ASSERT_TRUE(consul_->KvPut(control::RolloutKey("api", "state"), control::StateToJson(state)));
  }

  void StartWithRollout(Phase phase) {
    WriteEntries();
    StoreRollout(phase);
    StartTheAnalyzer();
    ASSERT_TRUE(WaitUntil([this] { return Api(kApi).value("leader", false); }, seconds(20)));
  }

  json Api(const std::string& path) {
    const auto body = consul_->http().Get(analyzer_->address() + path);
    json parsed = body ? json::parse(*body, nullptr, false) : json::object();
    return parsed.is_object() ? parsed : json::object();
  }

  CtlResult Ctl(std::vector<std::string> arguments) {
    auto result = RunCtl(analyzer_->address(), std::move(arguments));
    EXPECT_TRUE(result) << result.error().message;
    return result ? *result : CtlResult{.code = -1};
  }

  void Expect(const std::vector<std::string>& arguments, int code, const std::string& says) {
    const CtlResult result = Ctl(arguments);
    EXPECT_EQ(result.code, code) << arguments.front() << ": " << result.output;
    EXPECT_TRUE(Contains(result.output, says)) << says << "\nis not in\n" << result.output;
  }

  std::unique_ptr<Process> StartWatch(std::vector<std::string> arguments,
                                      const std::filesystem::path& output,
                                      std::map<std::string, std::string> env = {}) {
    env["CONSUL_CANARY_ADDR"] = analyzer_->address();
    Command command{.argv = {CtlProgram(), "watch"}, .env = std::move(env), .output = output};
    for (std::string& argument : arguments) command.argv.push_back(std::move(argument));
    auto process = Process::Start(command);
    EXPECT_TRUE(process) << process.error().message;
    return process ? std::move(*process) : nullptr;
  }

  std::string SpecFile() { return consul_->folder().Write("spec.yaml", kSpec).string(); }

  json Entry(const std::string& kind) {
    const auto entry = consul_->ReadEntry(kind, "api");
    return entry && *entry ? json::parse(**entry) : json();
  }

  // An instance with a version, passing since nothing checks it.
  void Deploy(const std::string& version) {
    const json service = {
        {"ID", "api-" + version}, {"Name", "api"}, {"Port", 1}, {"Meta", {{"version", version}}}};
    ASSERT_TRUE(consul_->Put("/v1/agent/service/register", service.dump()));
  }

  std::unique_ptr<ConsulAgent> consul_;
  std::unique_ptr<Daemon> analyzer_;
};

TEST_F(CtlTest, WatchPrintsALineForEachChangeAndSurvivesARestartOfTheAnalyzer) {
  WriteEntries();
  ASSERT_NO_FATAL_FAILURE(StartTheAnalyzer());
  const auto output = consul_->folder().path() / "watch";
  const auto watch = StartWatch({}, output);
  const auto says = [&output](const std::string& text) {
    return WaitUntil([&] { return Contains(ReadFile(output), text); }, seconds(20));
  };
  EXPECT_TRUE(says("there is no rollout yet")) << ReadFile(output);
  Expect({"apply", "-f", SpecFile()}, 0, "api: applied");
  EXPECT_TRUE(says("api  idle  0%  no-data: cannot start: ")) << ReadFile(output);
  Expect({"pause", "--all", "--reason", "incident 42"}, 0, "every rollout is paused");
  EXPECT_TRUE(says("incident 42\n")) << ReadFile(output);
  analyzer_->Kill();
  EXPECT_TRUE(says("the analyzer does not answer")) << ReadFile(output);
  const auto restarted = analyzer_->Restart();
  ASSERT_TRUE(restarted) << restarted.error().message;
  EXPECT_TRUE(says("the analyzer answers again")) << ReadFile(output);
  Expect({"delete", "api"}, 0, "api: deleted");
  EXPECT_TRUE(says("api  is deleted")) << ReadFile(output);
  watch->Signal(SIGINT);
  EXPECT_EQ(watch->Wait(seconds(5)), 0);
  EXPECT_FALSE(Contains(ReadFile(output), "\x1b")) << ReadFile(output);
}

TEST_F(CtlTest, WatchDrawsATreeOnATerminalAndGivesTheCursorBack) {
  ASSERT_NO_FATAL_FAILURE(StartWithRollout(Phase::kProgressing));
  Terminal terminal;
  const auto watch = StartWatch({"api"}, terminal.name(),
                                {{"LC_ALL", "C.UTF-8"}, {"NO_COLOR", ""}, {"TERM", "xterm"}});
  const auto shows = [&terminal](const std::string& text) {
    return WaitUntil([&] { return Contains(terminal.Written(), text); }, seconds(20));
  };
  EXPECT_TRUE(shows("\x1b[1mprogressing\x1b[0m   step 1 of 2   v2 over v1")) << terminal.Written();
  EXPECT_TRUE(shows("├─ next        advance to step 2 of 2, 50%; or, in ")) << terminal.Written();
  EXPECT_TRUE(Contains(terminal.Written(), "\x1b[?25l"));
  EXPECT_TRUE(shows("\x1b[J")) << terminal.Written();
  analyzer_->Kill();
  EXPECT_TRUE(shows("trying again. Last seen:")) << terminal.Written();
  EXPECT_FALSE(Contains(terminal.Written(), "\x1b[?25h"));
  watch->Signal(SIGINT);
  EXPECT_EQ(watch->Wait(seconds(5)), 0);
  EXPECT_TRUE(terminal.Written().ends_with("\x1b[?25h")) << terminal.Written();
}

TEST_F(CtlTest, OutputHasNoColoursWhereNoColorIsSet) {
  ASSERT_NO_FATAL_FAILURE(StartWithRollout(Phase::kRolledBack));
  for (const auto& [no_color, coloured] :
       {std::pair<std::string, bool>{"1", false}, std::pair<std::string, bool>{"", true}}) {
    Terminal terminal;
    const auto ended = StartWatch({"api", "--until-done"}, terminal.name(),
                                  {{"NO_COLOR", no_color}, {"TERM", "xterm"}});
    EXPECT_EQ(ended->Wait(seconds(10)), 1);
    EXPECT_TRUE(Contains(terminal.Written(), "rolled-back")) << terminal.Written();
    EXPECT_EQ(Contains(terminal.Written(), "\x1b[31mrolled-back"), coloured) << terminal.Written();
  }
}

TEST_F(CtlTest, WatchUntilDoneExitsAsStatusDoes) {
  ASSERT_NO_FATAL_FAILURE(StartWithRollout(Phase::kSucceeded));
  const auto output = consul_->folder().path() / "watch";
  EXPECT_EQ(StartWatch({"api", "--until-done"}, output)->Wait(seconds(10)), 0);
  EXPECT_EQ(StartWatch({"ghost", "--until-done"}, output)->Wait(seconds(10)), 3);
  EXPECT_TRUE(Contains(ReadFile(output), "there is no rollout of \"ghost\""));
  EXPECT_EQ(StartWatch({"ghost"}, output)->Wait(seconds(10)), 1);
  const auto other = StartWatch({"api", "--until-done", "--version", "v3"}, output);
  EXPECT_FALSE(other->Wait(seconds(2)));
  other->Signal(SIGTERM);
  EXPECT_EQ(other->Wait(seconds(5)), 3);
  Expect({"status", "api"}, 0, "succeeded");
  Expect({"status", "api", "--wait", "--version", "v3", "--timeout", "1s"}, 3, "succeeded");
}

TEST_F(CtlTest, AnOrderSaysWhatBecameOfItAndARefusedOneExitsWithOne) {
  ASSERT_NO_FATAL_FAILURE(StartWithRollout(Phase::kProgressing));
  Expect({"start", "api", "--version", "v3"}, 1,
         "not carried out: a rollout is under way; abort it first");
  Expect({"retry", "api"}, 1, "only a rolled-back rollout can be tried again");
  Expect({"resume", "api"}, 1, "nothing is paused");
  Expect({"promote", "api"}, 1, "promote by ");
  Expect({"pause", "api"}, 0, "api: paused: paused by ");
  Expect({"resume", "api"}, 0, "api: progressing: resumed by ");
  Expect({"delete", "api", "--release"}, 1, "a rollout of \"api\" is progressing; abort it first");
  Expect({"apply", "-f", SpecFile()}, 1, "a rollout of \"api\" is progressing");
  Expect({"status", "api"}, 3, "progressing");
  Expect({"abort", "api"}, 0, "api: rolling-back: aborted by ");
  Expect({"status", "api", "--wait", "--timeout", "60s"}, 1, "rolled-back");
  EXPECT_EQ(Entry("service-resolver")["Subsets"]["primary"]["Filter"],
            "Service.Meta.version == v1");
}

TEST_F(CtlTest, HistoryTakesALimitAndATimeAndEveryFormat) {
  ASSERT_NO_FATAL_FAILURE(StartWithRollout(Phase::kProgressing));
  ASSERT_EQ(Ctl({"pause", "api"}).code, 0);
  ASSERT_EQ(Ctl({"resume", "api"}).code, 0);
  const std::string all = Ctl({"history", "api"}).output;
  EXPECT_LT(all.find(" pause "), all.find(" resume ")) << all;
  const std::string newest = Ctl({"history", "api", "--limit", "1"}).output;
  EXPECT_FALSE(Contains(newest, " pause ")) << newest;
  EXPECT_TRUE(Contains(newest, "resumed by ")) << newest;
  EXPECT_FALSE(
      Contains(Ctl({"history", "api", "--since", "2099-01-01T00:00:00Z"}).output, "resumed"));
  EXPECT_TRUE(Contains(Ctl({"history", "api", "--since", "10m"}).output, "resumed by "));
  EXPECT_TRUE(Contains(Ctl({"history", "api", "-o", "yaml"}).output, "action: resume\n"));
  Expect({"history", "api", "--since", "yesterday"}, 2,
         "since: \"yesterday\" is not an RFC 3339 time");
  const auto wrong =
      consul_->http().Call("GET", analyzer_->address() + kApi + "/decisions?limit=x");
  ASSERT_TRUE(wrong);
  EXPECT_EQ(wrong->status, 400);
  EXPECT_TRUE(Contains(wrong->body, "limit: must be a whole number from 1 on")) << wrong->body;
}

TEST_F(CtlTest, JsonIsWhatTheAnalyzerAnswersAndYamlTheSame) {
  ASSERT_NO_FATAL_FAILURE(StartWithRollout(Phase::kSucceeded));
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
           {"list"}, {"get", "api"}, {"history", "api"}, {"status", "api"}}) {
    std::vector<std::string> as_json = command;
    as_json.insert(as_json.end(), {"-o", "json"});
    EXPECT_TRUE(json::parse(Ctl(as_json).output, nullptr, false).is_object()) << command.front();
    std::vector<std::string> as_yaml = command;
    as_yaml.insert(as_yaml.end(), {"-o", "yaml"});
    const std::string yaml = Ctl(as_yaml).output;
    EXPECT_FALSE(Contains(yaml, "{\"")) << yaml;
    EXPECT_TRUE(Contains(yaml, "api") || command.front() == "history") << yaml;
  }
}

TEST_F(CtlTest, TheFleetsPauseIsShownAndEnds) {
  ASSERT_NO_FATAL_FAILURE(StartWithRollout(Phase::kSucceeded));
  EXPECT_EQ(Api("/api/v1/paused"), (json{{"paused", false}}));
  Expect({"pause", "--all", "--reason", "incident 42"}, 0, "every rollout is paused");
  EXPECT_EQ(Api("/api/v1/paused").value("reason", ""), "incident 42");
  EXPECT_TRUE(
      WaitUntil([this] { return Contains(Ctl({"list"}).output, "incident 42"); }, seconds(10)));
  EXPECT_TRUE(WaitUntil([this] { return Contains(Api(kApi).value("waits", ""), "incident 42"); },
                        seconds(10)));
  Expect({"resume", "--all"}, 0, "rollouts go on");
  EXPECT_TRUE(
      WaitUntil([this] { return !Contains(Ctl({"list"}).output, "incident 42"); }, seconds(10)));
  const std::string path = analyzer_->address() + "/api/v1/paused";
  EXPECT_EQ(consul_->http().Call("PUT", path, R"({"why": 1})")->status, 400);
  EXPECT_EQ(consul_->http().Call("POST", path)->status, 405);
}

TEST_F(CtlTest, FirstContactSaysWhatItWouldCreateAndCreatesItWhenAsked) {
  ASSERT_NO_FATAL_FAILURE(StartTheAnalyzer());
  Expect({"apply", "-f", SpecFile(), "--create"}, 1, "no instance of \"api\" passes its checks");
  ASSERT_NO_FATAL_FAILURE(Deploy("v1"));
  Expect(
      {"apply", "-f", SpecFile()}, 1,
      R"(`consul-canaryctl apply --create` would write {"Kind":"service-resolver","Name":"api","DefaultSubset":"primary",)");
  EXPECT_TRUE(Entry("service-resolver").is_null());
  Expect({"apply", "-f", SpecFile(), "--create"}, 0, "api: service-splitter created: ");
  EXPECT_EQ(Entry("service-resolver")["Subsets"]["primary"]["Filter"],
            "Service.Meta.version == \"v1\"");
  EXPECT_EQ(Entry("service-splitter")["Splits"][0]["Weight"], 100);
  EXPECT_EQ(Entry("service-splitter")["Splits"][0]["ServiceSubset"], "primary");
  const CtlResult again = Ctl({"apply", "-f", SpecFile(), "--create"});
  EXPECT_EQ(again.code, 0) << again.output;
  EXPECT_FALSE(Contains(again.output, "created")) << again.output;
}

TEST_F(CtlTest, FirstContactDoesNotGuessAndCreatesNothingWhereAnotherProblemRemains) {
  ASSERT_NO_FATAL_FAILURE(StartTheAnalyzer());
  ASSERT_NO_FATAL_FAILURE(Deploy("v1"));
  ASSERT_TRUE(consul_->WriteEntry(R"({"Kind":"service-defaults","Name":"api","Protocol":"tcp"})"));
  Expect({"apply", "-f", SpecFile(), "--create"}, 1, "the protocol of \"api\" is tcp");
  ASSERT_TRUE(consul_->WriteEntry(R"({"Kind":"service-defaults","Name":"api","Protocol":"http"})"));
  ASSERT_NO_FATAL_FAILURE(Deploy("v2"));
  Expect({"apply", "-f", SpecFile(), "--create"}, 1,
         "carry versions v1, v2, and which one is the primary's is not guessed");
  EXPECT_TRUE(Entry("service-resolver").is_null());
  EXPECT_TRUE(Entry("service-splitter").is_null());
  const auto wrong =
      consul_->http().Call("PUT", analyzer_->address() + kApi + "?creat=true", kSpec);
  ASSERT_TRUE(wrong);
  EXPECT_EQ(wrong->status, 400) << wrong->body;
}

TEST_F(CtlTest, DeleteWithReleaseLetsThePrimarySubsetTakeAllInstances) {
  ASSERT_NO_FATAL_FAILURE(StartWithRollout(Phase::kSucceeded));
  Expect({"delete", "api", "--release"}, 0, "api: the primary subset takes all instances again");
  const json resolver = Entry("service-resolver");
  EXPECT_EQ(resolver["Subsets"]["primary"].value("Filter", ""), "");
  EXPECT_EQ(resolver["Subsets"]["canary"]["Filter"], "Service.Meta.version == v0");
  EXPECT_EQ(resolver["ConnectTimeout"], "3s");
  ASSERT_TRUE(WaitUntil([&] { return Ctl({"get", "api"}).code == 1; }, seconds(10)));
  Expect({"delete", "api", "--release"}, 1, "there is no rollout of \"api\"");
}

TEST_F(CtlTest, AReleaseThatWouldLetAnotherVersionServeIsRefusedUnlessItIsForced) {
  ASSERT_NO_FATAL_FAILURE(StartWithRollout(Phase::kProgressing));
  Expect({"abort", "api"}, 0, "api: rolling-back: aborted by ");
  Expect({"status", "api", "--wait", "--timeout", "60s"}, 1, "rolled-back");
  ASSERT_NO_FATAL_FAILURE(Deploy("v1"));
  ASSERT_NO_FATAL_FAILURE(Deploy("v2"));
  ASSERT_NO_FATAL_FAILURE(Deploy("v3"));
  Expect({"delete", "api", "--release"}, 1,
         "passing instances that it keeps out now: 1 of version v2 (rolled back), 1 of version v3; "
         "end these first, delete without release, or release with --force");
  EXPECT_EQ(Entry("service-resolver")["Subsets"]["primary"]["Filter"],
            "Service.Meta.version == v1");
  Expect({"get", "api"}, 0, "rolled-back");
  Expect({"delete", "api", "--force"}, 2, "--release");
  Expect({"delete", "api", "--release", "--force"}, 0,
         "api: the primary subset takes all instances again");
  EXPECT_EQ(Entry("service-resolver")["Subsets"]["primary"].value("Filter", ""), "");
}

// Sent again with what was seen before: by curl, or by whoever has lost the first answer.
TEST_F(CtlTest, AnOrderForAStepThatHasPassedIsAnsweredByADecisionThatNamesIt) {
  ASSERT_NO_FATAL_FAILURE(StartWithRollout(Phase::kProgressing));
  const std::string path = analyzer_->address() + kApi + "/promote";
  const auto wrong = consul_->http().Call("POST", path, R"({"seen_decisions": -1})");
  ASSERT_TRUE(wrong);
  EXPECT_EQ(wrong->status, 400) << wrong->body;
  const std::string seen = json{{"seen_decisions", kStageDecision - 1}}.dump();
  const auto late = consul_->http().Call("POST", path, seen);
  ASSERT_TRUE(late);
  ASSERT_EQ(late->status, 202) << late->body;
  const json order = json::parse(late->body)["order"];
  const auto answer = [&] {
    const json log = Api(std::string(kApi) + "/decisions");
    for (const json& decision : log.value("decisions", json::array())) {
      if (decision["order"] == order) return decision.value("reason", "");
    }
    return std::string();
  };
  EXPECT_TRUE(WaitUntil([&] { return !answer().empty(); }, seconds(10)));
  EXPECT_TRUE(Contains(answer(), "not carried out: the step has passed already")) << answer();
}

TEST_F(CtlTest, WhileConsulHangsNotAllWorkersWaitForItAndHealthIsAnswered) {
  ASSERT_NO_FATAL_FAILURE(StartWithRollout(Phase::kSucceeded));
  constexpr int kWorkers = 16;
  consul_->Pause();
  std::vector<std::future<bool>> turned_away;
  turned_away.reserve(kWorkers);
  for (int i = 0; i < kWorkers; ++i) {
    turned_away.push_back(std::async(std::launch::async, [this] {
      const auto answer = consul_->http().Call("GET", analyzer_->address() + kApi + "/decisions",
                                               "", {}, seconds(60));
      return answer && answer->status == 503 && Contains(answer->body, "too many requests wait");
    }));
  }
  const auto one_is_done = [&turned_away] {
    return std::ranges::any_of(turned_away, [](const std::future<bool>& each) {
      return each.wait_for(milliseconds(0)) == std::future_status::ready;
    });
  };
  EXPECT_TRUE(WaitUntil(one_is_done, seconds(8)));
  EXPECT_TRUE(consul_->http().Answers(analyzer_->address() + "/-/healthy"));
  EXPECT_TRUE(consul_->http().Answers(analyzer_->address() + "/metrics"));
  EXPECT_TRUE(consul_->http().Call("GET", analyzer_->address() + "/-/ready"));
  consul_->Continue();
  int count = 0;
  for (std::future<bool>& each : turned_away) count += each.get() ? 1 : 0;
  EXPECT_GT(count, 0);
}

TEST_F(CtlTest, ShellsCompleteCommandsFlagsAndServices) {
  ASSERT_NO_FATAL_FAILURE(StartWithRollout(Phase::kSucceeded));
  const std::string ctl = CtlProgram();
  const auto bash = [&ctl](const std::string& line) {
    const std::string script =
        "source <(\"$0\" completion bash); COMP_LINE=$1 COMP_POINT=${#1}; _consul_canaryctl; "
        "printf '%s\\n' \"${COMPREPLY[@]}\"";
    return RunCommand({.argv = {"bash", "-c", script, ctl, line}}, seconds(10)).value_or("failed");
  };
  const std::string there = " --analyzer.url " + analyzer_->address();
  EXPECT_EQ(bash(ctl + " st"), "start\nstatus\n");
  EXPECT_EQ(bash(ctl + " history --s"), "--since\n");
  EXPECT_EQ(bash(ctl + " watch -o "), "table\njson\n");
  EXPECT_EQ(bash(ctl + there + " get "), "api\n");
  EXPECT_EQ(bash(ctl + there + " get x"), "\n");
  EXPECT_EQ(bash(ctl + " --analyzer.url http://127.0.0.1:1 get "), "\n");
  const auto zsh = [&ctl](const std::string& words) {
    const std::string script =
        "autoload -U compinit; compinit -u -D; source <(\"$0\" completion zsh); "
        "compadd() { shift; print -l -- \"$@\" }; _describe() { print -l -- ${(P)4} }; "
        "words=(" +
        words + "); CURRENT=$#words; $_comps[consul-canaryctl]";
    return RunCommand({.argv = {"zsh", "-f", "-c", script, ctl}}, seconds(10)).value_or("failed");
  };
  EXPECT_TRUE(Contains(zsh(ctl + " ''"), "\nabort:roll back now\n"));
  EXPECT_EQ(zsh(ctl + " watch -o ''"), "table\njson\n");
  EXPECT_EQ(zsh(ctl + there + " get ''"), "api\n");
}

TEST_F(CtlTest, ShippedCompletionsAreThoseThatArePrinted) {
  ASSERT_NO_FATAL_FAILURE(StartTheAnalyzer());
  const std::filesystem::path shipped = std::filesystem::path(SourceFolder()) / "deploy/completion";
  EXPECT_EQ(ReadFile(shipped / "consul-canaryctl.bash"), Ctl({"completion", "bash"}).output);
  EXPECT_EQ(ReadFile(shipped / "_consul-canaryctl"), Ctl({"completion", "zsh"}).output);
}

}  // namespace
}  // namespace consul_canary::testing
