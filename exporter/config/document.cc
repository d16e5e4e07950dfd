#include "exporter/config/document.h"

#include <fmt/format.h>

#include <cassert>
#include <utility>

namespace consul_canary::config {
namespace {

constexpr std::size_t kMaxDepth = 32;

// How many bytes the UTF-8 sequence at `at` has; 0 if it is none, is overlong, a surrogate or
// beyond U+10FFFF.
std::size_t SequenceLength(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U;
  };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first == 0) return 0;
  if (first < 0x80U) return 1;
  if (first >= 0xC2U && first < 0xE0U) return continues(1) ? 2 : 0;
  if ((first & 0xF0U) == 0xE0U) {
    const bool overlong = first == 0xE0U && byte(1) < 0xA0U;
    const bool surrogate = first == 0xEDU && byte(1) >= 0xA0U;
    return continues(1) && continues(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xF0U && first < 0xF5U) {
    const bool overlong = first == 0xF0U && byte(1) < 0x90U;
    const bool beyond = first == 0xF4U && byte(1) >= 0x90U;
    return continues(1) && continues(2) && continues(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

std::optional<FieldError> FindBadBytes(std::string_view text) {
  int line = 1;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = SequenceLength(text, at);
    if (length == 0) return FieldError{line, "", "is not text: a byte that is not valid UTF-8"};
    if (text[at] == '\n') ++line;
    at += length;
  }
  return std::nullopt;
}

}  // namespace

bool TreeBuilder::ExpectsKey() const {
  return !open_.empty() && open_.back().node.kind == NodeKind::kMap && !open_.back().pending;
}

void TreeBuilder::Begin(NodeKind kind, int line) {
  if (ExpectsKey()) throw DocumentError{line, "a key must be a word, not a list or a map"};
  if (open_.size() >= kMaxDepth) throw DocumentError{line, "is nested too deeply"};
  Node node;
  node.kind = kind;
  node.line = line;
  open_.push_back({std::move(node), std::nullopt});
}

void TreeBuilder::BeginMap(int line) { Begin(NodeKind::kMap, line); }

void TreeBuilder::BeginList(int line) { Begin(NodeKind::kList, line); }

void TreeBuilder::End() {
  assert(!open_.empty() && !open_.back().pending);
  Node node = std::move(open_.back().node);
  open_.pop_back();
  Add(std::move(node));
}

void TreeBuilder::Null(int line) {
  if (ExpectsKey()) throw DocumentError{line, "a key must be a word, is empty"};
  Node node;
  node.line = line;
  Add(std::move(node));
}

void TreeBuilder::Scalar(int line, std::string text, bool quoted) {
  Node node;
  node.kind = NodeKind::kScalar;
  node.line = line;
  if (ExpectsKey()) {
    node.key = std::move(text);
    open_.back().pending = std::move(node);
    return;
  }
  node.text = std::move(text);
  node.quoted = quoted;
  Add(std::move(node));
}

void TreeBuilder::Add(Node value) {
  if (open_.empty()) {
    root_ = std::move(value);
    return;
  }
  Open& parent = open_.back();
  if (parent.pending) {
    value.key = std::move(parent.pending->key);
    value.line = parent.pending->line;
    parent.pending.reset();
  }
  parent.node.children.push_back(std::move(value));
}

Node TreeBuilder::Take() {
  assert(open_.empty());
  return std::exchange(root_, Node{});
}

std::string ToString(const FieldError& error) {
  std::string text;
  if (error.line > 0) text += fmt::format("line {}: ", error.line);
  if (!error.field.empty()) text += error.field + ": ";
  return text + error.problem;
}

Documents ReadDocuments(std::string_view text, std::size_t max_bytes) {
  if (text.size() > max_bytes) {
    return {{}, FieldError{0, "", fmt::format("is larger than {} KiB", max_bytes / 1024)}};
  }
  if (auto error = FindBadBytes(text)) return {{}, std::move(error)};
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos || text[first] != '{') return ReadYaml(text);
  Documents json = ReadJson(text);
  if (!json.error) return json;
  // YAML's own {…} does without the quotes; a text that has them is meant as JSON.
  Documents yaml = ReadYaml(text);
  const std::size_t second = text.find_first_not_of(kSpace, first + 1);
  const bool meant_as_json = second != std::string_view::npos && text[second] == '"';
  return yaml.error && meant_as_json ? json : yaml;
}

}  // namespace consul_canary::config
