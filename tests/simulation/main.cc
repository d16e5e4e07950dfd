// Holds the analyzer to its promises on simulated traffic: prints what was measured, and exits 1
// where a promise is broken. Seeds are fixed: the same call prints the same figures, whatever the
// number of threads.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <string_view>

#include "tests/simulation/experiments.h"

namespace consul_canary::simulation {
namespace {

enum class Form { kText, kMarkdown, kJson };

struct Options {
  Effort effort;
  Form form = Form::kText;
  std::string_view only;
  bool is_valid = true;
};

constexpr const char* kUsage =
    "usage: simulation [--long] [--markdown | --json] [--threads N] [--only NAME]\n"
    "  --long      the runs of the tables in docs/statistics.md; otherwise a minute's worth\n"
    "  --threads   1 by default; the figures do not depend on it\n"
    "  --only      false_rollbacks, rollbacks, late_faults, advances, slowness, silence, watch,\n"
    "              ejections, ejection_prices, expectations or whole_rollouts\n";

struct Experiment {
  std::string_view name;
  std::vector<Table> (*make)(const Effort&);
};
constexpr Experiment kExperiments[] = {
    {"false_rollbacks", FalseRollbacks},
    {"rollbacks", Rollbacks},
    {"late_faults", LateFaults},
    {"advances", Advances},
    {"slowness", Slowness},
    {"silence", Silence},
    {"watch", Watches},
    {"ejections", Ejections},
    {"ejection_prices", EjectionPrices},
    {"expectations", Expectations},
    {"whole_rollouts", WholeRollouts},
};

bool ReadNumber(const char* text, unsigned& number) {
  const char* end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, number);
  return error == std::errc() && rest == end && number > 0;
}

Options Read(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc && options.is_valid; ++i) {
    const std::string_view argument = argv[i];
    const bool has_value = i + 1 < argc;
    if (argument == "--long") {
      options.effort.is_long = true;
    } else if (argument == "--markdown") {
      options.form = Form::kMarkdown;
    } else if (argument == "--json") {
      options.form = Form::kJson;
    } else if (argument == "--threads" && has_value) {
      options.is_valid = ReadNumber(argv[++i], options.effort.threads);
    } else if (argument == "--only" && has_value) {
      options.only = argv[++i];
      options.is_valid = std::ranges::count(kExperiments, options.only, &Experiment::name) == 1;
    } else {
      options.is_valid = false;
    }
  }
  return options;
}

std::string ToForm(const Table& table, Form form) {
  switch (form) {
    case Form::kText:
      return ToText(table) + "\n";
    case Form::kMarkdown:
      return ToMarkdown(table) + "\n";
    case Form::kJson:
      break;
  }
  return ToJsonLines(table);
}

int Main(int argc, char** argv) {
  const Options options = Read(argc, argv);
  if (!options.is_valid) {
    fmt::print(stderr, "{}", kUsage);
    return 2;
  }
  bool all_hold = true;
  for (const Experiment& experiment : kExperiments) {
    if (!options.only.empty() && options.only != experiment.name) continue;
    const auto started = std::chrono::steady_clock::now();
    for (const Table& table : experiment.make(options.effort)) {
      fmt::print("{}", ToForm(table, options.form));
      all_hold = Holds(table) && all_hold;
    }
    std::fflush(stdout);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
    fmt::print(stderr, "{}: {:.1f} s\n", experiment.name, took.count());
  }
  return all_hold ? 0 : 1;
}

}  // namespace
}  // namespace consul_canary::simulation

int main(int argc, char** argv) { return consul_canary::simulation::Main(argc, argv); }
