#include "analyzer/cli/complaint.h"

#include <fmt/format.h>

#include "exporter/config/nearest.h"

namespace consul_canary::cli {
namespace {

std::string DidYouMean(std::string_view word, const std::vector<std::string>& known) {
  const std::string nearest = config::Nearest(word, known);
  return nearest.empty() ? "" : fmt::format("; did you mean {}?", nearest);
}

std::vector<std::string> CommandNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!command->get_group().empty()) names.push_back(command->get_name());
  }
  return names;
}

std::vector<std::string> FlagNames(const CLI::App& app, bool only_with_value = false) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    if (only_with_value && option->get_items_expected_max() == 0) continue;
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

std::string UnknownFlag(const CLI::App& app, const CLI::App* command, const std::string& flag) {
  // Behind a command nobody means the program's own --version.
  std::vector<std::string> known = FlagNames(app, command != nullptr);
  if (command != nullptr) {
    const auto own = FlagNames(*command);
    known.insert(known.end(), own.begin(), own.end());
  }
  const std::string name = flag.substr(0, flag.find('='));
  return fmt::format("{}{} is no flag here{}", command == nullptr ? "" : command->get_name() + ": ",
                     name, DidYouMean(name, known));
}

// The first argument that is neither a flag nor the value of one.
std::string FirstWord(const CLI::App& app, const std::vector<std::string>& arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!argument.starts_with('-')) return argument;
    const CLI::Option* option = app.get_option_no_throw(argument);
    if (option != nullptr && option->get_items_expected_max() > 0) ++i;
  }
  return "";
}

std::string NoCommand(const CLI::App& app, const std::vector<std::string>& arguments) {
  const auto names = CommandNames(app);
  const std::string word = FirstWord(app, arguments);
  const std::string there_are = fmt::format("there are {}", fmt::join(names, ", "));
  if (word.empty()) return "a subcommand is needed: " + there_are;
  const std::string meant = DidYouMean(word, names);
  return fmt::format("\"{}\" is no subcommand{}", word, meant.empty() ? ": " + there_are : meant);
}

}  // namespace

std::string Complaint(const CLI::App& app, const CLI::ParseError& error,
                      const std::vector<std::string>& arguments) {
  const auto parsed = app.get_subcommands();
  const CLI::App* command = parsed.empty() ? nullptr : parsed.front();
  if (command == nullptr && !FirstWord(app, arguments).empty()) return NoCommand(app, arguments);
  for (const std::string& rest : app.remaining(true)) {
    if (rest.starts_with('-')) return UnknownFlag(app, command, rest);
  }
  if (command == nullptr) return NoCommand(app, arguments);
  const auto rest = app.remaining(true);
  if (!rest.empty()) {
    return fmt::format("{}: \"{}\" is one argument too many", command->get_name(), rest.back());
  }
  const std::string what = error.what();
  const char* found = what.ends_with("is required") ? " (see --help)" : "";
  return fmt::format("{}: {}{}", command->get_name(), what, found);
}

}  // namespace consul_canary::cli
