#include "worker/ps_client.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <utility>

#include <unistd.h>

#include <google/protobuf/util/message_differencer.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/grpc_status.h"
#include "proto/service.grpc.pb.h"
#include "proto/shard_map.h"
#include "proto/sync/mode.h"
#include "worker/server_stream.h"

namespace downpour::worker {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kRetryPause{100};
constexpr milliseconds kTellAfter{2000};
constexpr milliseconds kFarewell{1000};

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address, const Job& job) {
  grpc::ChannelArguments arguments;
  // Of control messages too: a shard map of many parts is not small.
  const int limit = static_cast<int>(std::max<uint64_t>(16 << 20, job.servers().part_bytes() + kFrameHeaderBytes));
  arguments.SetMaxReceiveMessageSize(limit);
  arguments.SetMaxSendMessageSize(limit);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 8 << 20);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 16 << 20);
  arguments.SetInt(GRPC_ARG_HTTP2_WRITE_BUFFER_SIZE, 4 << 20);
  // Each client has connections of its own, also where several live in one process.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

bool WaitsForWorkers(const Job& job) {
  const auto mode = FindSyncMode(job.sync().mode());
  return mode.ok() && (*mode)->strong;
}

double Seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

struct PsClient::HeartbeatCall {
  grpc::ClientContext context;
  HeartbeatRequest request;
  HeartbeatReply reply;
};

class PsClient::Server {
 public:
  Server(uint32_t index, std::string address, const Job& job)
      : index(index),
        address(std::move(address)),
        channel(MakeChannel(this->address, job)),
        control(ControlService::NewStub(channel)) {}

  std::string Name() const { return absl::StrCat("server ", index, " at ", address); }

  const uint32_t index;
  const std::string address;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<ControlService::Stub> control;
  uint64_t fence = 0;
  std::unique_ptr<ServerStream> stream;
  std::shared_ptr<HeartbeatCall> heartbeat;  // the one under way; protected by the client's mutex
};

// A fetch: parts arrive on gRPC's threads, each into its own range.
struct PsClient::Fetch {
  explicit Fetch(size_t elements, size_t parts)
      : values(std::make_unique<kernels::AlignedBuffer>(elements)), versions(parts), seen(parts) {}

  std::unique_ptr<kernels::AlignedBuffer> values;
  std::vector<uint64_t> versions;
  std::vector<bool> seen;
  uint64_t number = 0;
  uint64_t clock = 0;
  size_t missing = 0;
};

struct PsClient::PushInFlight {
  uint64_t sequence = 0;
  std::shared_ptr<GradientBuffer> buffer;
  std::vector<bool> acknowledged;
  size_t missing = 0;
};

PsClient::PsClient(const Job& job, const Identity& identity, uint64_t elements)
    : job_(job),
      identity_(identity),
      elements_(elements),
      waits_for_workers_(WaitsForWorkers(job)),
      current_(std::make_unique<kernels::AlignedBuffer>(elements)) {}

PsClient::~PsClient() {
  for (const auto& server : servers_) {
    if (server->stream) server->stream->Close();
  }
  std::unique_lock lock(mutex_);
  for (const auto& server : servers_) {
    if (server->heartbeat) server->heartbeat->context.TryCancel();
    changed_.wait(lock, [&server] { return server->heartbeat == nullptr; });
  }
}

absl::StatusOr<std::unique_ptr<PsClient>> PsClient::Connect(const Job& job, const Identity& identity,
                                                            const TableSpec& table,
                                                            std::function<void(const std::string&)> on_wait) {
  std::unique_ptr<PsClient> client(new PsClient(job, identity, table.elements()));
  if (absl::Status status = client->Register(table, std::move(on_wait)); !status.ok()) return status;
  return client;
}

absl::Status PsClient::Register(const TableSpec& table, std::function<void(const std::string&)> on_wait) {
  for (int i = 0; i < job_.servers().addresses_size(); ++i) {
    servers_.push_back(std::make_unique<Server>(i, job_.servers().addresses(i), job_));
  }
  // All of them first: no lease begins to run while another server is still looked for.
  if (absl::Status status = AwaitServers(on_wait); !status.ok()) return status;

  RegisterRequest request;
  request.set_job(job_.SerializeAsString());
  request.set_partition(identity_.partition);
  *request.mutable_attempt() = identity_.attempt;
  request.set_table(table.SerializeAsString());
  request.set_role(identity_.role);
  char host[256] = "";
  if (gethostname(host, sizeof(host) - 1) == 0) request.set_host(host);
  request.set_pid(getpid());
  bool known_progress = false;
  for (const auto& server : servers_) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + milliseconds(job_.worker().call_timeout_ms()));
    RegisterReply reply;
    absl::Status status = FromGrpcStatus(server->control->Register(&context, request, &reply));
    if (status.ok()) status = TakeMap(*server, reply);
    if (!status.ok()) return absl::Status(status.code(), absl::StrCat(server->Name(), ": ", status.message()));
    server->fence = reply.fence();
    // A server that owns no parts has nothing to say of it. Where they differ in clocks alone, some have closed one
    // without an earlier attempt that was lost.
    const auto order = [](const Progress& p) { return std::pair(p.sequence(), p.clock()); };
    if (reply.has_progress() && (!known_progress || order(reply.progress()) < order(progress_))) {
      progress_ = reply.progress();
      known_progress = true;
    }
    unset_parts_.insert(unset_parts_.end(), reply.unset_parts().begin(), reply.unset_parts().end());
  }
  current_versions_.resize(map_.tables(0).parts_size());
  next_sequence_ = progress_.sequence() + 1;
  OpenStreams();
  return absl::OkStatus();
}

absl::Status PsClient::AwaitServers(const std::function<void(const std::string&)>& on_wait) {
  const auto begun = Clock::now();
  const auto deadline = begun + milliseconds(job_.worker().connect_timeout_ms());
  for (const auto& server : servers_) {
    bool told = false;
    while (true) {
      grpc::ClientContext context;
      const auto left = std::max<Clock::duration>(deadline - Clock::now(), kRetryPause);
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::duration_cast<milliseconds>(left));
      StatusReply reply;
      const absl::Status status = FromGrpcStatus(server->control->Status(&context, StatusRequest(), &reply));
      const bool away = absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
      if (status.ok()) break;
      if (!away || Clock::now() >= deadline) {
        return absl::UnavailableError(absl::StrFormat(
            "no answer from %s, tried for %.1f s: %s. Is a ps-server of this job running there, and can this host "
            "reach that port? See servers.addresses in the job",
            server->Name(), Seconds(Clock::now() - begun), status.message()));
      }
      if (!told && on_wait && Clock::now() - begun > kTellAfter) {
        on_wait(absl::StrCat("still looking for ", server->Name(), ": ", status.message()));
        told = true;
      }
      std::this_thread::sleep_for(kRetryPause);
    }
  }
  return absl::OkStatus();
}

absl::Status PsClient::TakeMap(const Server& server, const RegisterReply& reply) {
  if (reply.server() != server.index) {
    return absl::FailedPreconditionError(
        absl::StrCat("it says that it is server ", reply.server(), ": are the addresses in the job's order?"));
  }
  if (server.index > 0) {
    if (google::protobuf::util::MessageDifferencer::Equals(map_, reply.map())) return CheckParts(reply);
    return absl::FailedPreconditionError(absl::StrCat("it has another shard map than ", servers_[0]->Name(),
                                                      ": were all servers started from the same job file?"));
  }
  const absl::Status valid = ValidateShardMap(reply.map(), job_.servers().addresses_size());
  if (!valid.ok()) return absl::FailedPreconditionError(valid.message());
  if (reply.map().tables_size() != 1 || reply.map().tables(0).elements() != elements_) {
    return absl::FailedPreconditionError(absl::StrCat("its shard map is not of ", elements_, " parameters"));
  }
  map_ = reply.map();
  return CheckParts(reply);
}

absl::Status PsClient::CheckParts(const RegisterReply& reply) const {
  for (const uint32_t part : reply.unset_parts()) {
    if (part >= static_cast<uint32_t>(map_.tables(0).parts_size())) {
      return absl::FailedPreconditionError(absl::StrCat("it names part ", part, ", and there is none"));
    }
  }
  return absl::OkStatus();
}

void PsClient::OpenStreams() {
  for (const auto& server : servers_) {
    FrameHeader hello = HeaderFor(FrameKind::kHello, 0);
    hello.fence = server->fence;
    const uint32_t index = server->index;
    server->stream = std::make_unique<ServerStream>(
        server->channel, hello,
        ServerStream::Callbacks{
            .on_message = [this, index](Message message) { OnMessage(index, std::move(message)); },
            .on_end =
                [this, index](absl::Status status) {
                  Fail(absl::UnavailableError(
                      absl::StrCat("lost ", servers_[index]->Name(), ": ", status.message(),
                                   ". Its log says why; the worker can be started again")));
                },
        });
  }
}

FrameHeader PsClient::HeaderFor(FrameKind kind, uint32_t part) const {
  FrameHeader header;
  header.kind = kind;
  header.job = JobId(job_.name());
  header.map_version = map_.version();
  header.part = part;
  header.worker = identity_.partition;
  if (kind != FrameKind::kHello) header.fence = servers_[map_.tables(0).parts(part).server()]->fence;
  return header;
}

absl::Status PsClient::SetInitial(std::span<const float> values) {
  auto copy = std::make_shared<kernels::AlignedBuffer>(elements_);
  std::copy(values.begin(), values.end(), copy->data());
  {
    std::lock_guard lock(mutex_);
    sets_in_flight_ += unset_parts_.size();
  }
  for (const uint32_t index : unset_parts_) {
    const ShardMap::Part& part = map_.tables(0).parts(index);
    Message message{HeaderFor(FrameKind::kSet, index), {}};
    message.header.elements = part.end() - part.begin();
    message.header.payload_bytes = message.header.elements * sizeof(float);
    message.payload = Payload(copy, std::span<const float>(copy->data() + part.begin(), message.header.elements));
    servers_[part.server()]->stream->Send(std::move(message));
  }
  unset_parts_.clear();
  std::unique_lock lock(mutex_);
  return WaitFor(lock, "the initial parameters to be taken", [this] { return sets_in_flight_ == 0; });
}

void PsClient::StartFetch(uint64_t clock) {
  const auto& parts = map_.tables(0).parts();
  {
    std::lock_guard lock(mutex_);
    if (!fetch_) fetch_ = std::make_unique<Fetch>(elements_, parts.size());
    fetch_->number = next_fetch_++;
    fetch_->clock = clock;
    fetch_->missing = parts.size();
    std::fill(fetch_->seen.begin(), fetch_->seen.end(), false);
  }
  fetch_started_ = true;
  for (int i = 0; i < parts.size(); ++i) {
    Message message{HeaderFor(FrameKind::kPull, i), {}};
    message.header.clock = clock;
    message.header.sequence = next_fetch_ - 1;
    servers_[parts[i].server()]->stream->Send(std::move(message));
  }
}

bool PsClient::FetchArrived() {
  std::lock_guard lock(mutex_);
  return fetch_started_ && fetch_->missing == 0;
}

absl::Status PsClient::Install() {
  std::unique_lock lock(mutex_);
  absl::Status status = WaitFor(lock, "a fetch", [this] { return fetch_->missing == 0; });
  if (!status.ok()) return status;
  std::swap(current_, fetch_->values);
  std::swap(current_versions_, fetch_->versions);
  fetch_started_ = false;
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<GradientBuffer>> PsClient::AcquireBuffer() {
  constexpr size_t kSpare = 2;
  std::unique_lock lock(mutex_);
  while (true) {
    if (!failure_.ok()) return failure_;
    for (const auto& buffer : buffers_) {
      // Only the pool's: acknowledged, and let go by the transport.
      if (buffer.use_count() == 1) {
        std::atomic_thread_fence(std::memory_order_acquire);  // what the last holder read, it has read
        return buffer;
      }
    }
    if (buffers_.size() < pushes_.size() + kSpare) {
      buffers_.push_back(std::make_shared<GradientBuffer>(elements_));
      return buffers_.back();
    }
    changed_.wait_for(lock, std::chrono::microseconds(200));
  }
}

void PsClient::Push(std::shared_ptr<GradientBuffer> buffer) {
  const auto& parts = map_.tables(0).parts();
  const uint64_t sequence = next_sequence_++;
  {
    std::lock_guard lock(mutex_);
    PushInFlight push;
    push.sequence = sequence;
    push.buffer = buffer;
    push.acknowledged.resize(parts.size());
    push.missing = parts.size();
    pushes_.push_back(std::move(push));
  }
  for (int i = 0; i < parts.size(); ++i) SendPart(buffer, sequence, i);
}

void PsClient::SendPart(const std::shared_ptr<GradientBuffer>& buffer, uint64_t sequence, uint32_t index) {
  const ShardMap::Part& part = map_.tables(0).parts(static_cast<int>(index));
  Message message{HeaderFor(FrameKind::kPush, index), {}};
  FrameHeader& header = message.header;
  header.clock = buffer->clock;
  header.sequence = sequence;
  header.position = buffer->position;
  header.version = buffer->versions[index];
  header.samples = buffer->samples;
  header.elements = part.end() - part.begin();
  header.payload_bytes = header.elements * sizeof(float);
  message.payload =
      Payload(buffer, std::span<const float>(buffer->gradient.data() + part.begin(), header.elements));
  servers_[part.server()]->stream->Send(std::move(message));
}

std::vector<PsClient::PushInFlight>::iterator PsClient::FindPush(uint64_t sequence) {
  return std::find_if(pushes_.begin(), pushes_.end(),
                      [sequence](const PushInFlight& push) { return push.sequence == sequence; });
}

absl::Status PsClient::WaitForPushes(uint32_t in_flight) {
  std::unique_lock lock(mutex_);
  return WaitFor(lock, "pushes to be acknowledged", [this, in_flight] { return pushes_.size() <= in_flight; });
}

uint64_t PsClient::TakeRefusedPushes() {
  std::lock_guard lock(mutex_);
  return std::exchange(refused_pushes_, 0);
}

double PsClient::TakeMeanStaleness() {
  std::lock_guard lock(mutex_);
  const double mean = staleness_count_ == 0 ? 0 : static_cast<double>(staleness_sum_) / staleness_count_;
  staleness_sum_ = 0;
  staleness_count_ = 0;
  return mean;
}

template <typename Predicate>
absl::Status PsClient::WaitFor(std::unique_lock<std::mutex>& lock, const std::string& what, Predicate done) {
  const milliseconds timeout(job_.worker().call_timeout_ms());
  while (true) {
    if (!failure_.ok()) return failure_;
    if (done()) return absl::OkStatus();
    const uint64_t before = frames_received_;
    const bool moved = changed_.wait_for(
        lock, timeout, [&] { return !failure_.ok() || done() || frames_received_ != before; });
    if (!moved && !waits_for_workers_) {
      failure_ = absl::DeadlineExceededError(absl::StrFormat(
          "waited %.1f s for %s, and no server sent anything; see their logs, or raise worker.call_timeout_ms",
          job_.worker().call_timeout_ms() / 1000.0, what));
      return failure_;
    }
  }
}

void PsClient::OnMessage(uint32_t server, Message message) {
  switch (message.header.kind) {
    case FrameKind::kWelcome: return;
    case FrameKind::kValues: return OnValues(server, message);
    case FrameKind::kAck: return OnAck(server, message.header);
    case FrameKind::kRefused: return OnRefused(server, message);
    default:
      Fail(absl::InternalError(absl::StrCat(servers_[server]->Name(), " sent a ",
                                            FrameKindName(message.header.kind), " frame")));
  }
}

void PsClient::OnValues(uint32_t server, const Message& message) {
  const FrameHeader& header = message.header;
  float* to = nullptr;
  {
    std::lock_guard lock(mutex_);
    ++frames_received_;
    const auto& parts = map_.tables(0).parts();
    const bool fits = fetch_ != nullptr && header.part < static_cast<uint32_t>(parts.size()) &&
                      parts[header.part].server() == server && header.sequence == fetch_->number &&
                      !fetch_->seen[header.part] &&
                      header.elements == parts[header.part].end() - parts[header.part].begin();
    if (!fits) {
      failure_ = absl::InternalError(absl::StrCat(servers_[server]->Name(), " sent values of part ", header.part,
                                                  " that nobody asked for"));
      changed_.notify_all();
      return;
    }
    fetch_->seen[header.part] = true;
    to = fetch_->values->data() + parts[header.part].begin();
  }
  PayloadReader(message.payload).Read(std::as_writable_bytes(std::span(to, header.elements)));
  std::lock_guard lock(mutex_);
  fetch_->versions[header.part] = header.version;
  if (--fetch_->missing == 0) changed_.notify_all();
}

void PsClient::OnAck(uint32_t server, const FrameHeader& header) {
  const auto& parts = map_.tables(0).parts();
  if (header.part >= static_cast<uint32_t>(parts.size()) || parts[header.part].server() != server) {
    return Fail(absl::InternalError(
        absl::StrCat(servers_[server]->Name(), " acknowledged part ", header.part, ", which it does not own")));
  }
  servers_[server]->stream->Acknowledged((parts[header.part].end() - parts[header.part].begin()) * sizeof(float));
  std::lock_guard lock(mutex_);
  ++frames_received_;
  switch (header.reason) {
    case Refusal::kNone:
    case Refusal::kDuplicate: break;
    case Refusal::kNotFinite:
    case Refusal::kClockClosed: ++refused_pushes_; break;
    case Refusal::kFenced:
      if (failure_.ok()) {
        failure_ = absl::AbortedError(
            absl::StrCat(servers_[server]->Name(), " refuses this attempt at partition ", identity_.partition,
                         ": a newer one holds it"));
      }
      break;
    case Refusal::kLeaseEnded:
      if (failure_.ok()) {
        failure_ = absl::UnavailableError(absl::StrCat(servers_[server]->Name(), " took this worker for lost: its ",
                                                       "lease on partition ", identity_.partition, " has ended"));
      }
      break;
    case Refusal::kOverload:
      // Its queue is full: the same again, which the sequence number makes safe.
      if (const auto push = FindPush(header.sequence); push != pushes_.end()) {
        return SendPart(push->buffer, header.sequence, header.part);
      }
      break;
    case Refusal::kShuttingDown:
      if (failure_.ok()) {
        failure_ = absl::UnavailableError(absl::StrCat(servers_[server]->Name(), " is shutting down"));
      }
      break;
    default:
      if (failure_.ok()) {
        failure_ = absl::InternalError(absl::StrCat(servers_[server]->Name(), " refused a frame of part ",
                                                    header.part, ": ", RefusalName(header.reason)));
      }
  }
  if (header.sequence == 0) {
    if (sets_in_flight_ > 0) --sets_in_flight_;
  } else {
    const auto push = FindPush(header.sequence);
    if (push != pushes_.end() && !push->acknowledged[header.part]) {
      push->acknowledged[header.part] = true;
      if (header.reason == Refusal::kNone) {
        const uint64_t based_on = push->buffer->versions[header.part];
        staleness_sum_ += header.version - std::min(based_on, header.version);
        ++staleness_count_;
      }
      if (--push->missing == 0) pushes_.erase(push);
    }
  }
  changed_.notify_all();
}

void PsClient::OnRefused(uint32_t server, const Message& message) {
  std::string sentence(std::min<size_t>(message.payload.size(), 1000), '\0');
  PayloadReader(message.payload).Read(std::as_writable_bytes(std::span(sentence)));
  const std::string text = absl::StrCat(servers_[server]->Name(), " refused (", RefusalName(message.header.reason),
                                        "): ", sentence);
  switch (message.header.reason) {
    case Refusal::kFenced: return Fail(absl::AbortedError(text));
    case Refusal::kShuttingDown:
    case Refusal::kLeaseEnded:
    case Refusal::kNoMembers: return Fail(absl::UnavailableError(text));
    default: return Fail(absl::InternalError(text));
  }
}

void PsClient::Fail(absl::Status status) {
  std::lock_guard lock(mutex_);
  if (failure_.ok()) failure_ = std::move(status);
  changed_.notify_all();
}

void PsClient::Cancel(absl::Status status) { Fail(std::move(status)); }

absl::Status PsClient::status() {
  std::lock_guard lock(mutex_);
  return failure_;
}

void PsClient::Heartbeat(const WorkerReport& report) {
  for (const auto& server : servers_) {
    auto call = std::make_shared<HeartbeatCall>();
    {
      std::lock_guard lock(mutex_);
      if (!failure_.ok() || server->heartbeat != nullptr) continue;
      server->heartbeat = call;
    }
    call->context.set_deadline(std::chrono::system_clock::now() + milliseconds(job_.worker().call_timeout_ms()));
    call->request.set_job(job_.name());
    call->request.set_partition(identity_.partition);
    call->request.set_fence(server->fence);
    *call->request.mutable_report() = report;
    server->control->async()->Heartbeat(
        &call->context, &call->request, &call->reply, [this, server = server.get()](grpc::Status status) {
          std::lock_guard lock(mutex_);
          server->heartbeat.reset();
          if (!status.ok() && failure_.ok()) {
            const absl::Status lost = FromGrpcStatus(status);
            failure_ = absl::Status(lost.code(), absl::StrCat("lost ", server->Name(), ": ", lost.message()));
          }
          changed_.notify_all();
        });
  }
}

absl::Status PsClient::Leave(Outcome outcome, const std::string& reason, const WorkerReport& report) {
  absl::Status first;
  for (const auto& server : servers_) {
    if (server->fence == 0) continue;
    LeaveRequest request;
    request.set_job(job_.name());
    request.set_partition(identity_.partition);
    request.set_fence(server->fence);
    *request.mutable_report() = report;
    request.set_outcome(outcome);
    request.set_reason(reason);
    LeaveReply reply;
    grpc::ClientContext context;
    // Only the end of a job well done is worth waiting for; for the rest there is the lease.
    const milliseconds patience(job_.worker().call_timeout_ms());
    context.set_deadline(std::chrono::system_clock::now() + (outcome == DONE ? patience : std::min(patience, kFarewell)));
    const absl::Status status = FromGrpcStatus(server->control->Leave(&context, request, &reply));
    if (!status.ok() && first.ok()) {
      first = absl::Status(status.code(), absl::StrCat(server->Name(), ": ", status.message()));
    }
  }
  return first;
}

}  // namespace downpour::worker
