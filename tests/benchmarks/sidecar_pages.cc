#include "tests/benchmarks/sidecar_pages.h"

#include <fmt/format.h>

#include <cstdint>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

namespace consul_canary::benchmarks {
namespace {

// Which clusters have a series of the family.
enum class Use { kAll, kBusy };

struct Family {
  std::string_view name;  // after envoy_cluster_
  Use use = Use::kBusy;
  bool wanted = false;               // our filter lets it through
  std::string_view code_label = "";  // not empty: a series for each of the codes
};

constexpr Family kCounters[] = {
    {"default_total_match_count"},
    {"external_upstream_rq", Use::kBusy, false, "envoy_response_code"},
    {"external_upstream_rq_completed"},
    {"external_upstream_rq_xx", Use::kBusy, false, "envoy_response_code_class"},
    {"membership_change", Use::kAll, true},
    {"outlier_detection_ejections_consecutive_5xx"},
    {"outlier_detection_ejections_detected_consecutive_5xx"},
    {"outlier_detection_ejections_enforced_total", Use::kBusy, true},
    {"outlier_detection_ejections_overflow"},
    {"retry_upstream_rq", Use::kBusy, true, "envoy_response_code"},
    {"retry_upstream_rq_completed"},
    {"retry_upstream_rq_xx", Use::kBusy, false, "envoy_response_code_class"},
    {"ssl_ciphers_ECDHE_ECDSA_AES128_GCM_SHA256"},
    {"ssl_curves"},
    {"ssl_handshake"},
    {"ssl_sigalgs"},
    {"ssl_versions"},
    {"update_attempt", Use::kAll},
    {"update_success", Use::kAll},
    {"upstream_cx_http1_total"},
    {"upstream_cx_rx_bytes_total"},
    {"upstream_cx_total"},
    {"upstream_cx_tx_bytes_total"},
    {"upstream_rq", Use::kBusy, true, "envoy_response_code"},
    {"upstream_rq_completed", Use::kBusy, true},
    {"upstream_rq_pending_total"},
    {"upstream_rq_retry", Use::kBusy, true},
    {"upstream_rq_retry_backoff_exponential"},
    {"upstream_rq_retry_success", Use::kBusy, true},
    {"upstream_rq_total"},
    {"upstream_rq_xx", Use::kBusy, false, "envoy_response_code_class"},
};

constexpr Family kGauges[] = {
    {"circuit_breakers_default_cx_open"},
    {"circuit_breakers_default_cx_pool_open"},
    {"circuit_breakers_default_rq_open"},
    {"circuit_breakers_default_rq_pending_open"},
    {"max_host_weight", Use::kAll},
    {"membership_degraded"},
    {"membership_excluded"},
    {"membership_healthy", Use::kAll, true},
    {"membership_total", Use::kAll},
    {"ssl_certificate_expiration_unix_time_seconds"},
    {"update_time"},
    {"upstream_cx_active"},
    {"upstream_cx_rx_bytes_buffered"},
    {"upstream_rq_active", Use::kBusy, true},
    {"upstream_rq_pending_active"},
    {"version", Use::kAll},
    {"warming_state", Use::kAll},
};

constexpr Family kHistograms[] = {
    {"external_upstream_rq_time"},
    {"update_duration"},
    {"upstream_cx_connect_ms"},
    {"upstream_rq_time", Use::kBusy, true},
};

constexpr std::string_view kBounds[] = {
    "0.5",  "1",    "5",     "10",    "25",    "50",     "100",    "250",     "500",     "1000",
    "2500", "5000", "10000", "30000", "60000", "300000", "600000", "1800000", "3600000", "+Inf"};
constexpr std::string_view kServerFamilies[] = {"envoy_server_uptime",
                                                "envoy_server_memory_allocated",
                                                "envoy_listener_downstream_cx_total",
                                                "envoy_http_downstream_rq",
                                                "envoy_runtime_load_success",
                                                "envoy_filesystem_write_completed"};

constexpr std::string_view kSource =
    R"(local_cluster="web",consul_source_service="web",consul_source_namespace="default",)"
    R"(consul_source_partition="default",consul_source_datacenter="dc1")";
constexpr std::string_view kTrustDomain = "11111111-2222-3333-4444-555555555555";

// Both generations of Consul's labels, as its 1.16 writes them.
std::string LabelsOf(std::size_t cluster) {
  const std::string service = fmt::format("service-{}", cluster / 2);
  const std::string_view subset = cluster % 2 == 0 ? "canary" : "primary";
  const std::string target = fmt::format("{}.{}.default.dc1", subset, service);
  std::string labels = fmt::format(R"({},envoy_cluster_name="{}")", kSource, subset);
  for (const std::string_view prefix : {"consul_destination", "consul"}) {
    labels += fmt::format(
        R"(,{0}_custom_hash="",{0}_service_subset="{1}",{0}_service="{2}",{0}_namespace="default")",
        prefix, subset, service);
    if (prefix == "consul_destination") labels += R"(,consul_destination_partition="")";
    labels +=
        fmt::format(R"(,{0}_datacenter="dc1",{0}_routing_type="internal",{0}_trust_domain="{1}",)"
                    R"({0}_target="{2}",{0}_full_target="{2}.internal.{1}")",
                    prefix, kTrustDomain, target);
  }
  return labels;
}

class Page {
 public:
  explicit Page(const PageShape& shape) : shape_(shape) {
    for (std::size_t i = 0; i < shape.clusters; ++i) labels_.push_back(LabelsOf(i));
  }

  std::string Write() {
    for (const Family& family : kCounters) WriteFamily(family, "counter");
    if (shape_.whole) WriteServer("counter");
    for (std::size_t i = 0; i < shape_.busy; i += 2) WriteRoute(i / 2);
    for (const Family& family : kGauges) WriteFamily(family, "gauge");
    if (shape_.whole) WriteServer("gauge");
    for (const Family& family : kHistograms) WriteHistogram(family);
    return std::move(text_);
  }

 private:
  [[nodiscard]] bool Skips(const Family& family) const { return !shape_.whole && !family.wanted; }
  [[nodiscard]] std::size_t CountOf(const Family& family) const {
    return family.use == Use::kAll ? shape_.clusters : shape_.busy;
  }

  void WriteFamily(const Family& family, std::string_view type) {
    if (Skips(family)) return;
    Add("# TYPE envoy_cluster_{} {}\n", family.name, type);
    const bool by_class = family.code_label == "envoy_response_code_class";
    for (std::size_t i = 0; i < CountOf(family); ++i) {
      if (family.code_label.empty()) {
        Add("envoy_cluster_{}{{{}}} {}\n", family.name, labels_[i], Number());
        continue;
      }
      for (const std::string_view code : {"200", "404", "503"}) {
        Add("envoy_cluster_{}{{{}=\"{}\",{}}} {}\n", family.name, family.code_label,
            by_class ? code.substr(0, 1) : code, labels_[i], Number());
      }
    }
  }

  void WriteHistogram(const Family& family) {
    if (Skips(family)) return;
    Add("# TYPE envoy_cluster_{} histogram\n", family.name);
    for (std::size_t i = 0; i < CountOf(family); ++i) {
      std::uint64_t count = 0;
      for (const std::string_view bound : kBounds) {
        count += Number() % 100;
        Add("envoy_cluster_{}_bucket{{{},le=\"{}\"}} {}\n", family.name, labels_[i], bound, count);
      }
      Add("envoy_cluster_{}_sum{{{}}} {}.0020685926756414119154214859\n", family.name, labels_[i],
          Number());
      Add("envoy_cluster_{}_count{{{}}} {}\n", family.name, labels_[i], count);
    }
  }

  void WriteServer(std::string_view type) {
    for (const std::string_view name : kServerFamilies) {
      for (int i = 0; i < 20; ++i) {
        Add("# TYPE {0}_{1}_{2} {2}\n{0}_{1}_{2}{{{3}}} {4}\n", name, i, type, kSource, Number());
      }
    }
  }

  void WriteRoute(std::size_t service) {
    Add("# TYPE envoy_http_rds_service_{}_config_reload counter\n", service);
    Add("envoy_http_rds_service_{0}_config_reload{{consul_upstream_service=\"service-{0}\","
        "consul_upstream_datacenter=\"dc1\",consul_upstream_namespace=\"default\",{1}}} 3\n",
        service, kSource);
  }

  template <class... Values>
  void Add(fmt::format_string<Values...> format, Values&&... values) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Values>(values)...);
  }

  std::uint64_t Number() {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return state_ >> 44U;
  }

  PageShape shape_;
  std::vector<std::string> labels_;
  std::string text_;
  std::uint64_t state_ = 1;
};

}  // namespace

std::string SidecarPageText(const PageShape& shape) { return Page(shape).Write(); }

std::string WantedSeriesPattern() {
  return "envoy_cluster_(upstream_rq|upstream_rq_(completed|retry|retry_success|timeout|active|tx_"
         "reset|"
         "time_"
         "(bucket|sum|count))|retry_upstream_rq|upstream_cx_connect_fail|membership_(healthy|"
         "change)|"
         "grpc_.*_[0-9]+|outlier_detection_ejections_(active|enforced_total))|"
         "envoy_http_rds_.*_config_reload";
}

}  // namespace consul_canary::benchmarks
