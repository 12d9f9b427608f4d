#include "worker/data/hangup_watch.h"

#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <future>

namespace downpour::worker {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_CASE("the other end's close is noticed, on a pipe and on a socket, with bytes left in it") {
  for (const bool is_socket : {false, true}) {
    int ends[2];
    REQUIRE((is_socket ? socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : pipe(ends)) == 0);
    std::promise<void> closed;
    std::future<void> noticed = closed.get_future();
    HangupWatch watch(ends[0], [&] { closed.set_value(); });
    REQUIRE(write(ends[1], "rest", 4) == 4);
    CHECK(noticed.wait_for(milliseconds(50)) == std::future_status::timeout);
    REQUIRE(write(ends[1], "more", 4) == 4);
    close(ends[1]);
    CHECK(noticed.wait_for(seconds(10)) == std::future_status::ready);
    close(ends[0]);
  }
}

TEST_CASE("one that is closed already is noticed") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  close(ends[1]);
  std::promise<void> closed;
  HangupWatch watch(ends[0], [&] { closed.set_value(); });
  CHECK(closed.get_future().wait_for(seconds(10)) == std::future_status::ready);
  close(ends[0]);
}

TEST_CASE("a watch ends at once and does not call") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  std::atomic<int> calls{0};
  for (int i = 0; i < 100; ++i) HangupWatch watch(ends[0], [&] { ++calls; });
  CHECK(calls == 0);
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace downpour::worker
