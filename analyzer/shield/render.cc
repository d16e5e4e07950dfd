#include "analyzer/shield/render.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <iterator>
#include <string_view>
#include <utility>

namespace consul_canary::shield {
namespace {

constexpr const char* kIndent = "  ";

std::string Indented(int depth) {
  std::string text;
  for (int i = 0; i < depth; ++i) text += kIndent;
  return text;
}

// A key that HCL takes as it is.
bool IsPlainKey(std::string_view key) {
  return !key.empty() && std::ranges::all_of(key, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  }) && std::isdigit(static_cast<unsigned char>(key.front())) == 0;
}

// A string of HCL: as JSON's, but `${` would begin an interpolation.
std::string HclString(const std::string& text) {
  std::string quoted = Dump(Json(text));
  for (std::size_t at = quoted.find("${"); at != std::string::npos;
       at = quoted.find("${", at + 3)) {
    quoted.insert(at, 1, '$');
  }
  return quoted;
}

void WriteHcl(const Json& value, int depth, std::string& text) {
  if (value.is_string()) {
    text += HclString(value.get<std::string>());
  } else if (value.is_array()) {
    const bool flat =
        std::ranges::none_of(value, [](const Json& each) { return each.is_structured(); });
    text += '[';
    for (std::size_t i = 0; i < value.size(); ++i) {
      text += flat ? (i == 0 ? "" : ", ") : "\n" + Indented(depth + 1);
      WriteHcl(value[i], depth + 1, text);
      if (!flat && i + 1 < value.size()) text += ',';
    }
    text += flat ? "]" : "\n" + Indented(depth) + "]";
  } else if (value.is_object()) {
    text += "{\n";
    for (const auto& [key, child] : value.items()) {
      if (child.is_null()) continue;
      text += Indented(depth + 1) + (IsPlainKey(key) ? key : HclString(key)) + " = ";
      WriteHcl(child, depth + 1, text);
      text += '\n';
    }
    text += Indented(depth) + "}";
  } else {
    text += Dump(value);
  }
}

// "NumRetries" → "numRetries", "HTTP" → "http", "ExternalSNI" → "externalSNI".
std::string LowerCamel(std::string key) {
  std::size_t upper = 0;
  const auto is_upper = [&key](std::size_t i) {
    return i < key.size() && std::isupper(static_cast<unsigned char>(key[i])) != 0;
  };
  while (is_upper(upper)) ++upper;
  const bool all = upper == key.size();
  const std::size_t lowered = all ? upper : std::max<std::size_t>(1, upper) - (upper > 1 ? 1 : 0);
  for (std::size_t i = 0; i < lowered && i < upper; ++i) {
    key[i] = static_cast<char>(std::tolower(static_cast<unsigned char>(key[i])));
  }
  return key;
}

// Objects whose keys are names that somebody gave, not fields.
bool HoldsNames(std::string_view key) {
  constexpr std::string_view kNames[] = {"Subsets", "Failover", "Add", "Set"};
  return std::ranges::find(kNames, key) != std::end(kNames);
}

Json Lowered(const Json& value, bool names) {
  if (value.is_array()) {
    Json list = Json::array();
    for (const Json& each : value) list.push_back(Lowered(each, false));
    return list;
  }
  if (!value.is_object()) return value;
  Json object = Json::object();
  for (const auto& [key, child] : value.items()) {
    if (SaysNothing(child)) continue;
    // What an extension takes is its own affair, and written as it is.
    const bool as_it_is = key == "Arguments" || key == "Config";
    object[names ? key : LowerCamel(key)] = as_it_is ? child : Lowered(child, HoldsNames(key));
  }
  return object;
}

const char* CustomKind(const std::string& kind) {
  constexpr std::pair<std::string_view, const char*> kKinds[] = {
      {"service-splitter", "ServiceSplitter"},
      {"service-resolver", "ServiceResolver"},
      {"service-router", "ServiceRouter"},
      {"proxy-defaults", "ProxyDefaults"}};
  for (const auto& [name, custom] : kKinds) {
    if (name == kind) return custom;
  }
  return "ServiceDefaults";
}

Json WriteInJson(const Write& write) {
  Json changes = Json::array();
  for (const Edit& change : write.changes) {
    changes.push_back(
        {{"path", change.path}, {"was", change.was.value_or(Json())}, {"set", change.set}});
  }
  return {{"entry", Printed(write)},
          {"kind", write.kind},
          {"name", write.name},
          {"stored", write.stored.has_value()},
          {"changes", std::move(changes)},
          {"left", write.left},
          {"not_possible", write.not_possible}};
}

}  // namespace

std::string Hcl(const Json& entry) {
  std::string text;
  for (const auto& [key, value] : entry.items()) {
    if (value.is_null()) continue;
    text += (IsPlainKey(key) ? key : HclString(key)) + " = ";
    WriteHcl(value, 0, text);
    text += '\n';
  }
  return text;
}

Json CustomResource(const Json& entry) {
  const Json written = AsWritten(entry);
  Json spec = Json::object();
  for (const auto& [key, value] : written.items()) {
    if (key == "Kind" || key == "Name" || key == "Meta" || key == "Namespace" ||
        key == "Partition") {
      continue;
    }
    spec[LowerCamel(key)] = Lowered(value, HoldsNames(key));
  }
  return {{"apiVersion", "consul.hashicorp.com/v1alpha1"},
          {"kind", CustomKind(TextAt(entry, "Kind"))},
          {"metadata", {{"name", TextAt(entry, "Name")}}},
          {"spec", std::move(spec)}};
}

std::vector<std::string> Difference(const Write& write) {
  std::vector<std::string> lines;
  for (const Edit& change : write.changes) {
    if (change.set.is_null()) {
      lines.push_back(fmt::format("- {} (is {})", change.path, Dump(change.was.value_or(Json()))));
    } else if (!change.was) {
      lines.push_back(fmt::format("+ {} = {}", change.path, Dump(change.set)));
    } else {
      lines.push_back(
          fmt::format("~ {} = {} (is {})", change.path, Dump(change.set), Dump(*change.was)));
    }
  }
  for (const std::string& path : write.left) {
    lines.push_back(fmt::format("  {}: somebody changed it; it stays as it is", path));
  }
  return lines;
}

std::string Headline(const Write& write) {
  const char* what = "changes";
  if (!write.wanted) {
    what = "goes";
  } else if (!write.stored) {
    what = "new";
  } else if (write.changes_nothing()) {
    what = "stored as it has to be";
  }
  return fmt::format("{}/{}: {}", write.kind, write.name, what);
}

std::string PlanInHcl(const Plan& plan) {
  std::string text;
  for (const Write& write : plan.writes) {
    if (!text.empty()) text += '\n';
    text += "# " + Headline(write) + "\n";
    for (const std::string& line : Difference(write)) text += "#   " + line + "\n";
    if (!write.not_possible.empty()) text += "# " + write.not_possible + "\n";
    if (write.wanted) text += Hcl(Printed(write));
  }
  return text;
}

Json PlanInJson(const Plan& plan) {
  Json entries = Json::array();
  for (const Write& write : plan.writes) entries.push_back(WriteInJson(write));
  return {{"entries", std::move(entries)}};
}

}  // namespace consul_canary::shield
