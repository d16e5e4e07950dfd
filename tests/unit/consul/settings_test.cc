#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <map>
#include <string>

#include "exporter/consul/client.h"
#include "tests/support/temp_dir.h"

namespace consul_canary::consul {
namespace {

using ::testing::HasSubstr;

class SettingsFromEnvironmentTest : public ::testing::Test {
 protected:
  SettingsFromEnvironmentTest() {
    for (const char* name :
         {"CONSUL_HTTP_ADDR", "CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE", "CONSUL_HTTP_SSL",
          "CONSUL_CACERT", "CONSUL_CAPATH", "CONSUL_TLS_SERVER_NAME", "CONSUL_CLIENT_CERT",
          "CONSUL_CLIENT_KEY", "CONSUL_HTTP_SSL_VERIFY", "CONSUL_NAMESPACE", "CONSUL_PARTITION"}) {
      unsetenv(name);
    }
  }
  static void Set(const std::map<std::string, std::string>& variables) {
    for (const auto& [name, value] : variables) setenv(name.c_str(), value.c_str(), 1);
  }
};

TEST_F(SettingsFromEnvironmentTest, DefaultsToTheLocalAgent) {
  const auto settings = SettingsFromEnvironment();
  ASSERT_TRUE(settings.has_value());
  EXPECT_EQ(settings->address, "http://127.0.0.1:8500");
  EXPECT_EQ(settings->token, "");
  EXPECT_TRUE(settings->tls.verify);
}

TEST_F(SettingsFromEnvironmentTest, ReadsWhatConsulsOwnToolsRead) {
  const testing::TempDir folder("tls");
  const std::string ca = folder.Write("ca.pem", "").string();
  const std::string cert = folder.Write("cert.pem", "").string();
  const std::string key = folder.Write("key.pem", "").string();
  Set({{"CONSUL_HTTP_ADDR", "consul.example:8501"},
       {"CONSUL_HTTP_TOKEN", "t"},
       {"CONSUL_HTTP_TOKEN_FILE", "/run/token"},
       {"CONSUL_HTTP_SSL", "true"},
       {"CONSUL_CACERT", ca},
       {"CONSUL_CAPATH", folder.path().string()},
       {"CONSUL_CLIENT_CERT", cert},
       {"CONSUL_CLIENT_KEY", key},
       {"CONSUL_TLS_SERVER_NAME", "server.dc1.consul"},
       {"CONSUL_HTTP_SSL_VERIFY", "0"},
       {"CONSUL_NAMESPACE", "team"},
       {"CONSUL_PARTITION", "p1"}});
  const auto settings = SettingsFromEnvironment();
  ASSERT_TRUE(settings.has_value()) << settings.error().message;
  EXPECT_EQ(settings->address, "https://consul.example:8501");
  EXPECT_EQ(settings->token, "t");
  EXPECT_EQ(settings->token_file, "/run/token");
  EXPECT_EQ(settings->tls.ca_file, ca);
  EXPECT_EQ(settings->tls.cert_file, cert);
  EXPECT_EQ(settings->tls.key_file, key);
  EXPECT_EQ(settings->tls.ca_folder, folder.path().string());
  EXPECT_EQ(settings->tls.server_name, "server.dc1.consul");
  EXPECT_FALSE(settings->tls.verify);
  EXPECT_EQ(settings->namespace_name, "team");
  EXPECT_EQ(settings->partition, "p1");
}

TEST_F(SettingsFromEnvironmentTest, CompletesTheAddress) {
  const struct {
    const char* address;
    const char* ssl;
    const char* expected;
  } kRows[] = {
      {"localhost:8500", "", "http://localhost:8500"},
      {"localhost:8500/", "", "http://localhost:8500"},
      {"http://10.0.0.1:8500", "", "http://10.0.0.1:8500"},
      {"https://10.0.0.1:8501/consul/", "", "https://10.0.0.1:8501/consul"},
      {"http://10.0.0.1:8501", "1", "https://10.0.0.1:8501"},
      {"[::1]:8500", "false", "http://[::1]:8500"},
  };
  for (const auto& row : kRows) {
    Set({{"CONSUL_HTTP_ADDR", row.address}, {"CONSUL_HTTP_SSL", row.ssl}});
    const auto settings = SettingsFromEnvironment();
    ASSERT_TRUE(settings.has_value()) << row.address << settings.error().message;
    EXPECT_EQ(settings->address, row.expected);
  }
}

TEST_F(SettingsFromEnvironmentTest, NamesFilesThatCannotBeRead) {
  Set({{"CONSUL_CACERT", "/none/ca.pem"},
       {"CONSUL_CAPATH", "/none"},
       {"CONSUL_CLIENT_CERT", "/none/cert.pem"},
       {"CONSUL_CLIENT_KEY", "/none/key.pem"}});
  const auto settings = SettingsFromEnvironment();
  ASSERT_FALSE(settings.has_value());
  for (const char* complaint : {"CONSUL_CACERT: /none/ca.pem: No such file or directory",
                                "CONSUL_CAPATH: /none: No such file or directory",
                                "CONSUL_CLIENT_CERT: /none/cert.pem: No such file",
                                "CONSUL_CLIENT_KEY: /none/key.pem: No such file"}) {
    EXPECT_THAT(settings.error().message, HasSubstr(complaint));
  }
}

TEST_F(SettingsFromEnvironmentTest, NamesEveryBadVariable) {
  Set({{"CONSUL_HTTP_ADDR", "unix:///run/consul.sock"},
       {"CONSUL_HTTP_SSL", "perhaps"},
       {"CONSUL_HTTP_SSL_VERIFY", "nein"},
       {"CONSUL_CLIENT_CERT", "cert.pem"}});
  const auto settings = SettingsFromEnvironment();
  ASSERT_FALSE(settings.has_value());
  EXPECT_EQ(settings.error().code, base::ErrorCode::kInvalid);
  for (const char* name :
       {"CONSUL_HTTP_ADDR", "CONSUL_HTTP_SSL:", "CONSUL_HTTP_SSL_VERIFY", "CONSUL_CLIENT_KEY"}) {
    EXPECT_THAT(settings.error().message, HasSubstr(name));
  }
}

}  // namespace
}  // namespace consul_canary::consul
