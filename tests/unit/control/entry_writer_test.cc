// Whose an entry is, and that only ours has a writer.
#include "analyzer/control/entry_writer.h"

#include <gtest/gtest.h>

#include "exporter/base/io_loop.h"

namespace consul_canary::control {
namespace {

TEST(WhyNotWritable, NamesEntryCustomResourceClusterAndRemedy) {
  const std::map<std::string, std::string> owned{
      {"external-source", "kubernetes"}, {"consul.hashicorp.com/source-datacenter", "east"}};
  const char* const rows[][2] = {{"service-splitter", "ServiceSplitter"},
                                 {"service-resolver", "ServiceResolver"},
                                 {"service-router", "ServiceRouter"},
                                 {"service-defaults", "ServiceDefaults"}};
  for (const auto& [kind, resource] : rows) {
    const std::string why = WhyNotWritable(kind, "api", owned);
    EXPECT_NE(why.find(std::string("the ") + kind + " \"api\" is owned by Kubernetes"),
              std::string::npos)
        << why;
    EXPECT_NE(why.find(std::string(resource) + " custom resource \"api\" in the cluster of "
                                               "datacenter \"east\""),
              std::string::npos)
        << why;
    EXPECT_NE(why.find("no writer for entries owned by Kubernetes is built yet"),
              std::string::npos);
    EXPECT_NE(why.find("Set `act: false`"), std::string::npos) << why;
  }
}

TEST(WhyNotWritable, TakesNoHintForAnOwner) {
  EXPECT_EQ(WhyNotWritable("service-splitter", "api", {}), "");
  EXPECT_EQ(WhyNotWritable("service-splitter", "api", {{"external-source", "kubernetes"}}), "");
  EXPECT_EQ(WhyNotWritable(R"({"Kind": "service-splitter", "Name": "api"})"), "");
  EXPECT_EQ(WhyNotWritable(R"({"Kind": "service-splitter", "Name": "api", "Meta": null})"), "");
  EXPECT_EQ(WhyNotWritable("no JSON"), "");
}

TEST(WriterFor, AnEntryThatKubernetesOwnsIsNone) {
  base::IoThread io;
  consul::Client client(io.loop(), {});
  EXPECT_TRUE(WriterFor(client, R"({"Kind": "service-splitter", "Name": "api"})"));
  const auto none = WriterFor(client, R"({"Kind": "service-splitter", "Name": "api", "Meta":
      {"consul.hashicorp.com/source-datacenter": ""}})");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, base::ErrorCode::kConflict);
  io.Stop();
}

}  // namespace
}  // namespace consul_canary::control
