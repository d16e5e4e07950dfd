#include "analyzer/cli/commands.h"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "analyzer/cli/analyzer_client.h"
#include "analyzer/cli/answers.h"
#include "analyzer/cli/plan.h"
#include "analyzer/cli/replay.h"
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

// 5 or 5→10 while the splitter does not show it yet.
std::string WeightText(const json& rollout) {
  const double wanted = rollout.value("weight", 0.0);
  const json& observed = rollout["observed_weight"];
  if (!observed.is_number() || observed.get<double>() == wanted)
    return fmt::format("{:g}%", wanted);
  return fmt::format("{:g}%→{:g}%", observed.get<double>(), wanted);
}

// Between rollouts, what the last one came to and what the next one waits for.
std::string ReasonText(const json& rollout) {
  const std::string reason = rollout.value("reason", "");
  const std::string waits = rollout.value("waits", "");
  if (waits.empty() || waits == reason) return reason;
  return reason.empty() ? waits : reason + "; " + waits;
}

std::string Row(const json& rollout) {
  const std::string step =
      fmt::format("{}/{}", rollout.value("step", 0), rollout.value("steps", 0));
  const std::string problem = rollout.value("problem", "");
  return fmt::format("{:<20} {:<13} {:<6} {:<10} {:<10} {:<10} {}\n", rollout.value("service", ""),
                     rollout.value("phase", ""), step, WeightText(rollout),
                     rollout.value("canary_version", ""), rollout.value("verdict", ""),
                     problem.empty() ? ReasonText(rollout) : problem);
}

std::string Header() {
  return fmt::format("{:<20} {:<13} {:<6} {:<10} {:<10} {:<10} {}\n", "SERVICE", "PHASE", "STEP",
                     "WEIGHT", "CANARY", "VERDICT", "REASON");
}

// Of several metrics, what each says by itself.
std::string OfMetrics(const json& metrics) {
  std::string text;
  if (!metrics.is_object() || metrics.size() < 2) return text;
  for (const auto& [name, metric] : metrics.items()) {
    text += fmt::format("metric     {}: harm {:.2f}", name, metric.value("log_harm", 0.0));
    if (metric.contains("log_safe")) {
      text += fmt::format(", safety {:.2f}", metric.value("log_safe", 0.0));
    }
    text += metric.value("blamed", false) ? ", stands out\n" : "\n";
  }
  return text;
}

std::string Details(const json& rollout) {
  const json& evidence = rollout["evidence"];
  const json& step = evidence["step"];
  const auto counts = [](const json& subset) {
    return fmt::format("{} of {} requests failed", subset.value("failures", 0),
                       subset.value("completed", 0));
  };
  std::string text = Header() + Row(rollout) + "\n";
  text += fmt::format("versions   canary {}, primary {}\n", rollout.value("canary_version", "-"),
                      rollout.value("primary_version", "-"));
  text += fmt::format("this step  canary {}, primary {}\n", counts(step["canary"]),
                      counts(step["primary"]));
  text += fmt::format("harm       ln M {:.2f}, rolled back at {:.2f}\n",
                      evidence.value("log_harm", 0.0), evidence.value("harm_bound", 0.0));
  text += fmt::format("safety     ln M {:.2f}, advanced at {:.2f}\n",
                      evidence.value("log_safe", 0.0), evidence.value("safe_bound", 0.0));
  text += fmt::format("callers    {}, read {:.1f} s ago at most\n", rollout.value("callers", 0),
                      rollout.value("outcomes_age_seconds", 0.0));
  text += OfMetrics(evidence.value("metrics", json::object()));
  for (const json& note : evidence.value("notes", json::array())) {
    if (note.is_string()) text += "note       " + note.get<std::string>() + "\n";
  }
  if (const std::string unknown = rollout.value("unknown", ""); !unknown.empty()) {
    text += "holds      " + unknown + "\n";
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

}  // namespace

int Validate(const std::vector<std::string>& files) {
  const auto specs = ReadSpecs(files);
  if (!specs) return kWrongInput;
  for (const rollout::Spec& spec : *specs) Print(fmt::format("{}: valid\n", spec.service));
  return kDone;
}

int Apply(const Connection& connection, const std::vector<std::string>& files) {
  const auto specs = ReadSpecs(files);
  if (!specs) return kWrongInput;
  AnalyzerClient analyzer(connection.url, connection.token);
  int status = kDone;
  for (const rollout::Spec& spec : *specs) {
    const auto done = analyzer.Call("PUT", RolloutPath(spec.service), config::ToJson(spec));
    if (done) {
      Print(fmt::format("{}: applied\n", spec.service));
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
    Print(format == Format::kTable ? PlanTable(plan, input) : PlanJson(plan, input));
  }
  return kDone;
}

int List(const Connection& connection, Format format) {
  AnalyzerClient analyzer(connection.url, connection.token);
  const auto answer = analyzer.Call("GET", kRolloutsPath);
  if (!answer) return Fail(answer.error());
  if (format != Format::kTable) {
    Print(*answer);
    return kDone;
  }
  const auto parsed = Parsed(*answer, "rollouts");
  if (!parsed) return kRefused;
  std::string text = Header();
  for (const json& rollout : (*parsed)["rollouts"]) text += Row(rollout);
  Print(text);
  return kDone;
}

int Get(const Connection& connection, const std::string& service, Format format) {
  AnalyzerClient analyzer(connection.url, connection.token);
  const auto answer = analyzer.Call("GET", RolloutPath(service));
  if (!answer) return Fail(answer.error());
  const auto parsed = Parsed(*answer, "evidence");
  if (!parsed) return kRefused;
  if (format == Format::kJson) {
    Print(*answer);
  } else if (format == Format::kTable) {
    Print(Details(*parsed));
  } else if (const auto spec = config::ParseSpec(parsed->value("spec", json()).dump()); spec) {
    Print(config::ToYaml(*spec));
  } else {
    return Fail({0, "the analyzer's answer holds no specification that this version reads"});
  }
  return kDone;
}

int History(const Connection& connection, const std::string& service, Format format) {
  AnalyzerClient analyzer(connection.url, connection.token);
  const auto answer = analyzer.Call("GET", RolloutPath(service) + "/decisions");
  if (!answer) return Fail(answer.error());
  if (format != Format::kTable) {
    Print(*answer);
    return kDone;
  }
  const auto parsed = Parsed(*answer, "decisions");
  if (!parsed) return kRefused;
  std::string text = fmt::format("{:<21} {:<12} {:<14} {:<13} {:>7}  {}\n", "TIME", "ACTION",
                                 "CAUSE", "PHASE", "WEIGHT", "REASON");
  for (const json& decision : (*parsed)["decisions"]) {
    text += fmt::format("{:<21} {:<12} {:<14} {:<13} {:>6g}%  {}\n", decision.value("time", ""),
                        decision.value("action", ""), decision.value("cause", ""),
                        decision.value("to", ""), decision.value("weight", 0.0),
                        decision.value("reason", ""));
  }
  Print(text);
  return kDone;
}

int Delete(const Connection& connection, const std::string& service) {
  AnalyzerClient analyzer(connection.url, connection.token);
  const auto answer = analyzer.Call("DELETE", RolloutPath(service));
  if (!answer) return Fail(answer.error());
  Print(service + ": deleted\n");
  return kDone;
}

int Act(const Connection& connection, const std::string& service, const std::string& action,
        const std::string& body) {
  AnalyzerClient analyzer(connection.url, connection.token);
  const auto answer = analyzer.Call("POST", RolloutPath(service) + "/" + action, body);
  if (!answer) return Fail(answer.error());
  Print(fmt::format("{}: {} ordered\n", service, action));
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
      if (!rollout) return kRefused;
      const auto exit = ExitOf(*rollout, options.version);
      if (exit || late) {
        Print(format == Format::kTable ? Header() + Row(*rollout) : *answer);
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
