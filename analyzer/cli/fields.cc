#include "analyzer/cli/fields.h"

#include <algorithm>

namespace consul_canary::cli {

using nlohmann::json;

std::string Harmless(std::string_view text) {
  constexpr unsigned char kSpace = 0x20;
  constexpr unsigned char kDelete = 0x7f;
  std::string harmless(text);
  std::replace_if(
      harmless.begin(), harmless.end(),
      [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte < kSpace || byte == kDelete;
      },
      '?');
  return harmless;
}

std::string Text(const json& object, const char* key) {
  if (!object.is_object()) return "";
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? Harmless(found->get<std::string>()) : "";
}

std::optional<double> Number(const json& object, const char* key) {
  if (!object.is_object()) return std::nullopt;
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

const json& Child(const json& object, const char* key) {
  static const json kEmpty = json::object();
  if (!object.is_object()) return kEmpty;
  const auto found = object.find(key);
  return found != object.end() && found->is_structured() ? *found : kEmpty;
}

}  // namespace consul_canary::cli
