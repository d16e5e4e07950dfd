// The commands of consul-canaryctl. Each prints its result on standard output, errors on standard
// error, and returns the exit status: 0 done, 1 the mesh or the analyzer refused, 2 flags or file
// contents are wrong, 3 (status, and watch that waits for an end) neither promoted nor rolled back.
#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace consul_canary::cli {

enum class Format { kTable, kJson, kYaml };

struct Connection {
  std::string url;
  std::string token;
};

// `create`: where a service has no resolver or splitter yet, they are written.
int Apply(const Connection& connection, const std::vector<std::string>& files, bool create);
int Validate(const std::vector<std::string>& files);
int List(const Connection& connection, Format format);
int Get(const Connection& connection, const std::string& service, Format format);

struct HistoryOptions {
  std::string service;
  std::optional<int> limit;  // the newest ones alone
  std::string since;         // RFC 3339; empty: all
};
int History(const Connection& connection, const HistoryOptions& options, Format format);

// `release`: the primary subset takes all instances again; `force`: although another version's run.
int Delete(const Connection& connection, const std::string& service, bool release, bool force);
// The whole fleet; `reason` may be empty.
int PauseAll(const Connection& connection, const std::string& reason);
int ResumeAll(const Connection& connection);
// start, pause, resume, promote, abort, retry; `order` is the action's JSON object, to which is
// added what has been decided so far. Waits some seconds for what became of the order, and says it;
// 1 where it was not carried out.
int Act(const Connection& connection, const std::string& service, const std::string& action,
        nlohmann::json order);

struct StatusOptions {
  std::string service;
  std::string version;  // only a rollout of this version counts; empty: the last or present one
  bool wait = false;
  std::chrono::seconds timeout{3600};
};
int Status(const Connection& connection, const StatusOptions& options, Format format);

struct PlanOptions {
  std::vector<std::string> files;
  double requests_per_second = 0;
  double failure_ratio = 0.001;  // of the primary
};
// A name a line, for shell completion; nothing, silently, where no analyzer answers within a
// second.
int PrintServices(const Connection& connection);

int PlanRollouts(const PlanOptions& options, Format format);

int ReplayFile(const std::string& file, Format format);

}  // namespace consul_canary::cli
