#include "exporter/consul/token.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <string_view>
#include <system_error>
#include <utility>

#include "exporter/base/log.h"
#include "exporter/base/read_file.h"

namespace consul_canary::consul {
namespace {

std::string ReadTrimmed(const std::string& path) {
  constexpr std::size_t kLargestBytes = 65536;
  std::string text = base::ReadWholeFile(path, kLargestBytes).value_or("");
  constexpr std::string_view kBlank = " \t\r\n";
  text.erase(text.find_last_not_of(kBlank) + 1);
  text.erase(0, text.find_first_not_of(kBlank));
  return text;
}

}  // namespace

Token::Token(std::string value, std::string file)
    : value_(file.empty() ? std::move(value) : std::string()), file_(std::move(file)) {}

base::Result<std::string> Token::Current() {
  if (file_.empty()) return value_;
  struct stat status {};
  if (stat(file_.c_str(), &status) != 0) {
    return Kept(std::generic_category().message(errno));
  }
  const Stamp stamp{status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_size, status.st_ino};
  if (stamp == stamp_) return value_;
  std::string text = ReadTrimmed(file_);
  if (text.empty()) return Kept("empty or not readable");
  if (!value_.empty() && value_ != text) {
    base::Log(base::LogLevel::kInfo, "Consul token read anew", {{"file", file_}});
  }
  value_ = std::move(text);
  stamp_ = stamp;
  complaint_.clear();
  return value_;
}

base::Result<std::string> Token::Kept(std::string_view why) {
  if (value_.empty()) {
    return base::Fail(base::ErrorCode::kUnavailable,
                      fmt::format("token file {}: {} (CONSUL_HTTP_TOKEN_FILE)", file_, why));
  }
  if (complaint_ != why) {
    complaint_ = why;
    base::Log(base::LogLevel::kWarn,
              "Consul token file cannot be read; the token read before stays in use",
              {{"file", file_}, {"error", complaint_}});
  }
  return value_;
}

}  // namespace consul_canary::consul
