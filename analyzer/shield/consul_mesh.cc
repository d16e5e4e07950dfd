#include "analyzer/shield/consul_mesh.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "analyzer/control/await.h"
#include "exporter/consul/intentions.h"

namespace consul_canary::shield {
namespace {

using base::Result;
using consul::Instance;
using consul::Reply;
using control::Answer;
using control::Await;
using control::Begin;
using control::Take;

constexpr base::seconds kPatience{10};
constexpr std::size_t kAtOnce = 32;  // an agent takes 200 connections from one address
constexpr const char* kVersionRequest = "/v1/agent/self";

base::MonotonicTime Deadline() { return std::chrono::steady_clock::now() + kPatience; }

template <class T>
Answer<T> BeginRead(consul::Client& client, const std::string& operation, const std::string& path,
                    std::function<Result<T>(std::string_view)> read) {
  return Begin<T>(client.loop(),
                  [&client, operation, path, read = std::move(read)](Reply<T> reply) {
                    client.ReadValue<T>(operation, path, read, std::move(reply));
                  });
}

template <class T>
Result<T> Read(consul::Client& client, const std::string& operation, const std::string& path,
               std::function<Result<T>(std::string_view)> read) {
  Answer<T> answer = BeginRead<T>(client, operation, path, std::move(read));
  return Take<T>(answer, Deadline());
}

Result<Json> ParseAny(std::string_view body) {
  Json json = Json::parse(body, nullptr, false);
  if (json.is_discarded()) return base::Fail(base::ErrorCode::kInvalid, "no JSON");
  return json;
}

Result<std::optional<Json>> ReadEntry(consul::Client& client, const std::string& kind,
                                      const std::string& name) {
  const auto text = Await<std::optional<std::string>>(client.loop(), [&](auto reply) {
    client.ReadEntry(kind, name, /*consistent=*/true, std::move(reply));
  });
  if (!text) return tl::unexpected(text.error());
  if (!*text) return std::nullopt;
  std::optional<Json> entry = ParseEntry(**text);
  if (!entry) {
    return base::Fail(base::ErrorCode::kInvalid,
                      fmt::format("GET /v1/config/{}/{}: no JSON object", kind, name));
  }
  return entry;
}

Result<void> ReadEntries(consul::Client& client, MeshView& view) {
  const std::pair<std::pair<const char*, std::string>, std::optional<Json>*> wanted[] = {
      {{"service-resolver", view.service}, &view.resolver},
      {{"service-splitter", view.service}, &view.splitter},
      {{"service-router", view.service}, &view.router},
      {{"proxy-defaults", "global"}, &view.proxy_defaults}};
  for (const auto& [target, place] : wanted) {
    Result<std::optional<Json>> entry = ReadEntry(client, target.first, target.second);
    if (!entry) return tl::unexpected(entry.error());
    *place = *std::move(entry);
  }
  return {};
}

// service-defaults of all services, by name.
Result<std::map<std::string, Json>> ReadDefaults(consul::Client& client) {
  const Result<Json> list =
      Read<Json>(client, "config", consul::Client::EntriesPath("service-defaults"), ParseAny);
  if (!list) return tl::unexpected(list.error());
  std::map<std::string, Json> defaults;
  if (!list->is_array()) return defaults;
  for (const Json& entry : *list) defaults.emplace(TextAt(entry, "Name"), entry);
  return defaults;
}

// Empty where neither the agent nor the catalog says it.
std::string ReadVersion(consul::Client& client) {
  const Result<Json> self = Read<Json>(client, "agent", kVersionRequest, ParseAny);
  if (self) return TextAt(ObjectAt(*self, "Config"), "Version");
  const Result<Json> servers =
      Read<Json>(client, "catalog", "/v1/catalog/service/consul", ParseAny);
  if (!servers || !servers->is_array() || servers->empty()) return "";
  return TextAt(ObjectAt(servers->front(), "ServiceMeta"), "version");
}

Result<int> Passing(consul::Client& client, const std::string& service, const std::string& filter) {
  const Result<std::vector<Instance>> instances = Read<std::vector<Instance>>(
      client, "health", consul::Client::ConnectPath(service, filter), &consul::ParseInstances);
  if (!instances) return tl::unexpected(instances.error());
  return static_cast<int>(std::ranges::count_if(*instances, &Instance::passing));
}

Result<void> ReadSubsets(consul::Client& client, MeshView& view) {
  const Result<int> all = Passing(client, view.service, "");
  if (!all) return tl::unexpected(all.error());
  view.passing = *all;
  const Json& subsets = ObjectAt(OrEmpty(view.resolver), "Subsets");
  const std::pair<std::string, int*> counts[] = {{view.primary_subset, &view.primary_passing},
                                                 {view.canary_subset, &view.canary_passing}};
  for (const auto& [subset, count] : counts) {
    if (!subsets.contains(subset)) continue;
    const Result<int> passing =
        Passing(client, view.service, TextAt(ObjectAt(subsets, subset.c_str()), "Filter"));
    if (!passing) return tl::unexpected(passing.error());
    *count = *passing;
  }
  return {};
}

// All sidecars of the mesh, asked for some at once.
Result<std::vector<Instance>> ReadSidecars(consul::Client& client) {
  const auto names = Read<std::vector<std::string>>(
      client, "catalog", consul::Client::ProxyServicesPath(), &consul::ParseServiceNames);
  if (!names) return tl::unexpected(names.error());
  std::vector<Instance> sidecars;
  for (std::size_t first = 0; first < names->size(); first += kAtOnce) {
    std::vector<Answer<std::vector<Instance>>> answers;
    for (std::size_t i = first; i < std::min(first + kAtOnce, names->size()); ++i) {
      answers.push_back(BeginRead<std::vector<Instance>>(
          client, "health", consul::Client::HealthPath(names->at(i)), &consul::ParseInstances));
    }
    for (auto& answer : answers) {
      Result<std::vector<Instance>> found = Take<std::vector<Instance>>(answer, Deadline());
      if (!found) return tl::unexpected(found.error());
      std::ranges::move(*found, std::back_inserter(sidecars));
    }
  }
  return sidecars;
}

Result<consul::PermittedCalls> ReadPermitted(consul::Client& client) {
  const consul::Settings& settings = client.settings();
  const auto intentions = Read<std::vector<consul::Intention>>(
      client, "intentions", consul::IntentionsPath(), [&settings](std::string_view body) {
        return consul::ParseIntentions(body, settings.namespace_name, settings.partition);
      });
  if (!intentions) return tl::unexpected(intentions.error());
  const auto by_default = Read<bool>(client, "intentions", consul::DefaultIntentionPath(),
                                     &consul::ParseAllowedByDefault);
  if (!by_default) return tl::unexpected(by_default.error());
  return consul::PermittedBy(*intentions, *by_default);
}

bool MayCall(const consul::PermittedCalls& permitted, const std::string& from,
             const std::string& to) {
  return permitted.open || permitted.open_destinations.contains(to) ||
         permitted.open_sources.contains(from);
}

bool IsPermittedByName(const consul::PermittedCalls& permitted, const std::string& from,
                       const std::string& to) {
  const auto found = permitted.exact.find(from);
  return found != permitted.exact.end() && found->second.contains(to);
}

// How a sidecar's service calls ours.
enum class Calls { kNever, kPerhaps, kByIntention, kByUpstream };

Calls CallsOf(const Instance& sidecar, const consul::PermittedCalls& permitted,
              const std::string& service) {
  if (std::ranges::find(sidecar.upstreams, service) != sidecar.upstreams.end()) {
    return Calls::kByUpstream;
  }
  const std::string& from = sidecar.destination_service;
  if (!sidecar.transparent || from == service) return Calls::kNever;
  if (IsPermittedByName(permitted, from, service)) return Calls::kByIntention;
  return MayCall(permitted, from, service) ? Calls::kPerhaps : Calls::kNever;
}

Result<void> ReadCallers(consul::Client& client, const Question& question, MeshView& view) {
  const Result<std::vector<Instance>> sidecars = ReadSidecars(client);
  if (!sidecars) return tl::unexpected(sidecars.error());
  const Result<consul::PermittedCalls> permitted = ReadPermitted(client);
  if (!permitted) return tl::unexpected(permitted.error());
  std::map<std::string, Caller> callers;
  std::set<std::string> perhaps;
  for (const std::string& name : question.callers) callers[name].name = name;
  for (const Instance& sidecar : *sidecars) {
    const std::string& name = sidecar.destination_service;
    const Calls calls = CallsOf(sidecar, *permitted, view.service);
    if (calls == Calls::kPerhaps) perhaps.insert(name);
    if (calls < Calls::kByIntention && !callers.contains(name)) continue;
    Caller& caller = callers[name];
    caller.name = name;
    caller.by_intention = calls == Calls::kByIntention;
    ++caller.sidecars;
    caller.passing += sidecar.passing ? 1 : 0;
  }
  for (auto& [name, caller] : callers) {
    perhaps.erase(name);
    view.callers.push_back(std::move(caller));
  }
  view.perhaps.assign(perhaps.begin(), perhaps.end());
  return {};
}

// Which of the gateways of a kind send requests to the service.
Result<void> ReadGateways(consul::Client& client, const std::string& kind, MeshView& view) {
  const std::string path =
      "/v1/catalog/services?filter=" + base::UrlEncode(fmt::format("ServiceKind == \"{}\"", kind));
  const auto names =
      Read<std::vector<std::string>>(client, "catalog", path, &consul::ParseServiceNames);
  if (!names) return tl::unexpected(names.error());
  for (const std::string& name : *names) {
    const Result<Json> services = Read<Json>(
        client, "catalog", "/v1/catalog/gateway-services/" + base::UrlEncode(name), ParseAny);
    if (!services) return tl::unexpected(services.error());
    const bool calls =
        services->is_array() && std::ranges::any_of(*services, [&view](const Json& each) {
          return TextAt(ObjectAt(each, "Service"), "Name") == view.service;
        });
    if (calls) view.gateways.push_back(fmt::format("{} ({})", name, kind));
  }
  return {};
}

bool MayWrite(consul::Client& client, const std::string& service) {
  const Result<bool> may = Await<bool>(client.loop(), [&](Reply<bool> reply) {
    client.MayAccess("service", service, "write", std::move(reply));
  });
  return may.value_or(true);
}

void TakeDefaults(const std::map<std::string, Json>& defaults, MeshView& view) {
  const auto of = [&defaults](const std::string& name) {
    const auto found = defaults.find(name);
    return found == defaults.end() ? std::nullopt : std::optional(found->second);
  };
  view.defaults = of(view.service);
  for (Caller& caller : view.callers) caller.defaults = of(caller.name);
  for (const auto& [name, entry] : defaults) {
    if (HasMemory(entry)) view.remembering.push_back(entry);
  }
}

void TakeLacking(consul::Client& client, MeshView& view) {
  using Refusals = std::vector<consul::Refusal>;
  const Result<Refusals> refused = Await<Refusals>(
      client.loop(), [&client](const Reply<Refusals>& reply) { reply(client.Refused()); });
  if (!refused) return;
  for (const consul::Refusal& refusal : *refused) {
    if (refusal.request.find(kVersionRequest) == std::string::npos) {
      view.lacking.push_back(consul::InWords(refusal));
    }
  }
}

Result<bool> WriteOne(consul::Client& client, const Write& write) {
  const std::uint64_t index = write.stored ? IndexOf(*write.stored) : 0;
  return Await<bool>(client.loop(), [&](Reply<bool> reply) {
    if (write.wanted) {
      client.WriteEntry(Dump(*write.wanted), index, std::move(reply));
    } else {
      client.DeleteEntryAt(write.kind, write.name, index, std::move(reply));
    }
  });
}

enum class Round { kDone, kConflict };

using Planner = std::function<Result<Plan>(const MeshView&)>;

// One plan, from its first entry to its last.
Round WriteAll(consul::Client& client, const Plan& plan, Outcome& outcome) {
  outcome.left.clear();
  outcome.refused.clear();
  for (const Write& write : plan.writes) {
    const std::string name = write.kind + "/" + write.name;
    for (const std::string& path : write.left) outcome.left.push_back(name + ": " + path);
    if (write.changes_nothing()) continue;
    if (!write.not_possible.empty()) {
      outcome.refused.push_back(write.not_possible);
      continue;
    }
    const Result<bool> written = WriteOne(client, write);
    if (!written) {
      outcome.stopped = written.error().message;
      return Round::kDone;
    }
    if (!*written) return Round::kConflict;
    outcome.written.push_back(name);
  }
  return Round::kDone;
}

Result<Outcome> Carry(consul::Client& client, const Question& question, const Planner& planner) {
  constexpr int kRounds = 10;
  Outcome outcome;
  for (int round = 0; round < kRounds; ++round) {
    const Result<MeshView> view = ReadMesh(client, question);
    const Result<Plan> plan = view.and_then(planner);
    if (!plan) {
      if (outcome.written.empty()) return tl::unexpected(plan.error());
      outcome.stopped = plan.error().message;
      return outcome;
    }
    if (WriteAll(client, *plan, outcome) == Round::kDone) return outcome;
  }
  outcome.stopped = "somebody else writes the same entries all the time";
  return outcome;
}

}  // namespace

Result<MeshView> ReadMesh(consul::Client& client, const Question& question) {
  MeshView view{.service = question.service,
                .primary_subset = question.primary_subset,
                .canary_subset = question.canary_subset,
                .max_failures = question.max_failures};
  view.consul_version = ReadVersion(client);
  const Result<std::string> protocol = Await<std::string>(
      client.loop(),
      [&](Reply<std::string> reply) { client.ReadProtocol(view.service, std::move(reply)); });
  if (!protocol) return tl::unexpected(protocol.error());
  view.protocol = *protocol;
  for (const Result<void>& read :
       {ReadEntries(client, view), ReadSubsets(client, view), ReadCallers(client, question, view),
        ReadGateways(client, "ingress-gateway", view), ReadGateways(client, "api-gateway", view)}) {
    if (!read) return tl::unexpected(read.error());
  }
  const auto defaults = ReadDefaults(client);
  if (!defaults) return tl::unexpected(defaults.error());
  TakeDefaults(*defaults, view);
  view.writable = MayWrite(client, view.service);
  for (Caller& caller : view.callers) caller.writable = MayWrite(client, caller.name);
  TakeLacking(client, view);
  return view;
}

Result<Outcome> ApplyShield(consul::Client& client, const Question& question, Moment moment) {
  return Carry(client, question,
               [moment](const MeshView& view) { return PlanShield(view, moment); });
}

Result<Outcome> RemoveShield(consul::Client& client, const Question& question) {
  return Carry(client, question, &PlanRemoval);
}

}  // namespace consul_canary::shield
