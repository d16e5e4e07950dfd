// Going on after the command has returned, for --keep: the program becomes two. The second holds
// everything that runs and ends it when it is told to; the first waits for the outcome and exits.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace consul_canary::demo {

// Requests to end: SIGINT, SIGTERM and SIGHUP, taken by a thread of its own from now on. Call
// before any other thread is there.
void WatchForEnd();
[[nodiscard]] bool EndRequested();

// Runs `body` in a detached process and returns, in the first process only, the exit code that it
// reports, or 1 when it ends without one. `body` is given the function that reports; after it, the
// detached process has no terminal, and goes on until `body` returns. Interrupting the first
// process ends the second.
int RunDetached(const std::function<void(const std::function<void(int)>& report)>& body);

// A file that names this process and what it serves, for deploy/demo/stop; removed by the
// destructor.
class RunningDemoFile {
 public:
  explicit RunningDemoFile(const std::vector<std::pair<std::string, std::string>>& addresses);
  ~RunningDemoFile();
  RunningDemoFile(const RunningDemoFile&) = delete;
  RunningDemoFile& operator=(const RunningDemoFile&) = delete;

 private:
  std::string path_;
};

}  // namespace consul_canary::demo
