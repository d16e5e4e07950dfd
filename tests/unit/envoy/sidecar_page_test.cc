#include "exporter/envoy/sidecar_page.h"

#include <gtest/gtest.h>

#include <limits>
#include <regex>
#include <string>

#include "tests/unit/envoy/recorded.h"

namespace consul_canary::envoy {
namespace {

const Destination kCanary{"api", "canary"};
const Destination kPrimary{"api", "primary"};
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::string Series(const std::string& name, const std::string& value,
                   const std::string& more = "") {
  return "envoy_cluster_" + name +
         "{consul_destination_service=\"api\",consul_destination_service_subset=\"canary\"" + more +
         "} " + value + "\n";
}

TEST(ReadSidecarPage, ReadsARecordedCallerWithRetries) {
  const SidecarPage page = ReadSidecarPage(Recorded("caller_with_retries.prom"));
  EXPECT_EQ(page.bad_line_count, 0U);
  ASSERT_EQ(page.subsets.size(), 2U);
  const SubsetCounters& canary = page.subsets.at(kCanary);
  EXPECT_EQ(canary.completed, 194U);
  EXPECT_EQ(canary.retries, 53U);
  EXPECT_EQ(canary.retry_success, 39U);
  EXPECT_EQ(canary.responses, (std::map<int, std::uint64_t>{{200, 193}, {500, 1}}));
  EXPECT_EQ(canary.retried_responses, (std::map<int, std::uint64_t>{{500, 53}}));
  EXPECT_EQ(canary.membership_healthy, 1U);
  EXPECT_EQ(canary.membership_change, 1U);
  EXPECT_EQ(canary.active, 0U);
  EXPECT_EQ(canary.request_time.count, 194U);
  EXPECT_DOUBLE_EQ(canary.request_time.sum_ms, 4284.0020685926756);
  EXPECT_EQ(canary.request_time.buckets,
            (std::map<double, std::uint64_t>{{25, 113}, {100, 194}, {kInfinity, 194}}));
  EXPECT_EQ(page.subsets.at(kPrimary).completed, 1806U);
  EXPECT_EQ(page.route_reloads, (std::map<std::string, std::uint64_t>{{"api", 1}}));
}

TEST(ReadSidecarPage, ReadsARecordedOwnSidecarAsLocalApp) {
  const SidecarPage page = ReadSidecarPage(Recorded("own_sidecar.prom"));
  EXPECT_TRUE(page.subsets.empty());
  ASSERT_TRUE(page.local_app);
  EXPECT_EQ(page.local_app->completed, 282U);
  EXPECT_EQ(page.local_app->responses, (std::map<int, std::uint64_t>{{200, 224}, {500, 58}}));
}

TEST(ReadSidecarPage, ReadsGrpcStatusesBySubset) {
  const SidecarPage page = ReadSidecarPage(Recorded("caller_with_grpc.prom"));
  EXPECT_EQ(page.bad_line_count, 0U);
  // The client of this sidecar saw 301 OK, 50 UNKNOWN and 49 NOT_FOUND; retries saved 49 calls.
  const SubsetCounters& canary = page.subsets.at(kCanary);
  EXPECT_EQ(canary.grpc_statuses, (std::map<int, std::uint64_t>{{0, 99}, {2, 50}, {5, 49}}));
  EXPECT_EQ(canary.completed, 198U);
  EXPECT_EQ(canary.responses, (std::map<int, std::uint64_t>{{200, 198}}));
  EXPECT_EQ(canary.retried_responses, (std::map<int, std::uint64_t>{{200, 49}}));
  EXPECT_EQ(canary.retry_success, 49U);
  EXPECT_EQ(page.subsets.at(kPrimary).grpc_statuses, (std::map<int, std::uint64_t>{{0, 202}}));
}

TEST(ReadSidecarPage, ReadsGrpcStatusesOfTheInstanceWithRetriedCalls) {
  const SidecarPage page = ReadSidecarPage(Recorded("own_sidecar_with_grpc.prom"));
  ASSERT_TRUE(page.local_app);
  EXPECT_EQ(page.local_app->grpc_statuses,
            (std::map<int, std::uint64_t>{{0, 99}, {2, 50}, {5, 49}, {14, 49}}));
  EXPECT_EQ(page.local_app->completed, 247U);
}

TEST(ReadSidecarPage, TakesNothingElseThatEnvoyCountsOfGrpc) {
  const SidecarPage page = ReadSidecarPage(
      Series("grpc_shop_Get_success", "1") + Series("grpc_shop_Get_total", "2") +
      Series("grpc_shop_Get5_request_message_count", "3") + Series("grpc_web_shop_Get_0", "4") +
      Series("grpc_0", "5") + Series("grpc_shop_Get_", "6") + Series("grpc_shop_Get_1000", "7"));
  EXPECT_EQ(page.subsets.at(kCanary).grpc_statuses, (std::map<int, std::uint64_t>{{0, 9}}));
}

// Envoy's sum over the method Get_2 is called as OpenMetrics calls the method Get's status 2.
TEST(ReadSidecarPage, TakesNoSumOverAMethodForAStatus) {
  const std::string page = Series("grpc_shop_Get_2_0", "7") +
                           Series("grpc_shop_Get_2_success", "7") +
                           Series("grpc_shop_Get_2_total", "7");
  EXPECT_EQ(ReadSidecarPage(page).subsets.at(kCanary).grpc_statuses,
            (std::map<int, std::uint64_t>{{0, 7}}));
  const std::string open_metrics =
      Series("grpc_shop_Get_0_total", "5") + Series("grpc_shop_Get_2_total", "3") + "# EOF\n";
  EXPECT_EQ(
      ReadSidecarPage(open_metrics, TextFormat::kOpenMetrics).subsets.at(kCanary).grpc_statuses,
      (std::map<int, std::uint64_t>{{0, 5}, {2, 3}}));
}

TEST(ReadSidecarPage, CountsWhatDidNotGoWell) {
  const SidecarPage page =
      ReadSidecarPage(Series("upstream_rq_timeout", "1") + Series("upstream_cx_connect_fail", "2") +
                      Series("upstream_rq_active", "4"));
  const SubsetCounters& canary = page.subsets.at(kCanary);
  EXPECT_EQ(canary.timeouts, 1U);
  EXPECT_EQ(canary.connect_failures, 2U);
  EXPECT_EQ(canary.active, 4U);
}

TEST(ReadSidecarPage, TakesHostsOfTheFirstFailoverTargetOnly) {
  const SidecarPage page = ReadSidecarPage(Recorded("caller_with_failover.prom"));
  const SubsetCounters& canary = page.subsets.at(kCanary);
  EXPECT_EQ(canary.ejections_enforced, 4U);
  EXPECT_EQ(canary.membership_healthy, 1U);
  EXPECT_EQ(canary.completed, 889U);  // of the aggregate cluster, once
}

// Recorded while a canary under a shield failed 0.4 of its attempts, with its only instance out. Of
// 1500 requests the canary's split got 755; its application served 7, and failed 3.
TEST(ReadSidecarPage, ReadsARecordedCallerWithAShield) {
  const SidecarPage page = ReadSidecarPage(Recorded("caller_with_shield.prom"));
  EXPECT_EQ(page.bad_line_count, 0U);
  const SubsetCounters& canary = page.subsets.at(kCanary);
  EXPECT_TRUE(canary.has_failover);
  EXPECT_EQ(canary.membership_healthy, 0U);
  EXPECT_EQ(canary.ejections_active, 1U);
  EXPECT_EQ(canary.ejections_enforced, 2U);
  EXPECT_EQ(canary.responses, (std::map<int, std::uint64_t>{{200, 755}}));
  EXPECT_EQ(canary.retry_success, 3U);
  const SubsetCounters& primary = page.subsets.at(kPrimary);
  EXPECT_FALSE(primary.has_failover);
  EXPECT_EQ(primary.membership_healthy, 1U);
  EXPECT_EQ(primary.ejections_enforced, 0U);
}

TEST(ReadSidecarPage, SeesFailoverBeforeTheFirstRequest) {
  const SidecarPage page = ReadSidecarPage(Recorded("caller_with_fresh_failover.prom"));
  EXPECT_TRUE(page.subsets.at(kCanary).has_failover);
  EXPECT_FALSE(page.subsets.at(kPrimary).has_failover);
  EXPECT_FALSE(
      ReadSidecarPage(Recorded("caller_with_retries.prom")).subsets.at(kCanary).has_failover);
}

TEST(ReadSidecarPage, IgnoresTheAggregateClustersStaleMembership) {
  const std::string page =
      Series("membership_healthy", "1") +
      Series("membership_healthy", "0", ",consul_destination_custom_hash=\"failover-target~0\"") +
      Series("membership_healthy", "2", ",consul_destination_custom_hash=\"failover-target~1\"");
  EXPECT_EQ(ReadSidecarPage(page).subsets.at(kCanary).membership_healthy, 0U);
}

TEST(ReadSidecarPage, CountsWhatTheOtherTargetsOfASubsetTook) {
  const auto tries = [](const std::string& target, const std::string& count) {
    return Series("upstream_rq_total", count, ",consul_destination_custom_hash=\"" + target + "\"");
  };
  const std::string page = tries("failover-target~0", "10") + tries("failover-target~1", "3") +
                           Series("upstream_rq_completed", "13") + Series("upstream_rq_total", "0");
  const SubsetCounters counters = ReadSidecarPage(page).subsets.at(kCanary);
  EXPECT_EQ(counters.failed_over, 3U);
  EXPECT_EQ(counters.completed, 13U);
}

TEST(ReadSidecarPage, KnowsTheLabelsOfConsulBefore19) {
  const SidecarPage page = ReadSidecarPage(
      "envoy_cluster_upstream_rq_completed{consul_service=\"api\",consul_service_subset=\"canary\","
      "consul_namespace=\"default\",consul_datacenter=\"dc1\"} 7\n");
  EXPECT_EQ(page.subsets.at(kCanary).completed, 7U);
}

// One service's name in two namespaces, each in two partitions, and both generations of labels.
std::string PageOfFourPlaces() {
  const auto completed = [](const std::string& name_space, const std::string& partition,
                            const std::string& count) {
    return Series("upstream_rq_completed", count,
                  ",consul_destination_namespace=\"" + name_space +
                      "\",consul_destination_partition=\"" + partition + "\",consul_namespace=\"" +
                      name_space + "\"");
  };
  const auto reloads = [](const std::string& name_space, const std::string& partition,
                          const std::string& count) {
    return "envoy_http_rds_api_config_reload{consul_upstream_service=\"api\","
           "consul_upstream_namespace=\"" +
           name_space + "\",consul_upstream_partition=\"" + partition + "\"} " + count + "\n";
  };
  return completed("default", "", "1") + completed("team", "", "2") +
         completed("default", "west", "4") + completed("team", "west", "8") +
         reloads("default", "default", "10") + reloads("team", "default", "20") +
         reloads("default", "west", "40") + reloads("team", "west", "80");
}

struct PlaceRow {
  consul::Place place;
  std::uint64_t completed;
  std::uint64_t reloads;
};

class PlacesOfPages : public ::testing::TestWithParam<PlaceRow> {};

TEST_P(PlacesOfPages, OnlyTheOneThatIsAskedForIsRead) {
  const SidecarPage page =
      ReadSidecarPage(PageOfFourPlaces(), TextFormat::kPrometheus, GetParam().place);
  ASSERT_EQ(page.subsets.size(), 1U);
  EXPECT_EQ(page.subsets.at(kCanary).completed, GetParam().completed);
  EXPECT_EQ(page.route_reloads,
            (std::map<std::string, std::uint64_t>{{"api", GetParam().reloads}}));
  EXPECT_EQ(page.bad_line_count + page.duplicate_count, 0U);
}

INSTANTIATE_TEST_SUITE_P(Table, PlacesOfPages,
                         ::testing::Values(PlaceRow{{}, 1, 10}, PlaceRow{{"team", ""}, 2, 20},
                                           PlaceRow{{"", "west"}, 4, 40},
                                           PlaceRow{{"team", "west"}, 8, 80}));

TEST(ReadSidecarPage, FindsNothingOfAPlaceThatThePageDoesNotName) {
  const SidecarPage page =
      ReadSidecarPage(PageOfFourPlaces(), TextFormat::kPrometheus, {"other", ""});
  EXPECT_TRUE(page.subsets.empty());
  EXPECT_TRUE(page.route_reloads.empty());
}

TEST(ReadSidecarPage, TellsNamespacesApartByTheLabelsOfConsulBefore19) {
  const std::string begin =
      "envoy_cluster_upstream_rq_completed{consul_service=\"api\",consul_service_subset=\"canary\","
      "consul_namespace=\"";
  const std::string page = begin + "default\"} 7\n" + begin + "team\"} 9\n";
  EXPECT_EQ(ReadSidecarPage(page).subsets.at(kCanary).completed, 7U);
  const SidecarPage of_team = ReadSidecarPage(page, TextFormat::kPrometheus, {"team", ""});
  EXPECT_EQ(of_team.subsets.at(kCanary).completed, 9U);
  // Those labels know no partitions.
  EXPECT_TRUE(ReadSidecarPage(page, TextFormat::kPrometheus, {"team", "west"}).subsets.empty());
}

TEST(ReadSidecarPage, TakesTheSidecarsOwnInstanceWhateverThePlace) {
  const SidecarPage page =
      ReadSidecarPage(Recorded("own_sidecar.prom"), TextFormat::kPrometheus, {"team", "west"});
  EXPECT_TRUE(page.local_app);
}

TEST(ReadSidecarPage, AddsUpClustersOfOneSubset) {
  const std::string page =
      Series("upstream_rq_completed", "3") +
      Series("upstream_rq_completed", "4", ",consul_destination_custom_hash=\"abcd1234\"");
  EXPECT_EQ(ReadSidecarPage(page).subsets.at(kCanary).completed, 7U);
}

TEST(ReadSidecarPage, KeepsClustersApartWhoseLabelsBeginAlike) {
  const std::string page =
      Series("upstream_rq_completed", "3") + Series("upstream_rq_completed", "4", ",zone=\"a\"") +
      Series("upstream_rq_completed", "5", ",zone=\"a\",rack=\"b\"") +
      Series("upstream_rq_retry", "10", ",zone=\"a\",rack=\"b\"") +
      Series("upstream_rq_retry", "20") + Series("upstream_rq_retry", "40", ",zone=\"a\"");
  const SidecarPage read = ReadSidecarPage(page);
  EXPECT_EQ(read.subsets.at(kCanary).completed, 12U);
  EXPECT_EQ(read.subsets.at(kCanary).retries, 70U);
  EXPECT_EQ(read.duplicate_count, 0U);
}

TEST(ReadSidecarPage, TakesLabelsInAnyOrderAndForm) {
  const SidecarPage page = ReadSidecarPage(
      "envoy_cluster_upstream_rq{consul_destination_service=\"api\",envoy_response_code=\"200\","
      "consul_destination_service_subset=\"canary\"} 1\n"
      "envoy_cluster_upstream_rq {envoy_response_code = \"201\", "
      "consul_destination_service=\"api\" "
      ",consul_destination_service_subset=\"canary\",} 2 1395066363000\n"
      "envoy_cluster_upstream_rq{consul_destination_service=\"api\","
      "consul_destination_service_subset=\"canary\",envoy_response_code=\"202\"} 3\n"
      "envoy_cluster_upstream_rq{envoy_response_code=\"203\",consul_destination_service=\"api\","
      "consul_destination_service_subset=\"canary\"} 4\r\n");
  EXPECT_EQ(page.bad_line_count, 0U);
  EXPECT_EQ(page.subsets.at(kCanary).responses,
            (std::map<int, std::uint64_t>{{200, 1}, {201, 2}, {202, 3}, {203, 4}}));
}

TEST(ReadSidecarPage, TellsANewlineInALabelFromItsEscape) {
  const std::string begin = "envoy_cluster_upstream_rq_completed{consul_destination_service=\"a";
  const SidecarPage page = ReadSidecarPage(begin + "\\nb\"} 1\n" + begin + "\\\\nb\"} 2\n" + begin +
                                           "\\nb\"} 4\n" + begin + "\nb\"} 8\n");
  EXPECT_EQ(page.subsets.at({"a\nb", ""}).completed, 1U);
  EXPECT_EQ(page.subsets.at({"a\\nb", ""}).completed, 2U);
  EXPECT_EQ(page.duplicate_count, 1U);
  EXPECT_EQ(page.bad_line_count, 2U);  // a bare newline ends the line
}

TEST(ReadSidecarPage, CountsSeriesThatStandTwiceAndTakesTheFirst) {
  std::string page;
  for (const char* value : {"1", "2"}) {
    page += Series("upstream_rq_completed", value) +
            Series("upstream_rq", value, ",envoy_response_code=\"200\"") +
            Series("upstream_rq_time_bucket", value, ",le=\"5\"") +
            Series("upstream_rq_time_count", value);
  }
  page +=
      Series("grpc_shop_Get_0", "1") + Series("grpc_shop_Get_0", "2") +
      "envoy_http_rds_api_config_reload{a=\"b\"} 1\nenvoy_http_rds_api_config_reload{a=\"b\"} 2\n";
  const SidecarPage read = ReadSidecarPage(page);
  EXPECT_EQ(read.duplicate_count, 6U);
  EXPECT_EQ(read.bad_line_count, 0U);
  const SubsetCounters& canary = read.subsets.at(kCanary);
  EXPECT_EQ(canary.completed, 1U);
  EXPECT_EQ(canary.responses.at(200), 1U);
  EXPECT_EQ(canary.request_time.buckets.at(5), 1U);
  EXPECT_EQ(canary.request_time.count, 1U);
  EXPECT_EQ(canary.grpc_statuses.at(0), 1U);
  EXPECT_EQ(read.route_reloads.at("api"), 1U);
}

TEST(ReadSidecarPage, ReadsOpenMetrics) {
  const std::string text = "# TYPE envoy_cluster_upstream_rq counter\n" +
                           Series("upstream_rq_total", "7 1520879607.789 # {id=\"x\"} 1",
                                  ",envoy_response_code=\"200\"") +
                           Series("upstream_rq_total", "9") +
                           Series("upstream_rq_completed_total", "8.0") +
                           Series("upstream_rq_completed_created", "1520430000.123") +
                           Series("upstream_rq_active", "2") +
                           Series("outlier_detection_ejections_enforced_total", "3") +
                           "envoy_http_rds_api_config_reload_total 4\n# EOF\n";
  const SidecarPage page = ReadSidecarPage(text, TextFormat::kOpenMetrics);
  EXPECT_EQ(page.bad_line_count, 0U) << page.bad_lines.front();
  EXPECT_FALSE(page.cut_off);
  const SubsetCounters& canary = page.subsets.at(kCanary);
  EXPECT_EQ(canary.responses, (std::map<int, std::uint64_t>{{200, 7}}));
  EXPECT_EQ(canary.completed, 8U);
  EXPECT_EQ(canary.active, 2U);
  EXPECT_EQ(canary.ejections_enforced, 3U);
  EXPECT_EQ(page.route_reloads.at("api"), 4U);
}

TEST(ReadSidecarPage, TellsAPageThatWasCutOff) {
  const std::string whole = Recorded("caller_with_retries.prom");
  EXPECT_FALSE(ReadSidecarPage(whole).cut_off);
  const SidecarPage cut = ReadSidecarPage(whole.substr(0, whole.size() / 2));
  EXPECT_TRUE(cut.cut_off);
  EXPECT_LE(cut.bad_line_count, 1U);
  EXPECT_TRUE(ReadSidecarPage(whole, TextFormat::kOpenMetrics).cut_off);
}

TEST(ReadSidecarPage, ReadsTheSameOfAWholePage) {
  const std::string filtered = Recorded("caller_with_retries.prom");
  std::string whole = "# TYPE envoy_cluster_assignment_stale counter\n";
  for (std::size_t begin = 0; begin < filtered.size();) {
    const std::size_t end = filtered.find('\n', begin) + 1;
    whole += filtered.substr(begin, end - begin);
    whole += Series("upstream_rq_pending_total", "1") + "envoy_server_uptime{} what \xff\n" +
             Series("external_upstream_rq_completed", "5");
    begin = end;
  }
  const SidecarPage read = ReadSidecarPage(whole);
  EXPECT_EQ(read.bad_line_count, 0U);
  EXPECT_EQ(read.subsets, ReadSidecarPage(filtered).subsets);
  EXPECT_EQ(read.route_reloads, ReadSidecarPage(filtered).route_reloads);
}

TEST(ReadSidecarPage, FindsNothingInAPageOfAnotherKind) {
  for (const char* page : {"<!doctype html>\n<p>404</p>\n", "{\"error\": \"no\"}\n",
                           "upstream connect error or disconnect\n", "\x1f\x8b\x08\x01\n"}) {
    EXPECT_GT(ReadSidecarPage(page).bad_line_count, 0U) << page;
    EXPECT_TRUE(ReadSidecarPage(page).subsets.empty()) << page;
  }
}

struct Ignored {
  std::string_view why;
  std::string line;
};

class IgnoredSeries : public ::testing::TestWithParam<Ignored> {};

TEST_P(IgnoredSeries, LeaveNoTrace) {
  const SidecarPage page = ReadSidecarPage(GetParam().line);
  EXPECT_TRUE(page.subsets.empty()) << GetParam().why;
  EXPECT_FALSE(page.local_app);
  EXPECT_TRUE(page.route_reloads.empty());
  EXPECT_EQ(page.bad_line_count, 0U);
}

INSTANTIATE_TEST_SUITE_P(
    Table, IgnoredSeries,
    ::testing::Values(
        Ignored{"second family", Series("external_upstream_rq_completed", "1")},
        Ignored{"second family",
                Series("internal_upstream_rq", "1", ",envoy_response_code=\"200\"")},
        Ignored{"second family", Series("external_upstream_rq_time_count", "1")},
        Ignored{"no denominator", Series("upstream_rq_total", "1")},
        Ignored{"classes", Series("upstream_rq_xx", "1", ",envoy_response_code_class=\"5\"")},
        Ignored{"other datacenter",
                Series("upstream_rq_completed", "1",
                       ",consul_destination_datacenter=\"dc2\",consul_source_datacenter=\"dc1\"")},
        Ignored{"other namespace",
                Series("upstream_rq_completed", "1", ",consul_destination_namespace=\"team\"")},
        Ignored{"other partition",
                Series("upstream_rq_completed", "1", ",consul_destination_partition=\"part\"")},
        Ignored{"peer", Series("upstream_rq_completed", "1", ",consul_destination_peer=\"east\"")},
        Ignored{"not the mesh's",
                "envoy_cluster_upstream_rq_completed{envoy_cluster_name=\"local_agent\"} 1\n"},
        Ignored{"not Envoy's", "go_goroutines 8\n"},
        Ignored{"other route counter",
                "envoy_http_rds_api_update_success{consul_upstream_service=\"api\"} 1\n"}));

TEST(ReadSidecarPage, LeavesAnUnusedSubsetAbsent) {
  const SidecarPage page = ReadSidecarPage(Series("upstream_rq_total", "1"));
  EXPECT_FALSE(page.subsets.contains(kCanary));
}

TEST(ReadSidecarPage, TakesTheRouteFromTheNameWhereThereIsNoLabel) {
  const SidecarPage page = ReadSidecarPage("envoy_http_rds_api_config_reload{} 4\n");
  EXPECT_EQ(page.route_reloads, (std::map<std::string, std::uint64_t>{{"api", 4}}));
}

TEST(ReadSidecarPage, ReportsValuesThatAreNoCounts) {
  const std::string page = Series("upstream_rq_completed", "-1") +
                           Series("upstream_rq_retry", "NaN") +
                           Series("upstream_rq", "5", ",envoy_response_code=\"abc\"") +
                           Series("upstream_rq_time_bucket", "5", ",le=\"x\"") +
                           Series("upstream_rq_retry_success", "2");
  const SidecarPage read = ReadSidecarPage(page);
  EXPECT_EQ(read.bad_line_count, 4U);
  EXPECT_EQ(read.bad_lines.front(), "line 1: count is negative, too large or not a number");
  EXPECT_EQ(read.subsets.at(kCanary).retry_success, 2U);
  EXPECT_EQ(read.subsets.at(kCanary).completed, 0U);
  EXPECT_TRUE(read.subsets.at(kCanary).request_time.buckets.empty());
}

TEST(ReadSidecarPage, KeepsTenBadLinesAndCountsAll) {
  std::string page;
  for (int i = 0; i < 25; ++i) page += Series("upstream_rq_completed", "x");
  const SidecarPage read = ReadSidecarPage(page);
  EXPECT_EQ(read.bad_line_count, 25U);
  EXPECT_EQ(read.bad_lines.size(), 10U);
}

TEST(SidecarFilter, LetsThroughEnvoysNamesOfWhatIsReadAndNothingElse) {
  const std::regex filter{std::string(SidecarFilter())};
  const std::string cluster = "cluster.canary.api.default.dc1.internal.1-2.consul.";
  for (const char* wanted :
       {"upstream_rq_completed", "upstream_rq_retry", "upstream_rq_retry_success",
        "upstream_rq_timeout", "upstream_rq_active", "upstream_rq_time", "upstream_rq_200",
        "retry.upstream_rq_503", "upstream_cx_connect_fail", "membership_healthy",
        "membership_change", "outlier_detection.ejections_active",
        "outlier_detection.ejections_enforced_total", "grpc.shop.v1.Orders.GetOrder.14",
        "grpc-web.shop.Orders.Get.0"}) {
    EXPECT_TRUE(std::regex_search(cluster + wanted, filter)) << wanted;
  }
  for (const char* unwanted :
       {"external.upstream_rq_200", "internal.upstream_rq_completed", "upstream_rq_total",
        "upstream_rq_5xx", "upstream_rq_tx_reset", "upstream_cx_total", "membership_total",
        "upstream_rq_retry_overflow", "external.upstream_rq_time", "retry.upstream_rq_completed",
        "grpc.shop.Orders.Get.total", "grpc.shop.Orders.Get.response_message_count"}) {
    EXPECT_FALSE(std::regex_search(cluster + unwanted, filter)) << unwanted;
  }
  EXPECT_TRUE(std::regex_search("cluster.local_app.upstream_rq_500", filter));
  EXPECT_TRUE(std::regex_search("cluster.local_app.grpc.shop.Orders.Get.2", filter));
  EXPECT_TRUE(
      std::regex_search("http.upstream.api.default.default.dc1.rds.api.config_reload", filter));
  EXPECT_FALSE(std::regex_search("cluster.local_agent.upstream_rq_200", filter));
  EXPECT_FALSE(std::regex_search("cluster_manager.cds.config_reload", filter));
}

}  // namespace
}  // namespace consul_canary::envoy
