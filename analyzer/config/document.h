// YAML or JSON text → a tree that remembers lines. Internal to config/: it gives both formats one
// shape and takes from their parsers what those would let pass (duplicate keys stay visible, no
// aliases, no tags, valid UTF-8 only). Refuses to know what any key means.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "analyzer/config/spec_file.h"

namespace consul_canary::config {

enum class NodeKind { kNull, kScalar, kList, kMap };

struct Node {
  NodeKind kind = NodeKind::kNull;
  int line = 0;                // from 1; in a map: of the key
  std::string key;             // in a map
  std::string text;            // of a scalar
  bool quoted = false;         // a scalar that is text whatever it looks like
  std::vector<Node> children;  // of a list or a map, in the text's order, duplicate keys included
};

// What was read, and what stopped the reading. Documents before the error are whole.
struct Documents {
  std::vector<Node> roots;
  std::optional<FieldError> error;
};

// A text that begins with `{` is tried as JSON first. At most 256 KiB, 32 levels.
[[nodiscard]] Documents ReadDocuments(std::string_view text);

// The two formats. Exposed for ReadDocuments alone.
[[nodiscard]] Documents ReadJson(std::string_view text);
[[nodiscard]] Documents ReadYaml(std::string_view text);

// Puts a parser's events together. Throws DocumentError, which ReadJson and ReadYaml catch.
struct DocumentError {
  int line = 0;
  std::string problem;
};
class TreeBuilder {
 public:
  void BeginMap(int line);
  void BeginList(int line);
  void End();
  void Null(int line);
  // In a map, every other one is a key.
  void Scalar(int line, std::string text, bool quoted);

  // Precondition: every Begin had its End, and there was at least one value.
  [[nodiscard]] Node Take();

 private:
  struct Open {
    Node node;
    std::optional<Node> pending;  // a key that awaits its value
  };

  [[nodiscard]] bool ExpectsKey() const;
  void Begin(NodeKind kind, int line);
  void Add(Node value);

  std::vector<Open> open_;
  Node root_;
};

}  // namespace consul_canary::config
