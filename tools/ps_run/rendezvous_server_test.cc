#include "tools/ps_run/rendezvous_server.h"

#include <catch2/catch.hpp>
#include <atomic>
#include <chrono>
#include <thread>

#include <grpcpp/grpcpp.h>

#include "proto/grpc_status.h"
#include "proto/service.grpc.pb.h"
#include "worker/peers.h"

namespace downpour::run {
namespace {

Job JobOf(uint32_t workers) {
  Job job;
  job.set_name("met");
  job.set_workers(workers);
  job.mutable_sync()->set_join_timeout_ms(300);
  job.mutable_worker()->set_connect_timeout_ms(300);
  job.mutable_worker()->set_call_timeout_ms(10000);
  return job;
}

Attempt AttemptOf(uint32_t stage, uint32_t task) {
  Attempt attempt;
  attempt.set_stage(stage);
  attempt.set_task(task);
  return attempt;
}

// A rendezvous, and calls to it as workers make them.
class Place {
 public:
  explicit Place(uint32_t workers) : job_(JobOf(workers)) {
    auto server = RendezvousServer::Start(job_, "127.0.0.1");
    REQUIRE(server.ok());
    server_ = *std::move(server);
    stub_ = RendezvousService::NewStub(grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
  }

  absl::Status Call(const MeetRequest& request) {
    grpc::ClientContext context;
    reply_.Clear();
    return FromGrpcStatus(stub_->Meet(&context, request, &reply_));
  }

  absl::Status Come(uint32_t partition, uint32_t task, const std::string& address, uint32_t stage = 0) {
    MeetRequest request;
    request.set_job("met");
    request.set_partition(partition);
    *request.mutable_attempt() = AttemptOf(stage, task);
    request.set_address(address);
    return Call(request);
  }

  bool Released() {
    MeetRequest request;
    request.set_job("met");
    request.set_done(true);
    REQUIRE(Call(request).ok());
    return reply_.released();
  }

  std::vector<std::string> addresses() const { return {reply_.addresses().begin(), reply_.addresses().end()}; }
  std::vector<uint32_t> missing() const { return {reply_.missing().begin(), reply_.missing().end()}; }
  RendezvousServer& server() { return *server_; }
  const Job& job() const { return job_; }

 private:
  const Job job_;
  std::unique_ptr<RendezvousServer> server_;
  std::unique_ptr<RendezvousService::Stub> stub_;
  MeetReply reply_;
};

using Addresses = std::vector<std::string>;
using Partitions = std::vector<uint32_t>;

TEST_CASE("a worker alone has met everyone") {
  Place place(1);
  REQUIRE(place.Come(0, 0, "a:1").ok());
  CHECK(place.addresses() == Addresses{"a:1"});
  CHECK(place.server().Everyone() == Addresses{"a:1"});
}

TEST_CASE("all have met once each has been heard after the last came") {
  Place place(3);
  REQUIRE(place.Come(2, 0, "c:1").ok());
  CHECK(place.missing() == Partitions{0, 1});
  REQUIRE(place.Come(0, 0, "a:1").ok());
  REQUIRE(place.Come(1, 0, "b:1").ok());
  CHECK(place.addresses().empty());
  CHECK_FALSE(place.server().Everyone());
  REQUIRE(place.Come(0, 0, "a:1").ok());
  CHECK(place.missing() == Partitions{2});
  REQUIRE(place.Come(2, 0, "c:1").ok());
  CHECK(place.addresses() == Addresses{"a:1", "b:1", "c:1"});
  CHECK(place.missing().empty());
  CHECK(place.server().Everyone() == place.addresses());
  REQUIRE(place.Come(1, 0, "b:1").ok());
  CHECK(place.addresses() == Addresses{"a:1", "b:1", "c:1"});
}

TEST_CASE("who ended while it waited counts no more, and its next attempt takes its place") {
  Place place(2);
  REQUIRE(place.Come(0, 1, "gone:1").ok());
  REQUIRE(place.Come(1, 4, "b:2").ok());  // the stage is tried again
  for (int i = 0; i < 3; ++i) {
    REQUIRE(place.Come(1, 4, "b:2").ok());
    CHECK(place.addresses().empty());
    CHECK(place.missing() == Partitions{0});
  }
  REQUIRE(place.Come(0, 3, "a:2").ok());
  REQUIRE(place.Come(1, 4, "b:2").ok());
  CHECK(place.addresses() == Addresses{"a:2", "b:2"});
  CHECK_FALSE(place.server().Lost());
}

struct Case {
  const char* what;
  bool complete;  // whether all have met before
  Attempt attempt;
  const char* address;
  absl::StatusCode code;
  bool lost;
};

TEST_CASE("who may take a place that attempt 1.1 at a:1 has") {
  using Code = absl::StatusCode;
  const std::vector<Case> cases = {
      {"itself", false, AttemptOf(1, 1), "a:1", Code::kOk, false},
      {"itself, later", true, AttemptOf(1, 1), "a:1", Code::kOk, false},
      {"a twin", false, AttemptOf(1, 1), "x:1", Code::kAborted, false},
      {"a twin, later", true, AttemptOf(1, 1), "x:1", Code::kAborted, false},
      {"an older task", false, AttemptOf(1, 0), "x:1", Code::kAborted, false},
      {"an older task at its address", false, AttemptOf(1, 0), "a:1", Code::kAborted, false},
      {"an older stage's, later", true, AttemptOf(0, 9), "x:1", Code::kAborted, false},
      {"a newer task", false, AttemptOf(1, 2), "x:1", Code::kOk, false},
      {"a newer task at its address", false, AttemptOf(1, 2), "a:1", Code::kOk, false},
      {"a newer stage's", false, AttemptOf(2, 0), "x:1", Code::kOk, false},
      {"a newer task, later", true, AttemptOf(1, 2), "x:1", Code::kAborted, true},
      {"a newer task at its address, later", true, AttemptOf(1, 2), "a:1", Code::kAborted, true},
  };
  for (const Case& c : cases) {
    INFO(c.what);
    Place place(2);
    REQUIRE(place.Come(0, 1, "a:1", 1).ok());
    if (c.complete) {
      REQUIRE(place.Come(1, 0, "b:1").ok());
      REQUIRE(place.Come(0, 1, "a:1", 1).ok());
    }
    CHECK(place.Come(0, c.attempt.task(), c.address, c.attempt.stage()).code() == c.code);
    const auto lost = place.server().Lost();
    REQUIRE(lost.has_value() == c.lost);
    if (c.lost) {
      CHECK_THAT(*lost, Catch::Contains("worker 0") && Catch::Contains("attempt 1.1 is gone") &&
                            Catch::Contains("the job has to begin again"));
    }
    if (c.complete) CHECK(place.server().Everyone() == Addresses{"a:1", "b:1"});
  }
}

TEST_CASE("whoever does not belong here is refused") {
  Place place(2);
  MeetRequest request;
  request.set_job("another");
  request.set_address("a:1");
  CHECK(place.Call(request).code() == absl::StatusCode::kFailedPrecondition);
  request.set_job("met");
  request.set_partition(2);
  CHECK(place.Call(request).code() == absl::StatusCode::kFailedPrecondition);
  request.set_partition(1);
  for (const char* address : {"", "a", "a:0", "a:99999"}) {
    request.set_address(address);
    CHECK(place.Call(request).code() == absl::StatusCode::kInvalidArgument);
  }
  REQUIRE(place.Come(0, 0, "a:1").ok());
  CHECK(place.missing() == Partitions{1});
}

TEST_CASE("no more than some of those who are missing are named") {
  Place place(1000);
  REQUIRE(place.Come(5, 0, "a:1").ok());
  CHECK(place.missing().size() == 20);
}

TEST_CASE("who is done is released") {
  Place place(1);
  CHECK_FALSE(place.Released());
  place.server().Release();
  CHECK(place.Released());
}

TEST_CASE("a host on which nobody can listen is named") {
  const auto server = RendezvousServer::Start(JobOf(1), "192.0.2.1");
  REQUIRE(server.status().code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(server.status().message()),
             Catch::Contains("192.0.2.1") && Catch::Contains("servers.addresses[0]"));
}

// ---- With the worker's side.

const auto kNeverStop = [] { return false; };

TEST_CASE("workers meet, and those that are done stay until they are released") {
  Place place(3);
  std::atomic<int> left = 0;
  std::vector<std::thread> workers;
  for (uint32_t i = 0; i < 3; ++i) {
    workers.emplace_back([&place, &left, i] {
      worker::Rendezvous rendezvous(place.server().address(), place.job(), i, AttemptOf(0, 0));
      const auto met = rendezvous.Meet("host:" + std::to_string(i + 1), kNeverStop, nullptr);
      if (!met.ok() || *met != Addresses{"host:1", "host:2", "host:3"}) return;
      rendezvous.AwaitRelease(kNeverStop);
      ++left;
    });
  }
  while (!place.server().Everyone()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(left == 0);
  place.server().Release();
  for (std::thread& worker : workers) worker.join();
  CHECK(left == 3);
}

TEST_CASE("a worker that waits in vain names those who have not come") {
  Place place(3);
  worker::Rendezvous rendezvous(place.server().address(), place.job(), 1, AttemptOf(0, 0));
  const auto met = rendezvous.Meet("a:1", kNeverStop, nullptr);
  CHECK(met.status().code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(met.status().message()), Catch::Contains("no worker yet: 0, 2"));
  CHECK(rendezvous.Meet("a:1", [] { return true; }, nullptr).status().code() == absl::StatusCode::kCancelled);
}

TEST_CASE("a supervisor that is gone keeps nobody") {
  auto place = std::make_unique<Place>(1);
  const Job job = place->job();
  worker::Rendezvous rendezvous(place->server().address(), job, 0, AttemptOf(0, 0));
  REQUIRE(rendezvous.Meet("a:1", kNeverStop, nullptr).ok());
  place.reset();
  rendezvous.AwaitRelease(kNeverStop);
  const auto met = rendezvous.Meet("a:1", kNeverStop, nullptr);
  CHECK(met.status().code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(met.status().message()), Catch::Contains("no answer from the rendezvous at 127.0.0.1"));
}

}  // namespace
}  // namespace downpour::run
