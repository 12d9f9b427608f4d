#include "tools/ps_run/rendezvous_server.h"

#include <algorithm>
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

constexpr size_t kMostNamed = 20;

using AttemptId = std::pair<uint32_t, uint32_t>;

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
      return absl::UnavailableError(absl::StrCat("can't listen on ", host, " for the workers' rendezvous"));
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
    return EveryoneLocked();
  }

  void Release() {
    std::lock_guard lock(mutex_);
    released_ = true;
  }

 private:
  struct Worker {
    AttemptId attempt;
    std::string address;
  };

  absl::Status Meet(const MeetRequest& request, MeetReply* reply) {
    if (request.job() != job_.name()) {
      return absl::FailedPreconditionError(absl::StrCat("this is the rendezvous of job '", job_.name(), "'"));
    }
    if (request.partition() >= workers_.size()) {
      return absl::FailedPreconditionError(absl::StrCat("the job has ", workers_.size(), " partitions"));
    }
    std::lock_guard lock(mutex_);
    if (!request.done()) {
      if (absl::Status status = CheckConnectAddress(request.address()); !status.ok()) return status;
      Worker& worker = workers_[request.partition()];
      const AttemptId attempt{request.attempt().stage(), request.attempt().task()};
      if (attempt < worker.attempt) {
        return absl::AbortedError(
            absl::StrCat("a newer attempt has come to partition ", request.partition()));
      }
      const bool another = !worker.address.empty() && worker.address != request.address();
      if (another && (complete_ || attempt == worker.attempt)) {
        return absl::AbortedError(absl::StrCat(
            "another worker holds partition ", request.partition(),
            complete_ ? ", and its share of the parameters went with it where it is gone: the job has to begin again"
                      : ""));
      }
      worker = {attempt, request.address()};
    }
    const auto everyone = EveryoneLocked();
    if (everyone) {
      complete_ = true;
      reply->mutable_addresses()->Assign(everyone->begin(), everyone->end());
    }
    for (uint32_t i = 0; i < workers_.size() && reply->missing_size() < static_cast<int>(kMostNamed); ++i) {
      if (workers_[i].address.empty()) reply->add_missing(i);
    }
    reply->set_released(released_);
    return absl::OkStatus();
  }

  std::optional<std::vector<std::string>> EveryoneLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::vector<std::string> addresses;
    for (const Worker& worker : workers_) {
      if (worker.address.empty()) return std::nullopt;
      addresses.push_back(worker.address);
    }
    return addresses;
  }

  const Job job_;
  std::string address_;

  mutable std::mutex mutex_;
  std::vector<Worker> workers_ ABSL_GUARDED_BY(mutex_);
  bool complete_ ABSL_GUARDED_BY(mutex_) = false;  // all have come, and some have been told
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
void RendezvousServer::Release() { impl_->Release(); }

}  // namespace downpour::run
