// Puts what the shield wishes into a stored entry, remembering in its Meta what was there, and
// takes it out again. What a person has changed meanwhile stays as it is. Pure.
//
// The memory is JSON in pieces, since Consul takes 512 characters a value:
// Meta["consul-canary-shield-1"], -2, …
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "analyzer/shield/entry.h"

namespace consul_canary::shield {

inline constexpr const char* kMemoryMetaPrefix = "consul-canary-shield-";

// A field that the shield has set.
struct Edit {
  std::string path;
  std::optional<Json> was;  // nullopt: absent
  Json set;

  bool operator==(const Edit&) const = default;
};

struct Memory {
  std::vector<Edit> edits{};
  std::vector<std::string> made{};  // elements of lists that were put there for the edits
  bool entry_made = false;          // the whole entry is there for them

  bool operator==(const Memory&) const = default;
};

// A field as the shield wants it.
struct Wish {
  std::string path;
  Json value;
};

// What is to become of one entry.
struct Write {
  std::string kind;
  std::string name;
  std::optional<Json> stored{};     // nullopt: there is none
  std::optional<Json> wanted{};     // nullopt: it is to go
  std::vector<Edit> changes{};      // set: what will be there; null: nothing
  std::vector<std::string> left{};  // fields that somebody changed after the shield set them
  std::string not_possible{};       // why it cannot be written at all; empty: it can
  bool is_removal = false;
  bool forgets = false;  // memory goes with it

  [[nodiscard]] bool changes_nothing() const { return changes.empty() && !forgets; }
};

// Nothing where the entry has no memory, or one that cannot be read.
[[nodiscard]] Memory MemoryOf(const Json& entry);
// Why it cannot be read, which keys hold it and what to do; empty: it can, or there is none.
[[nodiscard]] std::string MemoryTrouble(const Json& entry);
// Whether there is any of it, damaged or not.
[[nodiscard]] bool HasMemory(const Json& entry);
void Remember(Json& entry, const Memory& memory);

// The entry without what Consul adds to it and without the memory: what a person would write.
[[nodiscard]] Json AsWritten(const Json& entry);
// The same with the memory, if there is one.
[[nodiscard]] Json AsPrinted(const Json& entry);
// What is printed of the wanted entry: with the memory where the stored one has it already, since
// it would be lost where somebody writes the entry by hand, and else without.
[[nodiscard]] Json Printed(const Write& write);

[[nodiscard]] Write Merge(const std::optional<Json>& stored, std::string_view kind,
                          std::string_view name, const std::vector<Wish>& wishes);

// Takes the remembered fields out whose path has `part` ("": all of them).
[[nodiscard]] Write Restore(const Json& stored, std::string_view part);

}  // namespace consul_canary::shield
