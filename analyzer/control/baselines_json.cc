#include "analyzer/control/baselines_json.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>

namespace consul_canary::control {
namespace {

using Json = nlohmann::json;

Json CodesToJson(const std::map<int, std::uint64_t>& codes) {
  Json json = Json::object();
  for (const auto& [code, count] : codes) json[std::to_string(code)] = count;
  return json;
}

std::map<int, std::uint64_t> CodesFromJson(const Json& json) {
  std::map<int, std::uint64_t> codes;
  for (const auto& [text, count] : json.items()) {
    int code = 0;
    std::from_chars(text.data(), text.data() + text.size(), code);
    codes[code] = count.get<std::uint64_t>();
  }
  return codes;
}

// An entry's `times` begins with the number of its list of edges and of the requests that were
// timed; then how many lie between each two edges, without trailing zeros. There may be a thousand
// of them.

void AddHistogram(const envoy::OutcomeCounters& counters, Json& entry, Json& edge_lists) {
  if (counters.timed == 0 && counters.faster.empty()) return;
  Json edges = Json::array();
  Json between = Json::array();
  std::uint64_t last = 0;
  for (const auto& [edge, count] : counters.faster) {
    edges.push_back(edge);
    between.push_back(count - std::exchange(last, count));
  }
  while (!between.empty() && between.back() == 0) between.erase(between.end() - 1);
  const auto known = std::find(edge_lists.begin(), edge_lists.end(), edges);
  Json times = {known - edge_lists.begin(), counters.timed};
  times.insert(times.end(), between.begin(), between.end());
  entry["times"] = std::move(times);
  if (known == edge_lists.end()) edge_lists.push_back(std::move(edges));
}

void ReadHistogram(const Json& entry, const Json& state, envoy::OutcomeCounters& counters) {
  if (!entry.contains("times")) return;
  constexpr std::size_t kFirst = 2;
  const Json& times = entry.at("times");
  const Json& edges = state.at("histogram_edges").at(times.at(0).get<std::size_t>());
  counters.timed = times.at(1).get<std::uint64_t>();
  if (times.size() > edges.size() + kFirst) throw std::invalid_argument("times: are too many");
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < edges.size(); ++i) {
    if (i + kFirst < times.size()) count += times.at(i + kFirst).get<std::uint64_t>();
    counters.faster[edges.at(i).get<double>()] = count;
  }
}

envoy::OutcomeCounters CountersFromJson(const Json& entry, const Json& state) {
  envoy::OutcomeCounters counters;
  counters.completed = entry.at("completed").get<std::uint64_t>();
  counters.retries = entry.at("retries").get<std::uint64_t>();
  counters.retry_success = entry.at("retry_success").get<std::uint64_t>();
  counters.failed_over = entry.value("failed_over", std::uint64_t{0});
  counters.responses = CodesFromJson(entry.at("responses"));
  counters.retried_responses = CodesFromJson(entry.at("retried"));
  if (entry.contains("grpc")) counters.grpc_statuses = CodesFromJson(entry.at("grpc"));
  ReadHistogram(entry, state, counters);
  return counters;
}

}  // namespace

Json BaselinesToJson(const envoy::Baselines& baselines, Json& edge_lists) {
  Json json = Json::object();
  for (const auto& [sidecar, subsets] : baselines) {
    Json& of_sidecar = json[sidecar] = Json::object();
    for (const auto& [subset, counters] : subsets) {
      Json& entry = of_sidecar[subset] = {{"completed", counters.completed},
                                          {"retries", counters.retries},
                                          {"retry_success", counters.retry_success},
                                          {"responses", CodesToJson(counters.responses)},
                                          {"retried", CodesToJson(counters.retried_responses)}};
      if (counters.failed_over > 0) entry["failed_over"] = counters.failed_over;
      if (!counters.grpc_statuses.empty()) entry["grpc"] = CodesToJson(counters.grpc_statuses);
      AddHistogram(counters, entry, edge_lists);
    }
  }
  return json;
}

envoy::Baselines BaselinesFromJson(const Json& state) {
  const Json& json = state.at("baselines");
  if (!json.is_object()) throw std::invalid_argument("baselines: is no object");
  envoy::Baselines baselines;
  for (const auto& [sidecar, subsets] : json.items()) {
    envoy::SubsetOutcomes& of_sidecar = baselines[sidecar];
    for (const auto& [subset, entry] : subsets.items()) {
      of_sidecar[subset] = CountersFromJson(entry, state);
    }
  }
  return baselines;
}

}  // namespace consul_canary::control
