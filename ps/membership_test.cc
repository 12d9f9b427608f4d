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

uint64_t Fence(const absl::StatusOr<Admission>& admission) {
  REQUIRE(admission.ok());
  CHECK(admission->holder.has_value() == (admission->fence == 0));
  return admission->fence;
}

TEST_CASE("fences grow, and the same attempt keeps its lease") {
  Membership members(2, 1000);
  const uint64_t a = Fence(members.Register(Worker(0), 0));
  const uint64_t b = Fence(members.Register(Worker(1), 0));
  CHECK(a > 0);
  CHECK(b > a);
  CHECK(Fence(members.Register(Worker(0), 500)) == a);
  CHECK(members.Expire(1200).size() == 1);
  CHECK(members.Check(0, a).ok());
}

TEST_CASE("the newest stage attempt wins") {
  Membership members(1, 1000);
  const uint64_t first = Fence(members.Register(Worker(0, {0, 1}), 0));
  const uint64_t second = Fence(members.Register(Worker(0, {1, 0}, 101), 0));
  CHECK(second > first);
  const auto old = members.Register(Worker(0, {0, 7}), 0);
  CHECK(old.status().code() == absl::StatusCode::kAborted);
  CHECK(std::string(old.status().message()).find("attempt 1.0") != std::string::npos);
  CHECK(members.Heartbeat(0, first, {}, 1).code() == absl::StatusCode::kAborted);
  CHECK(members.Leave(LeaveOf(0, first), 1).code() == absl::StatusCode::kAborted);
  CHECK(members.Heartbeat(0, second, {}, 1).ok());
}

TEST_CASE("a long reason is cut between characters, so that the status can be read") {
  Membership members(1, 1000);
  LeaveRequest request = LeaveOf(0, Fence(members.Register(Worker(0), 0)), FAILED);
  request.set_reason(std::string(999, 'x') + "\u00e9 and more");
  CHECK(members.Leave(request, 1).ok());
  CHECK(members.Status(2)[0].reason() == std::string(999, 'x'));
}

TEST_CASE("what becomes of another task attempt goes by its holder") {
  struct Case {
    const char* what;
    std::optional<Outcome> left;  // none: live
    bool silent;
    Candidate other;
    WorkerStatus::State holder;  // ABSENT: the lease is given
  };
  const Case cases[] = {
      {"live", {}, false, Worker(0, {1, 6}, 101), WorkerStatus::LIVE},
      {"silent", {}, true, Worker(0, {1, 6}, 101), WorkerStatus::ABSENT},
      {"done", DONE, false, Worker(0, {1, 6}, 101), WorkerStatus::FINISHED},
      {"failed", FAILED, false, Worker(0, {1, 6}, 101), WorkerStatus::ABSENT},
      {"stopped", STOPPED, false, Worker(0, {1, 6}, 101), WorkerStatus::ABSENT},
      {"live, a later stage attempt", {}, false, Worker(0, {2, 0}, 101), WorkerStatus::ABSENT},
      {"done, a later stage attempt", DONE, false, Worker(0, {2, 0}, 101), WorkerStatus::ABSENT},
      {"live, an earlier task attempt", {}, false, Worker(0, {1, 4}, 101), WorkerStatus::LIVE},
      {"silent, an earlier task attempt", {}, true, Worker(0, {1, 4}, 101), WorkerStatus::ABSENT},
      {"done, an earlier task attempt", DONE, false, Worker(0, {1, 4}, 101), WorkerStatus::FINISHED},
      {"failed, an earlier task attempt", FAILED, false, Worker(0, {1, 4}, 101), WorkerStatus::ABSENT},
      {"live, but its process is this one", {}, false, Worker(0, {1, 6}), WorkerStatus::ABSENT},
  };
  for (const Case& c : cases) {
    INFO(c.what);
    Membership members(1, 1000);
    const uint64_t first = Fence(members.Register(Worker(0, {1, 5}), 0));
    if (c.left) REQUIRE(members.Leave(LeaveOf(0, first, *c.left), 1).ok());
    if (c.silent) REQUIRE(members.Expire(1000).size() == 1);
    const auto other = members.Register(c.other, 1001);
    REQUIRE(other.ok());
    CHECK((other->fence > first) == (c.holder == WorkerStatus::ABSENT));
    REQUIRE(other->holder.has_value() == (c.holder != WorkerStatus::ABSENT));
    if (!other->holder) continue;
    CHECK(other->holder->state() == c.holder);
    CHECK(other->holder->attempt().task() == 5);
    CHECK(other->news);
    CHECK_FALSE(members.Register(c.other, 1002)->news);
    CHECK(members.Register(Worker(0, {1, 7}, 102), 1003)->news);
    CHECK(members.Register(Worker(0, {0, 9}, 103), 1003).status().code() == absl::StatusCode::kAborted);
  }
}

TEST_CASE("who waits does not keep the holder's lease alive") {
  Membership members(1, 1000);
  const uint64_t first = Fence(members.Register(Worker(0, {0, 1}), 0));
  for (int64_t now = 100; now < 1000; now += 100) CHECK(Fence(members.Register(Worker(0, {0, 2}, 101), now)) == 0);
  CHECK(members.Expire(1000).size() == 1);
  CHECK(Fence(members.Register(Worker(0, {0, 2}, 101), 1000)) > first);
}

TEST_CASE("attempts that ended are told of, and what the last one knew of its rows") {
  Membership members(2, 1000);
  WorkerReport report;
  report.set_partition_samples(50);
  report.set_samples(20);
  const uint64_t first = Fence(members.Register(Worker(1, {0, 1}), 0));
  REQUIRE(members.Heartbeat(1, first, report, 10).ok());
  LeaveRequest leave = LeaveOf(1, first, FAILED);
  leave.set_reason("the disk is full");
  *leave.mutable_report() = report;
  REQUIRE(members.Leave(leave, 20).ok());
  const auto second = members.Register(Worker(1, {0, 2}), 30);
  REQUIRE(second->earlier.has_value());
  CHECK(second->earlier->partition_samples() == 50);
  REQUIRE(members.Heartbeat(1, second->fence, {}, 40).ok());  // which does not know its rows yet
  REQUIRE(members.Expire(1040).size() == 1);
  const auto third = members.Register(Worker(1, {0, 3}), 1050);
  CHECK(third->earlier->samples() == 20);
  REQUIRE(members.Register(Worker(1, {4, 0}, 101), 1060).ok());
  const auto ended = members.Status(1060)[1].ended();
  REQUIRE(ended.size() == 3);
  CHECK(ended[0].attempt().task() == 1);
  CHECK(ended[0].state() == WorkerStatus::BROKEN);
  CHECK(ended[0].reason() == "the disk is full");
  CHECK(ended[0].samples() == 20);
  CHECK(ended[1].state() == WorkerStatus::LOST);
  CHECK(ended[2].state() == WorkerStatus::LIVE);
  CHECK(ended[2].reason() == "attempt 4.0 came");
  CHECK(ended[2].number() == 3);
  CHECK(members.Status(1060)[0].ended().empty());
  CHECK_FALSE(members.Register(Worker(0), 1060)->earlier.has_value());
}

TEST_CASE("of many attempts that ended the first are kept") {
  Membership members(1, 1000);
  for (uint32_t task = 0; task < 40; ++task) {
    REQUIRE(members.Leave(LeaveOf(0, Fence(members.Register(Worker(0, {0, task}), 0)), FAILED), 0).ok());
  }
  const auto ended = members.Status(0)[0].ended();
  REQUIRE(ended.size() == 16);
  CHECK(ended[15].attempt().task() == 15);
}

TEST_CASE("another process may not claim the same attempt while it lives") {
  Membership members(1, 1000);
  const uint64_t fence = Fence(members.Register(Worker(0), 0));
  CHECK(members.Register(Worker(0, {}, 101), 10).status().code() == absl::StatusCode::kAborted);
  CHECK(members.Check(0, fence).ok());
  CHECK(members.Expire(1000).size() == 1);
  CHECK(Fence(members.Register(Worker(0, {}, 101), 1001)) > fence);
}

TEST_CASE("a silent worker is lost, once, and may come back with a new fence") {
  Membership members(2, 1000);
  const uint64_t fence = Fence(members.Register(Worker(1), 0));
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
  CHECK(Fence(members.Register(Worker(1), 5001)) > fence);
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
    const uint64_t fence = Fence(members.Register(Worker(p), 0));
    CHECK(members.Leave(LeaveOf(p, fence, ways[p].first), 1).ok());
    CHECK(members.Status(2)[p].state() == ways[p].second);
    CHECK(members.Leave(LeaveOf(p, fence), 1).code() == absl::StatusCode::kAborted);
  }
  CHECK(members.Expire(100000).empty());
}

TEST_CASE("an observer has a fence and is no member") {
  Membership members(1, 1000);
  const uint64_t worker = Fence(members.Register(Worker(0), 0));
  Candidate candidate = Worker(0);
  candidate.observer = true;
  const uint64_t fence = Fence(members.Register(candidate, 0));
  CHECK(fence > worker);
  CHECK(members.Check(0, fence).ok());
  CHECK(members.Check(0, worker).ok());
  CHECK(members.Heartbeat(0, worker, {}, 900).ok());
  CHECK(members.observers() == 1);
  const auto lost = members.Expire(1000);
  REQUIRE(lost.size() == 1);
  CHECK(lost[0].observer);
  CHECK(members.observers() == 0);
  const uint64_t again = Fence(members.Register(candidate, 1000));
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
