// What the commands share: exit codes, complaints, and how the analyzer's answers are taken.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "analyzer/cli/analyzer_client.h"

namespace consul_canary::cli {

inline constexpr int kDone = 0;
inline constexpr int kRefused = 1;
inline constexpr int kWrongInput = 2;
inline constexpr int kHeld = 3;

inline constexpr const char* kRolloutsPath = "/api/v1/rollouts";
inline constexpr const char* kPausedPath = "/api/v1/paused";
[[nodiscard]] std::string RolloutPath(const std::string& service);

void Print(const std::string& text);     // to standard output
void Complain(const std::string& text);  // to standard error, after the program's name

// Complains, and returns 2 where the request itself was wrong, else 1.
int Fail(const ApiError& error);

// Whether a later answer may be another one: the analyzer restarts, or has not read Consul yet.
[[nodiscard]] bool MayPass(const ApiError& error);

// An answer that has what an analyzer's answers have, else nothing after a complaint.
[[nodiscard]] std::optional<nlohmann::json> Parsed(const std::string& answer, const char* key);

// What a pipeline acts on: kDone promoted, kRefused rolled back; nothing while the rollout goes on.
// Only a rollout of `version` counts; empty: any.
[[nodiscard]] std::optional<int> ExitOf(const nlohmann::json& rollout, const std::string& version);

}  // namespace consul_canary::cli
