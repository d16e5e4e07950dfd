#include "analyzer/cli/completion.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <vector>

namespace consul_canary::cli {
namespace {

bool TakesValue(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

std::vector<std::string> NamesOf(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  return names;
}

template <class Chosen>
std::vector<std::string> FlagsOf(const CLI::App& app, Chosen chosen) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options()) {
    if (!chosen(*option)) continue;
    for (std::string& name : NamesOf(*option)) flags.push_back(std::move(name));
  }
  return flags;
}

std::vector<std::string> AllFlags(const CLI::App& app) {
  return FlagsOf(app, [](const CLI::Option&) { return true; });
}

std::vector<const CLI::App*> ShownCommands(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* command) { return !command->get_group().empty(); });
}

bool TakesService(const CLI::App& command) {
  return std::ranges::any_of(command.get_options(), [](const CLI::Option* option) {
    return option->get_positional() && option->get_name(true) == "SERVICE";
  });
}

// What an option that names its values takes: "table, json or yaml".
std::string ValuesOf(const CLI::App& command, const std::string& name) {
  const CLI::Option* option = command.get_option_no_throw(name);
  if (option == nullptr) return "";
  std::string text = option->get_description();
  for (const std::string_view separator : {", ", " or "}) {
    for (std::size_t at = text.find(separator); at != std::string::npos;
         at = text.find(separator)) {
      text.replace(at, separator.size(), " ");
    }
  }
  return text;
}

// One arm of a case for each command: its flags, what it takes, and the formats of its output.
std::string Arms(const CLI::App& app, const std::string& global_flags) {
  std::string arms;
  for (const CLI::App* command : ShownCommands(app)) {
    const std::string name = command->get_name();
    std::string takes;
    if (TakesService(*command)) takes = "services";
    if (name == "replay") takes = "files";
    if (name == "completion") takes = "bash zsh";
    arms += fmt::format("    {}) flags='{} {}' takes='{}' formats='{}' ;;\n", name,
                        fmt::join(AllFlags(*command), " "), global_flags, takes,
                        ValuesOf(*command, "--output"));
  }
  return arms;
}

// Replaces each @name@ of a script.
std::string Filled(std::string script, const CLI::App& app) {
  std::vector<std::string> names;
  std::string described;
  for (const CLI::App* command : ShownCommands(app)) {
    names.push_back(command->get_name());
    std::string help = command->get_description();
    for (std::size_t at = help.find('\''); at != std::string::npos; at = help.find('\'', at + 4)) {
      help.replace(at, 1, R"('\'')");
    }
    for (std::size_t at = help.find(':'); at != std::string::npos; at = help.find(':', at + 2)) {
      help.replace(at, 1, "\\:");
    }
    described += fmt::format("    '{}:{}'\n", command->get_name(), help);
  }
  const std::string global_flags = fmt::format("{}", fmt::join(AllFlags(app), " "));
  const auto with_value = FlagsOf(app, TakesValue);
  const std::pair<std::string, std::string> parts[] = {
      {"@commands@", fmt::format("{}", fmt::join(names, " "))},
      {"@described@", described},
      {"@flags@", global_flags},
      {"@valued@", fmt::format("{}", fmt::join(with_value, " | "))},
      {"@arms@", Arms(app, fmt::format("{}", fmt::join(with_value, " ")))},
      {"@services@", kServicesCommand}};
  for (const auto& [mark, text] : parts) {
    for (std::size_t at = script.find(mark); at != std::string::npos;
         at = script.find(mark, at + text.size())) {
      script.replace(at, mark.size(), text);
    }
  }
  return script;
}

// Words are taken from the line, since bash's own are broken at the colons of a URL.
constexpr const char* kBash =
    R"script(# bash completion for consul-canaryctl; printed by `consul-canaryctl completion bash`

_consul_canaryctl() {
  local line=${COMP_LINE:0:COMP_POINT} flags='@flags@' takes='@commands@' formats='' command='' i
  local -a words=() connection=()
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=('')
  local last=$((${#words[@]} - 1))
  local cur=${words[last]} prev=${words[last - 1]}
  for ((i = 1; i < last; i++)); do
    case ${words[i]} in
    @valued@)
      ((i + 1 < last)) && connection+=("${words[i]}" "${words[i + 1]}")
      ((i++))
      ;;
    --*=*) connection+=("${words[i]}") ;;
    -*) ;;
    *)
      command=${words[i]}
      break
      ;;
    esac
  done
  case $command in
@arms@  '') ;;
  *) return ;;
  esac
  COMPREPLY=()
  case $prev in
  -o | --output)
    COMPREPLY=($(compgen -W "$formats" -- "$cur"))
    return
    ;;
  -f | --filename | --token-file) takes=files ;;
  --analyzer.url | --version | --timeout | --limit | --since | --rate | --failures | --reason | --primary-subset | --canary-subset | --caller | --max-failures)
    [[ -n $command || $prev != --version ]] && return
    ;;
  esac
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$cur"))
    return
  fi
  case $takes in
  files)
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    ;;
  services)
    local known
    known=$("${words[0]}" "${connection[@]}" @services@ 2>/dev/null)
    COMPREPLY=($(compgen -W "$known" -- "$cur"))
    ;;
  *) COMPREPLY=($(compgen -W "$takes" -- "$cur")) ;;
  esac
}

complete -F _consul_canaryctl consul-canaryctl
)script";

constexpr const char* kZsh = R"script(#compdef consul-canaryctl
# zsh completion for consul-canaryctl; printed by `consul-canaryctl completion zsh`

_consul_canaryctl() {
  local flags='@flags@' takes=commands formats='' command='' i
  local -a connection described
  local cur=$words[CURRENT] prev=$words[CURRENT-1]
  for ((i = 2; i < CURRENT; i++)); do
    case $words[i] in
    (@valued@)
      ((i + 1 < CURRENT)) && connection+=("$words[i]" "$words[i+1]")
      ((i++))
      ;;
    (--*=*) connection+=("$words[i]") ;;
    (-*) ;;
    (*)
      command=$words[i]
      break
      ;;
    esac
  done
  case $command in
@arms@  '') ;;
  *) return 1 ;;
  esac
  case $prev in
  (-o|--output)
    compadd -- ${=formats}
    return
    ;;
  (-f|--filename|--token-file) takes=files ;;
  (--analyzer.url|--version|--timeout|--limit|--since|--rate|--failures|--reason|--primary-subset|--canary-subset|--caller|--max-failures)
    [[ -n $command || $prev != --version ]] && return 1
    ;;
  esac
  if [[ $cur == -* ]]; then
    compadd -- ${=flags}
    return
  fi
  case $takes in
  (commands)
    described=(
@described@    )
    _describe -t commands command described
    ;;
  (files) _files ;;
  (services) compadd -- ${(f)"$($words[1] $connection @services@ 2>/dev/null)"} ;;
  (*) compadd -- ${=takes} ;;
  esac
}

# Loaded by `source`, it registers itself; from fpath, it is the function's first call.
if [[ $funcstack[1] == _consul_canaryctl ]]; then
  _consul_canaryctl "$@"
else
  compdef _consul_canaryctl consul-canaryctl
fi
)script";

}  // namespace

std::string BashCompletion(const CLI::App& app) { return Filled(kBash, app); }

std::string ZshCompletion(const CLI::App& app) { return Filled(kZsh, app); }

}  // namespace consul_canary::cli
