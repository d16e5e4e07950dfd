#include "analyzer/cli/commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <utility>

#include "analyzer/cli/analyzer_client.h"
#include "analyzer/cli/answers.h"
#include "analyzer/cli/fields.h"
#include "analyzer/cli/look.h"
#include "analyzer/cli/plan.h"
#include "analyzer/cli/replay.h"
#include "analyzer/cli/tables.h"
#include "analyzer/cli/yaml.h"
#include "analyzer/config/recording.h"
#include "analyzer/config/spec_file.h"

namespace consul_canary::cli {
namespace {

using nlohmann::json;

std::optional<std::string> ReadFile(const std::string& path) {
  std::ostringstream text;
  if (path == "-") {
    text << std::cin.rdbuf();
    return text.str();
  }
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    Complain(path + ": is a folder");
    return std::nullopt;
  }
  std::ifstream file(path);
  if (!file) {
    Complain(path + ": cannot be read");
    return std::nullopt;
  }
  text << file.rdbuf();
  return text.str();
}

// The specifications of all files, or nothing after every error of every file has been printed.
std::optional<std::vector<rollout::Spec>> ReadSpecs(const std::vector<std::string>& files) {
  std::vector<rollout::Spec> specs;
  bool good = true;
  for (const std::string& path : files) {
    const auto text = ReadFile(path);
    if (!text) {
      good = false;
      continue;
    }
    const auto parsed = config::ParseSpecs(*text);
    if (parsed) {
      specs.insert(specs.end(), parsed->begin(), parsed->end());
      continue;
    }
    good = false;
    for (const config::FieldError& error : parsed.error()) {
      Complain(path + ": " + config::ToString(error));
    }
  }
  if (!good) return std::nullopt;
  return specs;
}

void PrintAs(Format format, const std::string& answer, const std::string& table) {
  switch (format) {
    case Format::kTable:
      return Print(table);
    case Format::kJson:
      return Print(answer);
    case Format::kYaml:
      return Print(YamlOf(answer));
  }
}

// What the analyzer has accepted with misgivings.
std::string Warnings(const std::string& service, const std::string& applied) {
  const json answer = json::parse(applied, nullptr, false);
  std::string text;
  if (!answer.is_object()) return text;
  for (const json& warning : answer.value("warnings", json::array())) {
    if (!warning.is_object()) continue;
    text += fmt::format("{}: warning: {}: {}\n", service, warning.value("field", ""),
                        warning.value("problem", ""));
  }
  return text;
}

// What a rollout will cost at the rate that the analyzer sees, once it knows it.
std::string SeenPlan(AnalyzerClient& analyzer, const rollout::Spec& spec) {
  constexpr int kLooks = 25;
  constexpr base::milliseconds kBetweenLooks{200};
  for (int look = 0; look < kLooks; ++look) {
    const auto answer = analyzer.Call("GET", RolloutPath(spec.service));
    if (!answer) return "";
    const json rollout = json::parse(*answer, nullptr, false);
    const json rate = rollout.is_object() ? rollout.value("requests_per_second", json()) : json();
    if (rate.is_number() && rate.get<double>() > 0) {
      const json ratio = rollout.value("primary_failure_ratio", json());
      const rollout::PlanInput input{
          .requests_per_second = rate.get<double>(),
          .primary_failure_ratio = ratio.is_number() ? ratio.get<double>() : 0.0};
      return PlanSummary(rollout::MakePlan(spec, input), input);
    }
    analyzer.Wait(kBetweenLooks);
  }
  return "No request is seen yet: `consul-canaryctl plan -f FILE --rate RPS` tells how long it "
         "will take.\n";
}

void PrintCreated(const std::string& service, const std::string& answer) {
  const json parsed = json::parse(answer, nullptr, false);
  for (const json& entry : Child(parsed, "created")) {
    Print(fmt::format("{}: {} created: {}\n", service, Text(entry, "Kind"), entry.dump()));
  }
}

struct Outcome {
  bool refused = false;
  std::string text;
};

std::uint64_t Count(const json& object, const char* key) {
  return static_cast<std::uint64_t>(std::max(0.0, Number(object, key).value_or(0)));
}

// The decision that answers the order, which has been taken.
Outcome OutcomeOf(const json& decisions, std::uint64_t order) {
  for (const json& decision : decisions) {
    if (Count(decision, "order") != order) continue;
    if (Text(decision, "action") == "refuse") return {true, Text(decision, "reason")};
    return {false, fmt::format("{}: {}", Text(decision, "to"), Text(decision, "reason"))};
  }
  return {false, "ordered; it changed nothing"};
}

// Nothing when the order was not taken in time: no analyzer leads, or Consul is slow.
std::optional<Outcome> WhatBecame(AnalyzerClient& analyzer, const std::string& service,
                                  std::uint64_t order) {
  constexpr int kLooks = 50;
  constexpr base::milliseconds kBetweenLooks{100};
  for (int look = 0; look < kLooks; ++look) {
    const auto answer = analyzer.Call("GET", RolloutPath(service));
    if (answer && Count(json::parse(*answer, nullptr, false), "last_order") >= order) {
      const auto made = analyzer.Call("GET", RolloutPath(service) + "/decisions");
      if (!made) return std::nullopt;
      const json decisions = json::parse(*made, nullptr, false);
      return OutcomeOf(Child(decisions, "decisions"), order);
    }
    analyzer.Wait(kBetweenLooks);
  }
  return std::nullopt;
}

// An order to which no answer came.
ApiError Lost(ApiError error, const std::string& service) {
  if (error.status != 0) return error;
  error.message += fmt::format(
      "; the order may have been stored all the same: see `consul-canaryctl history {}` before you "
      "send it again",
      service);
  return error;
}

}  // namespace

int Validate(const std::vector<std::string>& files) {
  const auto specs = ReadSpecs(files);
  if (!specs) return kWrongInput;
  for (const rollout::Spec& spec : *specs) Print(fmt::format("{}: valid\n", spec.service));
  return kDone;
}

int Apply(const Connection& connection, const std::vector<std::string>& files, bool create) {
  const auto specs = ReadSpecs(files);
  if (!specs) return kWrongInput;
  AnalyzerClient analyzer(connection.url, connection.token);
  int status = kDone;
  for (const rollout::Spec& spec : *specs) {
    const std::string path = RolloutPath(spec.service) + (create ? "?create=true" : "");
    const auto done = analyzer.Call("PUT", path, config::ToJson(spec));
    if (done) {
      PrintCreated(spec.service, *done);
      Print(fmt::format("{}: applied\n", spec.service));
      Print(Warnings(spec.service, *done));
      Print(SeenPlan(analyzer, spec));
    } else {
      status = Fail({done.error().status, spec.service + ": " + done.error().message});
    }
  }
  return status;
}

int PlanRollouts(const PlanOptions& options, Format format) {
  const auto specs = ReadSpecs(options.files);
  if (!specs) return kWrongInput;
  const rollout::PlanInput input{.requests_per_second = options.requests_per_second,
                                 .primary_failure_ratio = options.failure_ratio};
  for (const rollout::Spec& spec : *specs) {
    const rollout::Plan plan = rollout::MakePlan(spec, input);
    if (format == Format::kYaml) Print("---\n");  // a document each
    PrintAs(format, PlanJson(plan, input), PlanTable(plan, input));
  }
  return kDone;
}

int List(const Connection& connection, Format format) {
  AnalyzerClient analyzer(connection.url, connection.token);
  const auto answer = analyzer.Call("GET", kRolloutsPath);
  if (!answer) return Fail(answer.error());
  const auto parsed = Parsed(*answer, "rollouts");
  if (!parsed) return kRefused;
  const Look look = LookOfStdout();
  std::string paused = Paint(look, Colour::kYellow, Text(*parsed, "paused"));
  if (!paused.empty()) paused += '\n';
  PrintAs(format, *answer, paused + RolloutTable((*parsed)["rollouts"], look));
  return kDone;
}

int PrintServices(const Connection& connection) {
  constexpr base::seconds kPatience{1};
  AnalyzerClient analyzer(connection.url, connection.token);
  const auto answer = analyzer.Ask("GET", kRolloutsPath, kPatience).get();
  if (!answer) return kDone;
  const json parsed = json::parse(*answer, nullptr, false);
  for (const json& rollout : Child(parsed, "rollouts")) {
    Print(Text(rollout, "service") + "\n");
  }
  return kDone;
}

int Get(const Connection& connection, const std::string& service, Format format) {
  AnalyzerClient analyzer(connection.url, connection.token);
  const auto answer = analyzer.Call("GET", RolloutPath(service));
  if (!answer) return Fail(answer.error());
  const auto parsed = Parsed(*answer, "evidence");
  if (!parsed) return kRefused;
  if (format != Format::kYaml) {
    PrintAs(format, *answer, RolloutDetails(*parsed, LookOfStdout()));
  } else if (const auto spec = config::ParseSpec(parsed->value("spec", json()).dump()); spec) {
    Print(config::ToYaml(*spec));
  } else {
    return Fail({0, "the analyzer's answer holds no specification that this version reads"});
  }
  return kDone;
}

int History(const Connection& connection, const HistoryOptions& options, Format format) {
  AnalyzerClient analyzer(connection.url, connection.token);
  std::string path = RolloutPath(options.service) + "/decisions";
  char separator = '?';
  const auto add = [&path, &separator](const char* key, const std::string& value) {
    path += fmt::format("{}{}={}", std::exchange(separator, '&'), key, base::UrlEncode(value));
  };
  if (options.limit) add("limit", std::to_string(*options.limit));
  if (!options.since.empty()) add("since", options.since);
  const auto answer = analyzer.Call("GET", path);
  if (!answer) return Fail(answer.error());
  const auto parsed = Parsed(*answer, "decisions");
  if (!parsed) return kRefused;
  PrintAs(format, *answer, DecisionTable((*parsed)["decisions"], LookOfStdout()));
  return kDone;
}

int Delete(const Connection& connection, const std::string& service, bool release, bool force) {
  AnalyzerClient analyzer(connection.url, connection.token);
  const char* flags = force ? "?release=true&force=true" : "?release=true";
  const auto answer = analyzer.Call("DELETE", RolloutPath(service) + (release ? flags : ""));
  if (!answer) return Fail(answer.error());
  Print(service + ": deleted\n");
  if (!release) return kDone;
  const json parsed = json::parse(*answer, nullptr, false);
  const bool widened = parsed.is_object() && parsed.value("released", json()) == true;
  Print(service + (widened ? ": the primary subset takes all instances again\n"
                           : ": the primary subset took all instances already\n"));
  return kDone;
}

int PauseAll(const Connection& connection, const std::string& reason) {
  AnalyzerClient analyzer(connection.url, connection.token);
  const auto answer = analyzer.Call("PUT", kPausedPath, json{{"reason", reason}}.dump());
  if (!answer) return Fail(answer.error());
  Print("every rollout is paused; harm, aborts and rollback alerts are answered as ever\n");
  return kDone;
}

int ResumeAll(const Connection& connection) {
  AnalyzerClient analyzer(connection.url, connection.token);
  const auto answer = analyzer.Call("DELETE", kPausedPath);
  if (!answer) return Fail(answer.error());
  Print("rollouts go on; what was paused by itself stays paused\n");
  return kDone;
}

int Act(const Connection& connection, const std::string& service, const std::string& action,
        json order) {
  AnalyzerClient analyzer(connection.url, connection.token);
  const auto before = analyzer.Call("GET", RolloutPath(service));
  if (!before) return Fail(before.error());
  const auto rollout = Parsed(*before, "decisions");
  if (!rollout) return kRefused;
  order["seen_decisions"] = Count(*rollout, "decisions");
  const auto answer = analyzer.Call("POST", RolloutPath(service) + "/" + action, order.dump());
  if (!answer) return Fail(Lost(answer.error(), service));
  const std::uint64_t number = Count(json::parse(*answer, nullptr, false), "order");
  const auto became = WhatBecame(analyzer, service, number);
  if (!became) {
    Print(fmt::format("{}: {} ordered; whoever rules the rollout has not taken it yet\n", service,
                      action));
    return kDone;
  }
  if (became->refused) return Fail({0, fmt::format("{}: {}", service, became->text)});
  Print(fmt::format("{}: {}\n", service, became->text));
  return kDone;
}

int Status(const Connection& connection, const StatusOptions& options, Format format) {
  AnalyzerClient analyzer(connection.url, connection.token);
  const auto deadline = std::chrono::steady_clock::now() + options.timeout;
  constexpr base::milliseconds kPoll{500};
  for (;;) {
    const auto answer = analyzer.Call("GET", RolloutPath(options.service));
    const bool late = !options.wait || std::chrono::steady_clock::now() >= deadline;
    // An analyzer that restarts is waited for; a rollout that does not exist is not. 1 would say
    // that it was rolled back.
    if (!answer && (late || !MayPass(answer.error()))) {
      (void)Fail(answer.error());
      return kHeld;
    }
    if (answer) {
      const auto rollout = Parsed(*answer, "observed_weight");
      if (!rollout) return kHeld;
      const auto exit = ExitOf(*rollout, options.version);
      if (exit || late) {
        PrintAs(format, *answer, RolloutTable(json::array({*rollout}), LookOfStdout()));
        return exit.value_or(kHeld);
      }
    }
    analyzer.Wait(kPoll);
  }
}

int ReplayFile(const std::string& file, Format format) {
  const auto text = ReadFile(file);
  if (!text) return kWrongInput;
  const auto recording = config::ParseRecording(*text);
  if (!recording) {
    std::istringstream problems(recording.error().message);
    for (std::string problem; std::getline(problems, problem);) Complain(file + ": " + problem);
    return kWrongInput;
  }
  if (recording->ticks.empty()) {
    Complain(file + ": has no tick: there is nothing to replay");
    return kWrongInput;
  }
  for (const std::string& key : recording->not_judged) {
    Complain(fmt::format("{}: \"{}\" is read but not judged in this version", file, key));
  }
  const auto ticks = Replay(*recording);
  Print(format == Format::kTable ? ReplayTable(ticks) : ReplayJson(ticks));
  return kDone;
}

}  // namespace consul_canary::cli
