#include "worker/line_writer.h"

#include <catch2/catch.hpp>
#include <csignal>
#include <string>

#include <unistd.h>

namespace downpour::worker {
namespace {

using std::chrono::milliseconds;

TEST_CASE("a reader that reads gets all of it") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  CHECK(WriteWithin(ends[1], "hello\n", milliseconds(0)));
  char buffer[16] = "";
  CHECK(read(ends[0], buffer, sizeof(buffer)) == 6);
  CHECK(std::string(buffer) == "hello\n");
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE("a reader that does not read costs no more than the patience, and sees whole lines") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const std::string line(999, 'x');
  int taken = 0;
  while (WriteWithin(ends[1], line + "\n", milliseconds(1))) ++taken;
  CHECK(taken > 10);
  close(ends[1]);
  std::string all;
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof(buffer))) > 0;) all.append(buffer, n);
  CHECK(all.size() == 1000u * taken);
  close(ends[0]);
}

TEST_CASE("a reader that has gone away is no error that kills") {
  std::signal(SIGPIPE, SIG_IGN);
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  close(ends[0]);
  CHECK_FALSE(WriteWithin(ends[1], "hello\n", milliseconds(10)));
  close(ends[1]);
}

}  // namespace
}  // namespace downpour::worker
