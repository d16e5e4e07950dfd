#include "analyzer/config/spec_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "analyzer/config/analysis_rules.h"
#include "exporter/config/document.h"
#include "exporter/config/rules.h"

namespace consul_canary::config {
namespace {

using rollout::Spec;
using rollout::Step;

constexpr std::size_t kMaxSteps = 100;
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

NumberCheck Weight() {
  return {[](double value) {
            const double hundredths = value * 100.0;
            return value > 0.0 && value <= 100.0 &&
                   std::abs(hundredths - std::round(hundredths)) < 1e-9;
          },
          "greater than 0, at most 100, with at most two decimals"};
}

Rule OneStep(Step& step) {
  return [&step](const Node& node, const std::string& field, Findings& findings) {
    Map({{"weight", Number(step.weight_percent, Weight())},
         {"min_duration", Duration(step.min_duration, true)},
         {"pause", Flag(step.pause)}})(node, field, findings);
    RequireKey(node, field, "weight", findings);
    step.weight_percent = std::round(step.weight_percent * 100.0) / 100.0;
  };
}

void CheckAscending(const std::vector<Step>& steps, const std::string& field, Findings& findings) {
  for (std::size_t i = 1; i < steps.size(); ++i) {
    const std::string before = fmt::format("{}[{}].weight", field, i - 1);
    const std::string here = fmt::format("{}[{}].weight", field, i);
    if (!findings.Present(before) || !findings.Present(here)) continue;
    if (findings.Faulty(before) || findings.Faulty(here)) continue;
    if (steps[i].weight_percent > steps[i - 1].weight_percent) continue;
    findings.Report(findings.LineOf(here), here,
                    fmt::format("must be greater than the step before ({}), is {}",
                                steps[i - 1].weight_percent, steps[i].weight_percent));
  }
}

Rule Steps(std::vector<Step>& steps) {
  return [&steps](const Node& node, const std::string& field, Findings& findings) {
    if (node.kind == NodeKind::kList &&
        (node.children.empty() || node.children.size() > kMaxSteps)) {
      findings.Report(
          node.line, field,
          fmt::format("must have 1 to {} steps, has {}", kMaxSteps, node.children.size()));
      return;
    }
    steps.assign(node.children.size(), Step{});
    List([&steps](std::size_t i) { return OneStep(steps[i]); })(node, field, findings);
    CheckAscending(steps, field, findings);
  };
}

Rule Strategy(Spec& spec) {
  using rollout::OnDeadline;
  return Map({{"steps", Steps(spec.steps)},
              {"linear", NotBuilt({"null"})},
              {"ready_deadline", Duration(spec.ready_deadline, false)},
              {"warmup", Duration(spec.warmup, true)},
              {"deadline", Duration(spec.deadline, false)},
              {"on_deadline",
               Choice<OnDeadline>(spec.on_deadline, {{"hold", OnDeadline::kHold},
                                                     {"rollback", OnDeadline::kRollBack}})}});
}

// product.md's specification, key by key.
Rule Document(Spec& spec) {
  using rollout::PromoteMode;
  using rollout::StartMode;
  return Map({{"service", Text(spec.service, ServiceName())},
              {"namespace", NotBuilt({"default", "", "null"})},
              {"partition", NotBuilt({"default", "", "null"})},
              {"datacenter", NotBuilt({"null", "default", ""})},
              {"subsets", Map({{"primary", Text(spec.primary_subset, SubsetName())},
                               {"canary", Text(spec.canary_subset, SubsetName())}})},
              {"act", NotBuilt({"true"})},
              {"start", Choice<StartMode>(spec.start, {{"new-version", StartMode::kNewVersion},
                                                       {"manual", StartMode::kManual}})},
              {"version_key", Text(spec.version_key, MetaKey())},
              {"version_tag_prefix", NotBuilt({"null"})},
              {"subset_filter", Text(spec.subset_filter, SubsetFilter())},
              {"strategy", Strategy(spec)},
              {"analysis", Analysis(spec)},
              {"shield", NotBuilt({"auto", "ignore"})},
              {"promote", Choice<PromoteMode>(spec.promote,
                                              {{"swap-subsets", PromoteMode::kSwapSubsets},
                                               {"none", PromoteMode::kNone}},
                                              {"external"})},
              {"rollback_window", NotBuilt({"0", "0s"})},
              {"on_rollback", Map({{"maintenance", NotBuilt({"false"})}})},
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

// A step whose deadline passes before it may be judged, or may end, can never advance.
void CheckDeadline(const Spec& spec, Findings& findings) {
  if (findings.Faulty("strategy.deadline")) return;
  const auto check = [&](rollout::Seconds duration, const std::string& field) {
    if (duration < spec.deadline || findings.Faulty(field)) return;
    const int line = findings.LineOf(findings.Present(field) ? field : "strategy.deadline");
    findings.Report(line, field,
                    fmt::format("must be shorter than strategy.deadline ({} s), is {} s",
                                spec.deadline.count(), duration.count()));
  };
  check(spec.warmup, "strategy.warmup");
  for (std::size_t i = 0; i < spec.steps.size(); ++i) {
    check(spec.steps[i].min_duration, fmt::format("strategy.steps[{}].min_duration", i));
  }
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
  CheckSubsetsDiffer(spec, findings);
  CheckDeadline(spec, findings);
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
