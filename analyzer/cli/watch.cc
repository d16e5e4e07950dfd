#include "analyzer/cli/watch.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "analyzer/cli/analyzer_client.h"
#include "analyzer/cli/answers.h"
#include "analyzer/cli/fields.h"
#include "analyzer/cli/look.h"
#include "analyzer/cli/terminal.h"
#include "analyzer/cli/times.h"
#include "analyzer/cli/tree.h"

namespace consul_canary::cli {
namespace {

using base::milliseconds;
using nlohmann::json;

constexpr milliseconds kBetweenLooks{500};
constexpr milliseconds kPatience{5000};
constexpr milliseconds kSlice{50};

std::string TimeNow() { return UtcText(std::time(nullptr)); }

void PrintLine(const std::string& text) {
  fmt::print("{}\n", text);
  std::fflush(stdout);
}

struct Seen {
  std::vector<json> rollouts;  // those under way first
  std::string paused;  // who has paused all of them; empty: nobody, or one alone was asked for
};

// Nothing where the answer is no analyzer's.
std::optional<Seen> SeenIn(const std::string& answer, bool one) {
  const auto parsed = Parsed(answer, one ? "evidence" : "rollouts");
  if (!parsed) return std::nullopt;
  if (one) return Seen{{*parsed}, ""};
  Seen seen{(*parsed)["rollouts"].get<std::vector<json>>(), Text(*parsed, "paused")};
  std::stable_partition(seen.rollouts.begin(), seen.rollouts.end(), IsUnderWay);
  return seen;
}

// Shows what was seen, in one of the three ways.
class Show {
 public:
  explicit Show(Format format)
      : json_(format == Format::kJson), drawn_(!json_ && isatty(STDOUT_FILENO) == 1) {}

  void Look(const Seen& seen) {
    const std::vector<json>& rollouts = seen.rollouts;
    if (!trouble_.empty()) Note("the analyzer answers again");
    trouble_.clear();
    const bool pause_changed = seen.paused != seen_.paused;
    seen_ = seen;
    if (drawn_) return Redraw();
    if (pause_changed) Note(seen.paused.empty() ? "rollouts go on" : seen.paused);
    if (rollouts.empty() && keys_.empty() && !said_none_ && !json_) {
      said_none_ = true;
      PrintLine(TimeNow() + "  there is no rollout yet");
    }
    std::map<std::string, std::string> keys;
    for (const json& rollout : rollouts) {
      const std::string service = Text(rollout, "service");
      const std::string& key = keys[service] = ChangeKey(rollout);
      const auto before = keys_.find(service);
      if (before != keys_.end() && before->second == key) continue;
      PrintLine(json_ ? rollout.dump() : TimeNow() + "  " + ChangeLine(rollout));
    }
    for (const auto& [service, key] : keys_) {
      if (!keys.contains(service)) Note(service + "  is deleted");
    }
    keys_ = std::move(keys);
  }

  void Trouble(const std::string& message) {
    const bool news = trouble_ != message;
    trouble_ = message;
    if (drawn_) return Redraw();
    if (news) Note(message + "; trying again");
  }

  // Until the program goes on.
  void Leave() { screen_.Leave(); }

 private:
  // Of what is no rollout. JSON has rollouts alone on standard output.
  void Note(const std::string& text) {
    if (drawn_) return;
    if (!json_) return PrintLine(TimeNow() + "  " + text);
    fmt::print(stderr, "consul-canaryctl: {}\n", text);
  }

  void Redraw() {
    const cli::Look look = LookOfStdout();
    std::vector<std::string> lines;
    if (!trouble_.empty()) {
      for (const std::string& line : Wrapped(Harmless(trouble_), look.columns - 1)) {
        lines.push_back(Paint(look, Colour::kYellow, line));
      }
      lines.push_back(Paint(look, Colour::kYellow, "trying again. Last seen:"));
    }
    if (!seen_.paused.empty()) lines.push_back(Paint(look, Colour::kYellow, seen_.paused));
    if (seen_.rollouts.empty()) lines.emplace_back("there is no rollout yet");
    for (const json& rollout : seen_.rollouts) {
      const auto tree = Tree(rollout, look, seen_.rollouts.size() > 1);
      lines.insert(lines.end(), tree.begin(), tree.end());
    }
    lines.push_back(Paint(look, Colour::kDim, TimeNow()));
    screen_.Draw(std::move(lines));
  }

  const bool json_;
  const bool drawn_;
  bool said_none_ = false;
  Screen screen_;
  Seen seen_;
  std::map<std::string, std::string> keys_;  // by service
  std::string trouble_;                      // why the analyzer does not answer; empty: it does
};

class Watcher {
 public:
  Watcher(const Connection& connection, const WatchOptions& options, Format format)
      : options_(options),
        path_(options.service.empty() ? kRolloutsPath : RolloutPath(options.service)),
        analyzer_(connection.url, connection.token),
        show_(format) {}

  int Run() {
    for (;;) {
      auto answer = analyzer_.Ask("GET", path_, kPatience);
      while (answer.wait_for(milliseconds(0)) != std::future_status::ready) {
        if (Ended(kSlice)) return Interrupted();
      }
      if (const auto exit = Look(answer.get())) return *exit;
      if (Ended(kBetweenLooks)) return Interrupted();
    }
  }

 private:
  // The exit code when this was the last look.
  std::optional<int> Look(const ApiAnswer& answer) {
    if (!answer) return Failed(answer.error());
    const auto seen = SeenIn(*answer, !options_.service.empty());
    if (!seen) return options_.until_done ? kHeld : kRefused;
    answered_ = true;
    show_.Look(*seen);
    if (!options_.until_done) return std::nullopt;
    return ExitOf(seen->rollouts.front(), options_.version);
  }

  std::optional<int> Failed(const ApiError& error) {
    if (answered_ && MayPass(error)) {
      show_.Trouble(error.message);
      return std::nullopt;
    }
    show_.Leave();
    const int code = Fail(error);
    return options_.until_done ? kHeld : code;  // 1 would say that it was rolled back
  }

  bool Ended(milliseconds limit) {
    const int signal = signals_.Wait(limit);
    if (signal != SIGTSTP) return signal != 0;
    show_.Leave();
    raise(SIGSTOP);
    return false;
  }

  int Interrupted() {
    show_.Leave();
    return options_.until_done ? kHeld : kDone;
  }

  const WatchOptions& options_;
  const std::string path_;
  Signals signals_;  // before the client, which has a thread
  AnalyzerClient analyzer_;
  Show show_;
  bool answered_ = false;
};

}  // namespace

int Watch(const Connection& connection, const WatchOptions& options, Format format) {
  return Watcher(connection, options, format).Run();
}

}  // namespace consul_canary::cli
