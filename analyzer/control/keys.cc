#include "analyzer/control/keys.h"

#include <fmt/format.h>

#include <charconv>

namespace consul_canary::control {

std::string SpecKey(std::string_view id) { return fmt::format("{}{}", kSpecsPrefix, id); }

std::string OrdersKey(std::string_view id) { return fmt::format("{}{}/", kOrdersPrefix, id); }

std::string OrderKey(std::string_view id, std::uint64_t sequence) {
  return OrdersKey(id) + SequenceName(sequence);
}

std::string LockKey(std::string_view id) { return fmt::format("{}{}", kLocksPrefix, id); }

std::string RolloutKey(std::string_view id, std::string_view part) {
  return fmt::format("{}{}/{}", kRolloutsPrefix, id, part);
}

std::string AnalyzerKey(std::string_view analyzer_id) {
  return fmt::format("{}{}", kAnalyzersPrefix, analyzer_id);
}

std::string SequenceName(std::uint64_t sequence) { return fmt::format("{:08}", sequence); }

std::optional<std::uint64_t> SequenceOf(std::string_view key) {
  const std::string_view name = key.substr(key.rfind('/') + 1);
  std::uint64_t sequence = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), sequence);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  if (SequenceName(sequence) != name) return std::nullopt;
  return sequence;
}

std::string_view After(std::string_view prefix, std::string_view key) {
  return key.starts_with(prefix) ? key.substr(prefix.size()) : std::string_view();
}

}  // namespace consul_canary::control
