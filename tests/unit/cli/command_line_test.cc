// The program as a whole, in this process: exit codes, complaints and what it sends, before a
// server in the analyzer's place.
#include "analyzer/cli/command_line.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "exporter/base/http_server.h"

namespace consul_canary::cli {
namespace {

using base::ServerRequest;
using base::ServerResponse;
using nlohmann::json;

class Analyzer {
 public:
  explicit Analyzer(std::function<ServerResponse(const ServerRequest&)> answer) {
    base::ServerOptions options;
    options.listen_addresses = {"127.0.0.1:0"};
    auto server = base::HttpServer::Start(
        options, [this, answer = std::move(answer)](const ServerRequest& request) {
          {
            const std::scoped_lock lock(mutex_);
            requests_.push_back(request);
          }
          return answer(request);
        });
    EXPECT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }

  [[nodiscard]] std::string address() const {
    return "http://127.0.0.1:" + std::to_string(server_->ports().front());
  }
  std::vector<ServerRequest> requests() {
    const std::scoped_lock lock(mutex_);
    return requests_;
  }

 private:
  std::mutex mutex_;
  std::vector<ServerRequest> requests_;
  std::unique_ptr<base::HttpServer> server_;  // last: its workers use the others
};

int Run(const Analyzer& analyzer, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"consul-canaryctl", "--analyzer.url", analyzer.address()});
  std::vector<char*> argv;
  argv.reserve(arguments.size());
  for (std::string& argument : arguments) argv.push_back(argument.data());
  return RunCommandLine(static_cast<int>(argv.size()), argv.data());
}

struct Ran {
  int code = -1;
  std::string out;
  std::string err;
};

Ran RunCaptured(const Analyzer& analyzer, std::vector<std::string> arguments) {
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const int code = Run(analyzer, std::move(arguments));
  Ran ran{.code = code};
  ran.out = ::testing::internal::GetCapturedStdout();
  ran.err = ::testing::internal::GetCapturedStderr();
  return ran;
}

ServerResponse Answer(const json& body, int status = 200) {
  return {.status = status, .body = body.dump()};
}

json Rollout(const std::string& phase) {
  return {{"service", "api"}, {"phase", phase},        {"decisions", 5},
          {"last_order", 9},  {"observed_weight", 10}, {"evidence", json::object()}};
}

TEST(CommandLine, WhereNoRolloutWasReadNoneIsSaidToBeRolledBack) {
  Analyzer stranger([](const ServerRequest&) { return Answer({{"hello", "world"}}); });
  const std::string says = "what answers at --analyzer.url is no analyzer of this version";
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"status", "api"}, {"status", "api", "--wait"}, {"watch", "api", "--until-done"}}) {
    const Ran ran = RunCaptured(stranger, arguments);
    EXPECT_EQ(ran.code, 3) << arguments.front();
    EXPECT_NE(ran.err.find(says), std::string::npos) << ran.err;
  }
  EXPECT_EQ(RunCaptured(stranger, {"get", "api"}).code, 1);
  EXPECT_EQ(RunCaptured(stranger, {"watch", "api"}).code, 1);
  EXPECT_EQ(RunCaptured(stranger, {"promote", "api"}).code, 1);
}

TEST(CommandLine, AnEmptyServiceIsRefusedByEveryCommand) {
  Analyzer analyzer([](const ServerRequest&) { return Answer({{"rollouts", json::array()}}); });
  for (const char* command : {"get", "history", "status", "delete", "start", "pause", "resume",
                              "promote", "abort", "retry", "watch"}) {
    const Ran ran = RunCaptured(analyzer, {command, ""});
    EXPECT_EQ(ran.code, 2) << command;
    EXPECT_EQ(ran.err,
              std::string("consul-canaryctl: ") + command + ": SERVICE: must not be empty\n");
  }
  EXPECT_EQ(RunCaptured(analyzer, {"pause", "", "--all"}).code, 2);
  EXPECT_EQ(RunCaptured(analyzer, {"status", "api", "--version", ""}).code, 2);
  EXPECT_TRUE(analyzer.requests().empty());
}

TEST(CommandLine, AnOrderCarriesWhatItsSenderSawAndItsOwnOutcomeIsPrinted) {
  Analyzer analyzer([](const ServerRequest& request) {
    if (request.method == "POST") return Answer({{"order", 8}}, 202);
    if (!request.path.ends_with("/decisions")) return Answer(Rollout("progressing"));
    return Answer({{"decisions",
                    {{{"sequence", 6},
                      {"order", 7},
                      {"action", "refuse"},
                      {"reason", "retry by bob not carried out: no"}},
                     {{"sequence", 7}, {"order", nullptr}, {"action", "hold"}, {"to", "paused"}},
                     {{"sequence", 8},
                      {"order", 8},
                      {"action", "advance"},
                      {"to", "progressing"},
                      {"reason", "by order of ann"}},
                     {{"sequence", 9},
                      {"order", 9},
                      {"action", "rollback"},
                      {"to", "rolling-back"},
                      {"reason", "aborted by eve"}}}}});
  });
  const Ran ran = RunCaptured(analyzer, {"promote", "api", "--full"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "api: progressing: by order of ann\n");
  const auto requests = analyzer.requests();
  ASSERT_GE(requests.size(), 2U);
  EXPECT_EQ(requests[1].method, "POST");
  EXPECT_EQ(json::parse(requests[1].body), (json{{"full", true}, {"seen_decisions", 5}}));
}

TEST(CommandLine, AnOrderWhoseAnswerWasLostIsSaidToBeStoredPerhaps) {
  constexpr std::size_t kMoreThanIsRead = 17u << 20u;
  Analyzer analyzer([](const ServerRequest& request) {
    if (request.method == "GET") return Answer(Rollout("progressing"));
    return ServerResponse{.body = std::string(kMoreThanIsRead, ' ')};
  });
  const Ran ran = RunCaptured(analyzer, {"promote", "api"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_NE(ran.err.find("the order may have been stored all the same: see `consul-canaryctl "
                         "history api` before you send it again"),
            std::string::npos)
      << ran.err;
}

// Runs with a standard output on which every write fails.
int RunWithoutOutput(const Analyzer& analyzer, std::vector<std::string> arguments) {
  std::fflush(stdout);
  const int kept = dup(STDOUT_FILENO);
  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  dup2(full, STDOUT_FILENO);
  const int code = Run(analyzer, std::move(arguments));
  dup2(kept, STDOUT_FILENO);
  close(full);
  close(kept);
  std::clearerr(stdout);
  std::cout.clear();
  return code;
}

TEST(CommandLine, OutputThatIsLostIsNoSuccess) {
  Analyzer analyzer([](const ServerRequest& request) {
    return request.path.ends_with("rollouts")
               ? Answer({{"rollouts", json::array({Rollout("succeeded")})}, {"paused", ""}})
               : Answer(Rollout("succeeded"));
  });
  EXPECT_EQ(RunWithoutOutput(analyzer, {"list", "-o", "json"}), 1);
  EXPECT_EQ(RunWithoutOutput(analyzer, {"completion", "bash"}), 1);
  EXPECT_EQ(RunWithoutOutput(analyzer, {"--help"}), 1);
  // 1 would say that it was rolled back.
  EXPECT_EQ(RunWithoutOutput(analyzer, {"status", "api"}), 3);
  EXPECT_EQ(RunWithoutOutput(analyzer, {"watch", "api", "--until-done"}), 3);
  EXPECT_EQ(RunCaptured(analyzer, {"status", "api"}).code, 0);
}

TEST(CommandLine, TheProgramsOwnFlagsAreNotSuggestedBehindACommand) {
  Analyzer analyzer([](const ServerRequest&) { return Answer(json::object()); });
  const Ran ran = RunCaptured(analyzer, {"resume", "api", "--reason", "x"});
  EXPECT_EQ(ran.code, 2);
  EXPECT_EQ(ran.err, "consul-canaryctl: resume: --reason is no flag here\n");
  EXPECT_EQ(RunCaptured(analyzer, {"get", "api", "--token-fil", "x"}).err,
            "consul-canaryctl: get: --token-fil is no flag here; did you mean --token-file?\n");
  EXPECT_EQ(
      RunCaptured(analyzer, {"--versio"}).err.find("did you mean --version?") == std::string::npos,
      false);
}

}  // namespace
}  // namespace consul_canary::cli
