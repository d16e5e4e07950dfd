#include "analyzer/config/match_rules.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <string>

#include "analyzer/config/value_rules.h"

namespace consul_canary::config {
namespace {

using rollout::Match;
using rollout::MatchKind;

// Each is a route of the service-router, whose Meta names them all.
constexpr std::size_t kMostMatches = 16;
constexpr std::size_t kLongestValue = 256;
constexpr std::array kKinds{MatchKind::kPresent, MatchKind::kExact, MatchKind::kPrefix,
                            MatchKind::kSuffix, MatchKind::kRegex};

bool IsTokenChar(char c) {
  const bool alphanumeric =
      (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  return alphanumeric || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

TextCheck Token(std::string_view words) {
  return {[](std::string_view name) {
            return !name.empty() && name.size() <= 128 && std::ranges::all_of(name, IsTokenChar);
          },
          words};
}

TextCheck Value() {
  return {[](std::string_view value) {
            const auto printable = [](char c) { return c >= ' ' && c < 0x7F; };
            return !value.empty() && value.size() <= kLongestValue &&
                   std::ranges::all_of(value, printable);
          },
          "1 to 256 printable ASCII characters"};
}

// As RFC 6265 has it: what a browser sends back without quoting it.
bool IsCookieChar(char c) {
  return c > ' ' && c < 0x7F && std::string_view("\",;\\").find(c) == std::string_view::npos;
}

std::string Lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

// Of the five ways to compare exactly one is given.
void SettleKind(const Node& node, const std::string& field,
                const std::array<std::string, kKinds.size()>& values, bool present, Match& match,
                Findings& findings) {
  int given = 0;
  for (std::size_t i = 0; i < kKinds.size(); ++i) {
    const std::string key = field + "." + std::string(ToString(kKinds[i]));
    if (!findings.Present(key)) continue;
    ++given;
    match.kind = kKinds[i];
    match.value = values[i];
    if (kKinds[i] == MatchKind::kPresent && !present && !findings.Faulty(key)) {
      findings.Report(findings.LineOf(key), key,
                      "must be true; what lacks the header cannot be matched");
    }
  }
  if (given == 1) return;
  findings.Report(node.line, field,
                  fmt::format("must have one of exact, prefix, suffix, regex and present, has {}",
                              given == 0 ? "none" : "several"));
}

void CheckCookie(const std::string& field, const Match& match, Findings& findings) {
  const std::string key = field + "." + std::string(ToString(match.kind));
  if (match.kind == MatchKind::kRegex) {
    findings.Report(findings.LineOf(key), key,
                    "is for headers; match the header cookie by it, or the cookie by exact, "
                    "prefix, suffix or present");
  } else if (!std::ranges::all_of(match.value, IsCookieChar)) {
    findings.Report(findings.LineOf(key), key,
                    fmt::format("must be a cookie's value, without blanks, \", comma, ; and \\, "
                                "is \"{}\"",
                                match.value));
  }
}

// Sidecars would refuse all routes of the service together with it.
void CheckRegex(const std::string& field, const Match& match, Findings& findings) {
  const RE2 regex(match.value, RE2::Quiet);
  if (regex.ok()) return;
  const std::string key = field + ".regex";
  findings.Report(findings.LineOf(key), key,
                  fmt::format("must be a regular expression by RE2's syntax, is \"{}\": {}",
                              match.value, regex.error()));
}

void CheckSubject(const Node& node, const std::string& field, Match& match, Findings& findings) {
  const bool header = findings.Present(field + ".header");
  const bool cookie = findings.Present(field + ".cookie");
  if (header == cookie) {
    findings.Report(node.line, field,
                    header ? "has both header and cookie; give one of the two"
                           : "must have a header or a cookie");
    return;
  }
  match.header = Lower(match.header);
  if (findings.Faulty(field)) return;
  if (cookie) {
    CheckCookie(field, match, findings);
  } else if (match.kind == MatchKind::kRegex) {
    CheckRegex(field, match, findings);
  }
}

Rule OneMatch(Match& match) {
  return [&match](const Node& node, const std::string& field, Findings& findings) {
    std::array<std::string, kKinds.size()> values;
    bool present = false;
    Map({{"header", Text(match.header, Token("a header's name"))},
         {"cookie", Text(match.cookie, Token("a cookie's name"))},
         {"present", Flag(present)},
         {"exact", Text(values[1], Value())},
         {"prefix", Text(values[2], Value())},
         {"suffix", Text(values[3], Value())},
         {"regex", Text(values[4], Value())}})(node, field, findings);
    if (findings.Faulty(field)) return;
    SettleKind(node, field, values, present, match, findings);
    CheckSubject(node, field, match, findings);
  };
}

void CheckRepeated(const Node& list, const std::string& field, const std::vector<Match>& matches,
                   Findings& findings) {
  for (std::size_t i = 0; i < matches.size(); ++i) {
    const auto first = std::ranges::find(matches, matches[i]) - matches.begin();
    if (static_cast<std::size_t>(first) == i) continue;
    findings.Report(list.children[i].line, fmt::format("{}[{}]", field, i),
                    fmt::format("says the same as {}[{}]", field, first));
  }
}

}  // namespace

Rule Matches(std::vector<Match>& target) {
  return ListOfAtMost(kMostMatches, "matches",
                      [&target](const Node& node, const std::string& field, Findings& findings) {
                        target.assign(node.children.size(), Match{});
                        List([&target](std::size_t i) { return OneMatch(target[i]); })(node, field,
                                                                                       findings);
                        if (node.kind == NodeKind::kList && !findings.Faulty(field)) {
                          CheckRepeated(node, field, target, findings);
                        }
                      });
}

}  // namespace consul_canary::config
