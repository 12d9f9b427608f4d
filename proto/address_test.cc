#include "proto/address.h"

#include <catch2/catch.hpp>
#include <string>

namespace downpour {
namespace {

TEST_CASE("addresses that can be listened on") {
  for (const char* good : {"127.0.0.1:0", "node-1.cluster:4711", "[::1]:65535", "unix:/run/ps.sock"}) {
    INFO(good);
    CHECK(CheckListenAddress(good).ok());
  }
  for (const char* bad : {"", "here", ":80", "a:", "a:-1", "a:b", "a:65536", "a:99999999999", "unix:"}) {
    INFO(bad);
    CHECK_FALSE(CheckListenAddress(bad).ok());
  }
}

TEST_CASE("port 0 can't be connected to") {
  CHECK(CheckConnectAddress("127.0.0.1:1").ok());
  CHECK_THAT(std::string(CheckConnectAddress("127.0.0.1:0").message()), Catch::Contains("port 0"));
}

}  // namespace
}  // namespace downpour
