#include "tools/ps_run/rendezvous_server.h"

#include <mutex>
#include <utility>

#include <grpcpp/grpcpp.h>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "proto/address.h"
#include "proto/grpc_status.h"
#include "proto/service.grpc.pb.h"

namespace downpour::run {
namespace {

constexpr int kMostNamed = 20;

using AttemptId = std::pair<uint32_t, uint32_t>;

std::string Text(const AttemptId& attempt) { return absl::StrCat(attempt.first, ".", attempt.second); }

}  // namespace

class RendezvousServer::Impl final : public RendezvousService::Service {
 public:
  explicit Impl(const Job& job) : job_(job), workers_(job.workers()) {}

  ~Impl() override {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
  }

  absl::Status Listen(const std::string& host) {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(absl::StrCat(host, ":0"), grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port == 0) {
      return absl::UnavailableError(absl::StrCat(
          "can't listen on ", host, ", the host of servers.addresses[0], for the workers' rendezvous"));
    }
    address_ = absl::StrCat(host, ":", port);
    return absl::OkStatus();
  }

  grpc::Status Meet(grpc::ServerContext*, const MeetRequest* request, MeetReply* reply) override {
    return ToGrpcStatus(Meet(*request, reply));
  }

  const std::string& address() const { return address_; }

  std::optional<std::vector<std::string>> Everyone() const {
    std::lock_guard lock(mutex_);
    if (!complete_) return std::nullopt;
    return Addresses();
  }

  std::optional<std::string> Lost() const {
    std::lock_guard lock(mutex_);
    return lost_;
  }

  void Release() {
    std::lock_guard lock(mutex_);
    released_ = true;
  }

 private:
  struct Worker {
    AttemptId attempt;
    std::string address;  // empty until it comes
    uint64_t heard = 0;   // how many had arrived when it last said that it is here
  };

  absl::Status Meet(const MeetRequest& request, MeetReply* reply) {
    if (request.job() != job_.name()) {
      return absl::FailedPreconditionError(absl::StrCat("this is the rendezvous of job '", job_.name(), "'"));
    }
    std::lock_guard lock(mutex_);
    if (request.partition() >= workers_.size()) {
      return absl::FailedPreconditionError(absl::StrCat("the job has ", workers_.size(), " partitions"));
    }
    if (!request.done()) {
      if (absl::Status status = Take(request); !status.ok()) return status;
    }
    for (uint32_t i = 0; i < workers_.size() && reply->missing_size() < kMostNamed; ++i) {
      if (!complete_ && !IsHere(workers_[i])) reply->add_missing(i);
    }
    complete_ = reply->missing().empty();
    if (complete_) {
      for (std::string& address : Addresses()) reply->add_addresses(std::move(address));
    }
    reply->set_released(released_);
    return absl::OkStatus();
  }

  // Of a worker that says that it is here.
  absl::Status Take(const MeetRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (absl::Status status = CheckConnectAddress(request.address()); !status.ok()) return status;
    Worker& worker = workers_[request.partition()];
    const AttemptId attempt{request.attempt().stage(), request.attempt().task()};
    if (worker.address == request.address() && worker.attempt == attempt) {
      worker.heard = arrivals_;
      return absl::OkStatus();
    }
    if (!worker.address.empty()) {
      if (attempt < worker.attempt) {
        return absl::AbortedError(absl::StrCat("a newer attempt has come to partition ", request.partition()));
      }
      if (attempt == worker.attempt) {
        return absl::AbortedError(absl::StrCat("another worker of the same attempt, at ", worker.address,
                                               ", holds partition ", request.partition()));
      }
      if (complete_) {
        lost_ = absl::StrCat("worker ", request.partition(), " was started again after all had met, so attempt ",
                             Text(worker.attempt), " is gone, and its share of the parameters with it: the job has to "
                             "begin again");
        return absl::AbortedError(*lost_);
      }
    }
    worker = {attempt, request.address(), ++arrivals_};
    return absl::OkStatus();
  }

  // Whether it has said so since the last of them arrived: who has ended in between will not.
  bool IsHere(const Worker& worker) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !worker.address.empty() && worker.heard == arrivals_;
  }

  std::vector<std::string> Addresses() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::vector<std::string> addresses;
    for (const Worker& worker : workers_) addresses.push_back(worker.address);
    return addresses;
  }

  const Job job_;
  std::string address_;

  mutable std::mutex mutex_;
  std::vector<Worker> workers_ ABSL_GUARDED_BY(mutex_);
  uint64_t arrivals_ ABSL_GUARDED_BY(mutex_) = 0;
  bool complete_ ABSL_GUARDED_BY(mutex_) = false;  // all have been here at once; for good
  std::optional<std::string> lost_ ABSL_GUARDED_BY(mutex_);
  bool released_ ABSL_GUARDED_BY(mutex_) = false;

  std::unique_ptr<grpc::Server> server_;
};

RendezvousServer::RendezvousServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RendezvousServer::~RendezvousServer() = default;

absl::StatusOr<std::unique_ptr<RendezvousServer>> RendezvousServer::Start(const Job& job, const std::string& host) {
  auto impl = std::make_unique<Impl>(job);
  if (absl::Status status = impl->Listen(host); !status.ok()) return status;
  return std::unique_ptr<RendezvousServer>(new RendezvousServer(std::move(impl)));
}

const std::string& RendezvousServer::address() const { return impl_->address(); }
std::optional<std::vector<std::string>> RendezvousServer::Everyone() const { return impl_->Everyone(); }
std::optional<std::string> RendezvousServer::Lost() const { return impl_->Lost(); }
void RendezvousServer::Release() { impl_->Release(); }

}  // namespace downpour::run
