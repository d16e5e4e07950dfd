#include "analyzer/config/spec_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "analyzer/config/analysis_rules.h"
#include "analyzer/config/strategy_rules.h"
#include "analyzer/config/value_rules.h"
#include "exporter/config/document.h"
#include "exporter/config/rules.h"

namespace consul_canary::config {
namespace {

using rollout::Spec;

constexpr double kDefaultWeights[] = {1, 5, 10, 25, 50};

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Consul registers other names too, but neither DNS nor Envoy's cluster names take them apart
// again.
TextCheck ServiceName() {
  return {[](std::string_view name) {
            const auto inner = [](char c) {
              return IsLower(c) || IsUpper(c) || IsDigit(c) || c == '-' || c == '_';
            };
            return !name.empty() && name.size() <= 63 && std::ranges::all_of(name, inner) &&
                   inner(name.front()) && name.front() != '-' && name.back() != '-';
          },
          "a service's name (1 to 63 letters, digits, - and _, no - at either end)"};
}

// As Consul checks the names of a service-resolver's subsets.
TextCheck SubsetName() {
  return {[](std::string_view name) {
            const auto inner = [](char c) { return IsLower(c) || IsDigit(c) || c == '-'; };
            return !name.empty() && name.size() <= 63 && std::ranges::all_of(name, inner) &&
                   name.front() != '-' && name.back() != '-';
          },
          "a subset's name (1 to 63 lower-case letters, digits and -, no - at either end)"};
}

// As Consul checks the keys of Service.Meta.
TextCheck MetaKey() {
  return {[](std::string_view key) {
            const auto inner = [](char c) {
              return IsLower(c) || IsUpper(c) || IsDigit(c) || c == '-' || c == '_';
            };
            return !key.empty() && key.size() <= 128 && std::ranges::all_of(key, inner);
          },
          "a key of Service.Meta (1 to 128 letters, digits, - and _)"};
}

TextCheck SubsetFilter() {
  return {[](std::string_view filter) {
            const auto is_control = [](char c) {
              return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
            };
            return filter.size() <= 4096 && std::ranges::none_of(filter, is_control) &&
                   filter.find("{{version}}") != std::string_view::npos;
          },
          "a filter expression on one line that contains {{version}}"};
}

// What Consul Enterprise calls its namespaces and partitions, and Consul its datacenters.
TextCheck PlaceName() {
  return {[](std::string_view name) {
            const auto inner = [](char c) {
              return IsLower(c) || IsUpper(c) || IsDigit(c) || c == '-' || c == '_';
            };
            return name.size() <= 64 && std::ranges::all_of(name, inner);
          },
          "a name (up to 64 letters, digits, - and _), or null for the analyzer's own"};
}

// What would need escaping in a filter is not allowed.
TextCheck TagPrefix() {
  return {[](std::string_view prefix) {
            const auto inner = [](char c) { return c > ' ' && c < 0x7F && c != '"' && c != '\\'; };
            return !prefix.empty() && prefix.size() <= 64 && std::ranges::all_of(prefix, inner);
          },
          "the beginning of a tag (1 to 64 printable ASCII characters, no space, \" or \\), or "
          "null"};
}

// product.md's specification, key by key.
Rule Document(Spec& spec) {
  using rollout::PromoteMode;
  using rollout::ShieldUse;
  using rollout::StartMode;
  return Map(
      {{"service", Text(spec.service, ServiceName())},
       {"namespace", TextOrNull(spec.namespace_name, PlaceName())},
       {"partition", TextOrNull(spec.partition, PlaceName())},
       {"datacenter", TextOrNull(spec.datacenter, PlaceName())},
       {"subsets", Map({{"primary", Text(spec.primary_subset, SubsetName())},
                        {"canary", Text(spec.canary_subset, SubsetName())}})},
       {"act", Flag(spec.act)},
       {"start", Choice<StartMode>(spec.start, {{"new-version", StartMode::kNewVersion},
                                                {"manual", StartMode::kManual}})},
       {"version_key", TextOrNull(spec.version_key, MetaKey())},
       {"version_tag_prefix", TextOrNull(spec.version_tag_prefix, TagPrefix())},
       {"subset_filter", Text(spec.subset_filter, SubsetFilter())},
       {"strategy", Strategy(spec)},
       {"analysis", Analysis(spec)},
       {"shield", Choice<ShieldUse>(spec.shield, {{"auto", ShieldUse::kAuto},
                                                  {"require", ShieldUse::kRequire},
                                                  {"ignore", ShieldUse::kIgnore}})},
       {"promote", Choice<PromoteMode>(spec.promote, {{"swap-subsets", PromoteMode::kSwapSubsets},
                                                      {"external", PromoteMode::kExternal},
                                                      {"none", PromoteMode::kNone}})},
       {"rollback_window", Duration(spec.rollback_window, true)},
       {"on_rollback", Map({{"maintenance", Flag(spec.maintenance_on_rollback)}})},
       {"webhooks", NotBuilt({"[]"})},
       {"notify", NotBuilt({"[]"})}});
}

void CheckSubsetsDiffer(const Spec& spec, Findings& findings) {
  if (spec.primary_subset != spec.canary_subset || findings.Faulty("subsets")) return;
  const std::string field =
      findings.Present("subsets.canary") ? "subsets.canary" : "subsets.primary";
  findings.Report(
      findings.LineOf(field), field,
      fmt::format("must differ from the other subset's name, both are {}", spec.canary_subset));
}

bool HasVersions(const Spec& spec) {
  return !spec.version_key.empty() || !spec.version_tag_prefix.empty();
}

// Defaults that follow from how versions are told: the prefix of a tag takes the place of the key
// of Service.Meta.
void SettleVersions(Spec& spec, Findings& findings) {
  if (spec.version_tag_prefix.empty()) return;
  if (findings.Present("version_key") && !spec.version_key.empty()) {
    findings.Report(findings.LineOf("version_key"), "version_key",
                    "stands beside version_tag_prefix; give one of the two, or version_key: null");
  }
  spec.version_key.clear();
  if (findings.Present("subset_filter")) return;
  spec.subset_filter =
      fmt::format("\"{}{{{{version}}}}\" in Service.Tags", spec.version_tag_prefix);
}

// Where nothing tells a version, nobody can see a new one, nor when the primary has it.
void CheckWithoutVersions(const Spec& spec, Findings& findings) {
  if (HasVersions(spec) || findings.Faulty("version_key") ||
      findings.Faulty("version_tag_prefix")) {
    return;
  }
  if (spec.start != rollout::StartMode::kManual && !findings.Faulty("start")) {
    Contradicts(findings, "start", "version_key",
                "must be manual with version_key: null, since nothing then tells a new version");
  }
  if (spec.promote != rollout::PromoteMode::kNone && !findings.Faulty("promote")) {
    Contradicts(findings, "promote", "version_key",
                "must be none with version_key: null, since nothing then tells which version the "
                "primary subset holds");
  }
}

// What would be ignored is refused.
void CheckEffects(const Spec& spec, Findings& findings) {
  CheckWithoutVersions(spec, findings);
  const auto ignored = [&findings](bool is, const std::string& field, std::string_view why) {
    if (!is || !findings.Present(field) || findings.Faulty(field)) return;
    findings.Report(findings.LineOf(field), field,
                    fmt::format("would be ignored with {}; leave it out", why));
  };
  const bool external = spec.promote == rollout::PromoteMode::kExternal;
  ignored(!HasVersions(spec), "subset_filter", "version_key: null");
  ignored(HasVersions(spec) && external, "subset_filter",
          "promote: external, which writes no filter");
  ignored(!spec.act && spec.maintenance_on_rollback, "on_rollback.maintenance", "act: false");
  ignored(!spec.act && spec.rollback_window.count() > 0, "rollback_window", "act: false");
  const bool watches = spec.after_promotion.count() > 0;
  ignored(!spec.act && watches, "strategy.after_promotion", "act: false");
  ignored(spec.promote == rollout::PromoteMode::kNone && watches, "strategy.after_promotion",
          "promote: none, which keeps the last step");
  ignored(spec.promote == rollout::PromoteMode::kNone && spec.rollback_window.count() > 0,
          "rollback_window", "promote: none, which makes no version the primary");
}

Spec ReadSpec(const Node& root, Findings& findings) {
  Spec spec;
  for (const double weight : kDefaultWeights) {
    spec.steps.push_back({.weight_percent = weight});
  }
  if (root.kind == NodeKind::kNull) {
    findings.Report(std::max(1, root.line), "",
                    "the document is empty; at least service is needed");
    return spec;
  }
  Document(spec)(root, "", findings);
  RequireKey(root, "", "service", findings);
  SettleVersions(spec, findings);
  CheckSubsetsDiffer(spec, findings);
  CheckEffects(spec, findings);
  CheckStrategy(spec, findings);
  CheckAnalysis(spec, findings);
  return spec;
}

struct Read {
  std::vector<Spec> specs;
  std::vector<int> lines;  // where each begins
  std::vector<FieldError> errors;
};

Read ReadAll(std::string_view text) {
  Documents documents = ReadDocuments(text);
  if (documents.roots.empty() && !documents.error) documents.roots.emplace_back();
  Read read;
  std::map<std::string, int> lines;  // of the services
  for (const Node& root : documents.roots) {
    Findings findings;
    Spec spec = ReadSpec(root, findings);
    const int line = findings.LineOf("service");
    if (line != 0 && !findings.Faulty("service")) {
      const auto [first, is_new] = lines.emplace(spec.service, line);
      if (!is_new) {
        findings.Report(
            line, "service",
            fmt::format("{} has a document already, in line {}", spec.service, first->second));
      }
    }
    std::ranges::move(findings.Take(), std::back_inserter(read.errors));
    read.specs.push_back(std::move(spec));
    read.lines.push_back(root.line);
  }
  if (documents.error) read.errors.push_back(*std::move(documents.error));
  return read;
}

}  // namespace

tl::expected<std::vector<Spec>, std::vector<FieldError>> ParseSpecs(std::string_view text) {
  Read read = ReadAll(text);
  if (!read.errors.empty()) return tl::unexpected(std::move(read.errors));
  return std::move(read.specs);
}

tl::expected<Spec, std::vector<FieldError>> ParseSpec(std::string_view text) {
  Read read = ReadAll(text);
  if (read.specs.size() > 1) {
    read.errors.push_back(
        {read.lines[1], "",
         fmt::format("only one document is expected here, the text holds {}", read.specs.size())});
  }
  if (!read.errors.empty()) return tl::unexpected(std::move(read.errors));
  return std::move(read.specs.front());
}

}  // namespace consul_canary::config
