#include "analyzer/shield/merge.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "analyzer/control/entry_writer.h"

namespace consul_canary::shield {
namespace {

constexpr std::size_t kPieceLength = 500;  // Consul takes 512
constexpr const char* kOwnMetaPrefix = "consul-canary-";

std::string PieceKey(std::size_t number) { return fmt::format("{}{}", kMemoryMetaPrefix, number); }

std::vector<std::string> PieceKeys(const Json& entry) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : ObjectAt(entry, "Meta").items()) {
    if (key.starts_with(kMemoryMetaPrefix)) keys.push_back(key);
  }
  return keys;
}

void Forget(Json& entry) {
  const std::vector<std::string> keys = PieceKeys(entry);
  if (keys.empty()) return;
  Json& meta = entry["Meta"];
  for (const std::string& key : keys) meta.erase(key);
  if (meta.empty()) entry.erase("Meta");
}

// The first piece of so many that is not there; empty: all are.
std::string MissingPiece(const Json& entry, std::size_t pieces) {
  for (std::size_t i = 1; i <= pieces; ++i) {
    if (!ObjectAt(entry, "Meta").contains(PieceKey(i))) return PieceKey(i);
  }
  return "";
}

// nullopt: it is damaged, or there is none.
std::optional<Memory> ReadMemory(const Json& entry) {
  const std::size_t pieces = PieceKeys(entry).size();
  if (!MissingPiece(entry, pieces).empty()) return std::nullopt;
  std::string text;
  for (std::size_t i = 1; i <= pieces; ++i) {
    text += TextAt(ObjectAt(entry, "Meta"), PieceKey(i).c_str());
  }
  const std::optional<Json> json = ParseEntry(text);
  if (!json || ListAt(*json, "edits").empty()) return std::nullopt;
  Memory memory;
  for (const Json& item : ListAt(*json, "edits")) {
    Edit edit{TextAt(item, "path"), std::nullopt, {}};
    if (edit.path.empty() || !item.contains("set")) return std::nullopt;
    edit.set = item["set"];
    if (item.contains("was")) edit.was = item["was"];
    memory.edits.push_back(std::move(edit));
  }
  for (const Json& made : ListAt(*json, "made")) {
    if (made.is_string()) memory.made.push_back(made.get<std::string>());
  }
  memory.entry_made = FlagAt(*json, "entry");
  return memory;
}

// The same memory in ASCII, so that a piece never ends within a character.
std::string TextOf(const Memory& memory) {
  Json edits = Json::array();
  for (const Edit& edit : memory.edits) {
    Json item = {{"path", edit.path}, {"set", edit.set}};
    if (edit.was) item["was"] = *edit.was;
    edits.push_back(std::move(item));
  }
  Json json = {{"edits", std::move(edits)}};
  if (!memory.made.empty()) json["made"] = memory.made;
  if (memory.entry_made) json["entry"] = true;
  return json.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

Edit* EditOf(Memory& memory, const std::string& path) {
  const auto found = std::ranges::find(memory.edits, path, &Edit::path);
  return found == memory.edits.end() ? nullptr : &*found;
}

// The paths of list elements on the way to `path` that are not there yet.
std::vector<std::string> MissingElements(const Json& entry, const std::string& path) {
  std::vector<std::string> missing;
  for (std::size_t at = path.find("]/"); at != std::string::npos; at = path.find("]/", at + 1)) {
    std::string element = path.substr(0, at + 1);
    if (!Find(entry, element)) missing.push_back(std::move(element));
  }
  return missing;
}

void Fulfil(Write& write, Memory& memory, const Wish& wish) {
  Json& entry = *write.wanted;
  const std::optional<Json> current = Find(entry, wish.path);
  if (current && SaySame(*current, wish.value)) return;
  Edit* known = EditOf(memory, wish.path);
  if (known != nullptr && current && !SaySame(*current, known->set)) {
    write.left.push_back(wish.path);
    return;
  }
  for (std::string& made : MissingElements(entry, wish.path)) {
    if (std::ranges::find(memory.made, made) == memory.made.end()) {
      memory.made.push_back(std::move(made));
    }
  }
  Put(entry, wish.path, wish.value);
  write.changes.push_back({wish.path, current, wish.value});
  if (known != nullptr) {
    known->set = wish.value;
  } else {
    memory.edits.push_back({wish.path, current, wish.value});
  }
}

// Whether nothing is left that is anyone's.
bool IsBare(const Json& entry) {
  return std::ranges::all_of(entry.items(), [](const auto& item) {
    const std::string& key = item.key();
    if (key == "Kind" || key == "Name" || key == "CreateIndex" || key == "ModifyIndex" ||
        key == "Hash" || key == "Namespace" || key == "Partition") {
      return true;
    }
    if (key == "Meta" && item.value().is_object()) {
      return std::ranges::all_of(item.value().items(), [](const auto& meta) {
        return meta.key().starts_with(kOwnMetaPrefix);
      });
    }
    return SaysNothing(item.value());
  });
}

void Undo(Write& write, const Edit& edit) {
  Json& entry = *write.wanted;
  const std::optional<Json> current = Find(entry, edit.path);
  if (!current) return;  // somebody took it out
  if (!SaySame(*current, edit.set)) {
    write.left.push_back(edit.path);
    return;
  }
  if (edit.was) {
    Put(entry, edit.path, *edit.was);
  } else {
    TakeOut(entry, edit.path);
  }
  write.changes.push_back({edit.path, *current, edit.was.value_or(Json())});
}

std::string WhyOwned(const Json& entry, const char* instead) {
  const Json& meta = ObjectAt(entry, "Meta");
  if (!meta.contains(control::kKubernetesMetaKey)) return "";
  return fmt::format("{}/{} is owned by Kubernetes (datacenter {}), which would write over it: {}",
                     TextAt(entry, "Kind"), TextAt(entry, "Name"),
                     TextAt(meta, control::kKubernetesMetaKey), instead);
}

// Consul answers some durations in nanoseconds, which nobody would write, and the custom resources
// do not take.
void WriteDurations(Json& value) {
  constexpr std::string_view kDurations[] = {"Interval", "BaseEjectionTime", "RequestTimeout",
                                             "IdleTimeout", "ConnectTimeout"};
  constexpr std::int64_t kMilli = 1'000'000;
  if (!value.is_structured()) return;
  for (const auto& [key, child] : value.items()) {
    WriteDurations(child);
    const bool is_one = value.is_object() && child.is_number_integer() &&
                        std::ranges::find(kDurations, key) != std::end(kDurations);
    const std::int64_t nanos = is_one ? child.get<std::int64_t>() : 0;
    if (nanos <= 0 || nanos % kMilli != 0) continue;
    const std::int64_t millis = nanos / kMilli;
    child = millis % 1000 == 0 ? fmt::format("{}s", millis / 1000) : fmt::format("{}ms", millis);
  }
}

}  // namespace

bool HasMemory(const Json& entry) { return !PieceKeys(entry).empty(); }

Memory MemoryOf(const Json& entry) { return ReadMemory(entry).value_or(Memory{}); }

std::string MemoryTrouble(const Json& entry) {
  const std::vector<std::string> keys = PieceKeys(entry);
  if (keys.empty() || ReadMemory(entry)) return "";
  const std::string missing = MissingPiece(entry, keys.size());
  return fmt::format(
      "{}/{}: how it was before the shield cannot be read: {}{} in its Meta {}. Nothing is "
      "written; "
      "put back what stood there, or take {} out of its Meta, and by hand those of the shield's "
      "fields that are to go, then run this again",
      TextAt(entry, "Kind"), TextAt(entry, "Name"), fmt::join(keys, ", "),
      missing.empty() ? "" : " without " + missing, keys.size() == 1 ? "is damaged" : "are damaged",
      fmt::join(keys, ", "));
}

void Remember(Json& entry, const Memory& memory) {
  Forget(entry);
  if (memory.edits.empty()) return;
  Json& meta = entry["Meta"];
  if (!meta.is_object()) meta = Json::object();
  const std::string text = TextOf(memory);
  for (std::size_t i = 0; i * kPieceLength < text.size(); ++i) {
    meta[PieceKey(i + 1)] = text.substr(i * kPieceLength, kPieceLength);
  }
}

Json AsWritten(const Json& entry) {
  Json written = AsPrinted(entry);
  Forget(written);
  return written;
}

Json AsPrinted(const Json& entry) {
  Json written = entry;
  WriteDurations(written);
  for (const char* key : {"CreateIndex", "ModifyIndex", "Hash"}) written.erase(key);
  std::vector<std::string> nothing;
  for (const auto& [key, value] : written.items()) {
    if (SaysNothing(value)) nothing.push_back(key);
  }
  for (const std::string& key : nothing) written.erase(key);
  return written;
}

Json Printed(const Write& write) {
  if (!write.wanted) return {};
  return write.stored && HasMemory(*write.stored) ? AsPrinted(*write.wanted)
                                                  : AsWritten(*write.wanted);
}

Write Merge(const std::optional<Json>& stored, std::string_view kind, std::string_view name,
            const std::vector<Wish>& wishes) {
  Write write{.kind = std::string(kind), .name = std::string(name), .stored = stored};
  write.wanted = stored.value_or(Json{{"Kind", kind}, {"Name", name}});
  Memory memory = MemoryOf(*write.wanted);
  if (!stored) memory.entry_made = true;
  for (const Wish& wish : wishes) Fulfil(write, memory, wish);
  if (!write.changes.empty()) {
    Remember(*write.wanted, memory);
    if (stored) {
      write.not_possible = WhyOwned(
          *stored, "apply the custom resource that `-o kubernetes` prints in that cluster instead");
    }
  }
  return write;
}

Write Restore(const Json& stored, std::string_view part) {
  Write write{.kind = TextAt(stored, "Kind"), .name = TextAt(stored, "Name"), .stored = stored};
  write.wanted = stored;
  write.is_removal = true;
  Memory memory = MemoryOf(stored);
  std::vector<Edit> kept;
  // The other way round: what was put in last goes first.
  for (auto edit = memory.edits.rbegin(); edit != memory.edits.rend(); ++edit) {
    if (edit->path.find(part) == std::string::npos) {
      kept.push_back(*edit);
    } else {
      Undo(write, *edit);
    }
  }
  std::ranges::reverse(kept);
  write.forgets = kept.size() < memory.edits.size();
  memory.edits = std::move(kept);
  std::erase_if(memory.made, [&](const std::string& made) {
    if (made.find(part) == std::string::npos) return false;
    TakeOutIfBare(*write.wanted, made);
    return true;
  });
  Remember(*write.wanted, memory);
  if (memory.edits.empty() && memory.entry_made && IsBare(*write.wanted)) {
    write.wanted.reset();
  }
  write.not_possible = WhyOwned(
      stored, "take the shield's fields out of its custom resource in that cluster instead");
  return write;
}

}  // namespace consul_canary::shield
