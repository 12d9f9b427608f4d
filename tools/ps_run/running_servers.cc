#include "tools/ps_run/running_servers.h"

#include <unistd.h>

#include <chrono>
#include <string>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include "absl/strings/str_cat.h"
#include "proto/address.h"
#include "proto/grpc_status.h"
#include "proto/service.grpc.pb.h"

namespace downpour::run {
namespace {

constexpr std::chrono::milliseconds kPatience{3000};
constexpr char kStartAgain[] =
    "a ps-server serves one run: end it (SIGTERM) and start it again as it was started, then begin this run";

void SetDeadline(grpc::ClientContext* context) { context->set_deadline(std::chrono::system_clock::now() + kPatience); }

// Registers as an observer, which makes the server compare the jobs, and leaves again.
absl::Status CheckAgreement(const Job& job, ControlService::Stub* stub) {
  RegisterRequest request;
  request.set_job(job.SerializeAsString());
  request.set_role(OBSERVER);
  request.set_pid(getpid());
  RegisterReply reply;
  {
    grpc::ClientContext context;
    SetDeadline(&context);
    if (const grpc::Status status = stub->Register(&context, request, &reply); !status.ok()) {
      return FromGrpcStatus(status);
    }
  }
  LeaveRequest leave;
  leave.set_job(job.name());
  leave.set_fence(reply.fence());
  LeaveReply left;
  grpc::ClientContext context;
  SetDeadline(&context);
  (void)stub->Leave(&context, leave, &left);  // its lease would end as well
  return absl::OkStatus();
}

absl::Status CheckNew(const StatusReply& reply) {
  for (const WorkerStatus& worker : reply.workers()) {
    if (worker.state() != WorkerStatus::LIVE) continue;
    return absl::FailedPreconditionError(absl::StrCat("it is at work for another run: worker ", worker.partition(), " on ",
                                                      worker.host(), ", pid ", worker.pid()));
  }
  for (const WorkerStatus& worker : reply.workers()) {
    if (worker.state() == WorkerStatus::ABSENT) continue;
    return absl::FailedPreconditionError(absl::StrCat("it holds what an earlier run trained; ", kStartAgain));
  }
  for (const ShardStatus& shard : reply.shards()) {
    if (shard.elements() == 0) continue;
    return absl::FailedPreconditionError(absl::StrCat("it holds the parameters of an earlier run; ", kStartAgain));
  }
  return absl::OkStatus();
}

absl::Status Check(const Job& job, int index, ControlService::Stub* stub) {
  StatusReply reply;
  {
    grpc::ClientContext context;
    SetDeadline(&context);
    if (const grpc::Status status = stub->Status(&context, StatusRequest(), &reply); !status.ok()) {
      return absl::UnavailableError(absl::StrCat("it does not answer: ", status.error_message()));
    }
  }
  if (reply.job() != job.name()) {
    return absl::FailedPreconditionError(absl::StrCat("it works for job '", reply.job(), "', and this run is of '", job.name(),
                                                      "': start both from the same job file"));
  }
  if (reply.server() != static_cast<uint32_t>(index)) {
    return absl::FailedPreconditionError(
        absl::StrCat("it is server ", reply.server(), " of its job (--index): name the addresses in that order"));
  }
  if (absl::Status status = CheckNew(reply); !status.ok()) return status;
  return CheckAgreement(job, stub);
}

}  // namespace

absl::Status CheckRunningServers(const Job& job) {
  for (int i = 0; i < job.servers().addresses_size(); ++i) {
    const std::string& address = job.servers().addresses(i);
    if (absl::Status status = CheckConnectAddress(address); !status.ok()) {
      return absl::FailedPreconditionError(absl::StrCat("servers.addresses: ", status.message()));
    }
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);  // who asks again does not wait longer
    const auto stub =
        ControlService::NewStub(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
    if (absl::Status status = Check(job, i, stub.get()); !status.ok()) {
      return absl::Status(status.code(), absl::StrCat("server ", i, " at ", address, ": ", status.message()));
    }
  }
  return absl::OkStatus();
}

}  // namespace downpour::run
