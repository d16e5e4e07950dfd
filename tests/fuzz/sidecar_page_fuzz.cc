// The reader of sidecars' pages recognises labels by their bytes. Whatever the page, it must find
// what a slow reader finds that parses every line, and a second copy of the page must add nothing.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "exporter/envoy/sidecar_page.h"

namespace {

using namespace consul_canary::envoy;

void Require(bool holds, const char* claim) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", claim);
  std::abort();
}

std::string_view Value(const Sample& sample, std::string_view newer, std::string_view older) {
  for (const Label& label : sample.labels) {
    if ((label.name == newer || label.name == older) && !label.value.empty()) return label.value;
  }
  return {};
}

bool IsIn(std::string_view label, std::string_view name) {
  return label == name || (name.empty() && label == "default");
}

// Requests completed by destination in `place`, one line after the other. A cluster is what its
// labels say.
std::map<Destination, std::uint64_t> CompletedSlowly(std::string_view text,
                                                     const consul_canary::consul::Place& place) {
  std::map<std::string, std::pair<Destination, std::uint64_t>> clusters;
  ParsePrometheusText(
      text,
      [&](const Sample& sample) {
        if (sample.name != "envoy_cluster_upstream_rq_completed") return;
        if (!(sample.value >= 0) || sample.value > 9007199254740992.0) return;
        const std::string_view service =
            Value(sample, "consul_destination_service", "consul_service");
        const std::string_view subset =
            Value(sample, "consul_destination_service_subset", "consul_service_subset");
        const std::string_view datacenter =
            Value(sample, "consul_destination_datacenter", "consul_datacenter");
        const std::string_view source = Value(sample, "consul_source_datacenter", "");
        const bool elsewhere = !datacenter.empty() && !source.empty() && datacenter != source;
        if (service.empty() || elsewhere ||
            !IsIn(Value(sample, "consul_destination_namespace", "consul_namespace"),
                  place.namespace_name) ||
            !IsIn(Value(sample, "consul_destination_partition", ""), place.partition) ||
            !Value(sample, "consul_destination_peer", "").empty() ||
            Value(sample, "consul_destination_custom_hash", "consul_custom_hash")
                .starts_with("failover-target~")) {
          return;
        }
        std::string labels;
        for (const Label& label : sample.labels) {
          if (label.name == "le" || label.name == "envoy_response_code") continue;
          labels += std::string(labels.empty() ? "" : ",") + std::string(label.text);
        }
        clusters.try_emplace(labels, Destination{std::string(service), std::string(subset)},
                             static_cast<std::uint64_t>(sample.value));
      },
      [](const BadLine&) {});
  std::map<Destination, std::uint64_t> sums;
  for (const auto& [labels, cluster] : clusters) sums[cluster.first] += cluster.second;
  return sums;
}

void RequireTheSame(const SidecarPage& page, const std::map<Destination, std::uint64_t>& slow) {
  for (const auto& [destination, completed] : slow) {
    const auto found = page.subsets.find(destination);
    Require(found != page.subsets.end() && found->second.completed == completed,
            "every request is found");
  }
  for (const auto& [destination, counters] : page.subsets) {
    Require(counters.completed == 0 || slow.contains(destination), "no request is invented");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const SidecarPage page = ReadSidecarPage(text);
  Require(page.bad_lines.size() <= 10 && page.bad_lines.size() <= page.bad_line_count,
          "bad lines are counted");
  (void)ReadSidecarPage(text, TextFormat::kOpenMetrics);

  RequireTheSame(page, CompletedSlowly(text, {}));
  const consul_canary::consul::Place place{"team", "west"};
  RequireTheSame(ReadSidecarPage(text, TextFormat::kPrometheus, place),
                 CompletedSlowly(text, place));

  if (page.cut_off) return 0;
  const SidecarPage twice = ReadSidecarPage(std::string(text) + std::string(text));
  Require(twice.duplicate_count >= page.duplicate_count, "duplicates are counted");
  for (const auto& [destination, counters] : page.subsets) {
    const auto found = twice.subsets.find(destination);
    Require(found != twice.subsets.end() && found->second.completed == counters.completed,
            "what stands twice counts once");
  }
  return 0;
}
