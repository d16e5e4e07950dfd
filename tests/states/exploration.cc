#include "tests/states/exploration.h"

#include <fmt/format.h>

#include <cstdint>
#include <set>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "tests/states/claims.h"
#include "tests/states/digest.h"
#include "tests/states/events.h"
#include "tests/states/quiet.h"

namespace consul_canary::states {
namespace {

constexpr std::size_t kProblemsShown = 5;
constexpr std::size_t kNoParent = SIZE_MAX;

class Exploration {
 public:
  explicit Exploration(const Rules& rules) : rules_(rules) {}

  Found Run(int depth) {
    Begin();
    for (int level = 0; level < depth && HasRoom(); ++level) {
      std::vector<std::pair<Model, std::size_t>> frontier = std::move(frontier_);
      frontier_.clear();
      const bool is_last = level + 1 == depth;
      for (const auto& [model, way] : frontier) Widen(model, way, is_last);
    }
    found_.worlds = seen_.size();
    found_.longest_quiet_ticks = std::max(good_.longest_ticks(), bad_.longest_ticks());
    return std::move(found_);
  }

 private:
  // How a world was come to: by an event from another one.
  struct Way {
    std::size_t parent = kNoParent;
    std::string_view event;
  };

  [[nodiscard]] bool HasRoom() const { return found_.problems.size() < kProblemsShown; }

  // The worlds of a rollout that succeeds, of one that is rolled back, and of one that a person
  // pauses.
  void Begin() {
    static constexpr std::string_view kGood = "tick, good requests";
    static constexpr std::string_view kBad = "tick, bad requests of the canary";
    Follow({"order start",   kGood, kGood, kGood, kGood, kGood, kGood, kGood,
            "order promote", kGood, kGood, kGood, kGood, kGood, kGood, kGood,
            kGood,           kGood, kGood, kGood, kGood, kGood});
    Follow({"order start", kGood, kGood, kGood, kGood, kGood, kBad, kBad, kBad, kBad, kBad, kBad,
            kBad, kBad});
    Follow({"order start", kGood, "order pause", kGood, "order resume", kGood, kGood, kGood, kGood,
            "order pause", kGood});
    found_.beginnings = seen_.size();
  }

  void Follow(const std::vector<std::string_view>& events) {
    Model model(rules_.spec, rules_.changed);
    model.Deploy("v2");
    std::size_t way = kNoParent;
    Visit(model, way, false);
    for (const std::string_view name : events) {
      if (!HasRoom()) return;
      Happen(model, EventNamed(name));
      ways_.push_back({way, name});
      way = ways_.size() - 1;
      Visit(model, way, false);
    }
  }

  void Widen(const Model& model, std::size_t way, bool is_last) {
    for (const Event& event : AllEvents()) {
      if (!HasRoom()) return;
      if (!event.possible(model)) continue;
      Model next = model;
      Happen(next, event);
      ++found_.events;
      ways_.push_back({way, event.name});
      if (!Visit(next, ways_.size() - 1, is_last)) ways_.pop_back();
    }
  }

  // Whether it is a new one.
  bool Visit(const Model& model, std::size_t way, bool is_last) {
    const auto broken = BrokenClaims(model);
    for (const std::string& problem : broken) Note(problem, way);
    if (!broken.empty() || !seen_.insert(DigestOf(model)).second) return !broken.empty();
    for (auto& [world, name] : {std::pair<QuietWorld&, const char*>{good_, "good"},
                                std::pair<QuietWorld&, const char*>{bad_, "bad"}}) {
      const Ending ending = world.Run(model);
      if (!ending.stuck.empty()) {
        Note(fmt::format("in a {} quiet world: {}", name, ending.stuck), way);
      }
    }
    if (!is_last) frontier_.emplace_back(model, way);
    return true;
  }

  // Once for each kind of problem, by its first words.
  void Note(const std::string& problem, std::size_t way) {
    constexpr std::size_t kKind = 60;
    if (!HasRoom() || !kinds_.insert(problem.substr(0, kKind)).second) return;
    std::string text;
    for (; way != kNoParent; way = ways_[way].parent) {
      text = fmt::format("\n    {}{}", ways_[way].event, text);
    }
    found_.problems.push_back(problem + "; after:" + text);
  }

  const Rules& rules_;
  std::vector<std::pair<Model, std::size_t>> frontier_;
  std::unordered_set<std::uint64_t> seen_;
  std::vector<Way> ways_;
  std::set<std::string> kinds_;
  QuietWorld good_{Requests::kGood};
  QuietWorld bad_{Requests::kBad};
  Found found_;
};

}  // namespace

Found Explore(const Rules& rules, int depth) { return Exploration(rules).Run(depth); }

}  // namespace consul_canary::states
