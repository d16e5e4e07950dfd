#include "analyzer/shield/entry.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace consul_canary::shield {
namespace {

using consul::LiesIn;
using consul::Place;

std::vector<std::string> WordsOf(std::string_view path) {
  std::vector<std::string> words;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    words.emplace_back(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return words;
}

// "[Name=api]" in its two parts.
struct Choice {
  std::string key;
  std::string value;
};

std::optional<Choice> ChoiceOf(const std::string& word) {
  const std::size_t equals = word.find('=');
  if (!word.starts_with('[') || !word.ends_with(']') || equals == std::string::npos) {
    return std::nullopt;
  }
  return Choice{word.substr(1, equals - 1), word.substr(equals + 1, word.size() - equals - 2)};
}

bool IsShieldsPath(const std::string& path) {
  return path.starts_with(kMergeWindowPath) || path.starts_with(kPanicPath);
}

// Where the entry lies, and with it each service that it names without a place.
Place PlaceOf(const Json& entry) {
  return consul::PlaceOf(TextAt(entry, "Namespace"), TextAt(entry, "Partition"));
}

bool IsExtensionFor(const Json& element, const std::string& service, const Place& place) {
  if (TextAt(element, "Name") != kPropertyOverride) return false;
  const Json& patches = ListAt(ObjectAt(element, "Arguments"), "Patches");
  return !patches.empty() && std::ranges::all_of(patches, [&](const Json& patch) {
    const Json& services = ListAt(ObjectAt(patch, "ResourceFilter"), "Services");
    return services.size() == 1 && TextAt(services.front(), "Name") == service &&
           LiesIn(services.front(), place) && IsShieldsPath(TextAt(patch, "Path"));
  });
}

bool Fits(const Json& element, const Choice& choice, const Place& place) {
  if (!element.is_object()) return false;
  if (choice.key == "route") return RouteMark(element) == choice.value;
  if (choice.key == "extension") return IsExtensionFor(element, choice.value, place);
  return TextAt(element, choice.key.c_str()) == choice.value && LiesIn(element, place);
}

// What an element that the choice names has to begin with; nullopt: it cannot be made.
std::optional<Json> NewElement(const Choice& choice) {
  if (choice.key == "extension") return Json::object();
  if (choice.key != "route") return Json{{choice.key, choice.value}};
  if (choice.value != "all") return std::nullopt;
  return Json{{"Match", {{"HTTP", {{"PathPrefix", "/"}}}}}};
}

template <class Tree>
Tree* Step(Tree& at, const std::string& word, const Place& place) {
  if (const auto choice = ChoiceOf(word)) {
    if (!at.is_array()) return nullptr;
    const auto found = std::find_if(
        at.begin(), at.end(), [&](const Json& element) { return Fits(element, *choice, place); });
    return found == at.end() ? nullptr : &*found;
  }
  if (!at.is_object()) return nullptr;
  const auto found = at.find(word);
  return found == at.end() || found->is_null() ? nullptr : &*found;
}

// As Step(), but makes what is missing. `next` says what it has to be: the word that follows.
Json* StepOrMake(Json& at, const std::string& word, const std::string& next, const Place& place) {
  if (Json* found = Step(at, word, place)) return found;
  if (const auto choice = ChoiceOf(word)) {
    std::optional<Json> made = NewElement(*choice);
    if (!made) return nullptr;
    if (!at.is_array()) at = Json::array();
    at.push_back(*std::move(made));
    return &at.back();
  }
  if (!at.is_object()) at = Json::object();
  at[word] = ChoiceOf(next) ? Json::array() : Json::object();
  return &at[word];
}

void Erase(Json& at, const std::string& word, const Place& place) {
  Json* found = Step(at, word, place);
  if (found == nullptr) return;
  if (at.is_object()) {
    at.erase(word);
  } else {
    at.erase(static_cast<std::size_t>(found - &at.front()));
  }
}

// Elements of lists stay, though empty: whoever put them there goes by their number or order.
void EraseAlong(Json& at, const std::vector<std::string>& words, std::size_t i,
                const Place& place) {
  if (i + 1 == words.size()) return Erase(at, words[i], place);
  Json* next = Step(at, words[i], place);
  if (next == nullptr) return;
  EraseAlong(*next, words, i + 1, place);
  if (next->is_structured() && next->empty() && !ChoiceOf(words[i])) Erase(at, words[i], place);
}

std::string HashOf(std::string_view text) {
  std::uint32_t hash = 0x811c9dc5U;  // FNV-1a: a short name, no protection
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x01000193U;
  return fmt::format("{:08x}", hash);
}

const Json& ChildOf(const Json& object, const char* key, const Json& fallback) {
  if (!object.is_object()) return fallback;
  const auto found = object.find(key);
  return found != object.end() && found->type() == fallback.type() ? *found : fallback;
}

}  // namespace

std::optional<Json> ParseEntry(std::string_view text) {
  Json parsed = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return std::nullopt;
  return parsed;
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string TextAt(const Json& object, const char* key) {
  if (!object.is_object()) return {};
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

double NumberAt(const Json& object, const char* key) {
  if (!object.is_object()) return 0;
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

bool FlagAt(const Json& object, const char* key) {
  if (!object.is_object()) return false;
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

const Json& ObjectAt(const Json& object, const char* key) {
  static const Json kNone = Json::object();
  const Json& list = ListAt(object, key);
  if (list.size() == 1 && list.front().is_object()) return list.front();
  return ChildOf(object, key, kNone);
}

const Json& ListAt(const Json& object, const char* key) {
  static const Json kNone = Json::array();
  return ChildOf(object, key, kNone);
}

const Json& OrEmpty(const std::optional<Json>& entry) {
  static const Json kNone = Json::object();
  return entry ? *entry : kNone;
}

std::uint64_t IndexOf(const Json& entry) {
  const auto found = entry.find("ModifyIndex");
  return found != entry.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

bool SaySame(const Json& a, const Json& b) {
  if (SaysNothing(a) && SaysNothing(b)) return true;
  return consul::Plain(a) == consul::Plain(b);
}

std::string RouteMark(const Json& route) {
  return TakesAll(route) ? "all" : HashOf(consul::Plain(ObjectAt(route, "Match")).dump());
}

std::optional<Json> Find(const Json& entry, std::string_view path) {
  const Json* at = &entry;
  const Place place = PlaceOf(entry);
  for (const std::string& word : WordsOf(path)) {
    at = Step(*at, word, place);
    if (at == nullptr) return std::nullopt;
  }
  return *at;
}

void Put(Json& entry, std::string_view path, Json value) {
  const std::vector<std::string> words = WordsOf(path);
  const Place place = PlaceOf(entry);
  Json* at = &entry;
  for (std::size_t i = 0; i < words.size(); ++i) {
    at = StepOrMake(*at, words[i], i + 1 < words.size() ? words[i + 1] : "", place);
    if (at == nullptr) return;
  }
  *at = std::move(value);
}

void TakeOut(Json& entry, std::string_view path) {
  const std::vector<std::string> words = WordsOf(path);
  if (!words.empty()) EraseAlong(entry, words, 0, PlaceOf(entry));
}

void TakeOutIfBare(Json& entry, std::string_view path) {
  std::optional<Json> element = Find(entry, path);
  // Consul Enterprise adds the entry's own.
  if (element && element->is_object()) {
    for (const char* key : {"Namespace", "Partition"}) element->erase(key);
  }
  const std::vector<std::string> words = WordsOf(path);
  const auto choice = words.empty() ? std::nullopt : ChoiceOf(words.back());
  const std::optional<Json> bare = choice ? NewElement(*choice) : std::nullopt;
  if (element && bare && SaySame(*element, *bare)) TakeOut(entry, path);
}

}  // namespace consul_canary::shield
