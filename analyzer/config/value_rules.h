// Rules for values, and reports, that the parts of a specification share. Internal to config/.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "analyzer/rollout/spec.h"
#include "exporter/config/rules.h"

namespace consul_canary::config {

// Without both bounds, with both, with the lower alone; `words` completes "must be …".
[[nodiscard]] NumberCheck Between(double low, double high, std::string_view words);
[[nodiscard]] NumberCheck FromTo(double low, double high, std::string_view words);
[[nodiscard]] NumberCheck FromBelow(double low, double high, std::string_view words);

// The targets must outlive the rules.
[[nodiscard]] Rule DurationFromTo(rollout::Seconds& target, rollout::Seconds least,
                                  rollout::Seconds most);
// A text, or null, which is the empty one.
[[nodiscard]] Rule TextOrNull(std::string& target, TextCheck check);
[[nodiscard]] Rule Window(rollout::Seconds& target);  // a tick to a day

// `list`, unless there are more elements; `what` names them.
[[nodiscard]] Rule ListOfAtMost(std::size_t most, std::string_view what, Rule list);

// Reports the field at its own line, or at that of `otherwise` where it was left out.
void Contradicts(Findings& findings, const std::string& field, const std::string& otherwise,
                 std::string problem);

}  // namespace consul_canary::config
