// What `watch` needs of a terminal: a block of lines that is drawn over itself, and waiting that a
// signal ends. Whatever ends the program by a signal that can be caught leaves the terminal as it
// was.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace consul_canary::cli {

// Blocks SIGINT, SIGTERM, SIGHUP and SIGTSTP for this thread and all that it starts, so that they
// come when they are waited for; make it before any thread. The destructor lets them through again.
class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // Waits that long, or until a signal has come; the signal, or 0.
  [[nodiscard]] int Wait(std::chrono::milliseconds limit) const;
};

// Draws on standard output, which is a terminal. The cursor is hidden as long as something is
// drawn.
class Screen {
 public:
  Screen() = default;
  ~Screen() { Leave(); }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // In place of what was drawn before. Lines that do not fit are cut, and the last ones left out.
  void Draw(std::vector<std::string> lines);
  // What is drawn stays; the cursor shows below it.
  void Leave();

 private:
  std::size_t drawn_ = 0;
  bool hidden_ = false;
};

}  // namespace consul_canary::cli
