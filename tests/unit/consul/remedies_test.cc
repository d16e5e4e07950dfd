// What is said about a request that Consul refused or that never reached it.
#include "exporter/consul/remedies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace consul_canary::consul {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr base::MonotonicTime kStart{base::seconds(1000)};

// Consul 1.16.3's own words, but for the rows whose second column is empty.
TEST(MissingRule, StandsAsInAPolicy) {
  const char* const rows[][2] = {
      {"Permission denied: token with AccessorID 'f1' lacks permission 'service:write' on \"api\"",
       R"(service "api" { policy = "write" })"},
      {"Permission denied: token with AccessorID 'f1' lacks permission 'key:read' on "
       "\"consul-canary/specs/api\"",
       R"(key_prefix "consul-canary/" { policy = "write" })"},
      {"Permission denied: token with AccessorID 'f1' lacks permission 'key:write' on \"mine\"",
       R"(key "mine" { policy = "write" })"},
      {"Permission denied: token with AccessorID 'f1' lacks permission 'session:write' on \"n1\"",
       R"(session "n1" { policy = "write" })"},
      {"Permission denied: anonymous token lacks permission 'operator:read'. The anonymous token "
       "is used implicitly when a request does not specify a token.",
       R"(operator = "read")"},
      {"Permission denied", ""},
      {"ACL not found", ""},
      {"lacks permission 'service", ""},
      {"", ""},
  };
  for (const auto& [reason, rule] : rows) EXPECT_EQ(MissingRule(reason), rule) << reason;
}

TEST(RemedyForAnswer, SaysWhatToSet) {
  constexpr int kForbidden = 403;
  constexpr int kBadRequest = 400;
  EXPECT_EQ(RemedyForAnswer(kForbidden, "lacks permission 'node:read' on \"n\""),
            R"(the token's policy lacks node "n" { policy = "read" })");
  EXPECT_THAT(RemedyForAnswer(kForbidden, "anonymous token lacks permission 'node:read' on \"n\""),
              HasSubstr("no token is sent: set CONSUL_HTTP_TOKEN_FILE"));
  EXPECT_THAT(RemedyForAnswer(kForbidden, "ACL not found"), HasSubstr("CONSUL_HTTP_TOKEN_FILE"));
  EXPECT_THAT(RemedyForAnswer(kBadRequest, "Namespaces are a Consul Enterprise feature"),
              HasSubstr("CONSUL_NAMESPACE is set"));
  EXPECT_EQ(RemedyForAnswer(kForbidden, "Permission denied"), "");
  EXPECT_EQ(RemedyForAnswer(500, "No cluster leader"), "");
}

TEST(RemedyForFailure, NamesTheVariable) {
  const char* const rows[][2] = {
      {"SSL certificate problem: unable to get local issuer certificate", "CONSUL_CACERT"},
      {"SSL certificate problem: certificate has expired", "expired"},
      {"SSL: no alternative certificate subject name matches target host name '127.0.0.1'",
       "CONSUL_TLS_SERVER_NAME"},
      {"tlsv13 alert certificate required, errno 0", "CONSUL_CLIENT_CERT"},
      {"error:0A00010B:SSL routines::wrong version number", "CONSUL_HTTP_SSL"},
  };
  for (const auto& [reason, remedy] : rows) {
    EXPECT_THAT(RemedyForFailure(reason), HasSubstr(remedy)) << reason;
  }
  EXPECT_EQ(RemedyForFailure("Connection refused"), "");
}

TEST(Refusals, AreRememberedUntilAnsweredOrOld) {
  Refusals refusals;
  refusals.Note("PUT /v1/kv/consul-canary/x", {"PUT /v1/kv/consul-canary/x", "key rule", false},
                kStart);
  refusals.Note("PUT /v1/kv/consul-canary/y", {"PUT /v1/kv/consul-canary/y", "key rule", false},
                kStart);
  EXPECT_THAT(refusals.Lately(kStart),
              ElementsAre(Refusal{"PUT /v1/kv/consul-canary/x", "key rule", false}));
  refusals.Note("PUT /v1/kv/consul-canary/x", {"PUT /v1/kv/consul-canary/x", "", false}, kStart);
  EXPECT_THAT(refusals.Lately(kStart),
              ElementsAre(Refusal{"PUT /v1/kv/consul-canary/y", "key rule", false}));
  EXPECT_THAT(refusals.Lately(kStart + base::seconds(16)), IsEmpty());
}

// A blocking query that was answered in part stays so until its next answer.
TEST(Refusals, OfAnswersInPartAreNotForgottenByTime) {
  Refusals refusals;
  const std::string health = "/v1/health/connect/api?filter=x";
  refusals.Note(health, {"GET /v1/health/connect/api", RuleToSeeAll(health), true}, kStart);
  EXPECT_THAT(refusals.LeftOut(), ElementsAre("GET /v1/health/connect/api"));
  ASSERT_EQ(refusals.Lately(kStart + base::seconds(100)).size(), 1U);
  EXPECT_EQ(InWords(refusals.Lately(kStart)[0]),
            "Consul leaves out of GET /v1/health/connect/api what the token may not read; "
            "to see all, its policy needs node_prefix \"\" { policy = \"read\" }");
  // Where services are left out too, it is they.
  const std::string catalog = "/v1/catalog/services";
  refusals.Note(catalog, {"GET " + catalog, RuleToSeeAll(catalog), true}, kStart);
  ASSERT_EQ(refusals.Lately(kStart).size(), 1U);
  EXPECT_EQ(refusals.Lately(kStart)[0].rule, R"(service_prefix "" { policy = "read" })");
}

// What fails comes first: what is left out may be so on purpose.
TEST(Refusals, OfWhatFailsComeFirst) {
  Refusals refusals;
  refusals.Note("GET /v1/a", {"GET /v1/a", "rule a", true}, kStart);
  refusals.Note("GET /v1/b", {"GET /v1/b", "rule b", false}, kStart);
  ASSERT_EQ(refusals.Lately(kStart).size(), 2U);
  EXPECT_EQ(refusals.Lately(kStart)[0].rule, "rule b");
}

}  // namespace
}  // namespace consul_canary::consul
