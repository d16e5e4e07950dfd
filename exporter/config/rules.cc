#include "exporter/config/rules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>

#include "exporter/config/nearest.h"

namespace consul_canary::config {
namespace {

constexpr std::size_t kLongestQuote = 60;
constexpr std::int64_t kMillisecondsPerYear = 365LL * 24 * 3600 * 1000;

std::string Below(const std::string& field, std::string_view key) {
  return field.empty() ? std::string(key) : fmt::format("{}.{}", field, key);
}

// Cuts at a character's border.
std::string Shortened(std::string_view text) {
  if (text.size() <= kLongestQuote) return std::string(text);
  std::size_t end = kLongestQuote;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return std::string(text.substr(0, end)) + "…";
}

// Control characters would break the one line that a message has.
std::string Printable(std::string_view text) {
  std::string result = Shortened(text);
  for (char& c : result) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return result;
}

std::optional<double> ToNumber(const Node& node) {
  if (node.kind != NodeKind::kScalar || node.quoted) return std::nullopt;
  std::string_view text = node.text;
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (!std::isfinite(value)) return std::nullopt;
  return value;
}

bool IsNonFinite(const Node& node) {
  if (node.kind != NodeKind::kScalar || node.quoted) return false;
  std::string text = node.text;
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  std::string_view rest = text;
  if (rest.starts_with('-') || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest.starts_with('.')) rest.remove_prefix(1);
  if (rest == "inf" || rest == "infinity" || rest == "nan") return true;
  double value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  return error == std::errc::result_out_of_range && end == rest.data() + rest.size();
}

// 010 is 8 to some readers of YAML and 10 to others.
bool IsAmbiguousOctal(const Node& node) {
  if (node.kind != NodeKind::kScalar || node.quoted) return false;
  std::string_view text = node.text;
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  return text.size() > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9';
}

std::string UnknownKey(std::string_view key, const Rules& rules) {
  std::vector<std::string> names;
  for (const auto& [name, rule] : rules) names.emplace_back(name);
  if (const std::string nearest = Nearest(key, names); !nearest.empty()) {
    return fmt::format("is not a known key; did you mean {}?", nearest);
  }
  return fmt::format("is not a known key; known here: {}", fmt::join(names, ", "));
}

struct Unit {
  std::string_view suffix;
  std::int64_t milliseconds;
};
// ms before m and s: the first suffix that fits is taken.
constexpr Unit kUnits[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};

bool AllDigits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

std::int64_t ToInteger(std::string_view digits) {
  std::int64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

// In decimal arithmetic, so that 0.1s is exactly 100 ms.
std::optional<std::int64_t> ToMilliseconds(std::string_view text) {
  const auto unit =
      std::ranges::find_if(kUnits, [&](const Unit& u) { return text.ends_with(u.suffix); });
  if (unit == std::end(kUnits)) return std::nullopt;
  text.remove_suffix(unit->suffix.size());
  const std::size_t point = text.find('.');
  const std::string_view whole = text.substr(0, point);
  const std::string_view fraction =
      point == std::string_view::npos ? std::string_view("0") : text.substr(point + 1);
  if (!AllDigits(whole) || !AllDigits(fraction)) return std::nullopt;
  if (whole.size() > 11 || fraction.size() > 9) return std::nullopt;
  std::int64_t scale = 1;
  for (std::size_t i = 0; i < fraction.size(); ++i) scale *= 10;
  const std::int64_t parts = ToInteger(fraction) * unit->milliseconds;
  if (parts % scale != 0) return std::nullopt;
  const std::int64_t result = ToInteger(whole) * unit->milliseconds + parts / scale;
  return result <= kMillisecondsPerYear ? std::optional(result) : std::nullopt;
}

}  // namespace

void Findings::Report(int line, std::string field, std::string problem) {
  errors_.push_back({line, std::move(field), std::move(problem)});
}

void Findings::Place(const std::string& field, int line) { lines_.emplace(field, line); }

int Findings::LineOf(const std::string& field) const {
  const auto found = lines_.find(field);
  return found == lines_.end() ? 0 : found->second;
}

bool Findings::Present(const std::string& field) const { return lines_.contains(field); }

bool Findings::Faulty(const std::string& field) const {
  return std::ranges::any_of(errors_, [&](const FieldError& error) {
    if (!error.field.starts_with(field)) return false;
    const std::string_view rest = std::string_view(error.field).substr(field.size());
    return rest.empty() || rest[0] == '.' || rest[0] == '[';
  });
}

std::vector<FieldError> Findings::Take() {
  std::ranges::stable_sort(errors_, {}, &FieldError::line);
  return std::exchange(errors_, {});
}

std::string Describe(const Node& node) {
  switch (node.kind) {
    case NodeKind::kNull:
      return "is empty";
    case NodeKind::kList:
      return "is a list";
    case NodeKind::kMap:
      return "is a map";
    case NodeKind::kScalar:
      break;
  }
  return node.quoted ? fmt::format("is \"{}\"", Printable(node.text))
                     : "is " + Printable(node.text);
}

void RequireKey(const Node& map, const std::string& field, std::string_view key,
                Findings& findings) {
  if (map.kind != NodeKind::kMap) return;
  if (std::ranges::find(map.children, key, &Node::key) == map.children.end()) {
    findings.Report(map.line, Below(field, key), "is missing; it has no default");
  }
}

bool IsText(const Node& node) {
  if (node.kind != NodeKind::kScalar) return false;
  if (node.quoted) return true;
  return node.text != "true" && node.text != "false" && !ToNumber(node) && !IsNonFinite(node);
}

void ReportChoice(const Node& node, const std::string& field, Findings& findings,
                  const std::vector<std::string_view>& words,
                  const std::vector<std::string_view>& not_built) {
  const std::string right = fmt::format("{}", fmt::join(words, " or "));
  if (IsText(node) && std::ranges::find(not_built, node.text) != not_built.end()) {
    findings.Report(node.line, field,
                    fmt::format("{} is not built yet in this version; use {}", node.text, right));
    return;
  }
  findings.Report(node.line, field, fmt::format("must be {}, {}", right, Describe(node)));
}

Rule Number(double& target, NumberCheck check) {
  return [&target, check = std::move(check)](const Node& node, const std::string& field,
                                             Findings& findings) {
    const auto value = ToNumber(node);
    if (IsNonFinite(node)) {
      findings.Report(node.line, field, fmt::format("must be finite, {}", Describe(node)));
    } else if (IsAmbiguousOctal(node)) {
      findings.Report(node.line, field,
                      fmt::format("must not begin with 0, {}: YAML's readers disagree on its value",
                                  Describe(node)));
    } else if (!value || !check.holds(*value)) {
      findings.Report(node.line, field,
                      fmt::format("must be a number {}, {}", check.words, Describe(node)));
    } else {
      target = *value;
    }
  };
}

Rule Text(std::string& target, TextCheck check) {
  return [&target, check = std::move(check)](const Node& node, const std::string& field,
                                             Findings& findings) {
    if (IsText(node) && check.holds(node.text)) {
      target = node.text;
      return;
    }
    const bool forgot_quotes = node.kind == NodeKind::kScalar && !IsText(node);
    findings.Report(node.line, field,
                    fmt::format("must be {}, {}{}", check.words, Describe(node),
                                forgot_quotes ? "; put it in quotes if it is meant as text" : ""));
  };
}

Rule Flag(bool& target) {
  return [&target](const Node& node, const std::string& field, Findings& findings) {
    const bool plain = node.kind == NodeKind::kScalar && !node.quoted;
    if (plain && (node.text == "true" || node.text == "false")) {
      target = node.text == "true";
    } else {
      findings.Report(node.line, field, fmt::format("must be true or false, {}", Describe(node)));
    }
  };
}

Rule Duration(std::chrono::duration<double>& target, bool zero_allowed) {
  return [&target, zero_allowed](const Node& node, const std::string& field, Findings& findings) {
    std::optional<std::int64_t> milliseconds;
    if (node.kind == NodeKind::kScalar) {
      milliseconds = node.text == "0" ? std::optional<std::int64_t>(0) : ToMilliseconds(node.text);
    }
    if (!milliseconds) {
      findings.Report(node.line, field,
                      fmt::format("must be a duration such as 30s, 1.5m, 1h or 250ms, of whole "
                                  "milliseconds and at most a year, {}",
                                  Describe(node)));
    } else if (*milliseconds == 0 && !zero_allowed) {
      findings.Report(node.line, field, fmt::format("must be longer than 0, {}", Describe(node)));
    } else {
      target = std::chrono::duration<double>(static_cast<double>(*milliseconds) / 1000.0);
    }
  };
}

Rule Map(Rules rules) {
  return
      [rules = std::move(rules)](const Node& node, const std::string& field, Findings& findings) {
        if (node.kind != NodeKind::kMap) {
          findings.Report(node.line, field,
                          fmt::format("must be a map (key: value), {}", Describe(node)));
          return;
        }
        std::map<std::string_view, int> first_lines;
        for (const Node& child : node.children) {
          const std::string path = Below(field, Printable(child.key));
          const auto [first, is_new] = first_lines.emplace(child.key, child.line);
          if (!is_new) {
            findings.Report(child.line, path,
                            fmt::format("is given twice, first in line {}", first->second));
            continue;
          }
          const auto rule = std::ranges::find(rules, child.key, &Rules::value_type::first);
          if (rule == rules.end()) {
            findings.Report(child.line, path, UnknownKey(child.key, rules));
            continue;
          }
          findings.Place(path, child.line);
          rule->second(child, path, findings);
        }
      };
}

Rule List(std::function<Rule(std::size_t index)> make) {
  return [make = std::move(make)](const Node& node, const std::string& field, Findings& findings) {
    if (node.kind != NodeKind::kList) {
      findings.Report(node.line, field, fmt::format("must be a list, {}", Describe(node)));
      return;
    }
    for (std::size_t i = 0; i < node.children.size(); ++i) {
      const std::string path = fmt::format("{}[{}]", field, i);
      findings.Place(path, node.children[i].line);
      make(i)(node.children[i], path, findings);
    }
  };
}

Rule NotBuilt(std::vector<std::string_view> accepted) {
  return [accepted = std::move(accepted)](const Node& node, const std::string& field,
                                          Findings& findings) {
    std::string_view written = node.text;
    if (node.kind == NodeKind::kNull) written = "null";
    if (node.kind == NodeKind::kList && node.children.empty()) written = "[]";
    const bool nested = node.kind == NodeKind::kMap || !node.children.empty();
    if (nested || std::ranges::find(accepted, written) == accepted.end()) {
      findings.Report(
          node.line, field,
          fmt::format("is not built yet in this version; leave it out or at its default, {}",
                      accepted.front()));
    }
  };
}

}  // namespace consul_canary::config
