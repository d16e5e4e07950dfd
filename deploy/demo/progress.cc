#include "deploy/demo/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace consul_canary::demo {
namespace {

using nlohmann::json;

std::string Text(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::optional<double> Number(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

std::string Evidence(std::string_view name, std::optional<double> value,
                     std::optional<double> bound) {
  if (!value) return "";
  if (std::abs(*value) < 0.05) value = 0;  // never "-0.0"
  return bound ? fmt::format("  {} {:.1f} of {:.1f}", name, *value, *bound)
               : fmt::format("  {} {:.1f}", name, *value);
}

}  // namespace

bool Status::Finished() const {
  return phase == "succeeded" || phase == "rolled-back" || phase == "failed";
}

std::optional<Status> ParseStatus(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object()) return std::nullopt;
  Status status;
  status.phase = Text(object, "phase");
  status.stage = Text(object, "stage");
  status.step = static_cast<int>(Number(object, "step").value_or(0));
  status.steps = static_cast<int>(Number(object, "steps").value_or(0));
  status.weight = Number(object, "weight").value_or(0);
  status.reason = Text(object, "reason");
  status.problem = Text(object, "problem");
  status.unknown = Text(object, "unknown");
  status.canary_version = Text(object, "canary_version");
  const json evidence = object.value("evidence", json::object());
  if (evidence.is_object()) {
    status.log_harm = Number(evidence, "log_harm");
    status.log_safe = Number(evidence, "log_safe");
    status.harm_bound = Number(evidence, "harm_bound");
    status.safe_bound = Number(evidence, "safe_bound");
  }
  return status;
}

Progress::Progress()
    : start_(std::chrono::steady_clock::now()), terminal_(isatty(STDERR_FILENO) == 1) {}

void Progress::Say(std::string_view text) {
  const double elapsed =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  fmt::print(stderr, "{}{:6.1f} s  {}\n", line_open_ ? "\r\x1b[K" : "", elapsed, text);
  line_open_ = false;
}

void Progress::Rewrite(std::string_view text) {
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  fmt::print(stderr, "\r\x1b[K{}", text.substr(0, known ? size.ws_col - 1U : 79U));
  std::fflush(stderr);
  line_open_ = true;
}

void Progress::Show(const Status& status, std::int64_t requests, std::int64_t failed) {
  const std::string change =
      fmt::format("{} {} {} {} {} {}", status.phase, status.stage, status.step, status.weight,
                  status.canary_version, status.problem);
  std::string where = fmt::format("{:<12}", status.phase);
  if (status.step > 0) where += fmt::format(" step {}/{}", status.step, status.steps);
  where += fmt::format("  weight {:g}%  {} requests, {} failed", status.weight, requests, failed);
  const std::string evidence = Evidence("harm", status.log_harm, status.harm_bound) +
                               Evidence("safe", status.log_safe, status.safe_bound);
  if (change != last_change_) {
    last_change_ = change;
    Say(where + evidence);
    for (const std::string* words : {&status.reason, &status.problem}) {
      if (!words->empty()) Say("             " + *words);
    }
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_ || now - last_rewrite_ < std::chrono::seconds(1)) return;
  last_rewrite_ = now;
  Rewrite(fmt::format("          {}{}{}{}", where, evidence,
                      status.unknown.empty() ? "" : "  waiting: ", status.unknown));
}

}  // namespace consul_canary::demo
