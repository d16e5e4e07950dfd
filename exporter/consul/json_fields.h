// Reading fields of a JSON document that may lack them. For the .cc of this folder only, because
// nlohmann's header is slow to compile. Nothing here throws.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace consul_canary::consul {

// Keeps the order of the fields, so that what is written back looks like what was read.
using Json = nlohmann::ordered_json;

// nullopt: not JSON.
[[nodiscard]] inline std::optional<Json> ParseJson(std::string_view text) {
  Json parsed = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) return std::nullopt;
  return parsed;
}

// A string field; empty where it is absent, null or no string.
[[nodiscard]] inline std::string Text(const Json& object, const char* key) {
  if (!object.is_object()) return {};
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// A non-negative whole number; 0 where it is absent or anything else.
[[nodiscard]] inline std::uint64_t Unsigned(const Json& object, const char* key) {
  if (!object.is_object()) return 0;
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_integer()) return 0;
  if (found->is_number_unsigned()) return found->get<std::uint64_t>();
  // Of a value that was made here and not parsed.
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, found->get<std::int64_t>()));
}

[[nodiscard]] inline bool Flag(const Json& object, const char* key) {
  if (!object.is_object()) return false;
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

// The field's value; an empty object where it is absent or null, so that look-ups can be chained.
[[nodiscard]] inline const Json& Child(const Json& object, const char* key) {
  static const Json empty = Json::object();
  if (!object.is_object()) return empty;
  const auto found = object.find(key);
  return found != object.end() && !found->is_null() ? *found : empty;
}

[[nodiscard]] inline std::vector<std::string> Texts(const Json& object, const char* key) {
  std::vector<std::string> texts;
  const Json& list = Child(object, key);
  if (!list.is_array()) return texts;
  for (const Json& item : list) {
    if (item.is_string()) texts.push_back(item.get<std::string>());
  }
  return texts;
}

[[nodiscard]] inline std::map<std::string, std::string> TextMap(const Json& object,
                                                                const char* key) {
  std::map<std::string, std::string> texts;
  const Json& child = Child(object, key);
  if (!child.is_object()) return texts;
  for (const auto& [name, value] : child.items()) {
    if (value.is_string()) texts.emplace(name, value.get<std::string>());
  }
  return texts;
}

// Never throws: bytes that are no UTF-8 become U+FFFD.
[[nodiscard]] inline std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace consul_canary::consul
