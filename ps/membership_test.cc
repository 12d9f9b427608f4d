#include "ps/membership.h"

#include <catch2/catch.hpp>

namespace downpour::ps {
namespace {

Candidate Worker(uint32_t partition, AttemptId attempt = {}, int64_t pid = 100) {
  return {partition, attempt, false, "node", pid};
}

LeaveRequest LeaveOf(uint32_t partition, uint64_t fence, Outcome outcome = DONE) {
  LeaveRequest request;
  request.set_partition(partition);
  request.set_fence(fence);
  request.set_outcome(outcome);
  return request;
}

TEST_CASE("fences grow, and the same attempt keeps its lease") {
  Membership members(2, 1000);
  const uint64_t a = *members.Register(Worker(0), 0);
  const uint64_t b = *members.Register(Worker(1), 0);
  CHECK(a > 0);
  CHECK(b > a);
  CHECK(*members.Register(Worker(0), 500) == a);
  CHECK(members.Expire(1200).size() == 1);
  CHECK(members.Check(0, a).ok());
}

TEST_CASE("the newest attempt wins") {
  Membership members(1, 1000);
  const uint64_t first = *members.Register(Worker(0, {0, 1}), 0);
  const uint64_t second = *members.Register(Worker(0, {1, 0}, 101), 0);
  CHECK(second > first);
  const auto old = members.Register(Worker(0, {0, 7}), 0);
  CHECK(old.status().code() == absl::StatusCode::kAborted);
  CHECK(std::string(old.status().message()).find("attempt 1.0") != std::string::npos);
  CHECK(members.Heartbeat(0, first, {}, 1).code() == absl::StatusCode::kAborted);
  CHECK(members.Leave(LeaveOf(0, first), 1).code() == absl::StatusCode::kAborted);
  CHECK(members.Heartbeat(0, second, {}, 1).ok());
}

TEST_CASE("another process may not claim the same attempt while it lives") {
  Membership members(1, 1000);
  const uint64_t fence = *members.Register(Worker(0), 0);
  CHECK(members.Register(Worker(0, {}, 101), 10).status().code() == absl::StatusCode::kAborted);
  CHECK(members.Check(0, fence).ok());
  CHECK(members.Expire(1000).size() == 1);
  CHECK(*members.Register(Worker(0, {}, 101), 1001) > fence);
}

TEST_CASE("a silent worker is lost, once, and may come back with a new fence") {
  Membership members(2, 1000);
  const uint64_t fence = *members.Register(Worker(1), 0);
  WorkerReport report;
  report.set_step(7);
  CHECK(members.Heartbeat(1, fence, report, 900).ok());
  CHECK(members.Expire(1899).empty());
  const auto lost = members.Expire(1900);
  REQUIRE(lost.size() == 1);
  CHECK(lost[0].partition == 1);
  CHECK(lost[0].fence == fence);
  CHECK(lost[0].silent_ms == 1000);
  CHECK(lost[0].who == "worker 1 (node, pid 100, attempt 0.0)");
  CHECK(members.Expire(5000).empty());
  const absl::Status late = members.Heartbeat(1, fence, {}, 5000);
  CHECK(late.code() == absl::StatusCode::kDeadlineExceeded);
  CHECK(std::string(late.message()).find("silent for 1.0 s") != std::string::npos);
  const auto status = members.Status(5000);
  REQUIRE(status.size() == 2);
  CHECK(status[0].state() == WorkerStatus::ABSENT);
  CHECK(status[1].state() == WorkerStatus::LOST);
  CHECK(status[1].report().step() == 7);
  CHECK(*members.Register(Worker(1), 5001) > fence);
  CHECK(members.Status(5001)[1].state() == WorkerStatus::LIVE);
}

TEST_CASE("a server that was stopped itself does not take its workers for lost") {
  Membership members(1, 1000);
  REQUIRE(members.Register(Worker(0), 0).ok());
  CHECK(members.Expire(100).empty());
  CHECK(members.Expire(60000).empty());
  CHECK(members.Expire(60400).empty());
  CHECK(members.Expire(60800).empty());
  CHECK(members.Expire(60900).size() == 1);
}

TEST_CASE("each way to leave is told apart") {
  Membership members(3, 1000);
  const std::pair<Outcome, WorkerStatus::State> ways[] = {
      {DONE, WorkerStatus::FINISHED}, {FAILED, WorkerStatus::BROKEN}, {STOPPED, WorkerStatus::LEFT}};
  for (uint32_t p = 0; p < 3; ++p) {
    const uint64_t fence = *members.Register(Worker(p), 0);
    CHECK(members.Leave(LeaveOf(p, fence, ways[p].first), 1).ok());
    CHECK(members.Status(2)[p].state() == ways[p].second);
    CHECK(members.Leave(LeaveOf(p, fence), 1).code() == absl::StatusCode::kAborted);
  }
  CHECK(members.Expire(100000).empty());
}

TEST_CASE("an observer has a fence and is no member") {
  Membership members(1, 1000);
  const uint64_t worker = *members.Register(Worker(0), 0);
  Candidate candidate = Worker(0);
  candidate.observer = true;
  const uint64_t fence = *members.Register(candidate, 0);
  CHECK(fence > worker);
  CHECK(members.Check(0, fence).ok());
  CHECK(members.Check(0, worker).ok());
  CHECK(members.Heartbeat(0, worker, {}, 900).ok());
  CHECK(members.observers() == 1);
  const auto lost = members.Expire(1000);
  REQUIRE(lost.size() == 1);
  CHECK(lost[0].observer);
  CHECK(members.observers() == 0);
  const uint64_t again = *members.Register(candidate, 1000);
  CHECK(members.Leave(LeaveOf(0, again), 1000).ok());
  CHECK(members.observers() == 0);
}

TEST_CASE("a partition or fence that is none") {
  Membership members(1, 1000);
  CHECK(members.Register(Worker(1), 0).status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(members.Check(0, 0).code() == absl::StatusCode::kAborted);
  CHECK(members.Check(9, 3).code() == absl::StatusCode::kAborted);
  CHECK(members.Heartbeat(4000000000u, 1, {}, 0).code() == absl::StatusCode::kAborted);
}

}  // namespace
}  // namespace downpour::ps
