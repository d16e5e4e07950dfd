#include "analyzer/cli/yaml.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace consul_canary::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kIndent = 2;

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool IsPlainSign(char c) {
  return IsLetter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.' || c == '/';
}

// Whether every reader of YAML takes it for text without quotes. JSON's quoting is YAML's, too.
bool IsPlain(std::string_view text) {
  constexpr std::array<std::string_view, 9> kMeanOtherThings{"true", "false", "yes", "no", "on",
                                                             "off",  "null",  "y",   "n"};
  if (text.empty() || !IsLetter(text.front())) return false;
  if (!std::ranges::all_of(text, IsPlainSign)) return false;
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return std::ranges::find(kMeanOtherThings, lower) == kMeanOtherThings.end();
}

std::string Quoted(const std::string& text) {
  return IsPlain(text) ? text : Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string Scalar(const Json& value) {
  if (value.is_string()) return Quoted(value.get<std::string>());
  return value.dump();  // also {} and []
}

bool IsNested(const Json& value) { return value.is_structured() && !value.empty(); }

void Write(const Json& value, std::size_t indent, std::string& text);

// After a key or a dash: on the same line, or below and further in.
void WriteBelow(const Json& value, std::size_t indent, std::string& text) {
  if (!IsNested(value)) {
    text += ' ' + Scalar(value) + '\n';
    return;
  }
  text += '\n';
  Write(value, indent + kIndent, text);
}

void Write(const Json& value, std::size_t indent, std::string& text) {
  const std::string margin(indent, ' ');
  if (value.is_object()) {
    for (const auto& [key, child] : value.items()) {
      text += margin + Quoted(key) + ':';
      WriteBelow(child, indent, text);
    }
    return;
  }
  for (const Json& child : value) {
    if (!IsNested(child)) {
      text += margin + "- " + Scalar(child) + '\n';
      continue;
    }
    // The first line of what is nested begins after the dash.
    const std::size_t begin = text.size();
    Write(child, indent + kIndent, text);
    text[begin + indent] = '-';
  }
}

}  // namespace

std::string YamlOf(std::string_view json) {
  const Json value = Json::parse(json, nullptr, false);
  if (value.is_discarded()) return std::string(json);
  if (!IsNested(value)) return Scalar(value) + '\n';
  std::string text;
  Write(value, 0, text);
  return text;
}

}  // namespace consul_canary::cli
