#include "analyzer/cli/tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "analyzer/cli/fields.h"

namespace consul_canary::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kLabel = 12;
constexpr std::size_t kBarCells = 20;

struct Signs {
  const char* fork;
  const char* last;
  const char* trunk;
  const char* done;
  const char* current;
  const char* coming;
  const char* failed;
  const char* full;
  const char* empty;
};

constexpr Signs kUnicode{"├─ ", "└─ ", "│  ", "✔", "●", "○", "✖", "█", "░"};
constexpr Signs kAscii{"|- ", "`- ", "|  ", "v", "*", "o", "x", "#", "."};

enum class StepMark { kDone, kCurrent, kComing, kFailed };

std::string Duration(double seconds) {
  constexpr double kMinute = 60;
  constexpr double kHour = 3600;
  if (seconds < 2 * kMinute) return fmt::format("{:.0f} s", seconds);
  if (seconds < 2 * kHour) return fmt::format("{:.0f} min", seconds / kMinute);
  return fmt::format("{:.1f} h", seconds / kHour);
}

std::string Percent(std::optional<double> value) {
  return value ? fmt::format("{:g}%", *value) : "?";
}

std::string Count(std::optional<double> value) {
  return value ? fmt::format("{:.0f}", *value) : "?";
}

// The keys by name and, where names differ in a number alone, by that: 5ms before 10ms.
std::vector<std::string> InReadingOrder(const json& metrics) {
  const auto rank = [](const std::string& name) {
    const std::size_t digit = std::min(name.find_first_of("0123456789"), name.size());
    return std::pair(name.substr(0, digit), std::strtod(name.c_str() + digit, nullptr));
  };
  std::vector<std::string> names;
  for (const auto& [name, metric] : metrics.items()) names.push_back(name);
  std::ranges::sort(names, {}, rank);
  return names;
}

// One branch of the tree: its own text, and what hangs below it.
struct Branch {
  std::string text;
  std::vector<std::string> twigs;
};

class Drawing {
 public:
  Drawing(const json& rollout, const Look& look)
      : rollout_(rollout), look_(look), signs_(look.unicode ? kUnicode : kAscii) {}

  [[nodiscard]] std::vector<std::string> Whole() const {
    std::vector<Branch> branches;
    AddText(branches, "reason", Reason(), Colour::kNone);
    AddText(branches, "problem", Text(rollout_, "problem"), Colour::kRed);
    AddText(branches, "holds", Text(rollout_, "unknown"), Colour::kYellow);
    AddText(branches, "matched", Matched(), Colour::kNone);
    branches.push_back({"steps", Steps()});
    branches.push_back({Heads(), Subsets()});
    const bool judged = Number(rollout_, "last_step").value_or(0) > 0;
    if (judged) branches.push_back({Label("evidence") + Text(rollout_, "verdict"), Evidence()});
    if (IsUnderWay(rollout_)) AddText(branches, "stragglers", Stragglers(), Colour::kNone);
    AddText(branches, "next", Next(), Colour::kNone);
    AddText(branches, "waits for", Text(Child(rollout_, "next"), "waits_for"), Colour::kNone);
    return Joined(branches);
  }

  [[nodiscard]] std::string Head() const {
    const std::string phase = Text(rollout_, "phase");
    std::string head = Paint(look_, Colour::kBold, Text(rollout_, "service")) + "   " +
                       Paint(look_, ColourOfPhase(phase), phase);
    const int step = static_cast<int>(Number(rollout_, "step").value_or(0));
    if (step > 0) {
      head += fmt::format("   step {} of {}", step, Count(Number(rollout_, "steps")));
    } else if (IsUnderWay(rollout_)) {
      const std::string stage = Text(rollout_, "stage");
      if (!stage.empty() && stage != "none") head += "   " + stage;
    }
    if (const std::string canary = Text(rollout_, "canary_version"); !canary.empty()) {
      head += fmt::format("   {} over {}", canary, Text(rollout_, "primary_version"));
    }
    return head;
  }

  // Between rollouts, what the last one came to and what the next one waits for.
  [[nodiscard]] std::string Reason() const {
    const std::string reason = Text(rollout_, "reason");
    const std::string waits = Text(rollout_, "waits");
    if (waits.empty() || waits == reason) return reason;
    return reason.empty() ? waits : reason + "; " + waits;
  }

  [[nodiscard]] std::vector<std::string> Brief() const {
    std::vector<Branch> branches;
    AddText(branches, "problem", Text(rollout_, "problem"), Colour::kRed);
    AddText(branches, "reason", Reason(), Colour::kNone);
    return Joined(branches);
  }

 private:
  static std::string Label(const char* name) { return Padded(name, kLabel); }

  void AddText(std::vector<Branch>& branches, const char* label, const std::string& text,
               Colour colour) const {
    if (text.empty()) return;
    constexpr std::size_t kIndent = 3;
    constexpr std::size_t kNarrowest = 30;
    const std::size_t before = kIndent + kLabel;
    const std::size_t columns =
        look_.columns > before + kNarrowest ? look_.columns - before : kNarrowest;
    Branch branch;
    for (const std::string& line : Wrapped(text, columns)) {
      const std::string painted = Paint(look_, colour, line);
      if (branch.text.empty()) {
        branch.text = Label(label) + painted;
      } else {
        branch.twigs.push_back(std::string(kLabel, ' ') + painted);
      }
    }
    // A text's further lines are no twigs of their own.
    branch.twigs.insert(branch.twigs.begin(), "");
    branches.push_back(std::move(branch));
  }

  [[nodiscard]] std::vector<std::string> Joined(const std::vector<Branch>& branches) const {
    std::vector<std::string> lines{Head()};
    for (std::size_t i = 0; i < branches.size(); ++i) {
      const bool last = i + 1 == branches.size();
      lines.push_back((last ? signs_.last : signs_.fork) + branches[i].text);
      const std::string trunk = last ? "   " : signs_.trunk;
      const auto& twigs = branches[i].twigs;
      const bool wrapped = !twigs.empty() && twigs.front().empty();
      for (std::size_t j = wrapped ? 1 : 0; j < twigs.size(); ++j) {
        const char* sign = j + 1 == twigs.size() ? signs_.last : signs_.fork;
        lines.push_back(trunk + (wrapped ? "" : sign) + twigs[j]);
      }
    }
    return lines;
  }

  [[nodiscard]] StepMark MarkOf(int index) const {
    const std::string phase = Text(rollout_, "phase");
    if (phase == "succeeded" || phase == "promoting") return StepMark::kDone;
    const bool back = phase == "rolled-back" || phase == "rolling-back";
    const double requests =
        Number(Child(Child(Child(rollout_, "evidence"), "rollout"), "canary"), "completed")
            .value_or(0);
    const auto at = static_cast<int>(Number(rollout_, back ? "last_step" : "step").value_or(0));
    if (back && requests == 0) return StepMark::kComing;
    if (index < at) return StepMark::kDone;
    if (index > at || at == 0) return StepMark::kComing;
    return back ? StepMark::kFailed : StepMark::kCurrent;
  }

  [[nodiscard]] std::string Sign(StepMark mark) const {
    switch (mark) {
      case StepMark::kDone:
        return Paint(look_, Colour::kGreen, signs_.done);
      case StepMark::kCurrent:
        return Paint(look_, Colour::kBold, signs_.current);
      case StepMark::kFailed:
        return Paint(look_, Colour::kRed, signs_.failed);
      case StepMark::kComing:
        break;
    }
    return Paint(look_, Colour::kDim, signs_.coming);
  }

  [[nodiscard]] std::vector<std::string> Steps() const {
    std::vector<std::string> lines;
    int index = 0;
    for (const json& step : Child(rollout_, "plan")) {
      const StepMark mark = MarkOf(++index);
      std::string line = fmt::format("{} {:>6}", Sign(mark), Percent(Number(step, "weight")));
      if (const double least = Number(step, "min_duration_seconds").value_or(0); least > 0) {
        line += fmt::format("   at least {}", Duration(least));
      }
      if (step.is_object() && step.value("pause", json()) == true)
        line += "   then waits for promote";
      if (mark == StepMark::kCurrent) {
        line += fmt::format("   since {}", Duration(Number(rollout_, "stage_seconds").value_or(0)));
      }
      lines.push_back(std::move(line));
    }
    return lines;
  }

  static std::string Heads() {
    return fmt::format("{:<12}{:<14}{:>9}{:>9}{:>11}{:>9}{:>14}{:>9}", "subsets", "VERSION",
                       "WEIGHT", "PASSING", "REQUESTS", "FAILED", "AT THIS STEP", "FAILED");
  }

  [[nodiscard]] std::string Subset(const char* role, const std::string& version,
                                   const std::string& weight) const {
    const json& evidence = Child(rollout_, "evidence");
    const json& all = Child(Child(evidence, "rollout"), role);
    const json& step = Child(Child(evidence, "step"), role);
    return fmt::format("{:<9}{:<14}{:>9}{:>9}{:>11}{:>9}{:>14}{:>9}", role,
                       version.empty() ? "-" : version, weight,
                       Count(Number(Child(rollout_, "instances"), role)),
                       Count(Number(all, "completed")), Count(Number(all, "failures")),
                       Count(Number(step, "completed")), Count(Number(step, "failures")));
  }

  [[nodiscard]] std::vector<std::string> Subsets() const {
    const auto wanted = Number(rollout_, "weight");
    const auto observed = Number(rollout_, "observed_weight");
    std::string weight = Percent(observed);
    if (observed != wanted) weight += (look_.unicode ? "→" : ">") + Percent(wanted);
    const bool promoted = Text(rollout_, "phase") == "succeeded";
    const std::string canary = Text(rollout_, "canary_version");
    const std::string primary = promoted ? canary : Text(rollout_, "primary_version");
    return {Subset("canary", canary, weight),
            Subset("primary", primary, Percent(Number(rollout_, "observed_primary_weight")))};
  }

  [[nodiscard]] std::string Bar(double value, double bound, Colour colour) const {
    const double share = bound > 0 ? std::clamp(value / bound, 0.0, 1.0) : 0;
    const auto full = static_cast<std::size_t>(std::floor(share * kBarCells));
    std::string done;
    std::string rest;
    for (std::size_t i = 0; i < kBarCells; ++i) {
      i < full ? done += signs_.full : rest += signs_.empty;
    }
    return Paint(look_, colour, done) + Paint(look_, Colour::kDim, rest);
  }

  [[nodiscard]] std::string Process(const char* name, const char* prefix, Colour colour,
                                    const char* then) const {
    const json& evidence = Child(rollout_, "evidence");
    const double value = Number(evidence, (std::string("log_") + prefix).c_str()).value_or(0);
    const double bound = Number(evidence, (std::string(prefix) + "_bound").c_str()).value_or(0);
    const double shown = std::abs(value) < 0.005 ? 0 : value;  // never "-0.00"
    return fmt::format("{:<9}{}  {:.2f} of {:.2f}, then {}", name, Bar(value, bound, colour), shown,
                       bound, then);
  }

  [[nodiscard]] std::vector<std::string> Evidence() const {
    std::vector<std::string> lines{Process("harm", "harm", Colour::kRed, "rolled back"),
                                   Process("safety", "safe", Colour::kGreen, "advanced")};
    const json& metrics = Child(Child(rollout_, "evidence"), "metrics");
    if (!metrics.is_object() || metrics.size() < 2) return lines;
    for (const std::string& name : InReadingOrder(metrics)) {
      const json& metric = metrics.at(name);
      const auto figure = [&metric](const char* key) {
        const auto value = Number(metric, key);
        return value ? fmt::format("{:.2f}", *value) : std::string("-");
      };
      std::string line = fmt::format("{:<15} harm {:>6}  safety {:>6}", Harmless(name),
                                     figure("log_harm"), figure("log_safe"));
      if (metric.is_object() && metric.value("blamed", json()) == true) line += "  stands out";
      lines.push_back(std::move(line));
    }
    return lines;
  }

  // Which requests the canary gets whatever its weight, and whether it does now.
  [[nodiscard]] std::string Matched() const {
    std::string text;
    for (const json& condition : Child(rollout_, "match")) {
      if (!condition.is_string()) continue;
      text += (text.empty() ? "" : "; ") + condition.get<std::string>();
    }
    if (text.empty()) return text;
    const std::string routes = Text(rollout_, "routes");
    if (routes == "whole") return text + ": at the canary";
    return text + (routes == "other" ? ": not as the rollout has it" : ": not at the canary");
  }

  [[nodiscard]] std::string Stragglers() const {
    const std::string late = Text(rollout_, "stragglers");
    const std::string callers = Count(Number(rollout_, "callers"));
    const double age = Number(rollout_, "outcomes_age_seconds").value_or(0);
    if (!late.empty()) return late;
    if (callers == "0") return "no caller is known";
    return fmt::format("none of {} caller(s), read {:.1f} s ago at most", callers, age);
  }

  [[nodiscard]] std::string Next() const {
    const json& next = Child(rollout_, "next");
    std::string text = Text(next, "decision");
    if (const auto seconds = Number(next, "deadline_seconds"); seconds && !text.empty()) {
      text += fmt::format("; or, in {}, {}", Duration(*seconds), Text(next, "on_deadline"));
    }
    return text;
  }

  const json& rollout_;
  const Look& look_;
  const Signs& signs_;
};

}  // namespace

bool IsUnderWay(const json& rollout) {
  const std::string phase = Text(rollout, "phase");
  return phase == "progressing" || phase == "paused" || phase == "promoting" ||
         phase == "rolling-back";
}

std::vector<std::string> Tree(const json& rollout, const Look& look, bool brief) {
  const Drawing drawing(rollout, look);
  return brief && !IsUnderWay(rollout) ? drawing.Brief() : drawing.Whole();
}

std::string ChangeKey(const json& rollout) {
  std::string key;
  for (const char* field : {"phase", "stage", "canary_version", "primary_version", "verdict",
                            "problem", "unknown", "stragglers", "waits", "routes"}) {
    key += Text(rollout, field) + '\n';
  }
  for (const char* field : {"step", "weight", "observed_weight", "decisions"}) {
    key += Percent(Number(rollout, field)) + '\n';
  }
  return key;
}

std::string ChangeLine(const json& rollout) {
  std::string line = Text(rollout, "service") + "  " + Text(rollout, "phase");
  if (const double step = Number(rollout, "step").value_or(0); step > 0) {
    line += fmt::format("  step {:.0f}/{}", step, Count(Number(rollout, "steps")));
  }
  const auto wanted = Number(rollout, "weight");
  const auto observed = Number(rollout, "observed_weight");
  line += "  " + Percent(observed);
  if (observed != wanted) line += "->" + Percent(wanted);
  if (const std::string canary = Text(rollout, "canary_version"); !canary.empty()) {
    line += fmt::format("  {} over {}", canary, Text(rollout, "primary_version"));
  }
  line += "  " + Text(rollout, "verdict");
  std::string why = Text(rollout, "problem");
  if (why.empty()) why = Drawing(rollout, {}).Reason();
  return why.empty() ? line : line + ": " + why;
}

}  // namespace consul_canary::cli
