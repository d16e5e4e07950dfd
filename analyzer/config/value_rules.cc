#include "analyzer/config/value_rules.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

namespace consul_canary::config {

using rollout::Seconds;

NumberCheck Between(double low, double high, std::string_view words) {
  return {[low, high](double value) { return value > low && value < high; }, words};
}

NumberCheck FromTo(double low, double high, std::string_view words) {
  return {[low, high](double value) { return value >= low && value <= high; }, words};
}

NumberCheck FromBelow(double low, double high, std::string_view words) {
  return {[low, high](double value) { return value >= low && value < high; }, words};
}

Rule DurationFromTo(Seconds& target, Seconds least, Seconds most) {
  return [&target, least, most](const Node& node, const std::string& field, Findings& findings) {
    Seconds value = target;
    Duration(value, least == Seconds(0))(node, field, findings);
    if (value < least || value > most) {
      findings.Report(node.line, field,
                      fmt::format("must be from {} s to {} s, {}", least.count(), most.count(),
                                  Describe(node)));
      return;
    }
    target = value;
  };
}

Rule TextOrNull(std::string& target, TextCheck check) {
  return [&target, check = std::move(check)](const Node& node, const std::string& field,
                                             Findings& findings) {
    if (node.kind == NodeKind::kNull) {
      target.clear();
    } else {
      Text(target, check)(node, field, findings);
    }
  };
}

Rule Window(Seconds& target) {
  constexpr Seconds kTick{1};
  return DurationFromTo(target, kTick, Seconds(std::chrono::hours(24)));
}

Rule ListOfAtMost(std::size_t most, std::string_view what, Rule list) {
  return [most, what, list = std::move(list)](const Node& node, const std::string& field,
                                              Findings& findings) {
    if (node.kind != NodeKind::kList || node.children.size() <= most) {
      return list(node, field, findings);
    }
    findings.Report(
        node.line, field,
        fmt::format("must have at most {} {}, has {}", most, what, node.children.size()));
  };
}

void Contradicts(Findings& findings, const std::string& field, const std::string& otherwise,
                 std::string problem) {
  const std::string& at = findings.Present(field) ? field : otherwise;
  findings.Report(findings.LineOf(at), field, std::move(problem));
}

}  // namespace consul_canary::config
