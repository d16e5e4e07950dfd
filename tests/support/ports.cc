#include "tests/support/ports.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace consul_canary::testing {
namespace {

constexpr int kFirst = 20000;  // well below 32768, where ephemeral ports begin
constexpr int kBlock = 24;
constexpr int kBlocks = 500;  // up to 31999

bool IsFree(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  const bool free = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return free;
}

}  // namespace

Ports::~Ports() {
  for (const int fd : lock_fds_) close(fd);  // the lock ends with its only descriptor
}

int Ports::Next() {
  const std::lock_guard lock(mutex_);
  while (true) {
    if (next_ == end_) ClaimBlock();
    const int port = next_++;
    if (IsFree(port)) return port;
  }
}

void Ports::ClaimBlock() {
  const std::string folder = "/tmp/consul-canary-ports-" + std::to_string(getuid());
  mkdir(folder.c_str(), 0700);
  // Beginning elsewhere in each process keeps a port that one has just left from the next one's
  // sidecars.
  const int start = static_cast<int>(getpid() * 7 % kBlocks);
  for (int i = 0; i < kBlocks; ++i) {
    const int block = (start + i) % kBlocks;
    const std::string file = folder + "/" + std::to_string(kFirst + block * kBlock) + ".lock";
    const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) continue;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
      lock_fds_.push_back(fd);
      next_ = kFirst + block * kBlock;
      end_ = next_ + kBlock;
      return;
    }
    close(fd);
  }
  std::fprintf(stderr, "no free block of ports: all of %s is locked\n", folder.c_str());
  std::abort();
}

}  // namespace consul_canary::testing
