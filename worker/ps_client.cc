#include "worker/ps_client.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <utility>

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/vector_ops.h"
#include "proto/codec/block_reader.h"
#include "proto/codec/wire_codecs.h"
#include "proto/grpc_status.h"
#include "proto/service.grpc.pb.h"
#include "proto/shard_map.h"
#include "proto/sync/mode.h"
#include "worker/server_stream.h"

namespace downpour::worker {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kFarewell{1000};
constexpr uint32_t kMostPushesInFlight = 64;  // that sync.max_pushes_in_flight may say

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

// Adds how long it lives.
class Waiting {
 public:
  explicit Waiting(double* seconds) : seconds_(seconds) {}
  ~Waiting() { *seconds_ += Seconds(Clock::now() - begun_); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  double* const seconds_;
  const Clock::time_point begun_ = Clock::now();
};

// Why a frame was refused, as the server says it.
std::string SentenceOf(const Message& message) {
  std::string sentence(std::min<size_t>(message.payload.size(), 1000), '\0');
  PayloadReader(message.payload).Read(std::as_writable_bytes(std::span(sentence)));
  return sentence;
}

// Writes values that came as a whole.
absl::Status ReadValues(const Message& message, std::span<float> to) {
  auto reader = BlockReader::Open(message.header.codec, message.payload, message.header.elements);
  if (!reader.ok()) return reader.status();
  for (size_t at = 0; at < to.size();) {
    const std::span<float> left = to.subspan(at);
    const std::span<const float> block = (*reader)->Next(left.size(), left);
    if (block.empty()) return absl::InternalError("too few values");
    // Shared memory: the server may have written them where they are wanted.
    if (block.data() != left.data()) std::copy(block.begin(), block.end(), left.begin());
    at += block.size();
  }
  return absl::OkStatus();
}

// Memory that servers and workers on this host may map too; null where there are none, or it is not to be had.
std::shared_ptr<SharedRegion> RegionToOffer(const Job& job, const Identity& identity, uint64_t elements,
                                            const Registration& registration) {
  const bool here = job.wire().combine() == "host" ||
                    std::any_of(registration.servers.begin(), registration.servers.end(),
                                [](const RegisteredServer& server) { return server.on_this_host; });
  if (!here || identity.role != WORKER || job.worker().shared_memory() == "off") return nullptr;
  auto region = SharedRegion::Create(MostRegionBytes(job.sync().max_pushes_in_flight(), elements));
  if (region.ok()) return *std::move(region);
  spdlog::info("no shared memory with servers on this host: {}", std::string(region.status().message()));
  return nullptr;
}

}  // namespace

struct PsClient::HeartbeatCall {
  grpc::ClientContext context;
  HeartbeatRequest request;
  HeartbeatReply reply;
};

class PsClient::Server {
 public:
  explicit Server(const RegisteredServer& registered)
      : registered(registered), control(ControlService::NewStub(registered.channel)) {}

  std::string Name() const { return registered.Name(); }

  const RegisteredServer registered;
  const std::unique_ptr<ControlService::Stub> control;
  std::unique_ptr<ServerStream> stream;
  // Protected by the client's mutex.
  std::shared_ptr<HeartbeatCall> heartbeat;  // the one under way
  std::vector<SettingsChange> changes;       // that it has told of
};

// A fetch: parts arrive on gRPC's threads, each into its own range.
struct PsClient::Fetch {
  Fetch(std::unique_ptr<ExchangedVector> values, size_t parts)
      : snapshot{std::move(values), std::vector<uint64_t>(parts), std::vector<uint64_t>(parts)}, seen(parts) {}

  Snapshot snapshot;
  // In the order in which they came, where they are added to what is there: its values are null then.
  std::vector<Message> answers;
  std::vector<bool> seen;
  Clock::time_point begun;
  uint64_t number = 0;
  size_t missing = 0;
};

struct PsClient::PushInFlight {
  uint64_t sequence = 0;
  Clock::time_point begun;
  std::shared_ptr<GradientBuffer> buffer;
  std::vector<bool> acknowledged;
  size_t missing = 0;
};

// The servers, as the group of this host's workers pushes to them through this one.
class PsClient::HostWire final : public Combiner::Wire {
 public:
  explicit HostWire(PsClient* client) : client_(*client) {}

  FrameHeader HeaderFor(uint32_t part) override { return client_.HeaderFor(FrameKind::kPush, part); }

  std::optional<Combiner::Waiting> WaitsUnder(uint32_t settings) override {
    std::lock_guard lock(client_.mutex_);
    const Settings* const version = client_.settings_.Version(settings);
    if (version == nullptr) return std::nullopt;
    if (!InRounds(*version)) return Combiner::Waiting::kForNobody;
    return version->sync.backup_workers() > 0 ? Combiner::Waiting::kForMost : Combiner::Waiting::kForAll;
  }

  bool encodes() const override { return client_.job_.wire().push().codec() != "raw"; }

  CodecId Encode(uint32_t part, std::span<const float> values, ByteBuffer* payload) override {
    std::lock_guard lock(client_.encoder_mutex_);
    const PushEncoder::Plan plan = client_.encoder_->Begin(PushContent::kGradient, 0);
    client_.encoder_->Encode(part, values, payload);
    return plan.codec->id;
  }

  void TakeBack(uint32_t part, std::span<const float> values, const Message& sent) override {
    std::lock_guard lock(client_.encoder_mutex_);
    client_.encoder_->TakeBack(part, values, sent);
  }

  void Send(Message push) override {
    const uint32_t server = client_.map_.tables(0).parts(static_cast<int>(push.header.part)).server();
    client_.servers_[server]->stream->Send(std::move(push));
  }

 private:
  PsClient& client_;
};

PsClient::PsClient(const Job& job, SettingsHistory settings, const Identity& identity, uint64_t elements,
                   const Registration& registration, const Transport& transport, std::unique_ptr<PushEncoder> encoder)
    : job_(job),
      identity_(identity),
      elements_(elements),
      map_(registration.map),
      progress_(registration.progress),
      pull_codec_(transport.pull_codec),
      differences_(!FindCodec(pull_codec_)->for_parameters),
      region_(transport.region),
      unset_parts_(registration.unset_parts),
      encoder_(std::move(encoder)),
      current_{std::make_unique<ExchangedVector>(elements, region_),
               std::vector<uint64_t>(map_.tables(0).parts_size()), std::vector<uint64_t>(map_.tables(0).parts_size())},
      owed_clocks_(map_.tables(0).parts_size()),
      next_sequence_(progress_.sequence() + 1),
      settings_(std::move(settings)) {
  for (const RegisteredServer& server : registration.servers) servers_.push_back(std::make_unique<Server>(server));
  for (size_t i = 0; i < servers_.size(); ++i) LearnChanges(servers_[i].get(), registration.changes[i]);
}

PsClient::~PsClient() {
  if (group_ != nullptr) group_->Close();
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
                                                            const TableSpec& table, const RegistrationWatch& watch) {
  const absl::StatusOr<Registration> registration = Register(job, identity, table, watch);
  if (!registration.ok()) return registration.status();
  if (registration->completed) {
    return absl::AlreadyExistsError(absl::StrCat("another attempt has completed partition ", identity.partition));
  }
  return Open(job, identity, table, *registration);
}

absl::StatusOr<std::unique_ptr<PsClient>> PsClient::Open(const Job& job, const Identity& identity,
                                                         const TableSpec& table, const Registration& registration) {
  auto settings = SettingsHistory::Create(job);
  if (!settings.ok()) return settings.status();
  auto encoder = PushEncoder::Create(job, identity.partition, table, registration.map);
  if (!encoder.ok()) return encoder.status();
  const auto codecs = WireCodecsOf(job);
  if (!codecs.ok()) return codecs.status();
  // Who reads along gets the parameters as they are.
  const Transport transport = {identity.role == OBSERVER ? CodecId::kRaw : codecs->pull->id,
                               RegionToOffer(job, identity, table.elements(), registration)};
  std::unique_ptr<PsClient> client(new PsClient(job, *std::move(settings), identity, table.elements(), registration,
                                                transport, *std::move(encoder)));
  if (job.wire().combine() == "host" && identity.role == WORKER) client->group_ = client->MakeGroup();
  client->OpenStreams();
  return client;
}

void PsClient::OpenStreams() {
  for (const auto& server : servers_) {
    FrameHeader hello = HeaderFor(FrameKind::kHello, 0);
    hello.fence = server->registered.fence;
    const uint32_t index = server->registered.index;
    server->stream = std::make_unique<ServerStream>(
        server->registered.channel, hello, server->registered.on_this_host ? region_ : nullptr,
        ServerStream::Callbacks{
            .on_message = [this, index](Message message) { OnMessage(index, std::move(message)); },
            .on_end =
                [this, index](absl::Status status) {
                  const bool peers = (*FindSyncMode(job_.sync().mode()))->peers;
                  Fail(absl::UnavailableError(absl::StrCat(
                      "lost ", servers_[index]->Name(), ": ", status.message(),
                      peers ? ". It is another worker, and its share of the parameters is gone with it: its log says why"
                            : ". Its log says why; the worker can be started again")));
                },
        });
  }
}

std::unique_ptr<HostGroup> PsClient::MakeGroup() {
  HostGroup::Options options{.path = HostGroupPath(job_), .hello = HeaderFor(FrameKind::kHello, 0), .region = region_};
  options.on_ack = [this](const Message& ack) { OnOwnAck(ack); };
  HostService::Terms& terms = options.terms;
  terms = {.job = options.hello.job, .map_version = map_.version(), .workers = job_.workers()};
  for (const ShardMap::Part& part : map_.tables(0).parts()) {
    terms.elements.push_back(static_cast<uint32_t>(part.end() - part.begin()));
  }
  // In shared memory, most of it: there the number of pushes is the bound, which settings may raise.
  terms.most_pushes = kMostPushesInFlight + 2;
  terms.credit_bytes = terms.most_pushes * elements_ * sizeof(float);
  terms.most_region_bytes = MostRegionBytes(job_.sync().max_pushes_in_flight(), elements_);
  host_wire_ = std::make_unique<HostWire>(this);
  return std::make_unique<HostGroup>(job_, std::move(options), host_wire_.get());
}

FrameHeader PsClient::HeaderFor(FrameKind kind, uint32_t part) const {
  FrameHeader header;
  header.kind = kind;
  header.job = JobId(job_.name());
  header.map_version = map_.version();
  header.part = part;
  header.worker = identity_.partition;
  if (kind != FrameKind::kHello) header.fence = servers_[map_.tables(0).parts(part).server()]->registered.fence;
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

void PsClient::StartFetch(const FetchOptions& options) {
  BeginFetch();
  for (int i = 0; i < map_.tables(0).parts_size(); ++i) Pull(i, options);
}

void PsClient::BeginFetch() {
  const auto& parts = map_.tables(0).parts();
  std::lock_guard lock(mutex_);
  if (!fetch_) {
    fetch_ = std::make_unique<Fetch>(differences_ ? nullptr : std::make_unique<ExchangedVector>(elements_, region_),
                                     parts.size());
  }
  fetch_->begun = Clock::now();
  fetch_->number = next_fetch_++;
  fetch_->missing = parts.size();
  fetch_->answers.clear();
  std::fill(fetch_->seen.begin(), fetch_->seen.end(), false);
  fetch_started_ = true;
}

void PsClient::Pull(int i, const FetchOptions& options) {
  const ShardMap::Part& part = map_.tables(0).parts(i);
  Message message{HeaderFor(FrameKind::kPull, i), {}};
  message.header.clock = options.after_own_push ? std::max(options.clock, owed_clocks_[i]) : options.clock;
  message.header.settings = options.settings;
  message.header.sequence = next_fetch_ - 1;
  message.header.codec = pull_codec_;
  message.header.position = base_fetch_;
  if (region_ != nullptr && pull_codec_ == CodecId::kRaw) {
    const std::span<const float> to(fetch_->snapshot.values->data() + part.begin(), part.end() - part.begin());
    message.payload = Payload(region_, to);
  }
  if (group_ != nullptr && options.after_own_push && PutOff(message)) return;
  servers_[part.server()]->stream->Send(std::move(message));
}

bool PsClient::IsPushing(uint32_t part) const {
  return std::ranges::any_of(pushes_, [part](const PushInFlight& push) { return !push.acknowledged[part]; });
}

bool PsClient::PutOff(const Message& pull) {
  std::lock_guard lock(mutex_);
  if (!IsPushing(pull.header.part)) return false;
  put_off_.push_back(pull);
  return true;
}

void PsClient::SendPutOff(uint32_t part) {
  if (IsPushing(part)) return;
  std::erase_if(put_off_, [&](const Message& pull) {
    if (pull.header.part != part) return false;
    servers_[map_.tables(0).parts(static_cast<int>(part)).server()]->stream->Send(pull);
    return true;
  });
}

bool PsClient::FetchArrived() {
  std::lock_guard lock(mutex_);
  return fetch_started_ && fetch_->missing == 0;
}

absl::Status PsClient::Install() {
  std::unique_lock lock(mutex_);
  // What has come is added while the rest is on its way.
  for (size_t added = 0; differences_ && added < fetch_->seen.size();) {
    absl::Status status = WaitFor(lock, "a fetch", [&] { return fetch_->answers.size() > added; });
    if (!status.ok()) return status;
    const Message answer = std::exchange(fetch_->answers[added++], {});
    lock.unlock();
    status = AddAnswer(answer);
    lock.lock();
    if (!status.ok()) {
      FailLocked(status);
      return status;
    }
  }
  absl::Status status = WaitFor(lock, "a fetch", [this] { return fetch_->missing == 0; });
  if (!status.ok()) return status;
  if (differences_) {
    fetch_->answers.clear();
    base_fetch_ = fetch_->number;
    std::swap(current_.versions, fetch_->snapshot.versions);
    std::swap(current_.clocks, fetch_->snapshot.clocks);
  } else {
    std::swap(current_, fetch_->snapshot);
  }
  seen_clock_ = *std::min_element(current_.clocks.begin(), current_.clocks.end());
  fetch_started_ = false;
  return absl::OkStatus();
}

absl::Status PsClient::AddAnswer(const Message& answer) {
  const FrameHeader& header = answer.header;
  const auto& part = map_.tables(0).parts(static_cast<int>(header.part));
  float* const current = current_.values->data() + part.begin();
  const std::span to(base_ == nullptr ? current : base_->data() + part.begin(), header.elements);
  const absl::Status status = header.content == PushContent::kDifference ? AddPayload(header.codec, answer.payload, to)
                                                                         : ReadValues(answer, to);
  if (!status.ok()) {
    return absl::InternalError(absl::StrCat(servers_[part.server()]->Name(), " sent ", status.message()));
  }
  if (base_ != nullptr) std::copy(to.begin(), to.end(), current);
  return absl::OkStatus();
}

std::span<float> PsClient::ChangeParameters() {
  const std::span current(current_.values->data(), elements_);
  if (differences_ && base_ == nullptr) {
    base_ = std::make_unique<kernels::AlignedBuffer>(elements_);
    std::copy(current.begin(), current.end(), base_->data());
  }
  return current;
}

absl::StatusOr<std::shared_ptr<GradientBuffer>> PsClient::AcquireBuffer() {
  constexpr size_t kSpare = 2;
  std::unique_lock lock(mutex_);
  const Waiting waiting(&window_.waited_seconds);
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
      buffers_.push_back(std::make_shared<GradientBuffer>(ExchangedVector(elements_, region_)));
      return buffers_.back();
    }
    changed_.wait_for(lock, std::chrono::microseconds(200));
  }
}

void PsClient::Push(std::shared_ptr<GradientBuffer> buffer, const std::optional<FetchOptions>& then_fetch) {
  const auto& parts = map_.tables(0).parts();
  const uint64_t sequence = next_sequence_++;
  const HostGroup::Role role = group_ == nullptr ? HostGroup::Role::kAlone : group_->Meet();
  const bool together = role != HostGroup::Role::kAlone;
  std::unique_lock encoding(encoder_mutex_);
  // Zeros that stand for a gradient that was not finite take along nothing of what waits: with no sample behind them it
  // would not count. What is handed to a group is encoded there.
  const PushEncoder::Plan plan = buffer->samples == 0 || together
                                     ? PushEncoder::Plan()
                                     : encoder_->Begin(buffer->content, Seconds(Clock::now().time_since_epoch()));
  if (role == HostGroup::Role::kFollows && buffer->content == PushContent::kGradient && buffer->samples > 0) {
    // What waits since pushes of its own goes along, for there may be none any more.
    for (int i = 0; i < parts.size(); ++i) {
      encoder_->GiveCarried(i, {buffer->gradient.data() + parts[i].begin(), parts[i].end() - parts[i].begin()});
    }
  }
  if (!plan.encoded) encoding.unlock();
  buffer->codec = plan.codec->id;
  buffer->encoded = plan.encoded;
  buffer->coded.resize(parts.size());
  {
    std::lock_guard lock(mutex_);
    PushInFlight push;
    push.sequence = sequence;
    push.begun = Clock::now();
    push.buffer = buffer;
    push.acknowledged.resize(parts.size());
    push.missing = parts.size();
    pushes_.push_back(std::move(push));
  }
  if (then_fetch) BeginFetch();
  for (int i = 0; i < parts.size(); ++i) {
    owed_clocks_[i] = buffer->clocks[i] + 1;
    if (plan.encoded) {
      const std::span<const float> values(buffer->gradient.data() + parts[i].begin(), parts[i].end() - parts[i].begin());
      encoder_->Encode(i, values, &buffer->coded[i]);
    }
    if (!together || !group_->Send(PushOf(buffer, sequence, i))) SendPart(buffer, sequence, i);
    if (then_fetch) Pull(i, *then_fetch);
  }
}

void PsClient::SetWireLevel(const WireLevel& level) {
  std::lock_guard lock(encoder_mutex_);
  encoder_->SetLevel(level);
}

void PsClient::SendPart(const std::shared_ptr<GradientBuffer>& buffer, uint64_t sequence, uint32_t index) {
  servers_[map_.tables(0).parts(static_cast<int>(index)).server()]->stream->Send(PushOf(buffer, sequence, index));
}

Message PsClient::PushOf(const std::shared_ptr<GradientBuffer>& buffer, uint64_t sequence, uint32_t index) const {
  const ShardMap::Part& part = map_.tables(0).parts(static_cast<int>(index));
  Message message{HeaderFor(FrameKind::kPush, index), {}};
  FrameHeader& header = message.header;
  header.clock = buffer->clocks[index];
  header.content = buffer->content;
  header.settings = buffer->settings;
  header.sequence = sequence;
  header.position = buffer->position;
  header.version = buffer->versions[index];
  header.samples = buffer->samples;
  header.elements = part.end() - part.begin();
  header.codec = buffer->codec;
  message.payload = PayloadOf(buffer, index);
  header.payload_bytes = message.payload.size();
  return message;
}

Payload PsClient::PayloadOf(const std::shared_ptr<GradientBuffer>& buffer, uint32_t index) const {
  if (buffer->encoded) {
    return Payload(buffer, std::vector<Payload::Bytes>{buffer->coded[index].bytes()});
  }
  const ShardMap::Part& part = map_.tables(0).parts(static_cast<int>(index));
  return Payload(buffer, std::span<const float>(buffer->gradient.data() + part.begin(), part.end() - part.begin()));
}

std::vector<PsClient::PushInFlight>::iterator PsClient::FindPush(uint64_t sequence) {
  return std::find_if(pushes_.begin(), pushes_.end(),
                      [sequence](const PushInFlight& push) { return push.sequence == sequence; });
}

absl::Status PsClient::WaitForPushes(uint32_t in_flight) {
  std::unique_lock lock(mutex_);
  return WaitFor(lock, "pushes to be acknowledged", [this, in_flight] { return pushes_.size() <= in_flight; });
}

uint64_t PsClient::TakeRefusedParts() {
  std::lock_guard lock(mutex_);
  return std::exchange(refused_parts_, 0);
}

double PsClient::TakeMeanStaleness() {
  std::lock_guard lock(mutex_);
  const double mean = staleness_count_ == 0 ? 0 : static_cast<double>(staleness_sum_) / staleness_count_;
  staleness_sum_ = 0;
  staleness_count_ = 0;
  return mean;
}

WireWindow PsClient::TakeWireWindow() {
  std::lock_guard lock(mutex_);
  WireWindow window = std::exchange(window_, {});
  const Clock::time_point now = Clock::now();
  window.seconds = Seconds(now - std::exchange(window_begun_, now));
  if (window.pushes > 0) window.push_round_trip /= static_cast<double>(window.pushes);
  const uint64_t fetches = std::exchange(fetches_, 0);
  if (fetches > 0) window.fetch_round_trip /= static_cast<double>(fetches);
  return window;
}

bool PsClient::WaitsForWorkers() const {
  return settings_.AnyWaitsForWorkers() || job_.sync().warmup_steps() > 0;
}

template <typename Predicate>
absl::Status PsClient::WaitFor(std::unique_lock<std::mutex>& lock, const std::string& what, Predicate done) {
  const milliseconds timeout(job_.worker().call_timeout_ms());
  const Waiting waiting(&window_.waited_seconds);
  while (true) {
    if (!failure_.ok()) return failure_;
    if (done()) return absl::OkStatus();
    const uint64_t before = frames_received_;
    const bool moved = changed_.wait_for(
        lock, timeout, [&] { return !failure_.ok() || done() || frames_received_ != before; });
    if (!moved && !WaitsForWorkers()) {
      failure_ = absl::DeadlineExceededError(absl::StrFormat(
          "waited %.1f s for %s, and no server sent anything; see their logs, or raise worker.call_timeout_ms",
          job_.worker().call_timeout_ms() / 1000.0, what));
      return failure_;
    }
  }
}

void PsClient::OnMessage(uint32_t server, Message message) {
  switch (message.header.kind) {
    case FrameKind::kWelcome: return OnWelcome(server, message);
    case FrameKind::kValues: return OnValues(server, message);
    case FrameKind::kAck: return OnAck(server, message);
    case FrameKind::kRefused: return OnRefused(server, message);
    default:
      Fail(absl::InternalError(absl::StrCat(servers_[server]->Name(), " sent a ",
                                            FrameKindName(message.header.kind), " frame")));
  }
}

void PsClient::OnWelcome(uint32_t server, const Message& message) {
  if (message.header.place == PayloadPlace::kShared) {
    spdlog::info("{} has mapped {} bytes of shared memory", servers_[server]->Name(), region_->bytes().size());
  } else if (message.payload.size() != 0) {
    spdlog::info("no shared memory with {}: {}", servers_[server]->Name(), SentenceOf(message));
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
      return FailLocked(absl::InternalError(absl::StrCat(
          servers_[server]->Name(), " sent values of part ", header.part, " that nobody asked for")));
    }
    if (header.content == PushContent::kDifference && base_fetch_ == 0) {
      return FailLocked(absl::InternalError(absl::StrCat(servers_[server]->Name(), " sent a difference from nothing")));
    }
    fetch_->seen[header.part] = true;
    if (!differences_) to = fetch_->snapshot.values->data() + parts[header.part].begin();
  }
  if (to != nullptr) {
    if (absl::Status status = ReadValues(message, std::span(to, header.elements)); !status.ok()) {
      return Fail(absl::InternalError(absl::StrCat(servers_[server]->Name(), " sent ", status.message())));
    }
  }
  std::lock_guard lock(mutex_);
  if (to == nullptr) {
    fetch_->answers.push_back(message);
    changed_.notify_all();
  }
  fetch_->snapshot.versions[header.part] = header.version;
  fetch_->snapshot.clocks[header.part] = header.clock;
  window_.bytes += static_cast<double>(header.payload_bytes);
  if (--fetch_->missing > 0) return;
  window_.fetch_round_trip += Seconds(Clock::now() - fetch_->begun);
  ++fetches_;
  changed_.notify_all();
}

void PsClient::OnAck(uint32_t server, const Message& message) {
  const FrameHeader& header = message.header;
  const auto& parts = map_.tables(0).parts();
  if (header.part >= static_cast<uint32_t>(parts.size()) || parts[header.part].server() != server) {
    return Fail(absl::InternalError(
        absl::StrCat(servers_[server]->Name(), " acknowledged part ", header.part, ", which it does not own")));
  }
  if (group_ != nullptr) {
    const auto bytes = group_->OnAck(message);
    // A group's push for others that was under way when the group was left.
    if (!bytes && header.sequence == 0 && header.position != 0) return;
    if (bytes) {
      servers_[server]->stream->Acknowledged(*bytes);
      std::lock_guard lock(mutex_);
      ++frames_received_;
      window_.bytes += static_cast<double>(*bytes);
      return;
    }
  }
  {
    std::lock_guard lock(mutex_);
    if (header.sequence == 0) {
      servers_[server]->stream->Acknowledged((parts[header.part].end() - parts[header.part].begin()) * sizeof(float));
    } else if (const auto push = FindPush(header.sequence); push != pushes_.end()) {
      const uint64_t bytes = PayloadOf(push->buffer, header.part).size();
      servers_[server]->stream->Acknowledged(bytes);
      window_.bytes += static_cast<double>(bytes);
    }
  }
  OnOwnAck(message);
}

void PsClient::OnOwnAck(const Message& message) {
  const FrameHeader& header = message.header;
  const auto& parts = map_.tables(0).parts();
  if (header.part >= static_cast<uint32_t>(parts.size())) {
    return Fail(absl::InternalError(absl::StrCat("an ack of part ", header.part, ", which there is not")));
  }
  const uint32_t server = parts[static_cast<int>(header.part)].server();
  std::lock_guard lock(mutex_);
  ++frames_received_;
  switch (header.reason) {
    case Refusal::kNone:
    case Refusal::kDuplicate: break;
    case Refusal::kNotFinite:
      if (header.sequence == 0) {
        // The part stays without values, and nobody would ever get it.
        FailLocked(absl::InvalidArgumentError(
            absl::StrCat(servers_[server]->Name(), " refused the initial values: ", SentenceOf(message))));
        break;
      }
      ++refused_parts_;
      break;
    case Refusal::kClockClosed:
    case Refusal::kTooOld:
    case Refusal::kNewSettings:
      ++refused_parts_;
      break;
    case Refusal::kFenced:
      FailLocked(absl::AbortedError(
          absl::StrCat(servers_[server]->Name(), " refuses this attempt at partition ", identity_.partition,
                       ": a newer one holds it")));
      break;
    case Refusal::kLeaseEnded:
      FailLocked(absl::UnavailableError(absl::StrCat(servers_[server]->Name(), " took this worker for lost: its ",
                                                     "lease on partition ", identity_.partition, " has ended")));
      break;
    case Refusal::kOverload:
    case Refusal::kAlone:
      // Its queue is full, or the group can't push for this worker: the same again, which the sequence number makes
      // safe.
      if (const auto push = FindPush(header.sequence); push != pushes_.end()) {
        return SendPart(push->buffer, header.sequence, header.part);
      }
      break;
    case Refusal::kShuttingDown:
      FailLocked(absl::UnavailableError(absl::StrCat(servers_[server]->Name(), " is shutting down")));
      break;
    case Refusal::kNoMembers:
    case Refusal::kReadTimeout:
      FailLocked(absl::UnavailableError(absl::StrCat(servers_[server]->Name(), " refused a push (",
                                                     RefusalName(header.reason), "): ", SentenceOf(message))));
      break;
    default:
      FailLocked(absl::InternalError(absl::StrCat(servers_[server]->Name(), " refused a frame of part ",
                                                  header.part, " (", RefusalName(header.reason),
                                                  "): ", SentenceOf(message))));
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
      if (--push->missing == 0) {
        window_.push_round_trip += Seconds(Clock::now() - push->begun);
        ++window_.pushes;
        pushes_.erase(push);
      }
    }
    SendPutOff(header.part);
  }
  changed_.notify_all();
}

void PsClient::OnRefused(uint32_t server, const Message& message) {
  const std::string text = absl::StrCat(servers_[server]->Name(), " refused (", RefusalName(message.header.reason),
                                        "): ", SentenceOf(message));
  switch (message.header.reason) {
    case Refusal::kFenced: return Fail(absl::AbortedError(text));
    case Refusal::kShuttingDown:
    case Refusal::kLeaseEnded:
    case Refusal::kReadTimeout:
    case Refusal::kNoMembers: return Fail(absl::UnavailableError(text));
    default: return Fail(absl::InternalError(text));
  }
}

void PsClient::Fail(absl::Status status) {
  std::lock_guard lock(mutex_);
  FailLocked(std::move(status));
}

void PsClient::FailLocked(absl::Status status) {
  if (failure_.ok()) failure_ = std::move(status);
  changed_.notify_all();
}

void PsClient::Cancel(absl::Status status) { Fail(std::move(status)); }

absl::Status PsClient::status() {
  std::lock_guard lock(mutex_);
  return failure_;
}

void PsClient::LearnChanges(Server* server, const google::protobuf::RepeatedPtrField<SettingsChange>& changes) {
  // Those that come next; an answer to an earlier question may repeat some.
  for (const SettingsChange& change : changes) {
    if (change.version() == server->changes.size() + 1) server->changes.push_back(change);
  }
  size_t known = SIZE_MAX;
  for (const auto& each : servers_) known = std::min(known, each->changes.size());
  for (size_t i = settings_.changes().size(); i < known; ++i) {
    if (!settings_.Add(server->changes[i]).ok()) return;
  }
}

size_t PsClient::known_changes() {
  std::lock_guard lock(mutex_);
  return settings_.changes().size();
}

std::optional<Settings> PsClient::NewSettings(uint64_t clock, std::optional<uint32_t> version) {
  std::lock_guard lock(mutex_);
  const Settings& settings = settings_.At(clock);
  if (version == settings.version) return std::nullopt;
  return settings;
}

void PsClient::Heartbeat(const WorkerReport& report) {
  for (const auto& server : servers_) {
    auto call = std::make_shared<HeartbeatCall>();
    uint32_t known = 0;
    {
      std::lock_guard lock(mutex_);
      if (!failure_.ok() || server->heartbeat != nullptr) continue;
      server->heartbeat = call;
      known = server->changes.size();
    }
    call->context.set_deadline(std::chrono::system_clock::now() + milliseconds(job_.worker().call_timeout_ms()));
    call->request.set_job(job_.name());
    call->request.set_partition(identity_.partition);
    call->request.set_fence(server->registered.fence);
    call->request.set_known_settings(known);
    *call->request.mutable_report() = report;
    server->control->async()->Heartbeat(
        &call->context, &call->request, &call->reply, [this, server = server.get(), call = call.get()](grpc::Status status) {
          std::lock_guard lock(mutex_);
          const std::shared_ptr<HeartbeatCall> kept = std::exchange(server->heartbeat, nullptr);
          if (!status.ok()) {
            const absl::Status lost = FromGrpcStatus(status);
            FailLocked(absl::Status(lost.code(), absl::StrCat("lost ", server->Name(), ": ", lost.message())));
          } else {
            LearnChanges(server, call->reply.changes());
          }
          changed_.notify_all();
        });
  }
}

absl::Status PsClient::Leave(Outcome outcome, const std::string& reason, const WorkerReport& report) {
  if (group_ != nullptr) group_->Close();
  absl::Status first;
  for (const auto& server : servers_) {
    LeaveRequest request;
    request.set_job(job_.name());
    request.set_partition(identity_.partition);
    request.set_fence(server->registered.fence);
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
