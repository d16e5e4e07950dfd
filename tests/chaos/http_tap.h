// Finds the messages in the bytes of one direction of an HTTP/1.1 connection that passes by. It
// understands what Consul and our client say: Content-Length, chunked bodies, interim answers. It
// changes nothing and refuses nothing: after bytes that it cannot read it is silent.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace consul_canary::testing {

struct HttpMessage {
  std::string start;  // "PUT /v1/config?cas=7 HTTP/1.1", "HTTP/1.1 200 OK"
  std::string body;   // without the chunks' frames
};

class HttpTap {
 public:
  // Called within Feed() for each message that is whole; interim answers (1xx) are left out.
  using OnMessage = std::function<void(HttpMessage)>;
  explicit HttpTap(OnMessage on_message) : on_message_(std::move(on_message)) {}

  void Feed(std::string_view bytes);

 private:
  [[nodiscard]] bool Step();  // false: more bytes are needed
  [[nodiscard]] bool TakeHead();
  [[nodiscard]] bool TakeBody();
  [[nodiscard]] bool TakeChunk();
  void Finish();

  enum class Part { kHead, kBody, kChunks, kLost };
  OnMessage on_message_;
  std::string bytes_;
  Part part_ = Part::kHead;
  HttpMessage message_;
  std::size_t length_ = 0;  // of the body
};

}  // namespace consul_canary::testing
