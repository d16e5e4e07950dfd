#include "tests/churn/metrics_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace consul_canary::churn {
namespace {

using Kind = ChurningMesh::Kind;

constexpr std::string_view kRequests = "consul_canary_requests_total";
constexpr std::string_view kFailures = "consul_canary_request_failures_total";
constexpr std::string_view kResponses = "consul_canary_responses_total";
constexpr std::string_view kCalls = "consul_canary_grpc_responses_total";
constexpr std::string_view kTime = "consul_canary_request_duration_seconds";
constexpr std::string_view kRetries = "consul_canary_retries_total";

// The label's value; empty: there is none.
std::string_view ServiceOf(std::string_view series) {
  constexpr std::string_view kLabel = "service_name=\"";
  const std::size_t begin = series.find(kLabel);
  if (begin == std::string_view::npos) return {};
  series.remove_prefix(begin + kLabel.size());
  return series.substr(0, series.find('"'));
}

bool IsCounted(std::string_view series) {
  for (const std::string_view name : {kRequests, kFailures, kResponses, kCalls, kTime, kRetries}) {
    if (series.starts_with(name)) return true;
  }
  return false;
}

bool IsCounter(std::string_view series) {
  const std::string_view name = series.substr(0, series.find('{'));
  return name.ends_with("_total") || name.starts_with(kTime);
}

// As gRPC's specification names those that occur here.
std::string_view StatusName(int status) {
  static const std::map<int, std::string_view> kNames{
      {0, "OK"},        {2, "UNKNOWN"},      {4, "DEADLINE_EXCEEDED"}, {5, "NOT_FOUND"},
      {13, "INTERNAL"}, {14, "UNAVAILABLE"}, {15, "DATA_LOSS"},        {20, "20"}};
  return kNames.at(status);
}

// Expected values. Where only bounds are known, these.
struct Expected {
  std::map<std::string, double> exact;
  std::map<std::string, double> at_least;
  std::map<std::string, double> at_most;
};

class Writer {
 public:
  explicit Writer(Expected& expected) : expected_(expected) {}

  void Service(const ChurningMesh::Service& service, const ChurningMesh& mesh) {
    for (const auto& [subset, counted] : mesh.failover_callers().Of(service.name)) {
      SetLabels(service, subset);
      Exact(kRetries, "", counted.outcome.attempts - counted.outcome.requests);
    }
    for (const auto& [subset, counted] : mesh.metrics().Of(service.name)) {
      SetLabels(service, subset);
      switch (service.kind) {
        case Kind::kFailover:
          Attempts(counted.outcome);
          break;
        case Kind::kMixedGrpc:
          BoundedViews(counted.outcome);
          break;
        case Kind::kRetried:
        case Kind::kPlain:
        case Kind::kDoubtful:
        case Kind::kGrpc:
          Views(counted.outcome, service.kind != Kind::kDoubtful);
          break;
      }
      for (const auto& [status, count] : counted.outcome.statuses) {
        Exact(kCalls, fmt::format(",status=\"{}\"", StatusName(status)), count);
      }
      for (const auto& [code, count] : counted.outcome.codes) {
        Exact(kResponses, fmt::format(",code=\"{}\"", code), count);
      }
      if (counted.times.count > 0) Histogram(counted.times);
    }
  }

 private:
  void SetLabels(const ChurningMesh::Service& service, const std::string& subset) {
    labels_ =
        fmt::format("service_name=\"{}\",subset=\"{}\",role=\"{}\"", service.name, subset, subset);
  }

  // At the instances each attempt is a request.
  void Attempts(const Outcome& outcome) {
    Exact(kRequests, View("attempts"), outcome.attempts);
    Exact(kFailures, View("attempts"), outcome.failed_attempts);
  }

  void Views(const Outcome& outcome, bool first_tries_can_be_told) {
    Exact(kRequests, View("first-try"), outcome.requests);
    Exact(kRequests, View("requests"), outcome.requests);
    Exact(kRequests, View("attempts"), outcome.attempts);
    Exact(kFailures, View("requests"), outcome.final_failures);
    Exact(kFailures, View("attempts"), outcome.failed_attempts);
    auto& first_tries = first_tries_can_be_told ? expected_.exact : expected_.at_least;
    Put(first_tries, kFailures, View("first-try"), outcome.first_failures);
    Exact(kRetries, "", outcome.attempts - outcome.requests);
  }

  // A call with a status and a 5xx may be taken for an answer without one beside.
  void BoundedViews(const Outcome& outcome) {
    const std::uint64_t twice = outcome.status_errors;
    Between(kRequests, View("first-try"), outcome.requests, twice);
    Between(kRequests, View("requests"), outcome.requests, twice);
    Between(kRequests, View("attempts"), outcome.attempts, twice);
    Between(kFailures, View("requests"), outcome.final_failures, twice);
    Between(kFailures, View("attempts"), outcome.failed_attempts, twice);
    // A call whose last failure nobody tries again may be taken for one more that a retry saved.
    Between(kFailures, View("first-try"), outcome.first_failures, twice + outcome.final_failures);
    Exact(kRetries, "", outcome.attempts - outcome.requests);
  }

  void Histogram(const Times& times) {
    static constexpr std::array<std::string_view, kEdgesMs.size()> kEdges{"0.025", "0.1", "0.25",
                                                                          "1"};
    const std::string bucket = fmt::format("{}_bucket", kTime);
    for (std::size_t i = 0; i < kEdges.size(); ++i) {
      Exact(bucket, fmt::format(",le=\"{}\"", kEdges[i]), times.at_most[i]);
    }
    Exact(bucket, ",le=\"+Inf\"", times.count);
    Exact(fmt::format("{}_count", kTime), "", times.count);
    expected_.exact[fmt::format("{}_sum{{{}}}", kTime, labels_)] =
        static_cast<double>(times.sum_ms) / 1000;
  }

  static std::string View(std::string_view name) { return fmt::format(",view=\"{}\"", name); }

  void Between(std::string_view name, std::string_view more, std::uint64_t least,
               std::uint64_t doubtful) {
    Put(expected_.at_least, name, more, least);
    Put(expected_.at_most, name, more, least + doubtful);
  }
  void Exact(std::string_view name, std::string_view more, std::uint64_t count) {
    Put(expected_.exact, name, more, count);
  }
  void Put(std::map<std::string, double>& to, std::string_view name, std::string_view more,
           std::uint64_t count) const {
    to[fmt::format("{}{{{}{}}}", name, labels_, more)] = static_cast<double>(count);
  }

  Expected& expected_;
  std::string labels_;
};

}  // namespace

ServiceSeries SeriesOfServices(std::string_view page) {
  ServiceSeries series;
  while (!page.empty()) {
    const std::string_view line = page.substr(0, page.find('\n'));
    page.remove_prefix(std::min(page.size(), line.size() + 1));
    const std::size_t end = line.rfind(' ');
    if (line.starts_with('#') || ServiceOf(line).empty()) continue;
    series.emplace(line.substr(0, end), std::strtod(line.data() + end + 1, nullptr));
  }
  return series;
}

std::vector<std::string> Contradictions(const ServiceSeries& series, const ChurningMesh& mesh) {
  Expected expected;
  for (const auto& [name, service] : mesh.services()) {
    Writer(expected).Service(service, mesh);
  }
  std::vector<std::string> contradictions;
  const auto value_of = [&series](const std::string& name) {
    const auto found = series.find(name);
    return found == series.end() ? 0 : found->second;
  };
  for (const auto& [name, value] : expected.exact) {
    if (value_of(name) == value) continue;
    contradictions.push_back(fmt::format("{} is {}, not {}", name, value_of(name), value));
  }
  for (const auto& [name, value] : expected.at_least) {
    if (value_of(name) >= value) continue;
    contradictions.push_back(fmt::format("{} is {}, below {}", name, value_of(name), value));
  }
  for (const auto& [name, value] : expected.at_most) {
    if (value_of(name) <= value) continue;
    contradictions.push_back(fmt::format("{} is {}, above {}", name, value_of(name), value));
  }
  for (const auto& [name, value] : series) {
    if (!mesh.services().contains(std::string(ServiceOf(name)))) {
      contradictions.push_back(name + ": the service is gone");
    } else if (value != 0 && IsCounted(name) && !expected.exact.contains(name) &&
               !expected.at_least.contains(name)) {
      contradictions.push_back(fmt::format("{} is {}, but nothing was counted", name, value));
    }
  }
  return contradictions;
}

std::vector<std::string> WentDown(const ServiceSeries& before, const ServiceSeries& now,
                                  const ChurningMesh& mesh) {
  std::vector<std::string> lower;
  for (const auto& [name, value] : before) {
    if (!IsCounter(name) || !mesh.services().contains(std::string(ServiceOf(name)))) continue;
    // An instance's series go with it, also to its other subset.
    if (name.find(",instance_id=") != std::string::npos) continue;
    const auto found = now.find(name);
    if (found == now.end()) {
      lower.push_back(name + " is missing");
    } else if (found->second < value) {
      lower.push_back(fmt::format("{} was {} and is {}", name, value, found->second));
    }
  }
  return lower;
}

}  // namespace consul_canary::churn
