#include "tests/support/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <future>
#include <thread>

#include "tests/support/temp_dir.h"

namespace consul_canary::testing {
namespace {

using base::ErrorCode;
using base::Fail;
using base::Result;

// Runs tasks one after another on a thread that ends with the program only.
class LauncherThread {
 public:
  LauncherThread() {
    std::thread([this] { Run(); }).detach();
  }

  void Do(const std::function<void()>& task) {
    std::packaged_task<void()> wrapped(task);
    std::future<void> done = wrapped.get_future();
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(wrapped));
    }
    ready_.notify_one();
    done.wait();
  }

 private:
  void Run() {
    while (true) {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [this] { return !tasks_.empty(); });
      std::packaged_task<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::packaged_task<void()>> tasks_;
};

// Never destroyed: its thread, and so the children's right to live, lasts until the program's end.
// A forked program (the demo's --keep) must fork before its first child.
LauncherThread& Launcher() {
  static auto* const launcher = new LauncherThread;
  return *launcher;
}

std::vector<std::string> MergedEnvironment(const std::map<std::string, std::string>& changes) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!changes.contains(std::string(text.substr(0, text.find('='))))) merged.emplace_back(text);
  }
  for (const auto& [key, value] : changes) merged.push_back(key + "=" + value);
  return merged;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Everything that the child needs after fork, made before it: between fork and exec only
// async-signal-safe calls are allowed.
struct Prepared {
  std::vector<char*> argv;
  std::vector<char*> env;
  int stdin_fd = -1;
  int stdout_fd = -1;
  int stderr_fd = -1;
  int error_fd = -1;  // errno of a failed exec goes here; closed by a good one
  pid_t parent = 0;
};

[[noreturn]] void BecomeChild(const Prepared& prepared) {
  setpgid(0, 0);  // Ctrl-C at the terminal is for the parent, which ends its children in order
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != prepared.parent) _exit(127);
  signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  dup2(prepared.stdin_fd, STDIN_FILENO);
  dup2(prepared.stdout_fd, STDOUT_FILENO);
  dup2(prepared.stderr_fd, STDERR_FILENO);
  execvpe(prepared.argv[0], prepared.argv.data(), prepared.env.data());
  const int reason = errno;
  if (write(prepared.error_fd, &reason, sizeof(reason)) < 0) _exit(126);
  _exit(127);
}

// The pid, or -errno.
pid_t ForkAndExec(Prepared& prepared) {
  int error_pipe[2];
  if (pipe2(error_pipe, O_CLOEXEC) != 0) return -errno;
  prepared.error_fd = error_pipe[1];
  prepared.parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) BecomeChild(prepared);
  const int fork_error = errno;
  close(error_pipe[1]);
  int reason = pid < 0 ? fork_error : 0;
  if (pid > 0 && read(error_pipe[0], &reason, sizeof(reason)) == sizeof(reason)) {
    waitpid(pid, nullptr, 0);
  } else if (pid > 0) {
    reason = 0;
  }
  close(error_pipe[0]);
  return reason == 0 ? pid : -reason;
}

int OpenOutput(const std::filesystem::path& path, int flags) {
  const std::string name = path.empty() ? "/dev/null" : path.string();
  return open(name.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
}

ExitCode FromStatus(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

Process::Process(pid_t pid, std::filesystem::path output) : pid_(pid), output_(std::move(output)) {}

Process::~Process() { Stop(); }

Result<std::unique_ptr<Process>> Process::Start(const Command& command) {
  std::vector<std::string> argv = command.argv;
  std::vector<std::string> env = MergedEnvironment(command.env);
  Prepared prepared{.argv = Pointers(argv), .env = Pointers(env)};
  prepared.stdin_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  prepared.stderr_fd = OpenOutput(command.output, O_APPEND);
  prepared.stdout_fd = command.stdout_only.empty() ? fcntl(prepared.stderr_fd, F_DUPFD_CLOEXEC, 0)
                                                   : OpenOutput(command.stdout_only, O_TRUNC);
  fcntl(prepared.stdout_fd, F_SETFD, FD_CLOEXEC);
  pid_t pid = -EBADF;
  if (prepared.stdout_fd >= 0 && prepared.stderr_fd >= 0) {
    Launcher().Do([&] { pid = ForkAndExec(prepared); });
  }
  close(prepared.stdin_fd);
  close(prepared.stdout_fd);
  close(prepared.stderr_fd);
  if (pid < 0) {
    return Fail(ErrorCode::kInvalid, fmt::format("start {}: {}", argv[0], std::strerror(-pid)));
  }
  return std::unique_ptr<Process>(new Process(pid, command.output));
}

bool Process::Running() {
  const std::lock_guard lock(mutex_);
  if (exit_code_) return false;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) == pid_) exit_code_ = FromStatus(status);
  return !exit_code_;
}

void Process::Signal(int signal) {
  if (Running()) kill(pid_, signal);
}

std::optional<ExitCode> Process::Wait(milliseconds limit) {
  if (!WaitUntil([this] { return !Running(); }, limit, milliseconds(5))) return std::nullopt;
  return exit_code_;
}

ExitCode Process::Stop(milliseconds patience) {
  // To the child's group, which holds what it has started itself.
  if (Running()) kill(-pid_, SIGTERM);
  if (Running()) kill(-pid_, SIGCONT);
  std::optional<ExitCode> code = Wait(patience);
  while (!code) {  // SIGKILL cannot be refused: this ends as soon as the kernel comes to it
    kill(-pid_, SIGKILL);
    code = Wait(seconds(1));
  }
  return *code;
}

std::string Process::OutputTail(std::size_t lines) const {
  const std::string text = ReadFile(output_);
  std::size_t start = text.size();
  for (std::size_t i = 0; i <= lines && start != 0 && start != std::string::npos; ++i) {
    start = text.rfind('\n', start - 1);
  }
  return start == std::string::npos || start == 0 ? text : text.substr(start + 1);
}

Result<std::string> RunCommand(Command command, milliseconds limit) {
  const TempDir folder("command");
  if (command.output.empty()) command.output = folder.path() / "stderr";
  if (command.stdout_only.empty()) command.stdout_only = folder.path() / "stdout";
  auto process = Process::Start(command);
  if (!process) return tl::unexpected(process.error());
  const std::string words = fmt::format("{}", fmt::join(command.argv, " "));
  const std::optional<ExitCode> code = (*process)->Wait(limit);
  if (!code) {
    return Fail(ErrorCode::kUnavailable,
                fmt::format("{}: not done after {} ms", words, limit.count()));
  }
  if (*code != 0) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("{}: exit code {}: {}", words, *code, (*process)->OutputTail()));
  }
  return ReadFile(command.stdout_only);
}

}  // namespace consul_canary::testing
