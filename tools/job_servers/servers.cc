#include "tools/job_servers/servers.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <random>

#include "absl/strings/str_cat.h"
#include "proto/grpc_status.h"

namespace downpour {
namespace {

constexpr std::chrono::seconds kPatience{5};
constexpr std::chrono::minutes kReading{10};  // of a checkpoint

}  // namespace

JobServers::JobServers(const Job& job) : job_(job) {
  for (const std::string& address : job.servers().addresses()) {
    stubs_.push_back(ControlService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials())));
  }
}

absl::StatusOr<std::vector<StatusReply>> JobServers::Status() const {
  std::vector<StatusReply> replies(stubs_.size());
  for (size_t i = 0; i < stubs_.size(); ++i) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    const absl::Status status = FromGrpcStatus(stubs_[i]->Status(&context, StatusRequest(), &replies[i]));
    if (!status.ok()) return Named(i, status);
    if (replies[i].server() != i) {
      return absl::FailedPreconditionError(absl::StrCat(Name(i), " says that it is server ", replies[i].server(),
                                                        ": are the addresses in the job's order?"));
    }
    if (replies[i].job() != job_.name()) {
      return absl::FailedPreconditionError(
          absl::StrCat(Name(i), " works for job '", replies[i].job(), "', not for '", job_.name(), "'"));
    }
  }
  return replies;
}

absl::Status JobServers::Change(const SettingsChange& change, size_t* told) const {
  for (size_t i = 0; i < stubs_.size(); ++i) {
    ChangeRequest request;
    request.set_job(job_.name());
    *request.mutable_change() = change;
    ChangeReply reply;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    if (absl::Status status = FromGrpcStatus(stubs_[i]->Change(&context, request, &reply)); !status.ok()) {
      return Named(i, status);
    }
    ++*told;
  }
  return absl::OkStatus();
}

absl::Status JobServers::Checkpoint(uint64_t number, uint64_t clock) const {
  CheckpointRequest request;
  request.set_job(job_.name());
  request.set_number(number);
  request.set_clock(clock);
  std::random_device random;
  request.set_id(uint64_t{random()} << 32 | random());
  for (size_t i = 0; i < stubs_.size(); ++i) {
    CheckpointReply reply;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    if (absl::Status status = FromGrpcStatus(stubs_[i]->Checkpoint(&context, request, &reply)); !status.ok()) {
      return Named(i, status);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<RestoreReply> JobServers::Restore(uint64_t number) const {
  RestoreRequest request;
  request.set_job(job_.name());
  request.set_number(number);
  RestoreReply first;
  for (size_t i = 0; i < stubs_.size(); ++i) {
    RestoreReply reply;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kReading);
    if (absl::Status status = FromGrpcStatus(stubs_[i]->Restore(&context, request, &reply)); !status.ok()) {
      return Named(i, status);
    }
    if (i == 0) first = reply;
    request.set_number(first.number());
  }
  return first;
}

std::string JobServers::Name(size_t i) const {
  return absl::StrCat("server ", i, " at ", job_.servers().addresses(static_cast<int>(i)));
}

absl::Status JobServers::Named(size_t i, const absl::Status& status) const {
  return absl::Status(status.code(), absl::StrCat(Name(i), ": ", status.message()));
}

}  // namespace downpour
