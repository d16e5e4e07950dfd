#include "deploy/demo/keep.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

namespace consul_canary::demo {
namespace {

std::atomic<bool> end_requested = false;
pid_t detached_pid = 0;

sigset_t EndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGHUP);
  return signals;
}

void PassOn(int signal) { kill(detached_pid, signal == SIGHUP ? SIGTERM : signal); }

// The reported code, or 1.
int WaitForReport(int fd) {
  struct sigaction action {};
  action.sa_handler = PassOn;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  unsigned char code = 1;
  ssize_t count = 0;
  do {
    count = read(fd, &code, 1);
  } while (count < 0 && errno == EINTR);
  return count == 1 ? code : 1;
}

void LeaveTerminal() {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null, fd);
  close(null);
}

}  // namespace

void WatchForEnd() {
  static sigset_t signals = EndSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([] {
    int signal = 0;
    while (sigwait(&signals, &signal) != 0) {
    }
    end_requested = true;
  }).detach();
}

bool EndRequested() { return end_requested; }

int RunDetached(const std::function<void(const std::function<void(int)>& report)>& body) {
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return 1;
  detached_pid = fork();
  if (detached_pid < 0) return 1;
  if (detached_pid > 0) {
    close(pipe_fds[1]);
    return WaitForReport(pipe_fds[0]);
  }
  close(pipe_fds[0]);
  setsid();
  bool reported = false;
  body([fd = pipe_fds[1], &reported](int code) {
    if (std::exchange(reported, true)) return;
    const auto byte = static_cast<unsigned char>(code);
    LeaveTerminal();
    if (write(fd, &byte, 1) != 1) return;
    close(fd);
  });
  std::exit(0);
}

RunningDemoFile::RunningDemoFile(
    const std::vector<std::pair<std::string, std::string>>& addresses) {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  const std::string folder =
      fmt::format("{}/consul-canary-demo-{}",
                  runtime != nullptr && *runtime != '\0' ? runtime : "/tmp", getuid());
  mkdir(folder.c_str(), 0700);
  path_ = fmt::format("{}/{}.demo", folder, getpid());
  std::ofstream file(path_);
  for (const auto& [name, address] : addresses) file << fmt::format("{:<22}{}\n", name, address);
}

RunningDemoFile::~RunningDemoFile() {
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
}

}  // namespace consul_canary::demo
