#include "analyzer/api/mesh_check.h"

#include <fmt/format.h>

#include <optional>

#include "analyzer/api/match_check.h"
#include "analyzer/control/await.h"
#include "analyzer/control/entry_writer.h"

namespace consul_canary::api {
namespace {

using base::Result;
using control::Await;
using rollout::Spec;

// A filter as it stands in HCL.
std::string Quoted(const std::string& filter) {
  std::string text = "\"";
  for (const char c : filter) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + "\"";
}

std::string ResolverExample(const Spec& spec) {
  const bool tells_versions = !spec.version_key.empty() || !spec.version_tag_prefix.empty();
  const auto filter = [&](const std::string& version, const std::string& otherwise) {
    return Quoted(tells_versions ? rollout::FilterForVersion(spec, version) : otherwise);
  };
  return fmt::format(
      "Kind = \"service-resolver\", Name = \"{0}\", DefaultSubset = \"{1}\", Subsets = {{ {1} = {{ "
      "Filter = {3} }}, {2} = {{ Filter = {4} }} }}",
      spec.service, spec.primary_subset, spec.canary_subset,
      filter("<the present version>", "<a filter that the present instances match>"),
      filter("none", "<a filter that the new instances will match>"));
}

// Of an entry that the rollout will write.
template <class Entry>
void CheckOwner(std::string_view kind, const std::optional<Entry>& entry,
                std::vector<MeshProblem>& problems) {
  if (!entry) return;
  std::string why = control::WhyNotWritable(kind, entry->name, entry->meta);
  if (!why.empty()) problems.push_back({"service", std::move(why)});
}

// Any other failover than a shield's mixes what the subsets answer, and nothing tells them apart.
void CheckFailover(const Spec& spec, const consul::Resolver& resolver,
                   std::vector<MeshProblem>& problems) {
  const bool is_shield = resolver.FailsOverOnly(spec.canary_subset, spec.primary_subset);
  if (spec.shield == rollout::ShieldUse::kRequire && !is_shield) {
    problems.push_back(
        {"shield",
         fmt::format("the service-resolver \"{}\" has no Failover of subset \"{}\" to "
                     "\"{}\" alone; `consul-canaryctl shield {}` prints what is needed",
                     spec.service, spec.canary_subset, spec.primary_subset, spec.service)});
    return;
  }
  if (!resolver.has_failover) return;
  if (!is_shield) {
    problems.push_back(
        {"service", fmt::format("the service-resolver \"{}\" has Failover: the callers' "
                                "counters then mix the subsets; remove it",
                                spec.service)});
  } else if (spec.shield == rollout::ShieldUse::kIgnore) {
    problems.push_back(
        {"shield", fmt::format("the service-resolver \"{}\" has Failover, and what it does cannot "
                               "be ignored: the callers' counters mix the subsets; use auto, or "
                               "remove it",
                               spec.service)});
  }
}

void CheckResolver(const Spec& spec, const std::optional<consul::Resolver>& resolver,
                   std::vector<MeshProblem>& problems) {
  if (!resolver) {
    problems.push_back(
        {"service", fmt::format("Consul has no service-resolver \"{}\"; write one: {}",
                                spec.service, ResolverExample(spec))});
    return;
  }
  const auto check = [&](const std::string& field, const std::string& subset) {
    if (resolver->subset_filters.contains(subset)) return;
    std::string known;
    for (const auto& [name, filter] : resolver->subset_filters) {
      known += (known.empty() ? "" : ", ") + name;
    }
    problems.push_back(
        {field,
         fmt::format("the service-resolver \"{}\" has no subset \"{}\" (it has: {}); name one "
                     "of its subsets, or add it there",
                     spec.service, subset, known.empty() ? "none" : known)});
  };
  check("subsets.primary", spec.primary_subset);
  check("subsets.canary", spec.canary_subset);
  CheckFailover(spec, *resolver, problems);
}

void CheckSplitter(const Spec& spec, const std::optional<consul::Splitter>& splitter,
                   std::vector<MeshProblem>& problems) {
  if (!splitter) {
    problems.push_back(
        {"service",
         fmt::format("Consul has no service-splitter \"{0}\"; write one: Kind = "
                     "\"service-splitter\", Name = \"{0}\", Splits = [ {{ Weight = 100, "
                     "ServiceSubset = \"{1}\" }}, {{ Weight = 0, ServiceSubset = \"{2}\" }} ]",
                     spec.service, spec.primary_subset, spec.canary_subset)});
    return;
  }
  double others = 0;
  for (const consul::Split& split : splitter->splits) {
    const bool own = split.service.empty() || split.service == spec.service;
    const bool ours = own && (split.service_subset == spec.primary_subset ||
                              split.service_subset == spec.canary_subset);
    if (!ours) others += split.weight;
  }
  const double last = spec.steps.back().weight_percent;
  constexpr double kHalfHundredth = 0.005;  // Consul keeps hundredths
  if (last + others > 100 + kHalfHundredth) {
    problems.push_back(
        {"strategy.steps",
         fmt::format("the last step gives the canary {:g}%, and other splits of the "
                     "service-splitter hold {:g}%: the weights cannot sum to 100; at "
                     "most {:g} is left",
                     last, others, 100 - others)});
  }
}

template <class Entry>
Result<std::optional<Entry>> ReadEntry(base::IoLoop& io, consul::Client& client, std::string kind,
                                       std::string name,
                                       Result<Entry> (*parse)(std::string_view json)) {
  const auto text = Await<std::optional<std::string>>(io, [&client, kind, name](auto reply) {
    client.ReadEntry(kind, name, true, std::move(reply));
  });
  if (!text) return tl::unexpected(text.error());
  if (!*text) return std::optional<Entry>();
  auto entry = parse(**text);
  if (!entry) return tl::unexpected(entry.error());
  return std::optional<Entry>(std::move(*entry));
}

void CheckPermissions(base::IoLoop& io, consul::Client& client, const Spec& spec,
                      std::vector<MeshProblem>& problems) {
  const std::string service = spec.service;
  const auto allowed = Await<bool>(io, [&client, service](auto reply) {
    client.MayAccess("service", service, "write", std::move(reply));
  });
  // A Consul that will not say is no reason to refuse; the first write will tell.
  if (allowed && !*allowed) {
    problems.push_back(
        {"service", fmt::format("the analyzer's token may not write the entries of "
                                "\"{0}\": give it service \"{0}\" {{ policy = \"write\" }}",
                                service)});
  }
}

// As they will read once they are created.
void Substitute(const Spec& spec, const FirstContact& contact,
                std::optional<consul::Resolver>& resolver,
                std::optional<consul::Splitter>& splitter) {
  constexpr double kAll = 100;
  if (contact.resolver) {
    resolver =
        consul::Resolver{.name = spec.service,
                         .subset_filters = {{spec.primary_subset, ""}, {spec.canary_subset, ""}}};
  }
  if (contact.splitter) {
    splitter = consul::Splitter{.name = spec.service,
                                .splits = {{.weight = kAll, .service_subset = spec.primary_subset},
                                           {.weight = 0, .service_subset = spec.canary_subset}}};
  }
}

std::vector<MeshProblem> ProblemsOf(const FirstContact& contact, Missing missing) {
  if (!contact.obstacle.empty()) return {{"service", contact.obstacle}};
  if (missing == Missing::kIsCreated) return {};
  std::string text = "`consul-canaryctl apply --create` would write";
  if (contact.resolver) text += " " + *contact.resolver;
  if (contact.splitter) text += (contact.resolver ? " and " : " ") + *contact.splitter;
  return {{"service", text}};
}

}  // namespace

std::vector<MeshProblem> CheckEntries(const Spec& spec,
                                      const std::optional<consul::Splitter>& splitter,
                                      const std::optional<consul::Resolver>& resolver,
                                      const std::string& protocol) {
  std::vector<MeshProblem> problems;
  if (protocol != "http" && protocol != "http2" && protocol != "grpc") {
    problems.push_back(
        {"service", fmt::format("the protocol of \"{}\" is {}; a splitter needs http, "
                                "http2 or grpc: set Protocol in its service-defaults "
                                "or in proxy-defaults",
                                spec.service, protocol)});
  }
  CheckResolver(spec, resolver, problems);
  CheckSplitter(spec, splitter, problems);
  if (spec.act) CheckOwner("service-splitter", splitter, problems);
  if (spec.act && WritesFilters(spec)) CheckOwner("service-resolver", resolver, problems);
  return problems;
}

// Nothing on a sidecar's page tells gRPC from other HTTP/2 there: Envoy counts 200 for either.
std::vector<MeshProblem> WarningsOf(const Spec& spec, const std::string& protocol) {
  if (protocol != "http2") return {};
  return {{"service",
           fmt::format("the protocol of \"{}\" is http2, by which a gRPC call that fails is a 200 "
                       "and counts as none of the failures: if it serves gRPC, set Protocol = "
                       "\"grpc\" in its service-defaults",
                       spec.service)}};
}

Result<MeshCheck> CheckMesh(base::IoLoop& io, consul::Client& client, const Spec& spec,
                            Missing missing) {
  auto splitter = ReadEntry(io, client, "service-splitter", spec.service, &consul::ParseSplitter);
  if (!splitter) return tl::unexpected(splitter.error());
  auto resolver = ReadEntry(io, client, "service-resolver", spec.service, &consul::ParseResolver);
  if (!resolver) return tl::unexpected(resolver.error());
  const std::string service = spec.service;
  const auto protocol = Await<std::string>(
      io, [&client, service](auto reply) { client.ReadProtocol(service, std::move(reply)); });
  if (!protocol) return tl::unexpected(protocol.error());
  MeshCheck check{.problems = {}, .warnings = WarningsOf(spec, *protocol), .contact = {}};
  if (!*splitter || !*resolver) {
    auto contact = AskFirstContact(io, client, spec, resolver->has_value(), splitter->has_value());
    if (!contact) return tl::unexpected(contact.error());
    if (missing == Missing::kIsCreated) {
      Substitute(spec, *contact, *resolver, *splitter);
      check.contact = *contact;
    }
    check.problems = ProblemsOf(*contact, missing);
  }
  const auto problems = CheckEntries(spec, *splitter, *resolver, *protocol);
  check.problems.insert(check.problems.begin(), problems.begin(), problems.end());
  if (!spec.match.empty()) {
    auto router = ReadEntry(io, client, "service-router", spec.service, &consul::ParseRouter);
    if (!router) return tl::unexpected(router.error());
    CheckMatch(spec, *router, check);
  }
  CheckPermissions(io, client, spec, check.problems);
  return check;
}

}  // namespace consul_canary::api
