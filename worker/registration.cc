#include "worker/registration.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include <google/protobuf/util/message_differencer.h>
#include <grpcpp/client_context.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/frame.h"
#include "proto/grpc_status.h"
#include "proto/service.grpc.pb.h"
#include "proto/shard_map.h"
#include "worker/channel.h"
#include "worker/this_host.h"

namespace downpour::worker {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kRetryPause{100};
constexpr milliseconds kTellAfter{2000};
constexpr milliseconds kAskAgain{500};

double Seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

// Waits until every server answers.
absl::Status AwaitServers(const Job& job, const std::vector<RegisteredServer>& servers,
                          const std::function<void(const std::string&)>& on_wait) {
  const auto begun = Clock::now();
  const auto deadline = begun + milliseconds(job.worker().connect_timeout_ms());
  for (const RegisteredServer& server : servers) {
    const auto control = ControlService::NewStub(server.channel);
    bool told = false;
    while (true) {
      grpc::ClientContext context;
      const auto left = std::max<Clock::duration>(deadline - Clock::now(), kRetryPause);
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::duration_cast<milliseconds>(left));
      StatusReply reply;
      const absl::Status status = FromGrpcStatus(control->Status(&context, StatusRequest(), &reply));
      if (status.ok()) break;
      const bool away = absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
      if (!away || Clock::now() >= deadline) {
        return absl::UnavailableError(absl::StrFormat(
            "no answer from %s, tried for %.1f s: %s. Is a ps-server of this job running there, and can this host "
            "reach that port? See servers.addresses in the job",
            server.Name(), Seconds(Clock::now() - begun), status.message()));
      }
      if (!told && on_wait && Clock::now() - begun > kTellAfter) {
        on_wait(absl::StrCat("still looking for ", server.Name(), ": ", status.message()));
        told = true;
      }
      std::this_thread::sleep_for(kRetryPause);
    }
  }
  return absl::OkStatus();
}

RegisterRequest RequestOf(const Job& job, const Identity& identity, const TableSpec& table) {
  RegisterRequest request;
  request.set_job(job.SerializeAsString());
  request.set_partition(identity.partition);
  *request.mutable_attempt() = identity.attempt;
  request.set_table(table.SerializeAsString());
  request.set_role(identity.role);
  char host[256] = "";
  if (gethostname(host, sizeof(host) - 1) == 0) request.set_host(host);
  request.set_pid(getpid());
  return request;
}

// Checks what a server says of itself and of the parts; the first one's map becomes the registration's.
absl::Status Take(const RegisterReply& reply, uint32_t server, uint64_t elements, Registration* registration) {
  if (reply.server() != server) {
    return absl::FailedPreconditionError(
        absl::StrCat("it says that it is server ", reply.server(), ": are the addresses in the job's order?"));
  }
  ShardMap& map = registration->map;
  if (server == 0) {
    const absl::Status valid = ValidateShardMap(reply.map(), registration->servers.size());
    if (!valid.ok()) return absl::FailedPreconditionError(valid.message());
    if (reply.map().tables_size() != 1 || reply.map().tables(0).elements() != elements) {
      return absl::FailedPreconditionError(absl::StrCat("its shard map is not of ", elements, " parameters"));
    }
    map = reply.map();
  } else if (!google::protobuf::util::MessageDifferencer::Equals(map, reply.map())) {
    return absl::FailedPreconditionError(absl::StrCat("it has another shard map than ", registration->servers[0].Name(),
                                                      ": were all servers started from the same job file?"));
  }
  for (const uint32_t part : reply.unset_parts()) {
    if (part >= static_cast<uint32_t>(map.tables(0).parts_size())) {
      return absl::FailedPreconditionError(absl::StrCat("it names part ", part, ", and there is none"));
    }
    registration->unset_parts.push_back(part);
  }
  registration->changes.push_back(reply.changes());
  if (reply.has_earlier() && !registration->earlier) registration->earlier = reply.earlier();
  return absl::OkStatus();
}

// Asks every server once, in order, and stops at the first that gives no lease: `turned_away` is then who has the
// partition. A lease that this process has already is renewed by that.
absl::Status AskAll(const Job& job, const RegisterRequest& request, uint64_t elements, Registration* registration,
                    std::optional<WorkerStatus>* turned_away) {
  bool known_progress = false;
  for (RegisteredServer& server : registration->servers) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + milliseconds(job.worker().call_timeout_ms()));
    RegisterReply reply;
    absl::Status status =
        FromGrpcStatus(ControlService::NewStub(server.channel)->Register(&context, request, &reply));
    if (status.ok() && reply.has_holder()) {
      *turned_away = reply.holder();
      return absl::OkStatus();
    }
    if (status.ok()) status = Take(reply, server.index, elements, registration);
    if (!status.ok()) return absl::Status(status.code(), absl::StrCat(server.Name(), ": ", status.message()));
    server.fence = reply.fence();
    // A server that owns no parts has nothing to say of it. Where they differ in clocks alone, some have closed one
    // without an earlier attempt that was lost.
    const auto order = [](const Progress& p) { return std::pair(p.sequence(), p.clock()); };
    if (reply.has_progress() && (!known_progress || order(reply.progress()) < order(registration->progress))) {
      registration->progress = reply.progress();
      known_progress = true;
    }
  }
  return absl::OkStatus();
}

// Gives back what leases there are: the partition's work is done.
void LeaveDone(const Job& job, const Identity& identity, const WorkerReport& report, const Registration& registration) {
  for (const RegisteredServer& server : registration.servers) {
    if (server.fence == 0) continue;
    LeaveRequest request;
    request.set_job(job.name());
    request.set_partition(identity.partition);
    request.set_fence(server.fence);
    *request.mutable_report() = report;
    request.set_outcome(DONE);
    LeaveReply reply;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + milliseconds(job.worker().call_timeout_ms()));
    (void)ControlService::NewStub(server.channel)->Leave(&context, request, &reply);
  }
}

}  // namespace

std::string RegisteredServer::Name() const { return absl::StrCat("server ", index, " at ", address); }

absl::StatusOr<Registration> Register(const Job& job, const Identity& identity, const TableSpec& table,
                                      const RegistrationWatch& watch) {
  Registration registration;
  for (const std::string& address : job.servers().addresses()) {
    const auto index = static_cast<uint32_t>(registration.servers.size());
    registration.servers.push_back({index, address, MakeChannel(address, job), 0});
  }
  if (absl::Status status = AwaitServers(job, registration.servers, watch.on_wait); !status.ok()) return status;
  for (RegisteredServer& server : registration.servers) server.on_this_host = OnThisHost(server.address);

  const RegisterRequest request = RequestOf(job, identity, table);
  // Often enough to keep the leases that there are already.
  const milliseconds pause = std::min(kAskAgain, milliseconds(job.worker().lease_ms() / 3));
  while (true) {
    Registration asked;
    asked.servers = registration.servers;
    std::optional<WorkerStatus> turned_away;
    if (absl::Status status = AskAll(job, request, table.elements(), &asked, &turned_away); !status.ok()) return status;
    if (!turned_away) return asked;
    if (turned_away->state() != WorkerStatus::LIVE) {
      // All that it pushed was acknowledged by every server before it left the first.
      LeaveDone(job, identity, turned_away->report(), asked);
      asked.completed = turned_away->report();
      return asked;
    }
    if (watch.on_held) watch.on_held(*turned_away);
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace downpour::worker
