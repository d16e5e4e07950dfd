#include "analyzer/cli/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "analyzer/cli/answers.h"
#include "analyzer/cli/commands.h"
#include "analyzer/cli/complaint.h"
#include "analyzer/cli/completion.h"
#include "analyzer/cli/shield.h"
#include "analyzer/cli/times.h"
#include "analyzer/cli/watch.h"

namespace consul_canary::cli {
namespace {

constexpr int kWrongFlags = kWrongInput;

// Whether all of the output has arrived; complains where it has not.
bool IsWritten() {
  const bool help_is_written = std::cout.flush().good();
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && help_is_written) return true;
  Complain("standard output could not be written");
  return false;
}

// CLI::Range lets NaN through.
CLI::Validator Finite() {
  return {[](const std::string& text) {
            const bool finite = std::isfinite(std::strtod(text.c_str(), nullptr));
            return finite ? std::string() : "must be a finite number, is " + text;
          },
          "FINITE"};
}

CLI::Validator OneOf(std::vector<std::string> known, const std::string& in_words) {
  return {[known = std::move(known), in_words](const std::string& text) {
            const bool is_known = std::find(known.begin(), known.end(), text) != known.end();
            return is_known ? std::string() : fmt::format("must be {}, is {}", in_words, text);
          },
          ""};
}

// An empty variable of a script's: the command would mean something else, such as all rollouts.
CLI::Validator NotEmpty() {
  return {[](const std::string& text) {
            return text.empty() ? std::string("must not be empty") : std::string();
          },
          ""};
}

struct Options {
  std::string url = "http://127.0.0.1:9656";
  std::string token_file;
  Format format = Format::kTable;
  std::vector<std::string> files;
  std::string file;
  std::string version;
  bool full = false;
  bool create = false;
  bool release = false;
  bool force = false;
  bool all = false;
  std::string reason;
  std::string shell;
  std::string timeout = "1h";
  std::string since;
  StatusOptions status;
  PlanOptions plan;
  HistoryOptions history;
  WatchOptions watch;
  ShieldOptions shield;
};

std::optional<Connection> Connect(const Options& options) {
  Connection connection{options.url, ""};
  if (options.token_file.empty()) return connection;
  std::ifstream file(options.token_file);
  if (!file || !std::getline(file, connection.token)) {
    fmt::print(stderr, "consul-canaryctl: --token-file: {} cannot be read or is empty\n",
               options.token_file);
    return std::nullopt;
  }
  return connection;
}

class Commands {
 public:
  Commands(CLI::App& app, Options& options) : app_(app), options_(options) {}

  void AddAll() {
    AddFiles();
    AddReaders();
    AddActions();
    AddStatus();
    AddWatch();
    AddShield();
    AddCompletion();
  }

  int Run() const { return run_ ? run_() : kWrongFlags; }

  // What to exit with where all went well but for the output. Where 1 says that a rollout was
  // rolled back, it is 3.
  [[nodiscard]] int WithoutOutput() const {
    const bool tells_an_end = app_.got_subcommand("status") || options_.watch.until_done;
    return tells_an_end ? kHeld : kRefused;
  }

 private:
  CLI::App* Command(const std::string& name, const std::string& help, std::function<int()> run) {
    CLI::App* command = app_.add_subcommand(name, help);
    command->callback([this, run = std::move(run)] { run_ = run; });
    return command;
  }

  void AddFormats(CLI::App* command, const std::vector<std::string>& formats,
                  const std::string& help) {
    const std::map<std::string, Format> values{
        {"table", Format::kTable}, {"json", Format::kJson}, {"yaml", Format::kYaml}};
    command
        ->add_option_function<std::string>(
            "-o,--output",
            [this, values](const std::string& name) { options_.format = values.at(name); }, help)
        ->check(OneOf(formats, help))
        ->type_name("FORMAT");
  }

  void AddFormat(CLI::App* command) {
    AddFormats(command, {"table", "json", "yaml"}, "table, json or yaml");
  }

  void AddTableOrJson(CLI::App* command) {
    AddFormats(command, {"table", "json"}, "table or json");
  }

  CLI::App* AddService(CLI::App* command) {
    command->add_option("SERVICE", options_.status.service, "name of the service")
        ->check(NotEmpty())
        ->required();
    return command;
  }

  std::function<int()> Connected(std::function<int(const Connection&)> run) {
    return [this, run = std::move(run)] {
      const auto connection = Connect(options_);
      return connection ? run(*connection) : kWrongFlags;
    };
  }

  void AddFiles() {
    const std::string help = "specification, YAML or JSON; - for standard input; repeatable";
    CLI::App* apply = Command("apply", "store specifications; rollouts follow them from now on",
                              Connected([this](const Connection& c) {
                                return Apply(c, options_.files, options_.create);
                              }));
    apply->add_option("-f,--filename", options_.files, help)->required();
    apply->add_flag("--create", options_.create,
                    "write the service's resolver and splitter where there are none");
    Command("validate", "check specifications without any connection",
            [this] { return Validate(options_.files); })
        ->add_option("-f,--filename", options_.files, help)
        ->required();
    AddPlan(help);
    CLI::App* replay = Command("replay", "run a recording through the analysis and print each tick",
                               [this] { return ReplayFile(options_.file, options_.format); });
    replay->add_option("FILE", options_.file, "recording; - for standard input")->required();
    AddTableOrJson(replay);
  }

  void AddPlan(const std::string& files_help) {
    CLI::App* plan = Command("plan", "what each step will take and cost, without any connection",
                             [this] { return PlanRollouts(options_.plan, options_.format); });
    plan->add_option("-f,--filename", options_.plan.files, files_help)->required();
    plan->add_option("--rate", options_.plan.requests_per_second,
                     "requests a second of the whole service")
        ->check(CLI::Range(0.001, 1e7) & Finite())
        ->required();
    plan->add_option("--failures", options_.plan.failure_ratio,
                     "failure ratio of the primary, 0.001 by default")
        ->check(CLI::Range(0.0, 0.9) & Finite());
    AddFormat(plan);
  }

  void AddReaders() {
    AddFormat(Command("list", "all rollouts",
                      Connected([this](const Connection& c) { return List(c, options_.format); })));
    AddFormat(
        AddService(Command("get", "one rollout; -o yaml: its specification with every default",
                           Connected([this](const Connection& c) {
                             return Get(c, options_.status.service, options_.format);
                           }))));
    AddHistory();
    AddDelete();
  }

  void AddDelete() {
    CLI::App* command = AddService(
        Command("delete", "forget a service's rollouts; the mesh stays as it is",
                Connected([this](const Connection& c) {
                  return Delete(c, options_.status.service, options_.release, options_.force);
                })));
    CLI::Option* release = command->add_flag("--release", options_.release,
                                             "and let the primary subset take all instances again");
    command
        ->add_flag("--force", options_.force,
                   "with --release: although other versions' instances run, which then serve")
        ->needs(release);
  }

  void AddHistory() {
    CLI::App* history = AddService(
        Command("history", "the decisions of a service's rollouts with their reasons, newest last",
                Connected([this](const Connection& c) {
                  options_.history.service = options_.status.service;
                  if (const auto ago = ParseDuration(options_.since)) {
                    options_.history.since = UtcText(std::time(nullptr) - ago->count());
                  } else {
                    options_.history.since = options_.since;
                  }
                  return History(c, options_.history, options_.format);
                })));
    history->add_option("--limit", options_.history.limit, "the newest ones alone, so many")
        ->check(CLI::Range(1, 100'000));
    history->add_option("--since", options_.since,
                        "a time (2026-11-24T17:00:00Z), or how long ago (90s, 10m, 1h)");
    AddFormat(history);
  }

  CLI::App* AddAction(const std::string& name, const std::string& help,
                      std::function<nlohmann::json()> body) {
    return AddService(
        Command(name, help, Connected([this, name, body = std::move(body)](const Connection& c) {
                  return Act(c, options_.status.service, name, body());
                })));
  }

  void AddActions() {
    const auto nothing = [] { return nlohmann::json::object(); };
    AddAction("start", "begin a rollout of the newest version that is not the primary's",
              [this] {
                nlohmann::json order = nlohmann::json::object();
                if (!options_.version.empty()) order["version"] = options_.version;
                return order;
              })
        ->add_option("--version", options_.version, "this version instead of the newest")
        ->check(NotEmpty());
    AddPause();
    AddAction("promote", "release a pause, or pass the present step without proof", [this] {
      nlohmann::json order = nlohmann::json::object();
      if (options_.full) order["full"] = true;
      return order;
    })->add_flag("--full", options_.full, "skip the remaining steps");
    AddAction("abort", "roll back now", nothing);
    AddAction("retry", "try a rolled-back version again", nothing);
  }

  // A service, or --all; not both, and not neither.
  CLI::App* AddActionOrAll(const std::string& name, const std::string& help,
                           std::function<int(const Connection&)> all) {
    CLI::App* command = Command(
        name, help, Connected([this, name, all = std::move(all)](const Connection& c) {
          if (options_.all != options_.status.service.empty()) {
            fmt::print(stderr, "consul-canaryctl: {}: name either a service or --all\n", name);
            return kWrongFlags;
          }
          return options_.all ? all(c)
                              : Act(c, options_.status.service, name, nlohmann::json::object());
        }));
    command->add_option("SERVICE", options_.status.service, "name of the service")
        ->check(NotEmpty());
    return command;
  }

  void AddPause() {
    CLI::App* pause =
        AddActionOrAll("pause", "stay at the present step; harm is still watched",
                       [this](const Connection& c) { return PauseAll(c, options_.reason); });
    CLI::Option* all = pause->add_flag("--all", options_.all,
                                       "every rollout of this Consul: none starts or advances");
    pause->add_option("--reason", options_.reason, "with --all: why, for everyone who looks")
        ->needs(all);
    AddActionOrAll("resume", "go on, or overwrite weights that someone else has set",
                   [](const Connection& c) { return ResumeAll(c); })
        ->add_flag("--all", options_.all, "end the pause of every rollout");
  }

  void AddStatus() {
    CLI::App* status = AddService(
        Command("status", "for pipelines: exit 0 promoted, 1 rolled back, 3 neither yet",
                Connected([this](const Connection& c) {
                  const auto timeout = ParseDuration(options_.timeout);
                  if (!timeout) {
                    fmt::print(stderr,
                               "consul-canaryctl: --timeout: {} is no duration such as 90s, "
                               "10m or 1h (a year at most)\n",
                               options_.timeout);
                    return kWrongFlags;
                  }
                  options_.status.timeout = *timeout;
                  options_.status.version = options_.version;
                  return Status(c, options_.status, options_.format);
                })));
    status->add_flag("--wait", options_.status.wait, "until the rollout has ended");
    status->add_option("--timeout", options_.timeout, "how long to wait at most (default 1h)");
    status->add_option("--version", options_.version, "wait for a rollout of this version")
        ->check(NotEmpty());
    AddFormat(status);
  }

  void AddWatch() {
    CLI::App* watch =
        Command("watch", "what rollouts do, live: a tree on a terminal, else a line per change",
                Connected([this](const Connection& c) {
                  if (options_.watch.until_done && options_.watch.service.empty()) {
                    fmt::print(stderr,
                               "consul-canaryctl: --until-done: name the service whose rollout "
                               "is waited for: watch SERVICE --until-done\n");
                    return kWrongFlags;
                  }
                  return Watch(c, options_.watch, options_.format);
                }));
    watch->add_option("SERVICE", options_.watch.service, "name of the service; without it: all")
        ->check(NotEmpty());
    watch->add_flag("--until-done", options_.watch.until_done,
                    "end with the rollout: exit 0 promoted, 1 rolled back, 3 neither");
    watch
        ->add_option("--version", options_.watch.version,
                     "with --until-done: only the end of a rollout of this version counts")
        ->check(NotEmpty());
    AddTableOrJson(watch);
  }

  CLI::App* AddMeshCommand(const std::string& name, const std::string& help,
                           const std::vector<std::string>& formats, const std::string& in_words,
                           std::function<int(const ShieldOptions&)> run) {
    CLI::App* command = AddService(Command(name, help, [this, run = std::move(run)] {
      options_.shield.service = options_.status.service;
      return run(options_.shield);
    }));
    command->add_option("--primary-subset", options_.shield.primary_subset, "primary by default")
        ->check(NotEmpty());
    command->add_option("--canary-subset", options_.shield.canary_subset, "canary by default")
        ->check(NotEmpty());
    command
        ->add_option("--caller", options_.shield.callers,
                     "a service that calls it, besides those that Consul knows; repeatable")
        ->check(NotEmpty());
    command->add_option("-o,--output", options_.shield.format, in_words)
        ->check(OneOf(formats, in_words))
        ->type_name("FORMAT");
    return command;
  }

  void AddShield() {
    AddMeshCommand("check", "what the mesh does for a rollout of a service, and what it lacks",
                   {"table", "json", "yaml"}, "table, json or yaml", &Check);
    CLI::App* shield =
        AddMeshCommand("shield", "the entries by which a failing canary costs nobody a request",
                       {"hcl", "json", "kubernetes"}, "hcl, json or kubernetes", &Shield);
    shield
        ->add_option("--max-failures", options_.shield.max_failures,
                     "failures in a row that eject an instance, 2 by default")
        ->check(CLI::Range(1, 100));
    CLI::Option* apply = shield->add_flag("--apply", options_.shield.apply,
                                          "merge them into what Consul has stored");
    shield->add_flag("--remove", options_.shield.remove, "put back what was there before --apply")
        ->excludes(apply);
    shield
        ->add_flag("--now", options_.shield.now,
                   "with --apply: although the canary gets requests, half a second of which fail")
        ->needs(apply);
  }

  void AddCompletion() {
    CLI::App* completion = Command("completion", "print the completion script of a shell", [this] {
      std::fputs((options_.shell == "zsh" ? ZshCompletion(app_) : BashCompletion(app_)).c_str(),
                 stdout);
      return 0;
    });
    completion->add_option("SHELL", options_.shell, "bash or zsh")
        ->check(OneOf({"bash", "zsh"}, "bash or zsh"))
        ->required();
    Command(kServicesCommand, "names of services, for completion",
            Connected(&PrintServices))
        ->group("");  // not shown
  }

  CLI::App& app_;
  Options& options_;
  std::function<int()> run_;
};

}  // namespace

int RunCommandLine(int argc, char** argv) {
  CLI::App app("Automated canary deployments on Consul service mesh", "consul-canaryctl");
  app.set_version_flag("--version", "consul-canaryctl " CONSUL_CANARY_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  Options options;
  app.add_option("--analyzer.url", options.url, "the analyzer (default http://127.0.0.1:9656)")
      ->envname("CONSUL_CANARY_ADDR");
  app.add_option("--token-file", options.token_file, "file that holds the bearer token")
      ->envname("CONSUL_CANARY_TOKEN_FILE");
  Commands commands(app, options);
  commands.AddAll();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // help, version
      app.exit(error);
      return IsWritten() ? kDone : kRefused;
    }
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    fmt::print(stderr, "consul-canaryctl: {}\n", Complaint(app, error, arguments));
    return kWrongFlags;
  }
  const int code = commands.Run();
  return IsWritten() || code != kDone ? code : commands.WithoutOutput();
}

}  // namespace consul_canary::cli
