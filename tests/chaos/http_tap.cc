#include "tests/chaos/http_tap.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <utility>

namespace consul_canary::testing {
namespace {

constexpr std::string_view kLine = "\r\n";
constexpr std::string_view kEndOfHead = "\r\n\r\n";

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

// The value of a header in a head of lower-case letters.
std::string_view HeaderOf(std::string_view head, std::string_view name) {
  const std::string begin = std::string(kLine) + std::string(name) + ":";
  const std::size_t at = head.find(begin);
  if (at == std::string_view::npos) return {};
  std::string_view value = head.substr(at + begin.size());
  value = value.substr(0, value.find(kLine));
  value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
  return value;
}

std::optional<std::size_t> Number(std::string_view text, int base) {
  std::size_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return read.ec == std::errc() ? std::optional(value) : std::nullopt;
}

}  // namespace

void HttpTap::Feed(std::string_view bytes) {
  if (part_ == Part::kLost) return;
  bytes_ += bytes;
  while (Step()) {
  }
}

bool HttpTap::Step() {
  switch (part_) {
    case Part::kHead:
      return TakeHead();
    case Part::kBody:
      return TakeBody();
    case Part::kChunks:
      return TakeChunk();
    case Part::kLost:
      return false;
  }
  return false;
}

bool HttpTap::TakeHead() {
  const std::size_t end = bytes_.find(kEndOfHead);
  if (end == std::string::npos) return false;
  const std::string head = bytes_.substr(0, end + kLine.size());
  bytes_.erase(0, end + kEndOfHead.size());
  message_ = {.start = head.substr(0, head.find(kLine)), .body = {}};
  const bool answer = message_.start.starts_with("HTTP/");
  if (answer && message_.start.find(" 1") == message_.start.find(' ')) return true;  // interim
  const std::string lower = Lower(head);
  if (HeaderOf(lower, "transfer-encoding") == "chunked") {
    part_ = Part::kChunks;
    return true;
  }
  const std::string_view length = HeaderOf(lower, "content-length");
  length_ = Number(length, 10).value_or(0);
  part_ = Part::kBody;
  return true;
}

bool HttpTap::TakeBody() {
  if (bytes_.size() < length_) return false;
  message_.body = bytes_.substr(0, length_);
  bytes_.erase(0, length_);
  Finish();
  return true;
}

bool HttpTap::TakeChunk() {
  const std::size_t line = bytes_.find(kLine);
  if (line == std::string::npos) return false;
  const auto size = Number(std::string_view(bytes_).substr(0, line), 16);
  if (!size) {
    part_ = Part::kLost;
    return false;
  }
  const std::size_t begin = line + kLine.size();
  const std::size_t whole = begin + *size + kLine.size();
  if (bytes_.size() < whole) return false;
  message_.body += bytes_.substr(begin, *size);
  bytes_.erase(0, whole);
  if (*size == 0) Finish();
  return true;
}

void HttpTap::Finish() {
  part_ = Part::kHead;
  on_message_(std::exchange(message_, {}));
}

}  // namespace consul_canary::testing
