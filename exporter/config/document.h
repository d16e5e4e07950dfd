// YAML or JSON text → a tree that remembers lines. For the readers of files of every kind: it gives
// both formats one shape and takes from their parsers what those would let pass (duplicate keys
// stay visible, no aliases, no tags, valid UTF-8 only). Refuses to know what any key means.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace consul_canary::config {

// One thing that is wrong, and what would be right.
struct FieldError {
  int line = 0;         // from 1; 0: not known
  std::string field;    // strategy.steps[2].weight; empty: the document as a whole
  std::string problem;  // "must be greater than the step before (25), is 10"

  bool operator==(const FieldError&) const = default;
};

// "line 7: strategy.steps[2].weight: must be …"
[[nodiscard]] std::string ToString(const FieldError& error);

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

inline constexpr std::size_t kMaxDocumentBytes = std::size_t{256} * 1024;

// A text that begins with `{` is tried as JSON first. At most `max_bytes`, 32 levels.
[[nodiscard]] Documents ReadDocuments(std::string_view text,
                                      std::size_t max_bytes = kMaxDocumentBytes);

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
