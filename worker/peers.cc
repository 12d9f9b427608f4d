#include "worker/peers.h"

#include <algorithm>
#include <thread>

#include <grpcpp/grpcpp.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/grpc_status.h"
#include "proto/service.grpc.pb.h"

namespace downpour::worker {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kLook{50};
constexpr milliseconds kTellEvery{5000};
constexpr milliseconds kReleaseCall{2000};

}  // namespace

struct Rendezvous::Connection {
  explicit Connection(const std::string& address)
      : stub(RendezvousService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))) {}

  std::unique_ptr<RendezvousService::Stub> stub;
};

Rendezvous::Rendezvous(const std::string& address, const Job& job, uint32_t partition, const Attempt& attempt)
    : job_(job),
      address_(address),
      partition_(partition),
      attempt_(attempt),
      connection_(std::make_unique<Connection>(address)) {}

Rendezvous::~Rendezvous() = default;

absl::StatusOr<MeetReply> Rendezvous::Call(const std::string& own, bool done) {
  MeetRequest request;
  request.set_job(job_.name());
  request.set_partition(partition_);
  *request.mutable_attempt() = attempt_;
  request.set_address(own);
  request.set_done(done);
  MeetReply reply;
  grpc::ClientContext context;
  const milliseconds patience =
      done ? kReleaseCall : milliseconds(std::min(job_.worker().connect_timeout_ms(), job_.worker().call_timeout_ms()));
  context.set_deadline(std::chrono::system_clock::now() + patience);
  context.set_wait_for_ready(!done);
  const absl::Status status = FromGrpcStatus(connection_->stub->Meet(&context, request, &reply));
  if (!status.ok()) return status;
  return reply;
}

absl::StatusOr<std::vector<std::string>> Rendezvous::Meet(const std::string& own, const std::function<bool()>& stop,
                                                          const std::function<void(const std::string&)>& on_wait) {
  const auto begun = Clock::now();
  auto told = begun;
  while (!stop()) {
    const auto reply = Call(own, false);
    if (!reply.ok()) {
      if (absl::IsUnimplemented(reply.status())) {
        return absl::FailedPreconditionError(absl::StrCat("whoever listens on ", address_, " is no rendezvous"));
      }
      if (!absl::IsUnavailable(reply.status()) && !absl::IsDeadlineExceeded(reply.status())) return reply.status();
      return absl::UnavailableError(absl::StrCat("no answer from the rendezvous at ", address_, ": ",
                                                 reply.status().message(), ". Does whoever supervises the job run?"));
    }
    if (!reply->addresses().empty()) {
      if (reply->addresses_size() != static_cast<int>(job_.workers())) {
        return absl::FailedPreconditionError(absl::StrCat("the rendezvous names ", reply->addresses_size(),
                                                          " workers; the job has ", job_.workers()));
      }
      return std::vector<std::string>(reply->addresses().begin(), reply->addresses().end());
    }
    const auto waited = std::chrono::duration_cast<milliseconds>(Clock::now() - begun);
    const std::string missing = absl::StrJoin(reply->missing(), ", ");
    if (waited > milliseconds(job_.sync().join_timeout_ms())) {
      return absl::UnavailableError(absl::StrCat("after ", job_.sync().join_timeout_ms(), " ms these of the job's ",
                                                 job_.workers(), " partitions have no worker yet: ", missing));
    }
    if (on_wait && Clock::now() - told > kTellEvery) {
      told = Clock::now();
      on_wait(absl::StrCat("waiting for the workers of partitions ", missing));
    }
    std::this_thread::sleep_for(kLook);
  }
  return absl::CancelledError("stopped before all workers had come");
}

void Rendezvous::AwaitRelease(const std::function<bool()>& stop) {
  const milliseconds patience(job_.worker().connect_timeout_ms());
  for (auto answered = Clock::now(); !stop();) {
    const auto reply = Call("", true);
    if (reply.ok() ? reply->released() : !absl::IsDeadlineExceeded(reply.status())) return;
    if (reply.ok()) answered = Clock::now();
    if (Clock::now() - answered > patience) return;
    std::this_thread::sleep_for(kLook);
  }
}

void AwaitEveryone(const ParameterHost& host, const std::function<bool()>& stop) {
  while (!stop()) {
    const StatusReply status = host.Status();
    const bool all_left = std::none_of(status.workers().begin(), status.workers().end(), [](const auto& worker) {
      return worker.state() == WorkerStatus::LIVE || worker.state() == WorkerStatus::ABSENT;
    });
    if (all_left) return;
    std::this_thread::sleep_for(kLook);
  }
}

}  // namespace downpour::worker
