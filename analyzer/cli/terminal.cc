#include "analyzer/cli/terminal.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>

#include "analyzer/cli/look.h"

namespace consul_canary::cli {
namespace {

sigset_t EndingSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGTSTP}) sigaddset(&signals, signal);
  return signals;
}

void Write(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

struct Size {
  std::size_t columns = 80;
  std::size_t rows = 24;
};

Size TerminalSize() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row < 2) {
    return {};
  }
  return {size.ws_col, size.ws_row};
}

}  // namespace

Signals::Signals() {
  const sigset_t signals = EndingSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

Signals::~Signals() {
  const sigset_t signals = EndingSignals();
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

int Signals::Wait(std::chrono::milliseconds limit) const {
  constexpr long kThousand = 1000;
  const sigset_t signals = EndingSignals();
  const timespec time{static_cast<std::time_t>(limit.count() / kThousand),
                      static_cast<long>(limit.count() % kThousand) * kThousand * kThousand};
  const int signal = sigtimedwait(&signals, nullptr, &time);
  return signal > 0 ? signal : 0;
}

void Screen::Draw(std::vector<std::string> lines) {
  const Size size = TerminalSize();
  const std::size_t most = size.rows - 1;
  if (lines.size() > most) {
    const std::size_t left_out = lines.size() - most + 1;
    lines.resize(most - 1);
    lines.push_back(fmt::format("... {} more lines", left_out));
  }
  std::string text = hidden_ ? "" : "\x1b[?25l";
  if (drawn_ > 0) text += fmt::format("\x1b[{}A", drawn_);
  for (const std::string& line : lines) {
    text += "\r\x1b[K" + Clipped(line, size.columns - 1) + "\n";
  }
  text += "\x1b[J";
  drawn_ = lines.size();
  hidden_ = true;
  Write(text);
}

void Screen::Leave() {
  if (hidden_) Write("\r\x1b[K\x1b[?25h");
  hidden_ = false;
  drawn_ = 0;
}

}  // namespace consul_canary::cli
