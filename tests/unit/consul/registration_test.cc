#include "exporter/consul/registration.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/consul/scripted_consul.h"

namespace consul_canary::consul {
namespace {

using nlohmann::json;

struct Place {
  std::string listen_address;
  std::string given_address;
  std::string address;
  std::string id;
  std::string health_url;
};

class Places : public ::testing::TestWithParam<Place> {};

TEST_P(Places, GiveAddressIdAndCheck) {
  const OwnService service = DescribeDaemon("exporter", GetParam().given_address,
                                            GetParam().listen_address, 9655, "/metrics", "1.2.3");
  EXPECT_EQ(service.address, GetParam().address);
  EXPECT_EQ(IdOf(service), GetParam().id);
  EXPECT_EQ(service.health_url, GetParam().health_url);
}

INSTANTIATE_TEST_SUITE_P(
    Table, Places,
    ::testing::Values(
        Place{":9655", "", "", "exporter-9655", "http://127.0.0.1:9655/-/healthy"},
        Place{"0.0.0.0:9655", "", "", "exporter-9655", "http://127.0.0.1:9655/-/healthy"},
        Place{"[::]:9655", "", "", "exporter-9655", "http://127.0.0.1:9655/-/healthy"},
        Place{"10.0.0.5:0", "", "10.0.0.5", "exporter-10.0.0.5-9655",
              "http://10.0.0.5:9655/-/healthy"},
        Place{"[fd00::5]:9655", "", "fd00::5", "exporter-fd00::5-9655",
              "http://[fd00::5]:9655/-/healthy"},
        Place{":9655", "canary.example", "canary.example", "exporter-canary.example-9655",
              "http://canary.example:9655/-/healthy"},
        Place{"127.0.0.1:9655", "[fd00::5]", "fd00::5", "exporter-fd00::5-9655",
              "http://[fd00::5]:9655/-/healthy"}));

TEST(RegistrationJson, HoldsPortMetaAndCheck) {
  const json body = json::parse(
      RegistrationJson(DescribeDaemon("exporter", "", ":9655", 9655, "/telemetry", "1.2.3")));
  EXPECT_EQ(body.at("Name"), "exporter");
  EXPECT_EQ(body.at("Port"), 9655);
  EXPECT_FALSE(body.contains("Address"));
  EXPECT_EQ(body.at("Meta"), (json{{"metrics_path", "/telemetry"}, {"version", "1.2.3"}}));
  EXPECT_EQ(body.at("Check").at("HTTP"), "http://127.0.0.1:9655/-/healthy");
}

// On a loop of its own, against answers that the test gives.
class RegistrationTest : public ::testing::Test {
 protected:
  RegistrationTest() {
    Settings settings;
    settings.address = consul_.Address();
    client_ = std::make_unique<Client>(io_.loop(), settings);
  }
  ~RegistrationTest() override {
    io_.Stop();
    registration_.reset();
    client_.reset();
  }

  void Start() {
    io_.loop().Post([this] {
      registration_ = std::make_unique<Registration>(
          *client_, DescribeDaemon("exporter", "", ":9655", 9655, "/metrics", "1.2.3"));
      registration_->Start();
    });
  }
  void End(base::milliseconds limit) { EndAndWait(io_.loop(), registration_, limit); }

  ScriptedConsul consul_;
  base::IoThread io_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<Registration> registration_;
};

TEST_F(RegistrationTest, ReplacesWhatIsRegisteredAndTakesItOutAtTheEnd) {
  consul_.Answer({.status = 200});
  consul_.Answer({.status = 200});
  Start();
  consul_.WaitForRequests(1);
  End(base::seconds(20));
  const auto requests = consul_.WaitForRequests(2);
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].method + requests[0].path, "PUT/v1/agent/service/register");
  EXPECT_EQ(requests[0].query.at("replace-existing-checks"), "true");
  EXPECT_EQ(requests[1].method + requests[1].path, "PUT/v1/agent/service/deregister/exporter-9655");
}

TEST_F(RegistrationTest, TakesNothingOutThatConsulRefused) {
  consul_.Answer({.status = 403, .body = "Permission denied"});
  Start();
  consul_.WaitForRequests(1);
  End(base::seconds(20));
  EXPECT_EQ(consul_.WaitForRequests(1).size(), 1u);
}

TEST_F(RegistrationTest, DoesNotWaitForeverForAnAgentThatHangs) {
  Start();
  consul_.WaitForRequests(1);
  End(base::milliseconds(1));
  consul_.Release();
}

TEST_F(RegistrationTest, EndsWhereNothingWasRegistered) { End(base::seconds(20)); }

}  // namespace
}  // namespace consul_canary::consul
