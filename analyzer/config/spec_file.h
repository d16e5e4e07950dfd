// The only place that reads rollout specifications: YAML or JSON text ↔ rollout::Spec.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "analyzer/rollout/spec.h"

namespace consul_canary::config {

// One thing that is wrong, and what would be right.
struct FieldError {
  int line = 0;       // from 1; 0: not known
  std::string field;  // strategy.steps[2].weight
  std::string problem;  // "must be greater than the step before (25), is 10"

  bool operator==(const FieldError&) const = default;
};

// "line 7: strategy.steps[2].weight: must be …"
[[nodiscard]] std::string ToString(const FieldError& error);

// Reads one document and validates it whole: unknown keys (with the nearest known one), wrong types, duplicate keys,
// non-finite numbers, contradictions, and keys whose part is not built yet are all reported together, in the
// order of their lines.
[[nodiscard]] tl::expected<rollout::Spec, std::vector<FieldError>> ParseSpec(std::string_view text);

// A file may hold several documents (YAML's `---`). Line numbers are the file's.
[[nodiscard]] tl::expected<std::vector<rollout::Spec>, std::vector<FieldError>> ParseSpecs(std::string_view text);

// The specification with every default filled in; ParseSpec reads both back to an equal Spec.
[[nodiscard]] std::string ToJson(const rollout::Spec& spec);
[[nodiscard]] std::string ToYaml(const rollout::Spec& spec);

}  // namespace consul_canary::config
