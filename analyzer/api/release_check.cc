#include "analyzer/api/release_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "analyzer/control/await.h"
#include "analyzer/control/observe.h"
#include "analyzer/control/orders.h"
#include "exporter/consul/config_entries.h"

namespace consul_canary::api {
namespace {

using base::ErrorCode;
using base::Result;
using consul::Instance;
using rollout::Spec;

Result<std::vector<Instance>> ReadInstances(base::IoLoop& io, consul::Client& client,
                                            const std::string& path) {
  return control::Await<std::vector<Instance>>(io, [&client, path](auto reply) {
    client.ReadValue<std::vector<Instance>>("health", path, &consul::ParseInstances,
                                            std::move(reply));
  });
}

// Empty: the primary subset takes all instances already, or there is no resolver.
Result<std::string> PrimaryFilter(base::IoLoop& io, consul::Client& client, const Spec& spec) {
  const std::string service = spec.service;
  const auto text = control::Await<std::optional<std::string>>(io, [&client, service](auto reply) {
    client.ReadEntry("service-resolver", service, true, std::move(reply));
  });
  if (!text) return tl::unexpected(text.error());
  if (!*text) return "";
  const auto resolver = consul::ParseResolver(**text);
  if (!resolver) return tl::unexpected(resolver.error());
  const auto filter = resolver->subset_filters.find(spec.primary_subset);
  return filter == resolver->subset_filters.end() ? "" : filter->second;
}

// "2 of version v2 (rolled back)"
std::string InWords(const KeptOut& kept_out) {
  return fmt::format(
      "{}{}{}", kept_out.passing,
      kept_out.version.empty() ? " that tell no version" : " of version " + kept_out.version,
      kept_out.rolled_back ? " (rolled back)" : "");
}

Result<void> Verdict(const Spec& spec, const std::vector<KeptOut>& kept_out) {
  if (kept_out.empty()) return {};
  std::vector<std::string> words;
  words.reserve(kept_out.size());
  for (const KeptOut& each : kept_out) words.push_back(InWords(each));
  return base::Fail(
      ErrorCode::kConflict,
      fmt::format("nothing is deleted: without its Filter, subset {} of \"{}\" would take passing "
                  "instances that it keeps out now: {}; end these first, delete without release, "
                  "or release with --force (?force=true)",
                  spec.primary_subset, spec.service, fmt::join(words, ", ")));
}

}  // namespace

std::vector<KeptOut> KeptOutOf(const Spec& spec,
                               const std::vector<std::string>& rolled_back_versions,
                               const std::vector<Instance>& all,
                               const std::vector<Instance>& primary) {
  std::set<std::pair<std::string, std::string>> in_primary;
  for (const Instance& instance : primary) in_primary.emplace(instance.node, instance.id);
  std::map<std::string, int> passing;
  for (const Instance& instance : all) {
    if (!instance.passing || in_primary.contains({instance.node, instance.id})) continue;
    ++passing[control::VersionOf(instance, spec)];
  }
  std::vector<KeptOut> kept_out;
  for (const auto& [version, count] : passing) {
    const bool rolled_back =
        std::ranges::find(rolled_back_versions, version) != rolled_back_versions.end();
    kept_out.push_back({version, count, rolled_back});
  }
  return kept_out;
}

Result<void> CheckRelease(base::IoLoop& io, consul::Client& client, const std::string& id,
                          const Spec& spec) {
  const auto state = control::ReadStoredState(io, client, id);
  if (!state && state.error().code != ErrorCode::kNotFound) return tl::unexpected(state.error());
  if (state) {
    if (const auto over = control::NotUnderWay(id, *state, "first"); !over) return over;
  }
  const auto filter = PrimaryFilter(io, client, spec);
  if (!filter) return tl::unexpected(filter.error());
  if (filter->empty()) return {};
  const std::string path = consul::Client::HealthPath(spec.service);
  const auto all = ReadInstances(io, client, path);
  if (!all) return tl::unexpected(all.error());
  const auto primary = ReadInstances(io, client, path + "&filter=" + base::UrlEncode(*filter));
  if (!primary) return tl::unexpected(primary.error());
  const auto rolled_back = state ? state->rolled_back_versions : std::vector<std::string>();
  return Verdict(spec, KeptOutOf(spec, rolled_back, *all, *primary));
}

}  // namespace consul_canary::api
