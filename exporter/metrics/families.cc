#include "exporter/metrics/families.h"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <sstream>

#include "exporter/metrics/build.h"

namespace consul_canary::metrics {
namespace {

using collect::CallerReading;
using collect::MeshSnapshot;
using collect::ServiceSnapshot;
using prometheus::MetricFamily;

double ToDouble(std::uint64_t count) { return static_cast<double>(count); }

constexpr std::string_view kViews[] = {"first-try", "attempts", "requests"};
constexpr envoy::View kViewValues[] = {envoy::View::kFirstTry, envoy::View::kAttempts,
                                       envoy::View::kRequests};
constexpr std::string_view kScrapeErrors[] = {"connect", "timeout",      "broken", "status",
                                              "size",    "content-type", "parse"};
constexpr std::string_view kSidecarStates[] = {"read", "failing", "critical", "without-address"};

// A weight that Consul rounded on its way to Envoy is off by 0.0001 at most.
constexpr double kShareTolerance = 0.00015;

struct WeightFamilies {
  MetricFamily weight = GaugeFamily("consul_canary_split_weight_ratio",
                                    "Share of traffic that the service-splitter gives the subset.");
  MetricFamily index = GaugeFamily("consul_canary_split_modify_index",
                                   "ModifyIndex of the service-splitter in Consul.");
  MetricFamily applied = GaugeFamily(
      "consul_canary_applied_weight_ratio",
      "Smallest share that any passing sidecar applies to the subset, of those that tell.");
  MetricFamily agreeing = GaugeFamily(
      "consul_canary_sidecars_applied_ratio",
      "Passing sidecars that apply the splitter's weights, as a share of those that tell.");
};

struct TrafficFamilies {
  MetricFamily requests = CounterFamily(
      "consul_canary_requests_total", "Requests (view attempts: attempts) that ended, at callers.");
  MetricFamily failures = CounterFamily(
      "consul_canary_request_failures_total",
      "Of requests_total those that failed; where Envoy leaves a doubt, the higher number.");
  MetricFamily responses =
      CounterFamily("consul_canary_responses_total", "Final responses at callers, by status code.");
  MetricFamily duration =
      Family("consul_canary_request_duration_seconds",
             "Time to the final response at callers; Envoy adds to it every 5 s by default.",
             prometheus::MetricType::Histogram);
  MetricFamily retries =
      CounterFamily("consul_canary_retries_total", "Retries that callers' sidecars sent.");
  MetricFamily active = GaugeFamily("consul_canary_active_requests",
                                    "Requests in flight at passing callers' sidecars.");
};

// Every subset that anything names, so that series exist before the first request.
std::set<std::string> SubsetsOf(const ServiceSnapshot& service, const Totals::Subsets* totals) {
  std::set<std::string> subsets;
  if (service.resolver) {
    for (const auto& [subset, filter] : service.resolver->subset_filters) subsets.insert(subset);
  }
  if (service.splitter) {
    for (const consul::Split& split : service.splitter->splits) {
      const bool is_own = split.service.empty() || split.service == service.service;
      if (is_own) subsets.insert(split.service_subset);
    }
  }
  if (totals != nullptr) {
    for (const auto& [subset, counts] : *totals) subsets.insert(subset);
  }
  return subsets;
}

double ShareOf(const CallerReading& caller, const std::string& subset) {
  const auto it = caller.applied_shares.find(subset);
  return it == caller.applied_shares.end() ? 0 : it->second;
}

void AddWeights(const ServiceSnapshot& service, const std::set<std::string>& subsets,
                const Roles& roles, WeightFamilies& families) {
  if (service.splitter) {
    AddValue(families.index, {{"service_name", service.service}},
             ToDouble(service.splitter->modify_index));
    for (const std::string& subset : subsets) {
      AddValue(families.weight,
               {{"service_name", service.service},
                {"subset", subset},
                {"role", roles.RoleOf(service.service, subset)}},
               service.splitter->WeightOf(subset) / 100);
    }
  }
  std::map<std::string, double> least;
  int telling = 0;
  int agreeing = 0;
  for (const CallerReading& caller : service.callers) {
    if (!caller.passing || caller.applied_shares.empty()) continue;
    ++telling;
    bool agrees = service.splitter.has_value();
    for (const std::string& subset : subsets) {
      const double share = ShareOf(caller, subset);
      const auto [it, inserted] = least.emplace(subset, share);
      if (!inserted) it->second = std::min(it->second, share);
      agrees =
          agrees && std::abs(share - service.splitter->WeightOf(subset) / 100) <= kShareTolerance;
    }
    if (agrees) ++agreeing;
  }
  if (telling == 0) return;
  for (const auto& [subset, share] : least) {
    AddValue(families.applied, {{"service_name", service.service}, {"subset", subset}}, share);
  }
  if (service.splitter) {
    AddValue(families.agreeing, {{"service_name", service.service}},
             static_cast<double>(agreeing) / telling);
  }
}

void AddDuration(const envoy::Histogram& time, Labels labels, MetricFamily& family) {
  if (time.buckets.empty()) return;
  prometheus::ClientMetric::Histogram& histogram = AddMetric(family, labels).histogram;
  histogram.sample_count = time.count;
  histogram.sample_sum = time.sum_ms / 1000;
  for (const auto& [bound_ms, count] : time.buckets) {
    histogram.bucket.push_back({count, bound_ms / 1000});
  }
}

void AddTraffic(const ServiceSnapshot& service, const std::string& subset, std::string_view role,
                const SubsetTotals& totals, TrafficFamilies& families) {
  const Labels labels = {{"service_name", service.service}, {"subset", subset}, {"role", role}};
  static const std::vector<consul::RetryRule> kNoRules;
  const std::vector<consul::RetryRule>& retries =
      service.router ? service.router->retries : kNoRules;
  // At the instances' own sidecars, every request is an attempt.
  const bool attempts_alone = service.resolver && service.resolver->has_failover;
  for (std::size_t i = 0; i < std::size(kViews); ++i) {
    if (attempts_alone && kViewValues[i] != envoy::View::kAttempts) continue;
    const envoy::Outcomes outcomes = envoy::Apply(kViewValues[i], totals.outcomes, retries);
    const Labels with_view = {
        {"service_name", service.service}, {"subset", subset}, {"role", role}, {"view", kViews[i]}};
    AddValue(families.requests, with_view, ToDouble(outcomes.completed));
    AddValue(families.failures, with_view, ToDouble(outcomes.failures_high));
  }
  for (const auto& [code, count] : totals.outcomes.responses) {
    const std::string code_text = std::to_string(code);
    AddValue(families.responses,
             {{"service_name", service.service},
              {"subset", subset},
              {"role", role},
              {"code", code_text}},
             ToDouble(count));
  }
  AddDuration(totals.request_time, labels, families.duration);
  AddValue(families.retries, labels, ToDouble(totals.outcomes.retries));
  std::uint64_t active = 0;
  for (const CallerReading& caller : service.callers) {
    const auto it = caller.subsets.find(subset);
    if (caller.passing && it != caller.subsets.end()) active += it->second.active;
  }
  AddValue(families.active, labels, ToDouble(active));
}

void AddInstances(const ServiceSnapshot& service, MetricFamily& family) {
  if (!service.instances_known) return;
  for (const auto& [subset, members] : service.subset_instances) {
    const auto passing = std::count_if(members.begin(), members.end(),
                                       [](const auto& instance) { return instance.passing; });
    AddValue(family, {{"service_name", service.service}, {"subset", subset}, {"health", "passing"}},
             static_cast<double>(passing));
    AddValue(family,
             {{"service_name", service.service}, {"subset", subset}, {"health", "critical"}},
             static_cast<double>(static_cast<std::ptrdiff_t>(members.size()) - passing));
  }
}

template <class Reading>
std::string_view StateOf(const Reading& sidecar) {
  if (!sidecar.passing) return "critical";
  if (sidecar.address.empty()) return "without-address";
  return sidecar.error.empty() && sidecar.scraped_at ? "read" : "failing";
}

MetricFamily SidecarFamily(const MeshSnapshot& snapshot) {
  MetricFamily family = GaugeFamily("consul_canary_sidecars",
                                    "Sidecars that call or serve a shown service, by how reading "
                                    "them goes; critical: by Consul.");
  std::map<std::string, std::string_view> states;  // by id: a sidecar may call several services
  for (const auto& [name, service] : snapshot.services) {
    for (const CallerReading& caller : service->callers) states[caller.id] = StateOf(caller);
    for (const collect::ServerReading& server : service->servers) {
      states[server.id] = StateOf(server);
    }
  }
  for (const std::string_view state : kSidecarStates) {
    const auto count = std::count_if(states.begin(), states.end(),
                                     [state](const auto& item) { return item.second == state; });
    AddValue(family, {{"state", state}}, static_cast<double>(count));
  }
  return family;
}

MetricFamily LastSuccessFamily(const MeshSnapshot& snapshot, const Now& now) {
  MetricFamily family = GaugeFamily("consul_canary_last_success_timestamp_seconds",
                                    "When Consul, or any sidecar, last answered.");
  const auto add = [&](std::string_view source, std::optional<base::MonotonicTime> at) {
    if (!at) return;
    const std::chrono::duration<double> since_epoch = now.wall.time_since_epoch();
    const std::chrono::duration<double> age = now.monotonic - *at;
    AddValue(family, {{"source", source}}, (since_epoch - age).count());
  };
  std::optional<base::MonotonicTime> newest;
  for (const auto& [name, service] : snapshot.services) {
    for (const CallerReading& caller : service->callers) {
      newest = std::max(newest, caller.scraped_at);
    }
  }
  add("consul", snapshot.consul_answered_at);
  add("sidecars", newest);
  return family;
}

MetricFamily ScrapeDurationFamily(const collect::ScrapeStats& scrapes) {
  MetricFamily family =
      Family("consul_canary_sidecar_scrape_duration_seconds",
             "Time that reading one sidecar's metrics took.", prometheus::MetricType::Histogram);
  prometheus::ClientMetric::Histogram& histogram = AddMetric(family, {}).histogram;
  histogram.sample_count = scrapes.scrapes;
  histogram.sample_sum = scrapes.duration_sum_seconds;
  for (const auto& [bound, count] : scrapes.duration_buckets) {
    histogram.bucket.push_back({count, bound});
  }
  return family;
}

}  // namespace

std::string_view Roles::RoleOf(const std::string& service, const std::string& subset) const {
  const auto it = by_service.find(service);
  const SubsetNames& names = it == by_service.end() ? defaults : it->second;
  if (subset == names.primary) return "primary";
  return subset == names.canary ? "canary" : "other";
}

std::vector<MetricFamily> MeshFamilies(const MeshSnapshot& snapshot, const Totals& totals,
                                       const Roles& roles) {
  WeightFamilies weights;
  TrafficFamilies traffic;
  MetricFamily instances = GaugeFamily("consul_canary_instances",
                                       "Instances in the subset, as Consul evaluates its filter.");
  for (const auto& [name, service] : snapshot.services) {
    const auto counted = totals.by_service().find(name);
    const Totals::Subsets* subset_totals =
        counted == totals.by_service().end() ? nullptr : &counted->second;
    const std::set<std::string> subsets = SubsetsOf(*service, subset_totals);
    AddWeights(*service, subsets, roles, weights);
    AddInstances(*service, instances);
    for (const std::string& subset : subsets) {
      const auto found = subset_totals == nullptr ? Totals::Subsets::const_iterator()
                                                  : subset_totals->find(subset);
      const bool has_counts = subset_totals != nullptr && found != subset_totals->end();
      AddTraffic(*service, subset, roles.RoleOf(name, subset),
                 has_counts ? found->second : SubsetTotals(), traffic);
    }
  }
  std::vector<MetricFamily> families;
  for (MetricFamily* family : {&weights.weight, &weights.index, &weights.applied, &weights.agreeing,
                               &traffic.requests, &traffic.failures, &traffic.responses,
                               &traffic.duration, &traffic.retries, &traffic.active, &instances}) {
    if (!family->metric.empty()) families.push_back(std::move(*family));
  }
  families.push_back(SidecarFamily(snapshot));
  return families;
}

std::vector<MetricFamily> ReadingFamilies(const MeshSnapshot& snapshot,
                                          const collect::ScrapeStats& scrapes,
                                          const ConsulRequests& requests, const Now& now) {
  std::vector<MetricFamily> families;
  families.push_back(ScrapeDurationFamily(scrapes));
  MetricFamily errors = CounterFamily("consul_canary_sidecar_scrape_errors_total",
                                      "Failed reads of a sidecar, by reason.");
  for (const std::string_view reason : kScrapeErrors) {
    const auto it = scrapes.errors_by_reason.find(std::string(reason));
    AddValue(errors, {{"reason", reason}},
             it == scrapes.errors_by_reason.end() ? 0 : ToDouble(it->second));
  }
  families.push_back(std::move(errors));
  MetricFamily consul = CounterFamily("consul_canary_consul_requests_total",
                                      "Finished requests to Consul, blocking queries included.");
  for (const auto& [key, count] : requests) {
    AddValue(consul, {{"operation", key.first}, {"result", key.second}}, ToDouble(count));
  }
  if (!consul.metric.empty()) families.push_back(std::move(consul));
  MetricFamily last_success = LastSuccessFamily(snapshot, now);
  if (!last_success.metric.empty()) families.push_back(std::move(last_success));
  return families;
}

std::vector<MetricFamily> ProcessFamilies(std::string_view version,
                                          const base::ProcessStats& process) {
  std::vector<MetricFamily> families;
  const auto add = [&families](MetricFamily family, Labels labels, double value) {
    AddValue(family, labels, value);
    families.push_back(std::move(family));
  };
  add(GaugeFamily("consul_canary_build_info", "1, with the version of the program."),
      {{"version", version}}, 1);
  add(CounterFamily("process_cpu_seconds_total", "User and system CPU time."), {},
      process.cpu_seconds);
  add(GaugeFamily("process_resident_memory_bytes", "Resident memory."), {},
      ToDouble(process.resident_bytes));
  add(GaugeFamily("process_virtual_memory_bytes", "Virtual memory."), {},
      ToDouble(process.virtual_bytes));
  add(GaugeFamily("process_open_fds", "Open file descriptors."), {}, ToDouble(process.open_fds));
  add(GaugeFamily("process_max_fds", "Limit of open file descriptors."), {},
      ToDouble(process.max_fds));
  add(GaugeFamily("process_start_time_seconds", "Start of the process, since the epoch."), {},
      process.start_time_seconds);
  return families;
}

std::string Render(const std::vector<MetricFamily>& families) {
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, families);
  return std::move(text).str();
}

}  // namespace consul_canary::metrics
