#include "proto/address.h"

#include <catch2/catch.hpp>
#include <string>

namespace downpour {
namespace {

TEST_CASE("addresses that can be listened on") {
  for (const char* good : {"127.0.0.1:0", "node-1.cluster:4711", "[::1]:65535", "unix:/run/ps.sock", "unix:ps.sock",
                           "unix:///run/ps.sock"}) {
    INFO(good);
    CHECK(CheckListenAddress(good).ok());
  }
  for (const char* bad : {"", "here", ":80", "a:", "a:-1", "a:b", "a:65536", "a:99999999999", "unix:", "unix://h/p",
                          "unix:/a b", "unix:/a%20", "unix:/a,b"}) {
    INFO(bad);
    CHECK_FALSE(CheckListenAddress(bad).ok());
  }
}

TEST_CASE("port 0 can't be connected to") {
  CHECK(CheckConnectAddress("127.0.0.1:1").ok());
  CHECK_THAT(std::string(CheckConnectAddress("127.0.0.1:0").message()), Catch::Contains("port 0"));
}

TEST_CASE("a socket's path may have 107 bytes") {
  const std::string longest = "unix:/" + std::string(106, 'p');
  CHECK(CheckListenAddress(longest).ok());
  CHECK_THAT(std::string(CheckListenAddress(longest + "p").message()), Catch::Contains("has a path of 108 bytes"));
  CHECK_FALSE(CheckConnectAddress(longest + "p").ok());
}

TEST_CASE("metrics are not served on a path") {
  CHECK(CheckMetricsAddress("127.0.0.1:0").ok());
  CHECK_THAT(std::string(CheckMetricsAddress("unix:/run/m").message()), Catch::Contains("is not host:port"));
}

TEST_CASE("the path of an address") {
  CHECK(UnixPath("unix:/run/ps.sock") == "/run/ps.sock");
  CHECK(UnixPath("unix:///run/ps.sock") == "/run/ps.sock");
  CHECK(UnixPath("unix:ps.sock") == "ps.sock");
  CHECK(UnixPath("127.0.0.1:80") == std::nullopt);
}

}  // namespace
}  // namespace downpour
