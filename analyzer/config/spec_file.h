// The only place that reads rollout specifications: YAML or JSON text ↔ rollout::Spec. Every key is
// described in docs/spec.md. Refuses to guess: what it does not know, or cannot do yet, is an
// error.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "analyzer/rollout/spec.h"
#include "exporter/config/document.h"

namespace consul_canary::config {

// Reads one document and validates it whole: unknown keys (with the nearest known one), wrong
// types, duplicate keys, non-finite numbers, contradictions, and keys whose part is not built yet
// are all reported together, in the order of their lines. A syntax error is reported alone: what
// follows it is unknown.
[[nodiscard]] tl::expected<rollout::Spec, std::vector<FieldError>> ParseSpec(std::string_view text);

// A file may hold several documents (YAML's `---`), each for another service; at least one. Line
// numbers are the file's.
[[nodiscard]] tl::expected<std::vector<rollout::Spec>, std::vector<FieldError>> ParseSpecs(
    std::string_view text);

// The specification with every default filled in; ParseSpec reads both back to an equal Spec if the
// durations are whole milliseconds, as those that ParseSpec reads are. Precondition: a Spec that
// ParseSpec would accept. JSON on one line; YAML on several, ending in a newline.
[[nodiscard]] std::string ToJson(const rollout::Spec& spec);
[[nodiscard]] std::string ToYaml(const rollout::Spec& spec);

}  // namespace consul_canary::config
