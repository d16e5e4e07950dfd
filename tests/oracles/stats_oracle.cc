// Answers questions to analyzer/stats on stdin, one JSON object a line, with one JSON value a line:
// what oracles_test.py compares with other people's implementations. It computes nothing itself.
//
// Every question has "ask"; counts are pairs [completed, failures], a tick is [nP, xP, nC, xC].
#include <fmt/core.h>

#include <exception>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "analyzer/stats/average.h"
#include "analyzer/stats/block.h"
#include "analyzer/stats/dispersion.h"
#include "analyzer/stats/harm.h"
#include "analyzer/stats/late.h"
#include "analyzer/stats/mann_whitney.h"
#include "analyzer/stats/margin.h"
#include "analyzer/stats/safe.h"
#include "analyzer/stats/sequences.h"
#include "analyzer/stats/share.h"

namespace consul_canary::stats {
namespace {

using Json = nlohmann::json;

struct Tick {
  Counts primary, canary;
};

Counts CountsOf(const Json& pair) { return {pair.at(0), pair.at(1)}; }

std::vector<Tick> TicksOf(const Json& question) {
  std::vector<Tick> ticks;
  for (const Json& tick : question.at("ticks")) {
    ticks.push_back({{tick.at(0), tick.at(1)}, {tick.at(2), tick.at(3)}});
  }
  return ticks;
}

Margin MarginOf(const Json& question) {
  return {question.value("ratio", 1.0), question.value("absolute", 0.0)};
}

double Phi(const Json& question) { return question.value("phi", 1.0); }
double Elapsed(const Json& question) { return question.value("elapsed", 1.0); }

Json ToJson(const Interval& interval) {
  return {interval.lower, interval.estimate, interval.upper};
}

Json Block(const Json& question) {
  const Tick tick = TicksOf(question).at(0);
  const double p = question.at("p");
  const double q = question.at("q");
  return LogBlock(tick.primary, tick.canary, {p, 1.0 - p}, {q, 1.0 - q});
}

Json Conditional(const Json& question) {
  const Tick tick = TicksOf(question).at(0);
  Json answer = Json::array();
  for (const double odds_ratio : question.at("odds_ratios")) {
    answer.push_back(LogConditionalBlock(tick.primary, tick.canary, odds_ratio));
  }
  return answer;
}

Json LikelihoodRatio(const Json& question) {
  const double null = question.at("null");
  Json answer = Json::array();
  for (const double rate : question.at("rates")) {
    answer.push_back(LogLikelihoodRatio(CountsOf(question.at("counts")), {rate, 1.0 - rate},
                                        {null, 1.0 - null}));
  }
  return answer;
}

Json Project(const Json& question) {
  const NullPoint point =
      ProjectOntoMargin(question.at("p"), question.at("q"), MarginOf(question),
                        question.at("primary_requests"), question.at("canary_requests"));
  return {point.primary, point.canary};
}

Json Harm(const Json& question) {
  HarmState state = StartHarm(CountsOf(question.at("history")));
  const HarmPlan plan{question.value("planned_epochs", 0), MarginOf(question)};
  Json answer = Json::array();
  for (const Tick& tick : TicksOf(question)) {
    ObserveHarm(state, plan, tick.primary, tick.canary, Phi(question), Elapsed(question));
    answer.push_back(LogHarm(state));
  }
  return answer;
}

Json Safe(const Json& question) {
  SafeState state = StartSafe(CountsOf(question.at("history")));
  Json answer = Json::array();
  for (const Tick& tick : TicksOf(question)) {
    ObserveSafe(state, MarginOf(question), tick.primary, tick.canary, Phi(question));
    answer.push_back(LogSafe(state));
  }
  return answer;
}

Json Late(const Json& question) {
  LateState state;
  Json answer = Json::array();
  for (const Json& counts : question.at("counts")) {
    ObserveLate(state, question.value("planned_epochs", 0), {counts.at(0), counts.at(1)},
                Phi(question), Elapsed(question));
    answer.push_back(LogLate(state));
  }
  return answer;
}

Json Share(const Json& question) {
  ShareState state;
  Json answer = Json::array();
  for (const Json& counts : question.at("counts")) {
    ObserveShare(state, question.at("weight"), counts.at(0), counts.at(1), Elapsed(question));
    answer.push_back(LogShareMismatch(state));
  }
  return answer;
}

Json Ratio(const Json& question) {
  RatioSequence state;
  for (const Tick& tick : TicksOf(question)) {
    ObserveRatio(state, tick.primary, tick.canary, Phi(question));
  }
  return ToJson(RatioInterval(state, question.at("alpha")));
}

Json Difference(const Json& question) {
  DifferenceSequence state = StartDifference(CountsOf(question.at("history")));
  for (const Tick& tick : TicksOf(question)) {
    ObserveDifference(state, tick.primary, tick.canary, Phi(question));
  }
  return ToJson(DifferenceInterval(state, question.at("alpha")));
}

// "ticks": for each tick the instances' [name, completed, failures].
Json Dispersion(const Json& question) {
  DispersionState state;
  for (const Json& tick : question.at("ticks")) {
    InstanceCounts counts;
    for (const Json& instance : tick) {
      counts.emplace_back(instance.at(0), Counts{instance.at(1), instance.at(2)});
    }
    ObserveDispersion(state, counts, Elapsed(question));
  }
  return Overdispersion(state, question.value("floor", 1.0));
}

Json MannWhitneyU(const Json& question) {
  const std::vector<double> primary = question.at("primary");
  const std::vector<double> canary = question.at("canary");
  const MannWhitney result = TestMannWhitney(primary, canary, question.at("confidence"));
  return {result.u, result.p_value, result.estimate, result.lower, result.upper};
}

Json Ebh(const Json& question) {
  const std::vector<double> values = question.at("log_values");
  return RejectedByEbh(values, question.at("level"));
}

Json Average(const Json& question) {
  const std::vector<double> values = question.at("log_values");
  const std::vector<double> weights = question.at("weights");
  return LogAverage(values, weights);
}

Json Answer(const Json& question) {
  static const std::map<std::string, Json (*)(const Json&)> answers = {
      {"block", Block},
      {"conditional", Conditional},
      {"likelihood_ratio", LikelihoodRatio},
      {"project", Project},
      {"harm", Harm},
      {"safe", Safe},
      {"late", Late},
      {"share", Share},
      {"ratio", Ratio},
      {"difference", Difference},
      {"dispersion", Dispersion},
      {"mann_whitney", MannWhitneyU},
      {"ebh", Ebh},
      {"average", Average},
  };
  return answers.at(question.at("ask"))(question);
}

}  // namespace
}  // namespace consul_canary::stats

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    try {
      fmt::print("{}\n", consul_canary::stats::Answer(nlohmann::json::parse(line)).dump());
    } catch (const std::exception& error) {
      fmt::print(stderr, "stats_oracle: {}: {}\n", line, error.what());
      return 1;
    }
  }
  return 0;
}
