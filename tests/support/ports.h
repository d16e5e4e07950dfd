// Ports on 127.0.0.1 for servers that cannot take port 0. They lie below the range from which the
// kernel (and so Envoy) takes its own, and are claimed by lock files, so that test programs that
// run side by side do not get the same one. The claims end with the object, or with the process
// however it ends.
#pragma once

#include <mutex>
#include <vector>

namespace consul_canary::testing {

class Ports {
 public:
  Ports() = default;
  ~Ports();
  Ports(const Ports&) = delete;
  Ports& operator=(const Ports&) = delete;

  // A port that nobody listens on and that no other Ports object gives out while this one lives.
  // Never the same twice. Aborts the program when none is left. Any thread.
  int Next();

 private:
  void ClaimBlock();

  std::mutex mutex_;
  std::vector<int> lock_fds_;
  int next_ = 0;
  int end_ = 0;  // of the block claimed last
};

}  // namespace consul_canary::testing
