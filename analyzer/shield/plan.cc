#include "analyzer/shield/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "exporter/consul/match_routes.h"
#include "exporter/consul/routes.h"

namespace consul_canary::shield {
namespace {

using base::ErrorCode;

std::string Chosen(const std::string& key, const std::string& value) {
  return fmt::format("[{}={}]", key, value);
}

std::string HealthCheckPath(const std::string& service) {
  return "UpstreamConfig/Overrides/" + Chosen("Name", service) + "/PassiveHealthCheck";
}

std::string ExtensionPath(const std::string& service) {
  return "EnvoyExtensions/" + Chosen("extension", service);
}

Json Patch(const std::string& service, const std::string& path, int value) {
  return {{"ResourceFilter",
           {{"ResourceType", "cluster"},
            {"TrafficDirection", "outbound"},
            {"Services", Json::array({Json{{"Name", service}}})}}},
          {"Op", "add"},
          {"Path", path},
          {"Value", value}};
}

Json Extension(const std::string& service) {
  return {
      {"Name", kPropertyOverride},
      {"Arguments",
       {{"ProxyType", "connect-proxy"},
        {"Patches",
         Json::array({Patch(service, std::string(kMergeWindowPath) + "/nanos", kMergeWindowNanos),
                      Patch(service, std::string(kPanicPath) + "/value", kPanicPercent)})}}}};
}

bool IsFor(const Json& patch, const std::string& service, const consul::Place& place) {
  const Json& filter = ObjectAt(patch, "ResourceFilter");
  const std::string direction = TextAt(filter, "TrafficDirection");
  if (TextAt(filter, "ResourceType") != "cluster" || direction == "inbound") return false;
  const Json& services = ListAt(filter, "Services");
  return services.empty() || std::ranges::any_of(services, [&](const Json& each) {
           return TextAt(each, "Name") == service && consul::LiesIn(each, place);
         });
}

void AddPatches(const Json& entry, const std::string& service, PatchesSeen& seen) {
  const auto place = consul::PlaceOf(TextAt(entry, "Namespace"), TextAt(entry, "Partition"));
  for (const Json& extension : ListAt(entry, "EnvoyExtensions")) {
    const Json& arguments = ObjectAt(extension, "Arguments");
    if (TextAt(extension, "Name") != kPropertyOverride ||
        TextAt(arguments, "ProxyType") != "connect-proxy") {
      continue;
    }
    for (const Json& patch : ListAt(arguments, "Patches")) {
      if (!IsFor(patch, service, place) || TextAt(patch, "Op") != "add") continue;
      const std::string path = TextAt(patch, "Path");
      seen.merge_window |= path.starts_with(kMergeWindowPath);
      seen.panic_threshold |=
          path.starts_with(kPanicPath) && !SaysNothing(patch.value("Value", Json()));
    }
  }
}

// After how many failures in a row an instance is ejected: as asked for, else as asked for before.
Json MaxFailures(const MeshView& view, const Caller& caller, const std::string& path) {
  if (view.max_failures) return *view.max_failures;
  const Memory memory = MemoryOf(OrEmpty(caller.defaults));
  const auto known = std::ranges::find(memory.edits, path, &Edit::path);
  return known == memory.edits.end() ? Json(kMaxFailures) : known->set;
}

Write PlanCaller(const MeshView& view, const Caller& caller) {
  const std::string check = HealthCheckPath(view.service);
  const std::string failures = check + "/MaxFailures";
  std::vector<Wish> wishes = {{check + "/Interval", "1s"},
                              {failures, MaxFailures(view, caller, failures)},
                              {check + "/EnforcingConsecutive5xx", 100},
                              {check + "/MaxEjectionPercent", 100},
                              {check + "/BaseEjectionTime", "3s"}};
  if (!PatchesFor(view.service, caller.defaults, view.proxy_defaults).both()) {
    wishes.push_back({ExtensionPath(view.service), Extension(view.service)});
  }
  Write write = Merge(caller.defaults, "service-defaults", caller.name, wishes);
  // Somebody has taken one of the two out: without both, ejection does more harm than good.
  if (!write.changes_nothing() &&
      !PatchesFor(view.service, write.wanted, view.proxy_defaults).both()) {
    write.not_possible = fmt::format(
        "service-defaults/{}: {} was changed by somebody and has one of the two patches alone, "
        "beside which nobody may be ejected: mend or delete it, then run this again",
        caller.name, ExtensionPath(view.service));
  }
  return write;
}

base::Result<Write> PlanResolver(const MeshView& view) {
  const std::string path = "Failover/" + view.canary_subset;
  const std::optional<Json> current = Find(*view.resolver, path);
  const Json wanted = {{"ServiceSubset", view.primary_subset}};
  if (current && !SaySame(*current, wanted)) {
    return base::Fail(
        ErrorCode::kInvalid,
        fmt::format("service-resolver/{}: {} is {}, and a shield needs {}; it is not overwritten",
                    view.service, path, Dump(*current), Dump(wanted)));
  }
  return Merge(view.resolver, "service-resolver", view.service, {{path, wanted}});
}

void WishRetries(const consul::Route& route, const Json& destination, const std::string& path,
                 std::vector<Wish>& wishes) {
  const consul::RetryRule none{.retries = 0};
  const consul::RetryRule& rule = route.retries ? *route.retries : none;
  if (!rule.takes_server_faults()) {
    Json codes = ListAt(destination, "RetryOnStatusCodes");
    for (const int code : consul::kServerFaults) {
      if (std::ranges::find(codes, Json(code)) == codes.end()) codes.push_back(code);
    }
    wishes.push_back({path + "/RetryOnStatusCodes", std::move(codes)});
  }
  if (!rule.on_connect_failure) wishes.push_back({path + "/RetryOnConnectFailure", true});
  if (rule.retries < kRetries) wishes.push_back({path + "/NumRetries", kRetries});
}

// Routes with the retries that the shield gave to one that is not there any more: most likely it is
// that one, whose Match somebody has changed. It is his now.
std::vector<std::string> RoutesOfAnotherMatch(const Json& router) {
  std::set<std::string> known;
  std::map<std::string, std::vector<Edit>> lost;  // by the path of their route
  for (const Edit& edit : MemoryOf(router).edits) {
    const std::string route = edit.path.substr(0, edit.path.find("]/") + 1);
    known.insert(route);
    if (!Find(router, route)) lost[route].push_back(edit);
  }
  std::vector<std::string> found;
  for (const consul::Route& route : consul::ReadRoutes(router)) {
    if (!route.index || !route.meets_splitter()) continue;
    const Json& json = ListAt(router, "Routes")[*route.index];
    if (known.contains("Routes/" + Chosen("route", RouteMark(json)))) continue;
    const bool has_them = std::ranges::any_of(lost, [&json](const auto& each) {
      return std::ranges::all_of(each.second, [&](const Edit& edit) {
        const auto value = Find(json, edit.path.substr(each.first.size() + 1));
        return value && SaySame(*value, edit.set);
      });
    });
    if (has_them) found.push_back(route.name + " (its Match; it has the shield's retries)");
  }
  return found;
}

void AddRoutesOfAnotherMatch(const Json& router, Write& write) {
  std::ranges::move(RoutesOfAnotherMatch(router), std::back_inserter(write.left));
}

Write PlanRouter(const MeshView& view) {
  std::vector<Wish> wishes;
  const Json& router = OrEmpty(view.router);
  const Json& routes = ListAt(router, "Routes");
  for (const consul::Route& route : consul::ReadRoutes(router)) {
    if (!route.meets_splitter() || route.must_not_repeat()) continue;
    const Json json = route.index ? routes[*route.index] : Json::object();
    WishRetries(route, ObjectAt(json, "Destination"),
                "Routes/" + Chosen("route", RouteMark(json)) + "/Destination", wishes);
  }
  Write write = Merge(view.router, "service-router", view.service, wishes);
  AddRoutesOfAnotherMatch(router, write);
  return write;
}

std::string WhyNoShield(const MeshView& view) {
  if (!HasPropertyOverride(view.consul_version)) {
    return fmt::format(
        "Consul is {}: the two patches of the callers' sidecars need the extension "
        "builtin/property-override, which is there from 1.16 on, and without them an ejection does "
        "more harm than good. No shield is possible here",
        view.consul_version);
  }
  if (view.protocol != "http" && view.protocol != "http2" && view.protocol != "grpc") {
    return fmt::format(
        "the protocol of {} is {}: retries need http, http2 or grpc (Protocol in its "
        "service-defaults, or in proxy-defaults)",
        view.service, view.protocol.empty() ? "not known" : view.protocol);
  }
  const Json& subsets = ObjectAt(OrEmpty(view.resolver), "Subsets");
  for (const std::string& subset : {view.primary_subset, view.canary_subset}) {
    if (subsets.contains(subset)) continue;
    return fmt::format(
        "service-resolver/{} has no subset \"{}\": `consul-canaryctl apply --create` writes "
        "resolver and splitter; subsets of other names: --primary-subset, --canary-subset",
        view.service, subset);
  }
  return "";
}

void DropIdle(Plan& plan) {
  std::erase_if(plan.writes,
                [](const Write& write) { return write.changes_nothing() && write.left.empty(); });
}

// Where only a rollout's own routes are left in a router that we made, it goes with them.
void HandOverRouter(Write& write) {
  if (!write.wanted || !write.stored || !MemoryOf(*write.stored).entry_made) return;
  if (HasMemory(*write.wanted)) return;
  const Json& meta = ObjectAt(*write.wanted, "Meta");
  if (meta.contains(consul::kRoutesMetaKey)) (*write.wanted)["Meta"][consul::kMadeMetaKey] = "true";
}

}  // namespace

PatchesSeen PatchesFor(const std::string& service, const std::optional<Json>& caller,
                       const std::optional<Json>& proxy_defaults) {
  PatchesSeen seen;
  if (proxy_defaults) AddPatches(*proxy_defaults, service, seen);
  if (caller) AddPatches(*caller, service, seen);
  return seen;
}

std::optional<Json> HealthCheckOf(const std::string& service, const std::optional<Json>& caller) {
  if (!caller) return std::nullopt;
  if (auto own = Find(*caller, HealthCheckPath(service))) return own;
  return Find(*caller, "UpstreamConfig/Defaults/PassiveHealthCheck");
}

std::string MemoryTroubles(const MeshView& view) {
  const std::string ours = "=" + view.service + "]";
  std::vector<std::string> troubles;
  for (const auto* entry : {&view.resolver, &view.router}) {
    troubles.push_back(MemoryTrouble(OrEmpty(*entry)));
  }
  for (const Json& defaults : view.remembering) {
    const bool calls = std::ranges::find(view.callers, TextAt(defaults, "Name"), &Caller::name) !=
                       view.callers.end();
    const bool names_us = Dump(ObjectAt(defaults, "Meta")).find(ours) != std::string::npos;
    if (calls || names_us) troubles.push_back(MemoryTrouble(defaults));
  }
  std::erase(troubles, "");
  return fmt::format("{}", fmt::join(troubles, "\n"));
}

base::Result<Plan> WholeShield(const MeshView& view) {
  if (std::string damaged = MemoryTroubles(view); !damaged.empty()) {
    return base::Fail(ErrorCode::kInvalid, std::move(damaged));
  }
  if (std::string why = WhyNoShield(view); !why.empty()) {
    return base::Fail(ErrorCode::kInvalid, std::move(why));
  }
  base::Result<Write> resolver = PlanResolver(view);
  if (!resolver) return tl::unexpected(resolver.error());
  Plan plan;
  for (const Caller& caller : view.callers) plan.writes.push_back(PlanCaller(view, caller));
  plan.writes.push_back(*std::move(resolver));
  plan.writes.push_back(PlanRouter(view));
  return plan;
}

std::string CanaryTraffic(const MeshView& view) {
  for (const Json& split : ListAt(OrEmpty(view.splitter), "Splits")) {
    const double weight = NumberAt(split, "Weight");
    if (TextAt(split, "ServiceSubset") == view.canary_subset && weight > 0) {
      return fmt::format("the splitter gives the canary {:g}%", weight);
    }
  }
  for (const consul::Route& route : consul::ReadRoutes(OrEmpty(view.router))) {
    if (route.leads_home && route.subset == view.canary_subset) {
      return "a route of the router leads to the canary";
    }
  }
  return "";
}

base::Result<Plan> PlanShield(const MeshView& view, Moment moment) {
  base::Result<Plan> plan = WholeShield(view);
  if (!plan) return plan;
  const std::string traffic = CanaryTraffic(view);
  for (Write& write : plan->writes) {
    if (moment == Moment::kNow || traffic.empty() || write.kind != "service-resolver" ||
        write.changes_nothing() || !write.not_possible.empty()) {
      continue;
    }
    write.not_possible = fmt::format(
        "service-resolver/{}: the failover is not put in while {}, because the canary's share gets "
        "503 for about half a second then: run this again between rollouts, or with --now",
        view.service, traffic);
  }
  DropIdle(*plan);
  return plan;
}

base::Result<Plan> PlanRemoval(const MeshView& view) {
  if (std::string damaged = MemoryTroubles(view); !damaged.empty()) {
    return base::Fail(ErrorCode::kInvalid, std::move(damaged));
  }
  Plan plan;
  if (view.router && HasMemory(*view.router)) {
    plan.writes.push_back(Restore(*view.router, ""));
    HandOverRouter(plan.writes.back());
    AddRoutesOfAnotherMatch(*view.router, plan.writes.back());
  }
  if (view.resolver && HasMemory(*view.resolver)) {
    plan.writes.push_back(Restore(*view.resolver, ""));
  }
  const std::string part = "=" + view.service + "]";
  for (const Json& defaults : view.remembering) plan.writes.push_back(Restore(defaults, part));
  DropIdle(plan);
  return plan;
}

bool HasPropertyOverride(const std::string& consul_version) {
  if (consul_version.empty()) return true;
  int parts[2] = {0, 0};
  const char* at = consul_version.data();
  const char* const end = at + consul_version.size();
  for (int& part : parts) {
    const auto [rest, error] = std::from_chars(at, end, part);
    if (error != std::errc()) return true;
    at = rest < end ? rest + 1 : rest;
  }
  constexpr int kMinor = 16;
  return parts[0] > 1 || (parts[0] == 1 && parts[1] >= kMinor);
}

}  // namespace consul_canary::shield
