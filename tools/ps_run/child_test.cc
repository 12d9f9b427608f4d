#include "tools/ps_run/child.h"

#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <fstream>

#include <sys/wait.h>
#include <unistd.h>

namespace downpour::run {
namespace {

std::string LogPath() { return std::string(std::getenv("TEST_TMPDIR")) + "/child.log"; }

absl::StatusOr<Child> Shell(const std::string& script) {
  return Child::Start("shell", {"/bin/sh", "-c", script}, LogPath());
}

int Wait(Child* child) {
  for (int i = 0; i < 1000 && !child->Ended(); ++i) usleep(10000);
  REQUIRE(child->Ended());
  return *child->Ended();
}

TEST_CASE("a child's lines, log and status arrive") {
  auto child = Shell("echo one; echo to-the-log >&2; printf two; exit 7");
  REQUIRE(child.ok());
  CHECK(DescribeEnd(Wait(&*child)) == "exit status 7");
  CHECK(child->Lines() == std::vector<std::string>{"one"});  // the second is no whole line
  CHECK(TailOf(LogPath(), 1) == "to-the-log");
}

TEST_CASE("a program that is not there is named") {
  const auto child = Child::Start("none", {"/no/such/program"}, LogPath());
  REQUIRE_FALSE(child.ok());
  CHECK_THAT(std::string(child.status().message()), Catch::Contains("/no/such/program: No such file"));
}

TEST_CASE("a child ends with its owner, also one that ignores being asked to") {
  pid_t pid = 0;
  {
    auto child = Shell("trap '' TERM; while :; do sleep 0.05; done");
    REQUIRE(child.ok());
    pid = child->pid();
    CHECK(kill(pid, 0) == 0);
  }
  CHECK(kill(pid, 0) == -1);
}

TEST_CASE("a child finds its lifeline, which closes with its owner") {
  // Reads from the lifeline until its end.
  auto child = Shell("cat <&3 >/dev/null; echo closed");
  REQUIRE(child.ok());
  usleep(100000);
  CHECK_FALSE(child->Ended());
  Child moved = *std::move(child);  // takes the lifeline along
  usleep(50000);
  CHECK_FALSE(moved.Ended());
}

TEST_CASE("children do not hold one another's lifelines") {
  auto first = Shell("cat <&3 >/dev/null");
  auto second = Shell("sleep 60");
  REQUIRE(first.ok());
  REQUIRE(second.ok());
  const pid_t pid = first->pid();
  kill(second->pid(), SIGKILL);
  Wait(&*second);
  *first = *Shell("true");  // lets go of the first child
  CHECK(kill(pid, 0) == -1);
}

TEST_CASE("a kill is described with its signal") {
  auto child = Shell("kill -9 $$");
  REQUIRE(child.ok());
  CHECK(DescribeEnd(Wait(&*child)) == "killed by signal 9 (Killed)");
}

}  // namespace
}  // namespace downpour::run
