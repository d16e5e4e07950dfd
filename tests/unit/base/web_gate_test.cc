#include "exporter/base/web_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>
#include <thread>
#include <vector>

#include "tests/support/temp_dir.h"

namespace consul_canary::base {
namespace {

using ::testing::HasSubstr;

// Of "correct horse" and "second", by Python's crypt.
constexpr std::string_view kUser =
    "basic_auth_users:\n"
    "  prometheus: $2b$04$qDl/3ZndaLfa7Jq4lJB.A.yOUXB1QNCojU89EGDZaJFWdSCtTAopu\n";
constexpr std::string_view kOtherUser =
    "basic_auth_users:\n"
    "  prometheus: $2b$04$RDJkM/.hG9p.BCevTmCNLuvRQXwCs9utZRqRdRnywJkRL/R8UbAjG\n"
    "http_server_config: {headers: {X-Frame-Options: deny}}\n";

// Authorization headers; by `printf '%s' prometheus:… | base64`.
constexpr const char* kRight = "Basic cHJvbWV0aGV1czpjb3JyZWN0IGhvcnNl";
constexpr const char* kSecond = "Basic cHJvbWV0aGV1czpzZWNvbmQ=";

class WebGateTest : public ::testing::Test {
 protected:
  void Open(std::string_view yaml) {
    auto gate = WebGate::Open(folder_.Write("web.yaml", yaml).string());
    ASSERT_TRUE(gate) << gate.error().message;
    gate_ = *std::move(gate);
  }

  [[nodiscard]] ServerResponse Ask(const std::string& authorization,
                                   const std::string& path = "/metrics") const {
    ServerRequest request;
    request.path = path;
    if (!authorization.empty()) request.headers["authorization"] = authorization;
    return gate_->Answer(request, [](const ServerRequest&) { return ServerResponse{}; });
  }

  testing::TempDir folder_{"web-gate"};
  std::unique_ptr<WebGate> gate_;
};

TEST_F(WebGateTest, LetsEveryoneInWithoutAFile) {
  auto gate = WebGate::Open("");
  ASSERT_TRUE(gate);
  gate_ = *std::move(gate);
  EXPECT_EQ(Ask("").status, 200);
  EXPECT_TRUE(gate_->Reload());
}

TEST_F(WebGateTest, LetsInWhoKnowsThePassword) {
  Open(kUser);
  EXPECT_EQ(Ask(kRight).status, 200);
  EXPECT_EQ(Ask("basic" + std::string(kRight).substr(5)).status, 200);
}

TEST_F(WebGateTest, RefusesAllOthersAndSaysWhatIsNeeded) {
  Open(kUser);
  const std::string prefix = "Basic ";
  for (const std::string& authorization :
       {std::string(), std::string(kSecond), prefix, prefix + "!!!!", prefix + "cHJv",
        prefix + "bm9ib2R5OmNvcnJlY3QgaG9yc2U=",              // nobody:correct horse
        prefix + "cHJvbWV0aGV1czo=",                          // prometheus:
        prefix + "cHJvbWV0aGV1czpjb3JyZWN0IGhvcnNlAGFueQ==",  // …correct horse\0any
        std::string("Bearer ") + kRight}) {
    const ServerResponse answer = Ask(authorization);
    EXPECT_EQ(answer.status, 401) << authorization;
    EXPECT_THAT(answer.headers.at("WWW-Authenticate"), HasSubstr("Basic realm="));
  }
  EXPECT_EQ(Ask("", "/").status, 401);
  EXPECT_EQ(Ask("", "/-/ready").status, 401);
  EXPECT_EQ(Ask("", "/-/reload").status, 401);
}

TEST_F(WebGateTest, AnswersHealthChecksWithoutAPassword) {
  Open(kUser);
  EXPECT_EQ(Ask("", "/-/healthy").status, 200);
}

TEST_F(WebGateTest, HashesEachPasswordOnce) {
  Open(kUser);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(Ask(kRight).status, 200);
    EXPECT_EQ(Ask(kSecond).status, 401);
  }
  EXPECT_EQ(gate_->hashed(), 2u);
}

TEST_F(WebGateTest, KnowsWhoIsRightAfterManyGuesses) {
  Open(kUser);
  EXPECT_EQ(Ask(kRight).status, 200);
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  for (const char first : alphabet) {
    for (const char* end : {"AAA", "BBB", "CCC"}) {
      EXPECT_EQ(Ask(std::string("Basic cHJvbWV0aGV1czp") + first + end).status, 401);
    }
  }
  const std::size_t before = gate_->hashed();
  EXPECT_EQ(Ask(kRight).status, 200);
  EXPECT_EQ(gate_->hashed(), before);
}

TEST_F(WebGateTest, ChecksManyAtOnce) {
  Open(kUser);
  constexpr int kCallers = 8;
  std::latch all(kCallers);
  std::vector<std::thread> callers;
  callers.reserve(kCallers);
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&, i] {
      all.arrive_and_wait();
      EXPECT_EQ(Ask(i % 2 == 0 ? kRight : kSecond).status, i % 2 == 0 ? 200 : 401);
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST_F(WebGateTest, TakesUpANewFileAndForgetsTheOldPassword) {
  Open(kUser);
  EXPECT_EQ(Ask(kRight).status, 200);
  folder_.Write("web.yaml", kOtherUser);
  EXPECT_EQ(Ask(kRight).status, 200);
  ASSERT_TRUE(gate_->Reload());
  EXPECT_EQ(Ask(kRight).status, 401);
  EXPECT_EQ(Ask(kSecond).status, 200);
}

TEST_F(WebGateTest, KeepsTheOldFileWhereTheNewOneIsBad) {
  Open(kUser);
  folder_.Write("web.yaml", "basic_auth_users: {}\ntls_server_config: {cert_file: x}\n");
  const Result<void> reloaded = gate_->Reload();
  ASSERT_FALSE(reloaded);
  EXPECT_THAT(reloaded.error().message, HasSubstr("web.yaml:2: tls_server_config: "));
  EXPECT_EQ(Ask(kRight).status, 200);
  EXPECT_EQ(Ask("").status, 401);
}

TEST_F(WebGateTest, AddsTheFilesHeadersToEveryAnswer) {
  Open(kOtherUser);
  EXPECT_EQ(Ask(kSecond).headers.at("X-Frame-Options"), "deny");
  EXPECT_EQ(Ask("").headers.at("X-Frame-Options"), "deny");
  EXPECT_EQ(Ask("", "/-/healthy").headers.at("X-Frame-Options"), "deny");
}

}  // namespace
}  // namespace consul_canary::base
