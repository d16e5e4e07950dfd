#include "exporter/base/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "exporter/base/io_loop.h"

namespace consul_canary::base {
namespace {

using ::testing::HasSubstr;

class HttpServerTest : public ::testing::Test {
 protected:
  // The first address is 127.0.0.1:0.
  std::unique_ptr<HttpServer> Serve(HttpServer::Handler handler, std::size_t max_body_bytes = 100) {
    auto server = HttpServer::Start(
        {.listen_addresses = {"127.0.0.1:0"}, .threads = 4, .max_body_bytes = max_body_bytes},
        std::move(handler));
    EXPECT_TRUE(server.has_value());
    return *std::move(server);
  }

  Result<HttpResponse> Ask(int port, std::string path, std::string method = "GET",
                           std::string body = "", std::vector<std::string> headers = {}) {
    HttpRequest request;
    request.method = std::move(method);
    request.url = "http://127.0.0.1:" + std::to_string(port) + path;
    request.body = std::move(body);
    request.headers = std::move(headers);
    return Fetch(io_.loop(), std::move(request));
  }

  IoThread io_;
};

TEST_F(HttpServerTest, ListensOnEveryAddressAndTellsThePortsInOrder) {
  const auto server =
      HttpServer::Start({.listen_addresses = {"127.0.0.1:0", ":0", "127.0.0.2:0"}, .threads = 2},
                        [](const ServerRequest&) { return ServerResponse{}; });
  ASSERT_TRUE(server.has_value()) << server.error().message;
  ASSERT_EQ((*server)->ports().size(), 3u);
  EXPECT_EQ(Ask((*server)->ports()[0], "/")->status, 200);
  EXPECT_EQ(Ask((*server)->ports()[1], "/")->status, 200);
  HttpRequest request;
  request.url = "http://127.0.0.2:" + std::to_string((*server)->ports()[2]) + "/";
  EXPECT_EQ(Fetch(io_.loop(), request)->status, 200);
}

TEST_F(HttpServerTest, NamesTheAddressThatCannotBeBound) {
  const auto first = Serve([](const ServerRequest&) { return ServerResponse{}; });
  const std::string taken = "127.0.0.1:" + std::to_string(first->ports()[0]);
  for (const std::string& address :
       {taken, std::string("nonsense"), std::string("[::1]:x"), std::string("127.0.0.1:0s"),
        std::string("127.0.0.1:0,127.0.0.1:0"), std::string("127.0.0.1:99999"),
        std::string("[::1]:0")}) {
    const auto second = HttpServer::Start({.listen_addresses = {address}, .threads = 1},
                                          [](const ServerRequest&) { return ServerResponse{}; });
    ASSERT_FALSE(second.has_value()) << address;
    EXPECT_THAT(second.error().message, HasSubstr(address));
  }
}

TEST_F(HttpServerTest, RefusesToListenNowhere) {
  EXPECT_FALSE(
      HttpServer::Start({}, [](const ServerRequest&) { return ServerResponse{}; }).has_value());
}

TEST_F(HttpServerTest, HandsOverTheRequestDecoded) {
  ServerRequest seen;
  const auto server = Serve([&](const ServerRequest& request) {
    seen = request;
    return ServerResponse{};
  });
  ASSERT_TRUE(
      Ask(server->ports()[0], "/a%20b/c?x=1%262&y=p+q&flag&=z", "POST", "body", {"X-Odd-Name: v"})
          .has_value());
  EXPECT_EQ(seen.method, "POST");
  EXPECT_EQ(seen.path, "/a b/c");
  EXPECT_EQ(seen.query, (std::map<std::string, std::string>{
                            {"x", "1&2"}, {"y", "p q"}, {"flag", ""}, {"", "z"}}));
  EXPECT_EQ(seen.headers.at("x-odd-name"), "v");
  EXPECT_EQ(seen.body, "body");
  EXPECT_TRUE(seen.from_loopback);
}

TEST_F(HttpServerTest, WritesStatusTypeHeadersAndBody) {
  const auto server = Serve([](const ServerRequest&) {
    return ServerResponse{.status = 404,
                          .content_type = "text/plain; charset=utf-8",
                          .body = std::string("a\0b", 3),
                          .headers = {{"Cache-Control", "no-store"}}};
  });
  const auto response = Ask(server->ports()[0], "/");
  ASSERT_TRUE(response.has_value()) << response.error().message;
  EXPECT_EQ(response->status, 404);
  EXPECT_EQ(response->body, std::string("a\0b", 3));
  EXPECT_EQ(response->headers.at("content-type"), "text/plain; charset=utf-8");
  EXPECT_EQ(response->headers.at("cache-control"), "no-store");
}

TEST_F(HttpServerTest, LetsNoHeaderValueBeginAnotherHeader) {
  const auto server = Serve([](const ServerRequest&) {
    return ServerResponse{.headers = {{"X-A", "1\r\nX-B: 2"}}};
  });
  const auto response = Ask(server->ports()[0], "/");
  ASSERT_TRUE(response.has_value()) << response.error().message;
  EXPECT_EQ(response->headers.at("x-a"), "1X-B: 2");
  EXPECT_EQ(response->headers.count("x-b"), 0u);
}

TEST_F(HttpServerTest, SendsNoBodyForHead) {
  const auto server = Serve([](const ServerRequest&) { return ServerResponse{.body = "12345"}; });
  const auto response = Ask(server->ports()[0], "/", "HEAD");
  ASSERT_TRUE(response.has_value()) << response.error().message;
  EXPECT_EQ(response->body, "");
  EXPECT_EQ(response->headers.at("content-length"), "5");
}

TEST_F(HttpServerTest, Answers413ToABodyOverTheLimit) {
  bool handled = false;
  const auto server = Serve([&](const ServerRequest&) {
    handled = true;
    return ServerResponse{};
  });
  EXPECT_EQ(Ask(server->ports()[0], "/", "POST", std::string(101, 'x'))->status, 413);
  EXPECT_EQ(
      Ask(server->ports()[0], "/", "POST", std::string(101, 'x'), {"Transfer-Encoding: chunked"})
          ->status,
      413);
  EXPECT_FALSE(handled);
  EXPECT_EQ(Ask(server->ports()[0], "/", "POST", std::string(100, 'x'))->status, 200);
}

TEST_F(HttpServerTest, ReadsAChunkedBody) {
  const auto server =
      Serve([](const ServerRequest& request) { return ServerResponse{.body = request.body}; });
  const auto response =
      Ask(server->ports()[0], "/", "POST", "chunked body", {"Transfer-Encoding: chunked"});
  ASSERT_TRUE(response.has_value()) << response.error().message;
  EXPECT_EQ(response->body, "chunked body");
}

TEST_F(HttpServerTest, Answers500WhenTheHandlerThrows) {
  const auto server = Serve([](const ServerRequest& request) -> ServerResponse {
    if (request.path == "/int") throw 7;
    throw std::runtime_error("secret detail");
  });
  ::testing::internal::CaptureStderr();
  const auto first = Ask(server->ports()[0], "/exception");
  const auto second = Ask(server->ports()[0], "/int");
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(first->status, 500);
  EXPECT_EQ(first->body, "{\"error\":\"internal error\"}");
  EXPECT_EQ(second->status, 500);
  EXPECT_THAT(log, HasSubstr("error=\"secret detail\""));
}

TEST_F(HttpServerTest, HandlesRequestsSideBySide) {
  std::latch both(2);
  const auto server = Serve([&](const ServerRequest&) {
    both.arrive_and_wait();  // would never return if one waited for the other
    return ServerResponse{};
  });
  std::thread other([&] { EXPECT_EQ(Ask(server->ports()[0], "/")->status, 200); });
  EXPECT_EQ(Ask(server->ports()[0], "/")->status, 200);
  other.join();
}

TEST_F(HttpServerTest, IsNotReachableOnceDestroyed) {
  int port = 0;
  {
    const auto server = Serve([](const ServerRequest&) { return ServerResponse{}; });
    port = server->ports()[0];
  }
  EXPECT_FALSE(Ask(port, "/").has_value());
}

TEST(ErrorResponse, GivesTheStatusThatFitsTheCode) {
  const struct {
    ErrorCode code;
    int status;
  } kRows[] = {
      {ErrorCode::kInvalid, 400},  {ErrorCode::kForbidden, 403},   {ErrorCode::kNotFound, 404},
      {ErrorCode::kConflict, 409}, {ErrorCode::kUnavailable, 503},
  };
  for (const auto& row : kRows) {
    const ServerResponse response = ErrorResponse({row.code, "GET /x: \"no\"\n"});
    EXPECT_EQ(response.status, row.status);
    EXPECT_EQ(response.body, "{\"error\":\"GET /x: \\\"no\\\"\\u000a\"}");
    EXPECT_EQ(response.content_type, "application/json");
  }
}

}  // namespace
}  // namespace consul_canary::base
