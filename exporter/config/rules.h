// The vocabulary in which the reader of a file (specification, static targets) says what it may
// contain: one rule for each key, put together into a table. A rule checks one value, writes it
// where it belongs, or reports what is wrong and what would be right; the rest is read on.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "exporter/config/document.h"

namespace consul_canary::config {

// What a reading has found so far. Fields are named by their paths: "strategy.steps[2].weight".
class Findings {
 public:
  void Report(int line, std::string field, std::string problem);
  // Notes where a field stands, so that contradictions found later can name its line.
  void Place(const std::string& field, int line);

  // 0 where the field was left out.
  [[nodiscard]] int LineOf(const std::string& field) const;
  [[nodiscard]] bool Present(const std::string& field) const;
  // Whether the field, or something below it, was reported.
  [[nodiscard]] bool Faulty(const std::string& field) const;
  // In the order of their lines; those of one line in the order of their reporting.
  [[nodiscard]] std::vector<FieldError> Take();

 private:
  std::vector<FieldError> errors_;
  std::map<std::string, int> lines_;
};

using Rule = std::function<void(const Node& value, const std::string& field, Findings& findings)>;
using Rules = std::vector<std::pair<std::string_view, Rule>>;

// What a scalar must satisfy beyond its type; `words` completes "must be …".
struct NumberCheck {
  std::function<bool(double)> holds;
  std::string_view words;
};
struct TextCheck {
  std::function<bool(std::string_view)> holds;
  std::string_view words;
};

// The targets are written only if the value is right, and must outlive the rule.
[[nodiscard]] Rule Number(double& target, NumberCheck check);
[[nodiscard]] Rule Text(std::string& target, TextCheck check);
[[nodiscard]] Rule Flag(bool& target);
// `30s`, `1.5m`, `250ms`, `1h`, or 0. Whole milliseconds, at most a year.
[[nodiscard]] Rule Duration(std::chrono::duration<double>& target, bool zero_allowed);
[[nodiscard]] Rule Map(Rules rules);
// One rule for each element; `make` is called with the element's index.
[[nodiscard]] Rule List(std::function<Rule(std::size_t index)> make);

// A key whose part does not exist yet. Its default is accepted, as is everything in `accepted`
// (scalars as they are written, "null", "[]"), since it changes nothing; all else would be ignored
// and is refused.
[[nodiscard]] Rule NotBuilt(std::vector<std::string_view> accepted);

// One of a few words; those in `not_built` exist but are refused for now.
template <class E>
[[nodiscard]] Rule Choice(E& target, std::vector<std::pair<std::string_view, E>> words,
                          std::vector<std::string_view> not_built = {});

// --- below: for the template and for rules that are put together elsewhere

// Reports a key that a map lacks and that has no default. No map: nothing is said.
void RequireKey(const Node& map, const std::string& field, std::string_view key,
                Findings& findings);

// "is 10", "is \"ten\"", "is a list", "is empty".
[[nodiscard]] std::string Describe(const Node& node);
[[nodiscard]] bool IsText(const Node& node);
void ReportChoice(const Node& node, const std::string& field, Findings& findings,
                  const std::vector<std::string_view>& words,
                  const std::vector<std::string_view>& not_built);

template <class E>
Rule Choice(E& target, std::vector<std::pair<std::string_view, E>> words,
            std::vector<std::string_view> not_built) {
  return [&target, words = std::move(words), not_built = std::move(not_built)](
             const Node& node, const std::string& field, Findings& findings) {
    std::vector<std::string_view> names;
    for (const auto& [name, value] : words) {
      if (IsText(node) && node.text == name) {
        target = value;
        return;
      }
      names.push_back(name);
    }
    ReportChoice(node, field, findings, names, not_built);
  };
}

}  // namespace consul_canary::config
