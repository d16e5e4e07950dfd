#include "analyzer/api/first_contact.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "analyzer/control/await.h"
#include "analyzer/control/entry_writer.h"
#include "exporter/consul/config_entries.h"

namespace consul_canary::api {
namespace {

using base::ErrorCode;
using base::Result;
using control::Await;
using rollout::Spec;
using Json = nlohmann::ordered_json;

// No deployment carries it.
constexpr const char* kNoVersion = "consul-canary-none";

std::set<std::string> PassingVersions(const Spec& spec,
                                      const std::vector<consul::Instance>& instances) {
  std::set<std::string> versions;
  for (const consul::Instance& instance : instances) {
    if (!instance.passing) continue;
    const auto found = instance.meta.find(spec.version_key);
    versions.insert(found == instance.meta.end() ? "" : found->second);
  }
  return versions;
}

// Why the primary's version cannot be told; empty: it is the only one.
std::string ObstacleOf(const Spec& spec, const std::set<std::string>& versions) {
  if (versions.empty()) {
    return fmt::format(
        "no instance of \"{}\" passes its checks, so the version that the primary subset is to "
        "hold "
        "is not known: deploy it first, or write the service-resolver by hand",
        spec.service);
  }
  if (versions.contains("")) {
    return fmt::format(
        "passing instances of \"{}\" have no Meta \"{}\", so a subset cannot be told by it: give "
        "it "
        "to them, or name the key that they have in version_key",
        spec.service, spec.version_key);
  }
  if (versions.size() == 1) return "";
  return fmt::format(
      "passing instances of \"{}\" carry versions {}, and which one is the primary's is not "
      "guessed: "
      "leave one alone, or write the service-resolver by hand",
      spec.service, fmt::join(versions, ", "));
}

std::string ResolverJson(const Spec& spec, const std::string& version) {
  const auto subset = [&spec](const std::string& of) {
    return Json{{"Filter", rollout::FilterForVersion(spec, of)}};
  };
  const Json entry = {
      {"Kind", "service-resolver"},
      {"Name", spec.service},
      {"DefaultSubset", spec.primary_subset},
      {"Subsets",
       {{spec.primary_subset, subset(version)}, {spec.canary_subset, subset(kNoVersion)}}}};
  return entry.dump();
}

std::string SplitterJson(const Spec& spec) {
  constexpr int kAll = 100;
  Json splits = Json::array();
  splits.push_back({{"Weight", kAll}, {"ServiceSubset", spec.primary_subset}});
  splits.push_back({{"Weight", 0}, {"ServiceSubset", spec.canary_subset}});
  const Json entry = {
      {"Kind", "service-splitter"}, {"Name", spec.service}, {"Splits", std::move(splits)}};
  return entry.dump();
}

Result<bool> Write(base::IoLoop& io, consul::Client& client, const std::string& json,
                   std::uint64_t cas_index) {
  auto writer = control::WriterFor(client, json);
  if (!writer) return tl::unexpected(writer.error());
  // Shared: the loop may come to it after the wait for its answer is over.
  const std::shared_ptr<control::EntryWriter> shared = *std::move(writer);
  return Await<bool>(io, [shared, json, cas_index](auto reply) {
    shared->Write(json, cas_index, std::move(reply));
  });
}

Result<void> WriteNew(base::IoLoop& io, consul::Client& client, const std::string& json) {
  const auto written = Write(io, client, json, 0);  // 0: only where there is none
  if (!written) return tl::unexpected(written.error());
  if (*written) return {};
  return base::Fail(ErrorCode::kConflict,
                    "someone else has created the entry meanwhile; apply again: " + json);
}

struct Widening {
  std::string json;
  std::uint64_t index = 0;
};

// nullopt: there is nothing to widen.
Result<std::optional<Widening>> PlanWidening(base::IoLoop& io, consul::Client& client,
                                             const Spec& spec) {
  const std::string service = spec.service;
  const auto text = Await<std::optional<std::string>>(io, [&client, service](auto reply) {
    client.ReadEntry("service-resolver", service, true, std::move(reply));
  });
  if (!text) return tl::unexpected(text.error());
  if (!*text) return std::nullopt;
  const auto resolver = consul::ParseResolver(**text);
  if (!resolver) return tl::unexpected(resolver.error());
  const auto filter = resolver->subset_filters.find(spec.primary_subset);
  if (filter == resolver->subset_filters.end() || filter->second.empty()) return std::nullopt;
  auto wide = consul::WithSubsetFilter(*resolver, spec.primary_subset, "");
  if (!wide) return tl::unexpected(wide.error());
  return Widening{*std::move(wide), resolver->modify_index};
}

}  // namespace

FirstContact PlanFirstContact(const Spec& spec, bool has_resolver, bool has_splitter,
                              const std::vector<consul::Instance>& instances) {
  FirstContact contact;
  if (!has_resolver) {
    const auto versions = PassingVersions(spec, instances);
    contact.obstacle = ObstacleOf(spec, versions);
    if (!contact.obstacle.empty()) return contact;
    contact.resolver = ResolverJson(spec, *versions.begin());
  }
  if (!has_splitter) contact.splitter = SplitterJson(spec);
  return contact;
}

Result<FirstContact> AskFirstContact(base::IoLoop& io, consul::Client& client, const Spec& spec,
                                     bool has_resolver, bool has_splitter) {
  if (has_resolver) return PlanFirstContact(spec, has_resolver, has_splitter, {});
  const std::string service = spec.service;
  const auto instances = Await<std::vector<consul::Instance>>(io, [&client, service](auto reply) {
    client.ReadValue<std::vector<consul::Instance>>("health", consul::Client::HealthPath(service),
                                                    &consul::ParseInstances, std::move(reply));
  });
  if (!instances) return tl::unexpected(instances.error());
  return PlanFirstContact(spec, has_resolver, has_splitter, *instances);
}

Result<void> Create(base::IoLoop& io, consul::Client& client, const FirstContact& contact) {
  for (const auto* entry : {&contact.resolver, &contact.splitter}) {
    if (!*entry) continue;
    const auto written = WriteNew(io, client, **entry);
    if (!written) return written;
  }
  return {};
}

Result<void> MayWidenPrimary(base::IoLoop& io, consul::Client& client, const Spec& spec) {
  const auto wide = PlanWidening(io, client, spec);
  if (!wide) return tl::unexpected(wide.error());
  if (!*wide) return {};
  const auto writer = control::WriterFor(client, (*wide)->json);
  if (!writer) return tl::unexpected(writer.error());
  return {};
}

Result<bool> WidenPrimary(base::IoLoop& io, consul::Client& client, const Spec& spec) {
  constexpr int kTries = 5;  // others may write the entry at the same time
  for (int i = 0; i < kTries; ++i) {
    const auto wide = PlanWidening(io, client, spec);
    if (!wide) return tl::unexpected(wide.error());
    if (!*wide) return false;
    const auto written = Write(io, client, (*wide)->json, (*wide)->index);
    if (!written) return tl::unexpected(written.error());
    if (*written) return true;
  }
  return base::Fail(ErrorCode::kConflict,
                    fmt::format("the service-resolver \"{}\" is written by others again and again",
                                spec.service));
}

}  // namespace consul_canary::api
