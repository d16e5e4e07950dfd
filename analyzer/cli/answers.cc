#include "analyzer/cli/answers.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "analyzer/cli/fields.h"

namespace consul_canary::cli {

using nlohmann::json;

std::string RolloutPath(const std::string& service) {
  return std::string(kRolloutsPath) + "/" + base::UrlEncode(service);
}

void Print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void Complain(const std::string& text) { fmt::print(stderr, "consul-canaryctl: {}\n", text); }

int Fail(const ApiError& error) {
  constexpr int kBadRequest = 400;
  Complain(error.message);
  return error.status == kBadRequest ? kWrongInput : kRefused;
}

bool MayPass(const ApiError& error) {
  constexpr int kUnavailable = 503;
  return error.status == 0 || error.status == kUnavailable;
}

std::optional<json> Parsed(const std::string& answer, const char* key) {
  json parsed = json::parse(answer, nullptr, false);
  if (parsed.is_object() && parsed.contains(key)) return parsed;
  Complain("what answers at --analyzer.url is no analyzer of this version");
  return std::nullopt;
}

std::optional<int> ExitOf(const json& rollout, const std::string& version) {
  if (!version.empty() && Text(rollout, "canary_version") != version) return std::nullopt;
  const std::string phase = Text(rollout, "phase");
  if (phase == "succeeded") return kDone;
  if (phase == "rolled-back") return kRefused;
  return std::nullopt;
}

}  // namespace consul_canary::cli
