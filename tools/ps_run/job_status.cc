#include "tools/ps_run/job_status.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "absl/strings/str_cat.h"

namespace downpour::run {
namespace {

constexpr std::chrono::milliseconds kPatience{1000};

}  // namespace

JobStatusReader::JobStatusReader(const std::vector<std::string>& addresses) : addresses_(addresses) {
  for (const std::string& address : addresses_) {
    stubs_.push_back(ControlService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials())));
  }
}

absl::StatusOr<JobStatus> JobStatusReader::Read() {
  JobStatus status;
  for (size_t i = 0; i < stubs_.size(); ++i) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    StatusReply reply;
    if (const grpc::Status s = stubs_[i]->Status(&context, StatusRequest(), &reply); !s.ok()) {
      return absl::UnavailableError(
          absl::StrCat("server ", i, " at ", addresses_[i], " does not answer: ", s.error_message()));
    }
    Merge(reply, &status);
    status.servers.push_back(std::move(reply));
  }
  return status;
}

void Merge(const StatusReply& reply, JobStatus* status) {
  if (status->workers.empty()) {
    status->workers.assign(reply.workers().begin(), reply.workers().end());
    status->changes.assign(reply.changes().begin(), reply.changes().end());
  }
  for (const ShardStatus& shard : reply.shards()) {
    status->pushes += shard.pushes();
    status->combined += shard.combined();
    status->staleness_sum += shard.staleness_sum();
    status->staleness_count += shard.staleness_count();
    for (const auto& [reason, count] : shard.refused()) status->refused[reason] += count;
  }
  const auto counter = [&reply](const char* name) {
    const auto found = reply.counters().find(name);
    return found == reply.counters().end() ? 0 : found->second;
  };
  status->received_bytes += counter("payload_received_bytes");
  status->sent_bytes += counter("payload_sent_bytes");
}

Advance AdvanceOf(const Job& job, const JobStatus& status) {
  Advance advance;
  double loss = 0;
  uint64_t loss_steps = 0;
  const double epochs = job.training().epochs();
  const double max_steps = static_cast<double>(job.training().max_steps());
  double ends = 0;
  int with_steps = 0;
  int with_rows = 0;
  for (const WorkerStatus& worker : status.workers) {
    const WorkerReport& report = worker.report();
    advance.samples += report.samples();
    advance.epoch += report.epoch();
    if (worker.state() != WorkerStatus::FINISHED || report.samples() > 0) ++with_rows;
    double fraction = report.epoch() / epochs;
    if (const auto steps = static_cast<double>(report.step()); steps > 0 && report.epoch() > 0) {
      if (max_steps > 0) fraction = std::max(fraction, steps / max_steps);
      ends += max_steps > 0 ? std::min(epochs, report.epoch() * max_steps / steps) : epochs;
      advance.step += steps;
      ++with_steps;
    }
    if (worker.state() == WorkerStatus::FINISHED) fraction = 1;
    advance.fraction += std::min(1.0, fraction);
    if (worker.state() == WorkerStatus::LIVE) advance.images_per_second += report.samples_per_second();
    loss += report.loss() * static_cast<double>(report.loss_steps());
    loss_steps += report.loss_steps();
  }
  if (loss_steps > 0) advance.loss = loss / static_cast<double>(loss_steps);
  if (!status.workers.empty()) {
    advance.fraction /= static_cast<double>(status.workers.size());
  }
  if (with_rows > 0) advance.epoch /= with_rows;
  if (with_steps > 0) advance.step /= with_steps;
  advance.epochs = with_steps > 0 ? ends / with_steps : epochs;
  return advance;
}

}  // namespace downpour::run
