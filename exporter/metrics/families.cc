#include "exporter/metrics/families.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory_resource>
#include <optional>
#include <string>
#include <unordered_map>

#include "exporter/metrics/rows.h"

namespace consul_canary::metrics {
namespace {

using collect::CallerReading;
using collect::MeshSnapshot;
using collect::ServerReading;
using enum MetricType;
using Rows = std::vector<ServiceRow>;

// work(service, subset) for all of them.
template <class Work>
void ForEachSubset(const Rows& rows, const Work& work) {
  for (const ServiceRow& row : rows) {
    for (const SubsetRow& subset : row.subsets) work(row, subset);
  }
}

void WriteWeights(const Rows& rows, TextWriter& page) {
  page.Begin("consul_canary_split_weight_ratio",
             "Share of traffic that the service-splitter gives the subset.", kGauge);
  ForEachSubset(rows, [&](const ServiceRow& /*row*/, const SubsetRow& subset) {
    if (subset.wanted_ratio) page.Add(subset.labels, {}, *subset.wanted_ratio);
  });
  page.Begin("consul_canary_split_modify_index", "ModifyIndex of the service-splitter in Consul.",
             kGauge);
  for (const ServiceRow& row : rows) {
    if (row.service->splitter) page.AddCount(row.labels, {}, row.service->splitter->modify_index);
  }
  page.Begin("consul_canary_applied_weight_ratio",
             "Smallest share that any passing sidecar applies to the subset, of those that tell.",
             kGauge);
  ForEachSubset(rows, [&](const ServiceRow& /*row*/, const SubsetRow& subset) {
    if (subset.applied_ratio) page.Add(subset.place, {}, *subset.applied_ratio);
  });
  page.Begin("consul_canary_sidecars_applied_ratio",
             "Passing sidecars that apply the splitter's weights, as a share of those that tell.",
             kGauge);
  for (const ServiceRow& row : rows) {
    if (row.agreeing_ratio) page.Add(row.labels, {}, *row.agreeing_ratio);
  }
}

void WriteOutcomes(const Rows& rows, TextWriter& page) {
  const auto write = [&](const auto& count_of) {
    ForEachSubset(rows, [&](const ServiceRow& /*row*/, const SubsetRow& subset) {
      for (std::size_t i = 0; i < kViews.size(); ++i) {
        if (!subset.outcomes[i]) continue;
        page.AddCount(subset.labels, {{"view", kViews[i].name}}, count_of(*subset.outcomes[i]));
      }
    });
  };
  page.Begin("consul_canary_requests_total",
             "Requests (view attempts: attempts) that ended, at callers.", kCounter);
  write([](const envoy::Outcomes& outcomes) { return outcomes.completed; });
  page.Begin("consul_canary_request_failures_total",
             "Of requests_total those that failed; where Envoy leaves a doubt, the higher number.",
             kCounter);
  write([](const envoy::Outcomes& outcomes) { return outcomes.failures_high; });
}

void WriteSeenByCallers(const Rows& rows, TextWriter& page) {
  page.Begin("consul_canary_caller_requests_total",
             "Requests to the service that ended at callers, whichever subset answered.", kCounter);
  for (const ServiceRow& row : rows) {
    page.AddCount(row.labels, {}, row.seen_by_callers.completed);
  }
  page.Begin("consul_canary_caller_request_failures_total",
             "Of caller_requests_total those that failed for the caller, after all retries.",
             kCounter);
  for (const ServiceRow& row : rows) {
    page.AddCount(row.labels, {}, row.seen_by_callers.failures_high);
  }
}

void WriteInstanceAttempts(const Rows& rows, TextWriter& page) {
  page.Begin("consul_canary_instance_attempts_total",
             "Attempts that ended at an instance's own sidecar, by class of the status; only where "
             "the service-resolver has Failover.",
             kCounter);
  for (const ServiceRow& row : rows) {
    for (const InstanceRow& instance : row.instances) {
      for (const auto& [digit, count] : instance.classes) {
        page.AddCount(instance.labels, {{"code_class", fmt::format("{}xx", digit)}}, count);
      }
    }
  }
  page.Begin("consul_canary_instance_attempt_failures_total",
             "Of instance_attempts_total those that failed; of gRPC calls by their status.",
             kCounter);
  for (const ServiceRow& row : rows) {
    for (const InstanceRow& instance : row.instances) {
      page.AddCount(instance.labels, {}, instance.failures);
    }
  }
}

void WriteShields(const Rows& rows, TextWriter& page) {
  page.Begin("consul_canary_shield_failover",
             "1 where the service-resolver lets another subset of the service take the requests of "
             "this one when its instances are out, else 0.",
             kGauge);
  for (const ServiceRow& row : rows) {
    if (!row.service->resolver) continue;
    for (const SubsetRow& subset : row.subsets) {
      const bool fails_over = row.service->resolver->FailoverOf(subset.subset).has_value();
      page.AddCount(subset.labels, {}, fails_over ? 1 : 0);
    }
  }
  page.Begin("consul_canary_shield_callers",
             "Passing callers' sidecars of a subset with shield_failover 1, by what of the shield "
             "they have.",
             kGauge);
  for (const ServiceRow& row : rows) {
    for (const ShieldRow& shield : row.shields) {
      for (std::size_t i = 0; i < kShieldings.size(); ++i) {
        page.AddCount(shield.subset->labels, {{"state", kShieldings[i]}}, shield.callers[i]);
      }
    }
  }
}

// As gRPC's specification names them (statuscodes.md); any other number stays one.
std::string GrpcStatusName(int status) {
  constexpr std::array<std::string_view, 17> kNames = {"OK",
                                                       "CANCELLED",
                                                       "UNKNOWN",
                                                       "INVALID_ARGUMENT",
                                                       "DEADLINE_EXCEEDED",
                                                       "NOT_FOUND",
                                                       "ALREADY_EXISTS",
                                                       "PERMISSION_DENIED",
                                                       "RESOURCE_EXHAUSTED",
                                                       "FAILED_PRECONDITION",
                                                       "ABORTED",
                                                       "OUT_OF_RANGE",
                                                       "UNIMPLEMENTED",
                                                       "INTERNAL",
                                                       "UNAVAILABLE",
                                                       "DATA_LOSS",
                                                       "UNAUTHENTICATED"};
  const auto index = static_cast<std::size_t>(status);
  return index < kNames.size() ? std::string(kNames[index]) : std::to_string(status);
}

void WriteResponses(const Rows& rows, TextWriter& page) {
  page.Begin("consul_canary_responses_total", "Final responses at callers, by status code.",
             kCounter);
  ForEachSubset(rows, [&](const ServiceRow& /*row*/, const SubsetRow& subset) {
    for (const auto& [code, count] : ResponsesOf(*subset.totals)) {
      page.AddCount(subset.labels, {{"code", fmt::format_int(code).c_str()}}, count);
    }
  });
  page.Begin("consul_canary_grpc_responses_total", "Calls that ended at callers, by gRPC status.",
             kCounter);
  ForEachSubset(rows, [&](const ServiceRow& /*row*/, const SubsetRow& subset) {
    for (const auto& [status, count] : subset.totals->outcomes.grpc_statuses) {
      page.AddCount(subset.labels, {{"status", GrpcStatusName(status)}}, count);
    }
  });
  page.Begin("consul_canary_request_duration_seconds",
             "Time to the final response at callers; Envoy adds to it every 5 s by default.",
             kHistogram);
  ForEachSubset(rows, [&](const ServiceRow& /*row*/, const SubsetRow& subset) {
    const envoy::Histogram& time = subset.totals->request_time;
    if (time.buckets.empty()) return;
    for (const auto& [bound_ms, count] : time.buckets) {
      page.AddBucket(subset.labels, bound_ms / 1000, count);
    }
    page.EndHistogram(subset.labels, time.sum_ms / 1000, time.count);
  });
}

// value_of(subset) for each subset of each service.
template <class ValueOf>
void WriteCounts(const Rows& rows, const ValueOf& value_of, TextWriter& page) {
  ForEachSubset(rows, [&](const ServiceRow& /*row*/, const SubsetRow& subset) {
    page.AddCount(subset.labels, {}, value_of(subset));
  });
}

void WriteTroubles(const Rows& rows, TextWriter& page) {
  page.Begin("consul_canary_retries_total", "Retries that callers' sidecars sent.", kCounter);
  WriteCounts(
      rows, [](const SubsetRow& row) { return row.totals->retries; }, page);
  page.Begin("consul_canary_saved_requests_total",
             "Requests whose first try failed and that a retry made succeed for the caller.",
             kCounter);
  WriteCounts(
      rows, [](const SubsetRow& row) { return row.totals->saved; }, page);
  page.Begin("consul_canary_timeouts_total",
             "Requests that callers' sidecars gave up because their route's time was over.",
             kCounter);
  WriteCounts(
      rows, [](const SubsetRow& row) { return row.totals->troubles.timeouts; }, page);
  page.Begin("consul_canary_connect_failures_total",
             "Connections of callers' sidecars to instances that did not come about.", kCounter);
  WriteCounts(
      rows, [](const SubsetRow& row) { return row.totals->troubles.connect_failures; }, page);
  page.Begin("consul_canary_ejections_total",
             "Instances that outlier detection at callers' sidecars took out.", kCounter);
  WriteCounts(
      rows, [](const SubsetRow& row) { return row.totals->troubles.ejections; }, page);
  page.Begin("consul_canary_active_requests", "Requests in flight at passing callers' sidecars.",
             kGauge);
  WriteCounts(
      rows, [](const SubsetRow& row) { return row.active_requests; }, page);
  page.Begin("consul_canary_active_ejections",
             "Instances that outlier detection keeps out at this moment, summed over passing "
             "callers' sidecars.",
             kGauge);
  WriteCounts(
      rows, [](const SubsetRow& row) { return row.active_ejections; }, page);
}

void WriteInstances(const Rows& rows, TextWriter& page) {
  page.Begin("consul_canary_instances", "Instances in the subset, as Consul evaluates its filter.",
             kGauge);
  for (const ServiceRow& row : rows) {
    if (!row.service->instances_known) continue;
    for (const auto& [subset, members] : row.service->subset_instances) {
      const LabelText place({{"service_name", row.service->service}, {"subset", subset}});
      const auto passing = static_cast<std::uint64_t>(
          std::count_if(members.begin(), members.end(),
                        [](const consul::Instance& instance) { return instance.passing; }));
      page.AddCount(place, {{"health", "passing"}}, passing);
      page.AddCount(place, {{"health", "critical"}}, members.size() - passing);
    }
  }
}

// Memory set aside at once; there may be more.
constexpr std::size_t kLikelySidecars = 1024;

enum class SidecarState { kRead, kFailing, kCritical, kWithoutAddress };
constexpr std::array<std::string_view, 4> kSidecarStates{"read", "failing", "critical",
                                                         "without-address"};

template <class Reading>
SidecarState StateOf(const Reading& sidecar) {
  if (!sidecar.passing) return SidecarState::kCritical;
  if (sidecar.address.empty()) return SidecarState::kWithoutAddress;
  const bool read = sidecar.error.empty() && sidecar.scraped_at;
  return read ? SidecarState::kRead : SidecarState::kFailing;
}

void WriteSidecars(const MeshSnapshot& snapshot, TextWriter& page) {
  // By id: a sidecar may call several services. The ids lie in the snapshot.
  std::pmr::monotonic_buffer_resource memory(kLikelySidecars * 64);
  std::pmr::unordered_map<std::string_view, SidecarState> states(&memory);
  states.reserve(kLikelySidecars);
  for (const auto& [name, service] : snapshot.services) {
    for (const CallerReading& caller : service->callers) states[caller.id] = StateOf(caller);
    for (const ServerReading& server : service->servers) states[server.id] = StateOf(server);
  }
  std::array<std::uint64_t, kSidecarStates.size()> counts{};
  for (const auto& [id, state] : states) ++counts[static_cast<std::size_t>(state)];
  page.Begin("consul_canary_sidecars",
             "Sidecars that call or serve a shown service, by how reading them goes; critical: by "
             "Consul.",
             kGauge);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    page.AddCount({{"state", kSidecarStates[i]}}, counts[i]);
  }
}

void WriteLastSuccess(const MeshSnapshot& snapshot, const Now& now, TextWriter& page) {
  const auto add = [&](std::string_view source, std::optional<base::MonotonicTime> at) {
    if (!at) return;
    const std::chrono::duration<double> since_epoch = now.wall.time_since_epoch();
    const std::chrono::duration<double> age = now.monotonic - *at;
    page.Add({{"source", source}}, (since_epoch - age).count());
  };
  std::optional<base::MonotonicTime> newest;
  for (const auto& [name, service] : snapshot.services) {
    for (const CallerReading& caller : service->callers) {
      newest = std::max(newest, caller.scraped_at);
    }
    for (const ServerReading& server : service->servers) {
      newest = std::max(newest, server.scraped_at);
    }
  }
  page.Begin("consul_canary_last_success_timestamp_seconds",
             "When Consul, or any sidecar, last answered.", kGauge);
  add("consul", snapshot.consul_answered_at);
  add("sidecars", newest);
}

void WriteScrapes(const collect::ScrapeStats& scrapes, TextWriter& page) {
  page.Begin("consul_canary_sidecar_scrape_duration_seconds",
             "Time that reading one sidecar's metrics took.", kHistogram);
  for (const auto& [bound, count] : scrapes.duration_buckets) page.AddBucket({}, bound, count);
  page.EndHistogram({}, scrapes.duration_sum_seconds, scrapes.scrapes);
  // From the start, so that a rate is there before the first error of its kind.
  std::map<std::string, std::uint64_t> errors = scrapes.errors_by_reason;
  for (const char* reason :
       {"connect", "timeout", "broken", "status", "size", "content-type", "parse"}) {
    errors.try_emplace(reason, 0);
  }
  page.Begin("consul_canary_sidecar_scrape_errors_total", "Failed reads of a sidecar, by reason.",
             kCounter);
  for (const auto& [reason, count] : errors) page.AddCount({{"reason", reason}}, count);
}

}  // namespace

std::string_view Roles::RoleOf(const std::string& service, const std::string& subset) const {
  const auto it = by_service.find(service);
  const SubsetNames& names = it == by_service.end() ? defaults : it->second;
  if (subset == names.primary) return "primary";
  return subset == names.canary ? "canary" : "other";
}

void WriteMesh(const MeshSnapshot& snapshot, const Totals& totals, const Roles& roles,
               TextWriter& page) {
  const Rows rows = RowsOf(snapshot, totals, roles);
  WriteWeights(rows, page);
  WriteOutcomes(rows, page);
  WriteSeenByCallers(rows, page);
  WriteResponses(rows, page);
  WriteInstanceAttempts(rows, page);
  WriteTroubles(rows, page);
  WriteShields(rows, page);
  WriteInstances(rows, page);
  WriteSidecars(snapshot, page);
}

void WriteReading(const MeshSnapshot& snapshot, const collect::ScrapeStats& scrapes,
                  const ConsulRequests& requests, const Now& now, TextWriter& page) {
  WriteScrapes(scrapes, page);
  page.Begin("consul_canary_consul_requests_total",
             "Finished requests to Consul, blocking queries included.", kCounter);
  for (const auto& [key, count] : requests) {
    page.AddCount({{"operation", key.first}, {"result", key.second}}, count);
  }
  WriteLastSuccess(snapshot, now, page);
}

void WriteProcess(std::string_view program, const base::BuildInfo& build,
                  const base::ProcessStats& process, TextWriter& page) {
  page.Begin("consul_canary_build_info", "1, with what the program was built from.", kGauge);
  page.AddCount({{"program", program},
                 {"version", build.version},
                 {"revision", build.revision},
                 {"branch", build.branch},
                 {"compiler", build.compiler}},
                1);
  page.Begin("process_cpu_seconds_total", "User and system CPU time.", kCounter);
  page.Add({}, process.cpu_seconds);
  page.Begin("process_resident_memory_bytes", "Resident memory.", kGauge);
  page.AddCount({}, process.resident_bytes);
  page.Begin("process_virtual_memory_bytes", "Virtual memory.", kGauge);
  page.AddCount({}, process.virtual_bytes);
  page.Begin("process_virtual_memory_max_bytes", "Limit of virtual memory.", kGauge);
  page.AddCount({}, process.max_virtual_bytes);
  page.Begin("process_open_fds", "Open file descriptors.", kGauge);
  page.AddCount({}, process.open_fds);
  page.Begin("process_max_fds", "Limit of open file descriptors.", kGauge);
  page.AddCount({}, process.max_fds);
  page.Begin("process_start_time_seconds", "Start of the process, since the epoch.", kGauge);
  page.Add({}, process.start_time_seconds);
}

}  // namespace consul_canary::metrics
