// Child processes that never outlive the program that started them: each is ended by its own
// process id when its object goes, and by the kernel when this program is killed. They are started
// from one thread that lives as long as the program, because the kernel's death signal (ours, and
// the one that Envoy asks for) is sent when the starting *thread* ends.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "exporter/base/result.h"
#include "tests/support/wait.h"

namespace consul_canary::testing {

struct Command {
  std::vector<std::string> argv;             // argv[0]: a path, or a name that PATH finds
  std::map<std::string, std::string> env{};  // added to (or in place of) this program's own
  std::filesystem::path output{};       // stdout and stderr are appended here; empty: discarded
  std::filesystem::path stdout_only{};  // stdout goes here instead, truncated first
};

// How a process ended: its exit code, or 128 + signal.
using ExitCode = int;

class Process {
 public:
  // kInvalid when the program cannot be executed; the error names it.
  [[nodiscard]] static base::Result<std::unique_ptr<Process>> Start(const Command& command);

  // As Stop().
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool Running();

  // Sends a signal (SIGKILL, SIGSTOP, SIGCONT, SIGHUP, …); nothing when the process has ended.
  void Signal(int signal);

  // The exit code, or nothing when the process still runs after `limit`.
  [[nodiscard]] std::optional<ExitCode> Wait(milliseconds limit);

  // SIGTERM (and SIGCONT), and SIGKILL when it still runs after `patience`. Returns the exit code.
  // Idempotent.
  ExitCode Stop(milliseconds patience = seconds(5));

  // The last lines of the output file, for messages.
  [[nodiscard]] std::string OutputTail(std::size_t lines = 15) const;
  [[nodiscard]] const std::filesystem::path& output() const { return output_; }

 private:
  Process(pid_t pid, std::filesystem::path output);

  std::mutex mutex_;
  pid_t pid_;
  std::filesystem::path output_;
  std::optional<ExitCode> exit_code_;
};

// Runs a command to its end. kUnavailable when it takes longer than `limit` (it is ended then);
// kInvalid with the tail of its output when it does not exit with 0. The value is what it wrote to
// stdout.
[[nodiscard]] base::Result<std::string> RunCommand(Command command, milliseconds limit);

}  // namespace consul_canary::testing
