#include "worker/this_host.h"

#include <catch2/catch.hpp>

namespace downpour::worker {
namespace {

TEST_CASE("addresses of this host") {
  for (const char* here : {"127.0.0.1:7100", "127.3.2.1:1", "[::1]:7100", "localhost:7100", "unix:/run/ps.sock"}) {
    CAPTURE(here);
    CHECK(OnThisHost(here));
  }
  // Of documents and tests: nobody's.
  for (const char* elsewhere : {"192.0.2.1:7100", "[2001:db8::1]:7100", "no such host:7100", "", ":"}) {
    CAPTURE(elsewhere);
    CHECK_FALSE(OnThisHost(elsewhere));
  }
}

}  // namespace
}  // namespace downpour::worker
