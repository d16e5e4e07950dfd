#include "exporter/base/web_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace consul_canary::base {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kHash = "$2y$04$cTlfPbv3pSq0EoD/OdWvQe8rOlVoVBO0jXz.x2PwTuOkRBAxU6u0W";

TEST(WebConfig, NamesUsersAndHeaders) {
  const auto config = ParseWebConfig(std::string("http_server_config:\n"
                                                 "  http2: true\n"
                                                 "  headers: {X-Frame-Options: deny}\n"
                                                 "basic_auth_users:\n"
                                                 "  prometheus: ") +
                                         kHash + "\n",
                                     "web.yaml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->users, (std::map<std::string, std::string>{{"prometheus", kHash}}));
  EXPECT_EQ(config->headers, (std::map<std::string, std::string>{{"X-Frame-Options", "deny"}}));
}

TEST(WebConfig, MayBeEmpty) {
  for (const char* text :
       {"", "\n", "# nothing\n", "basic_auth_users:\n", "tls_server_config: {}\n",
        "tls_server_config:\nhttp_server_config:\n"}) {
    const auto config = ParseWebConfig(text, "web.yaml");
    ASSERT_TRUE(config) << text << config.error().message;
    EXPECT_TRUE(config->users.empty());
  }
}

struct Bad {
  std::string text;
  std::string complaint;
};

class BadWebConfigs : public ::testing::TestWithParam<Bad> {};

TEST_P(BadWebConfigs, AreRefusedWithLineAndKey) {
  const auto config = ParseWebConfig(GetParam().text, "web.yaml");
  ASSERT_FALSE(config) << GetParam().text;
  EXPECT_THAT(config.error().message, HasSubstr(GetParam().complaint)) << GetParam().text;
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadWebConfigs,
    ::testing::Values(
        Bad{"\ntls_server_config:\n  cert_file: a\n", "web.yaml:2: tls_server_config: TLS is not"},
        Bad{"basic_auth_user: {}\n", "web.yaml:1: basic_auth_user: not known"},
        Bad{"rate_limit: {burst: 1}\n", "web.yaml:1: rate_limit: not known"},
        Bad{"http_server_config:\n  http3: true\n", "web.yaml:2: http_server_config.http3: not"},
        Bad{"http_server_config:\n  http2: maybe\n",
            "web.yaml:2: http_server_config.http2: must be true or false"},
        Bad{"http_server_config: {headers: {Server: x}}\n",
            "web.yaml:1: http_server_config.headers.Server: only Content-Security-Policy"},
        Bad{"http_server_config: {headers: {X-Frame-Options: \"a\\nb\"}}\n", "one line of text"},
        Bad{"http_server_config: [1]\n", "web.yaml:1: http_server_config: must be keys and values"},
        Bad{"basic_auth_users:\n  a: secret\n", "web.yaml:2: basic_auth_users.a: must be a bcrypt"},
        Bad{"basic_auth_users:\n  a: [x]\n", "web.yaml:2: basic_auth_users.a: must be a bcrypt"},
        Bad{std::string("basic_auth_users:\n  a: $2y$31") + (kHash + 6) + "\n",
            "web.yaml:2: basic_auth_users.a: the hash's cost is 31; it must be 4 to 16"},
        Bad{std::string("basic_auth_users:\n  'a:b': ") + kHash + "\n", "nor hold a colon"},
        Bad{std::string("basic_auth_users:\n  a: ") + kHash + "\n  a: " + kHash + "\n",
            "web.yaml:3: basic_auth_users.a: is there twice"},
        Bad{"basic_auth_users: {a\n", "web.yaml:2: "}, Bad{"- a\n", "web.yaml:1: must be keys"},
        Bad{"a: 1\n---\nb: 2\n", "must be one document"},
        Bad{"{[a]: 1}\n", "web.yaml:1: a key must be a word, not a list or a map"}));

TEST(WebConfig, ListsAllThatIsWrongAtOnce) {
  const auto config = ParseWebConfig("x: 1\ny: 2\n", "web.yaml");
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().message, HasSubstr("web.yaml:1: x: "));
  EXPECT_THAT(config.error().message, HasSubstr("web.yaml:2: y: "));
}

TEST(WebConfig, KeepsWhatIsWrongWithAPasswordToItself) {
  const auto config = ParseWebConfig("basic_auth_users: {a: hunter2}\n", "web.yaml");
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().message, Not(HasSubstr("hunter2")));
}

TEST(WebConfig, SaysThatAFileIsNotThere) {
  const auto config = ReadWebConfig("/nonexistent/web.yaml");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().message,
            "/nonexistent/web.yaml: cannot be read: No such file or directory");
}

// Where a file that is to be mounted is missing, container runtimes make a folder of its name. It
// must not pass for an empty file, which lets everyone in.
TEST(WebConfig, RefusesAFolder) {
  const auto config = ReadWebConfig("/");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(config.error().message, "/: cannot be read: Is a directory");
}

}  // namespace
}  // namespace consul_canary::base
