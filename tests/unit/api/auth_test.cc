// Who may do what. The secrets' hashes were made by other programs (sha256sum, Python's crypt).
#include "analyzer/api/auth.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace consul_canary::api {
namespace {

using Headers = std::map<std::string, std::string>;

constexpr const char* kShaHash =
    "sha256:4e3acc0eb2976bde9f51c7b6332af01535e3d863474acac276e1fcd60224c738";  // sha-secret
constexpr const char* kBcryptHash =
    "$2b$04$abcdefghijklmnopqrstuukIPMvMTJviSj4tZSaBERVEVDHY8sM3q";  // bcrypt-secret

AuthOptions WithTokens() {
  return {.tokens = {{Role::kViewer, "grafana", kShaHash}, {Role::kOperator, "ann", kBcryptHash}}};
}

base::ServerRequest From(const Headers& headers, bool loopback = false) {
  return {.headers = headers, .from_loopback = loopback};
}

TEST(Authorize, FindsTheTokenByItsHash) {
  const AuthOptions options = WithTokens();
  EXPECT_EQ(Authorize(options, From({{"authorization", "Bearer sha-secret"}}), Role::kViewer)
                .value_or("refused"),
            "grafana");
  EXPECT_EQ(Authorize(options, From({{"authorization", "Bearer bcrypt-secret"}}), Role::kOperator)
                .value_or("refused"),
            "ann");
}

TEST(Authorize, RefusesWhatIsNoKnownToken) {
  const AuthOptions options = WithTokens();
  for (const char* header :
       {"Bearer sha-secre", "Bearer sha-secret ", "Bearer ", "Bearer", "sha-secret",
        "Basic sha-secret", "bearer sha-secret",
        "Bearer sha256:4e3acc0eb2976bde9f51c7b6332af01535e3d863474acac276e1fcd60224c738",
        "Bearer $2b$04$abcdefghijklmnopqrstuukIPMvMTJviSj4tZSaBERVEVDHY8sM3q"}) {
    const auto by = Authorize(options, From({{"authorization", header}}), Role::kViewer);
    ASSERT_FALSE(by) << header;
    EXPECT_EQ(by.error().code, base::ErrorCode::kForbidden);
  }
}

TEST(Authorize, OperatorsMayAllOthersTheirPart) {
  struct Case {
    Role has, needs;
    bool may;
  };
  const std::vector<Case> cases{
      {Role::kViewer, Role::kViewer, true},     {Role::kViewer, Role::kOperator, false},
      {Role::kViewer, Role::kHook, false},      {Role::kOperator, Role::kViewer, true},
      {Role::kOperator, Role::kOperator, true}, {Role::kOperator, Role::kHook, true},
      {Role::kHook, Role::kViewer, false},      {Role::kHook, Role::kOperator, false},
      {Role::kHook, Role::kHook, true},
  };
  for (const Case& test : cases) {
    const AuthOptions options{.tokens = {{test.has, "it", kShaHash}}};
    const auto by = Authorize(options, From({{"authorization", "Bearer sha-secret"}}), test.needs);
    EXPECT_EQ(by.has_value(), test.may)
        << static_cast<int>(test.has) << static_cast<int>(test.needs);
  }
  const AuthOptions viewer{.tokens = {{Role::kViewer, "it", kShaHash}}};
  EXPECT_EQ(Authorize(viewer, From({{"authorization", "Bearer sha-secret"}}), Role::kOperator)
                .error()
                .message,
            "token \"it\" has the role viewer, this needs operator");
}

TEST(Authorize, WithoutTokensAnyoneReadsAndNobodyWrites) {
  EXPECT_EQ(Authorize({}, From({}), Role::kViewer).value_or("refused"), "anyone");
  for (const Role role : {Role::kOperator, Role::kHook}) {
    const auto by = Authorize({}, From({}, true), role);
    ASSERT_FALSE(by);
    EXPECT_EQ(by.error().message,
              "writing is off: start the analyzer with --auth.file, or with "
              "--auth.none-on-loopback for callers on the same machine");
  }
}

TEST(Authorize, WithTokensReadingNeedsOneToo) {
  const auto by = Authorize(WithTokens(), From({}, true), Role::kViewer);
  ASSERT_FALSE(by);
  EXPECT_EQ(by.error().message, "a bearer token with the role viewer is needed");
}

TEST(Authorize, LoopbackMayWriteOnlyWhereItWasChosen) {
  const AuthOptions options{.none_on_loopback = true};
  EXPECT_EQ(Authorize(options, From({}, true), Role::kOperator).value_or("refused"), "loopback");
  EXPECT_FALSE(Authorize(options, From({}, false), Role::kOperator));
}

TEST(Authorize, PagesOfOtherSitesDoNotReachLoopback) {
  struct Case {
    const char* origin;
    const char* host;
    bool may;
  };
  const std::vector<Case> cases{
      {"", "127.0.0.1:9656", true},  // no browser
      {"http://127.0.0.1:9656", "127.0.0.1:9656", true},
      {"http://localhost:9656", "localhost:9656", true},
      {"http://[::1]:9656", "[::1]:9656", true},
      {"http://[::1]", "[::1]", true},
      {"http://evil.example", "127.0.0.1:9656", false},
      {"http://127.0.0.1:3000", "127.0.0.1:9656", false},
      {"https://127.0.0.1:9656", "127.0.0.1:9656", false},
      {"null", "127.0.0.1:9656", false},
      {"http://evil.example:9656", "evil.example:9656", false},  // its name leads to 127.0.0.1
      {"http://127.0.0.1.evil.example", "127.0.0.1.evil.example", false},
      {"http://", "", false},
  };
  const AuthOptions options{.none_on_loopback = true};
  for (const Case& test : cases) {
    Headers headers{{"host", test.host}};
    if (*test.origin != '\0') headers["origin"] = test.origin;
    EXPECT_EQ(Authorize(options, From(headers, true), Role::kOperator).has_value(), test.may)
        << test.origin << " at " << test.host;
  }
}

TEST(Auth, ChecksByTheTokensThatWereSetLast) {
  Auth auth(WithTokens());
  const base::ServerRequest by_sha = From({{"authorization", "Bearer sha-secret"}});
  EXPECT_EQ(auth.Authorize(by_sha, Role::kViewer).value_or("refused"), "grafana");
  auth.SetTokens({{Role::kViewer, "other", kBcryptHash}});
  EXPECT_FALSE(auth.Authorize(by_sha, Role::kViewer));
  const base::ServerRequest by_bcrypt = From({{"authorization", "Bearer bcrypt-secret"}});
  EXPECT_EQ(auth.Authorize(by_bcrypt, Role::kViewer).value_or("refused"), "other");
  EXPECT_FALSE(auth.Authorize(by_bcrypt, Role::kOperator));
}

TEST(Auth, KeepsToLoopbackWhateverTheTokens) {
  Auth auth({.none_on_loopback = true});
  auth.SetTokens({{Role::kViewer, "it", kShaHash}});
  EXPECT_EQ(auth.Authorize(From({}, true), Role::kOperator).value_or("refused"), "loopback");
}

TEST(ReadTokenFile, RefusesAFileWithoutTokens) {
  const testing::TempDir folder{"tokens"};
  for (const char* text : {"", "# none yet\n\n"}) {
    const std::string path = folder.Write("tokens", text).string();
    const auto tokens = ReadTokenFile(path);
    ASSERT_FALSE(tokens);
    EXPECT_EQ(tokens.error().code, base::ErrorCode::kInvalid);
    EXPECT_EQ(tokens.error().message,
              path + ": names no token; at least one role:name:hash is expected");
  }
}

TEST(ReadTokenFile, TellsThatItCannotBeReadFromThatItIsWrong) {
  const testing::TempDir folder{"tokens"};
  const std::string absent = (folder.path() / "absent").string();
  for (const std::string& path : {absent, folder.path().string()}) {
    const auto tokens = ReadTokenFile(path);
    ASSERT_FALSE(tokens);
    EXPECT_EQ(tokens.error().code, base::ErrorCode::kUnavailable);
    EXPECT_EQ(tokens.error().message.find(path + ": cannot be read: "), 0U)
        << tokens.error().message;
  }
}

TEST(ParseTokens, ReadsLinesAndSkipsComments) {
  const auto tokens = ParseTokens("# ours\n\nviewer:grafana:" + std::string(kShaHash) +
                                      "\r\noperator:ann:" + kBcryptHash + "  \n",
                                  "tokens");
  ASSERT_TRUE(tokens) << tokens.error().message;
  ASSERT_EQ(tokens->size(), 2U);
  EXPECT_EQ((*tokens)[0].name, "grafana");
  EXPECT_EQ((*tokens)[0].hash, kShaHash);
  EXPECT_EQ((*tokens)[1].role, Role::kOperator);
  EXPECT_EQ((*tokens)[1].hash, kBcryptHash);
}

TEST(ParseTokens, NamesTheLineThatIsWrongAndNeverTheSecret) {
  struct Case {
    std::string line;
    const char* problem;
  };
  const std::string no_hash =
      "the hash is neither sha256:<64 lower-case hex digits> nor bcrypt ($2y$…)";
  const std::vector<Case> cases{
      {"operator", "expected role:name:hash"},
      {"operator:ann", "expected role:name:hash"},
      {"root:ann:" + std::string(kShaHash), "role \"root\" is not one of viewer, operator, hook"},
      {"operator::" + std::string(kShaHash), "the name is empty"},
      {"operator:ann:plain-secret", no_hash.c_str()},
      {"operator:ann:sha256:4E3ACC", no_hash.c_str()},
      {"operator:ann:$2b$04$short", no_hash.c_str()},
  };
  for (const Case& test : cases) {
    const auto tokens = ParseTokens("# one\n" + test.line + "\n", "tokens");
    ASSERT_FALSE(tokens) << test.line;
    EXPECT_EQ(tokens.error().message, std::string("tokens:2: ") + test.problem);
  }
}

}  // namespace
}  // namespace consul_canary::api
