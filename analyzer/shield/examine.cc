#include "analyzer/shield/examine.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "analyzer/control/entry_writer.h"
#include "analyzer/shield/plan.h"
#include "exporter/consul/routes.h"

namespace consul_canary::shield {
namespace {

using Findings = std::vector<Finding>;

std::string EntryName(const char* kind, const std::string& name) {
  return fmt::format("{}/{}", kind, name);
}

void Consul(const MeshView& view, Findings& findings) {
  if (view.consul_version.empty()) {
    findings.push_back({"consul", State::kNote, "its version is not known",
                        "the patches of the callers' sidecars need 1.16; before, Consul refuses "
                        "them",
                        ""});
  } else if (HasPropertyOverride(view.consul_version)) {
    findings.push_back({"consul", State::kOk,
                        view.consul_version + ", which has builtin/property-override", "", ""});
  } else {
    findings.push_back({"consul", State::kMissing, view.consul_version,
                        "builtin/property-override is there from 1.16 on; without it no shield is "
                        "possible, and ejection with failover does more harm than good",
                        ""});
  }
}

void Protocol(const MeshView& view, Findings& findings) {
  const bool known = view.protocol == "http" || view.protocol == "http2" || view.protocol == "grpc";
  if (known) {
    findings.push_back({"protocol", State::kOk, view.protocol, "", ""});
    return;
  }
  findings.push_back({"protocol", State::kMissing,
                      view.protocol.empty() ? "not known" : view.protocol,
                      "splitters, routers and retries need http, http2 or grpc: Protocol in the "
                      "service's own service-defaults, or in proxy-defaults",
                      EntryName("service-defaults", view.service)});
}

void Subset(const MeshView& view, const std::string& subset, int passing, Findings& findings) {
  const Json& subsets = ObjectAt(OrEmpty(view.resolver), "Subsets");
  const std::string part = "subset " + subset;
  if (!subsets.contains(subset)) {
    findings.push_back({part, State::kMissing, "not in the service-resolver",
                        "a rollout moves traffic between two subsets",
                        "`consul-canaryctl apply --create`"});
    return;
  }
  const std::string filter = TextAt(ObjectAt(subsets, subset.c_str()), "Filter");
  Finding finding{part, State::kOk,
                  fmt::format("{} of {} passing instances, {}", passing, view.passing,
                              filter.empty() ? "no filter" : filter),
                  "", ""};
  const bool is_primary = subset == view.primary_subset;
  if (is_primary && passing == 0 && view.passing > 0) {
    finding.state = State::kDangerous;
    finding.why =
        "it is empty while instances pass that it does not hold: its share gets 503, and "
        "so does whatever a failover sends there";
    finding.mends = EntryName("service-resolver", view.service) + ", Filter";
  } else if (!is_primary && filter.empty()) {
    finding.state = State::kDangerous;
    finding.why = "without a filter it holds every instance, the primary's too";
    finding.mends = EntryName("service-resolver", view.service) + ", Filter";
  }
  findings.push_back(std::move(finding));
}

std::optional<Json> FailoverOf(const MeshView& view) {
  if (!view.resolver) return std::nullopt;
  return Find(*view.resolver, "Failover/" + view.canary_subset);
}

void Failover(const MeshView& view, Findings& findings) {
  const std::string entry = EntryName("service-resolver", view.service);
  const std::optional<Json> failover = FailoverOf(view);
  if (!failover) {
    findings.push_back({"failover", State::kMissing,
                        fmt::format("none from {} to {}", view.canary_subset, view.primary_subset),
                        "a retry stays on the subset first picked, so it meets the failing canary "
                        "again",
                        entry});
  } else if (SaySame(*failover, Json{{"ServiceSubset", view.primary_subset}})) {
    findings.push_back({"failover", State::kOk,
                        fmt::format("{} to {}: a canary without healthy instances costs nobody a "
                                    "request",
                                    view.canary_subset, view.primary_subset),
                        "", ""});
  } else {
    findings.push_back(
        {"failover", State::kNote, fmt::format("{} to {}", view.canary_subset, Dump(*failover)),
         "a shield needs the primary subset there; `shield` does not overwrite it", entry});
  }
}

void Splitter(const MeshView& view, Findings& findings) {
  if (!view.splitter) {
    findings.push_back({"splitter", State::kMissing, "none",
                        "a rollout gives the canary its share by it",
                        "`consul-canaryctl apply --create`"});
    return;
  }
  std::string weights;
  for (const Json& split : ListAt(*view.splitter, "Splits")) {
    const std::string subset = TextAt(split, "ServiceSubset");
    weights +=
        fmt::format("{}{} {:g}%", weights.empty() ? "" : ", ",
                    subset.empty() ? TextAt(split, "Service") : subset, NumberAt(split, "Weight"));
  }
  findings.push_back({"splitter", State::kOk, weights, "", ""});
}

void Methods(const consul::Route& route, Findings& findings) {
  if (!route.methods.empty() && route.not_idempotent.empty()) return;
  findings.push_back(
      {route.name, State::kNote,
       route.methods.empty() ? "retries every method, POST and PATCH too"
                             : fmt::format("retries {}", fmt::join(route.not_idempotent, ", ")),
       "an instance may have acted before it failed: where that must not happen twice, a route "
       "for these methods alone (Match.HTTP.Methods) goes before it, which `shield` leaves alone",
       ""});
}

void NoRetries(const consul::Route& route, const std::string& entry, Findings& findings) {
  if (route.must_not_repeat()) {
    findings.push_back({route.name, State::kNote, "nothing is retried",
                        "its methods may not be repeated: what the canary fails, its callers see",
                        ""});
  } else {
    findings.push_back({route.name, State::kMissing, "nothing is retried",
                        "each request that the canary fails is one that its caller sees", entry});
  }
}

void Retries(const consul::Route& route, const std::string& entry, Findings& findings) {
  if (!route.retries) return NoRetries(route, entry, findings);
  const consul::RetryRule& rule = *route.retries;
  const bool faults = rule.takes_server_faults();
  Finding finding{
      route.name, State::kOk,
      fmt::format("{} retries{}{}", rule.retries, faults ? ", of 500, 502, 503 and 504" : "",
                  rule.on_connect_failure ? ", of connections that fail" : ""),
      "", ""};
  if (!rule.on_connect_failure) {
    finding.state = State::kDangerous;
    finding.why =
        "without RetryOnConnectFailure an instance whose sidecar has gone fails its whole "
        "share, and no retry takes it";
  } else if (!faults) {
    finding.state = State::kMissing;
    finding.why =
        "of 500, 502, 503 and 504 not all are retried: the others reach the callers, and "
        "first tries cannot be told from the counters";
  } else if (rule.retries < kRetries) {
    finding.state = State::kNote;
    finding.why =
        fmt::format("with several canary instances {} may meet failing ones alone", rule.retries);
  }
  if (finding.state != State::kOk) finding.mends = entry;
  findings.push_back(std::move(finding));
  Methods(route, findings);
}

void Router(const MeshView& view, Findings& findings) {
  const std::string entry = EntryName("service-router", view.service);
  for (const consul::Route& route : consul::ReadRoutes(OrEmpty(view.router))) {
    if (route.meets_splitter()) {
      Retries(route, entry, findings);
    } else if (route.leads_home && route.subset == view.canary_subset) {
      findings.push_back({route.name, State::kNote, "leads to the canary alone",
                          "as a rollout's strategy.match writes them; its retries are those of the "
                          "route for all at that time",
                          ""});
    }
  }
}

void HealthCheck(const MeshView& view, const Caller& caller, bool panic, Findings& findings) {
  const std::string part = fmt::format("caller {}: ejection", caller.name);
  const std::string entry = EntryName("service-defaults", caller.name);
  const std::optional<Json> check = HealthCheckOf(view.service, caller.defaults);
  if (!check || NumberAt(*check, "MaxFailures") == 0) {
    findings.push_back({part, State::kMissing, "no passive health check of " + view.service,
                        "a failing instance keeps its share, and retries meet it again", entry});
    return;
  }
  constexpr double kAll = 100;
  const double percent = NumberAt(*check, "MaxEjectionPercent");
  Finding finding{part, State::kOk,
                  fmt::format("after {:g} in a row, of {:g}% of the instances at most",
                              NumberAt(*check, "MaxFailures"), percent),
                  "", ""};
  if (percent >= kAll && !panic) {
    finding.state = State::kDangerous;
    finding.why =
        "all instances of the primary may be ejected as well, and without a panic threshold their "
        "share then gets 503";
    if (FailoverOf(view)) finding.why += ", and so does all that fails over to it";
    finding.mends = entry + ", EnvoyExtensions";
  } else if (percent < kAll) {
    finding.state = State::kMissing;
    finding.why =
        "a canary of several instances is not ejected whole (MaxEjectionPercent), so "
        "retries meet it again";
    finding.mends = entry;
  }
  findings.push_back(std::move(finding));
}

void Patches(const Caller& caller, const PatchesSeen& seen, Findings& findings) {
  const std::string part = fmt::format("caller {}: patches", caller.name);
  const std::string entry = EntryName("service-defaults", caller.name);
  if (seen.both()) {
    findings.push_back({part, State::kOk, "merge window and panic threshold", "", ""});
  } else if (!seen.merge_window && !seen.panic_threshold) {
    findings.push_back({part, State::kMissing, "neither merge window nor panic threshold",
                        "ejection needs both", entry});
  } else if (seen.panic_threshold) {
    findings.push_back({part, State::kDangerous, "a panic threshold without a merge window",
                        "Envoy holds a second change of health back for a second, in which each "
                        "instance that comes back from ejection fails its share",
                        entry});
  } else {
    findings.push_back({part, State::kDangerous, "a merge window without a panic threshold",
                        "ejection may empty the primary too: all its requests get 503 then",
                        entry});
  }
}

void Callers(const MeshView& view, Findings& findings) {
  if (view.callers.empty()) {
    findings.push_back({"callers", State::kNote, "none is known",
                        "a rollout holds where nobody calls; callers that Consul does not know of: "
                        "--caller",
                        ""});
  }
  for (const Caller& caller : view.callers) {
    const State state = caller.passing < caller.sidecars ? State::kNote : State::kOk;
    findings.push_back({"caller " + caller.name, state,
                        fmt::format("{} of {} sidecars pass{}", caller.passing, caller.sidecars,
                                    caller.by_intention ? ", by an intention" : ""),
                        state == State::kOk ? "" : "those that do not are not waited for", ""});
    const PatchesSeen seen = PatchesFor(view.service, caller.defaults, view.proxy_defaults);
    HealthCheck(view, caller, seen.panic_threshold, findings);
    Patches(caller, seen, findings);
  }
  for (const std::string& gateway : view.gateways) {
    findings.push_back({"gateway " + gateway, State::kNote, "sends requests to " + view.service,
                        "the patches reach no gateway: its requests are retried and fail over, but "
                        "nothing is ejected for them",
                        ""});
  }
  for (const std::string& name : view.perhaps) {
    findings.push_back({"caller " + name, State::kNote, "may call by an intention for all",
                        "whether it does is not known, so it is left out: --caller " + name, ""});
  }
}

void Permission(const std::string& service, Findings& findings) {
  findings.push_back(
      {"permissions", State::kMissing,
       fmt::format("the token may not write the entries of {}", service),
       fmt::format("its policy needs service \"{}\" {{ policy = \"write\" }}", service), ""});
}

void Permissions(const MeshView& view, Findings& findings) {
  for (const std::string& lacking : view.lacking) {
    findings.push_back({"permissions", State::kMissing, lacking,
                        "what is left out here may be there all the same", ""});
  }
  if (!view.writable) Permission(view.service, findings);
  for (const Caller& caller : view.callers) {
    if (!caller.writable) Permission(caller.name, findings);
  }
}

void Owner(const std::optional<Json>& entry, Findings& findings) {
  const Json& meta = ObjectAt(OrEmpty(entry), "Meta");
  if (!meta.contains(control::kKubernetesMetaKey)) return;
  findings.push_back({EntryName(TextAt(*entry, "Kind").c_str(), TextAt(*entry, "Name")),
                      State::kNote, "owned by Kubernetes",
                      "`shield` does not write it; apply what `shield -o kubernetes` prints", ""});
}

void RememberedFields(const MeshView& view, Findings& findings) {
  const std::string troubles = MemoryTroubles(view);
  if (troubles.empty()) return;
  findings.push_back({"memory", State::kNote, troubles,
                      "`shield --apply` and `--remove` write nothing until then", ""});
}

// What was left alone, and what mends the rest.
void AddPlan(const MeshView& view, Examination& examination) {
  const base::Result<Plan> plan = PlanShield(view, Moment::kNow);
  if (!plan) return;  // the reason is among the findings
  for (const Write& write : plan->writes) {
    for (const std::string& path : write.left) {
      examination.findings.push_back(
          {EntryName(write.kind.c_str(), write.name), State::kNote, path,
           "somebody changed it after `shield --apply`; it is not overwritten", ""});
    }
    if (write.changes_nothing() || !write.wanted) continue;
    examination.entries.push_back(Printed(write));
  }
}

}  // namespace

Examination Examine(const MeshView& view) {
  Examination examination;
  Findings& findings = examination.findings;
  Consul(view, findings);
  Protocol(view, findings);
  Subset(view, view.primary_subset, view.primary_passing, findings);
  Subset(view, view.canary_subset, view.canary_passing, findings);
  Failover(view, findings);
  Splitter(view, findings);
  Router(view, findings);
  Callers(view, findings);
  for (const auto* entry : {&view.resolver, &view.splitter, &view.router}) Owner(*entry, findings);
  for (const Caller& caller : view.callers) Owner(caller.defaults, findings);
  Permissions(view, findings);
  RememberedFields(view, findings);
  AddPlan(view, examination);
  return examination;
}

bool IsWhole(const Examination& examination) {
  return std::ranges::all_of(examination.findings, [](const Finding& finding) {
    return finding.state == State::kOk || finding.state == State::kNote;
  });
}

const char* NameOf(State state) {
  switch (state) {
    case State::kOk:
      return "ok";
    case State::kNote:
      return "note";
    case State::kMissing:
      return "missing";
    case State::kDangerous:
      break;
  }
  return "dangerous";
}

}  // namespace consul_canary::shield
