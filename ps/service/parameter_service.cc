#include "ps/service/parameter_service.h"

#include <array>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/vector_ops.h"
#include "proto/codec/block_reader.h"
#include "proto/frame_grpc.h"
#include "proto/grpc_status.h"
#include "proto/send_order.h"
#include "proto/shared_frame.h"
#include "ps/service/compact.h"
#include "ps/service/intake.h"

namespace downpour::ps {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr auto kGreetingTimeout = std::chrono::seconds(10);

// Whether a gradient is known to have nothing but numbers. Raw floats that came in slices are looked at by the
// shard, right before they are applied. All else here, for a shard's thread is what there is least of.
bool IsFinite(const Message& push) {
  if (push.header.codec != CodecId::kRaw) {
    const auto bad = FirstNonFinite(push);
    return bad.ok() && !bad->has_value();
  }
  if (push.payload.chunks().size() != 1) return false;
  const Payload::Bytes bytes = push.payload.chunks().front();
  if (reinterpret_cast<uintptr_t>(bytes.data()) % alignof(float) != 0) return false;
  const std::span<const float> values(reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float));
  return !kernels::FirstNonFinite(values).has_value();
}

// A stream's life: reading (hello first), then closing (answers still go out), then finished. gRPC calls
// On...() one at a time for each kind of event; shards call Send(). All state is under one lock, and gRPC's
// own calls are made under it too: none of them calls back from within.
class Exchange final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>, public Stream {
 public:
  Exchange(Control* control, Streams* streams, EdgeStats* stats, uint64_t credit_bytes, Log log,
           std::string peer)
      : control_(control),
        streams_(streams),
        stats_(stats),
        credit_bytes_(credit_bytes),
        log_(std::move(log)),
        peer_(std::move(peer)),
        opened_(SteadyClock::now()) {}

  // Makes the stream known; gRPC's OnDone() ends its life.
  static Exchange* Open(std::shared_ptr<Exchange> self) {
    Exchange* const stream = self.get();
    ++stream->stats_->streams_opened;
    stream->id_ = stream->streams_->Add(self);
    stream->self_ = std::move(self);
    stream->StartRead(&stream->incoming_);
    return stream;
  }

  // ---- From gRPC.

  void OnReadDone(bool ok) override {
    if (!ok) {
      std::lock_guard lock(mutex_);
      reading_ = false;
      FinishIfDone();
      return;
    }
    ++stats_->frames_received;
    auto message = FromByteBuffer(incoming_);
    incoming_.Clear();
    if (message.ok() && message->header.place == PayloadPlace::kShared) {
      message = FromShared(region_, *std::move(message));
      if (message.ok() && region_ != nullptr) stats_->shared_received_bytes += message->header.payload_bytes;
    }
    if (message.ok()) {
      // Decoders read one piece.
      const bool coded = message->header.codec != CodecId::kRaw;
      message->payload = coded ? Joined(std::move(message->payload)) : Compact(std::move(message->payload));
    }
    const bool go_on =
        message.ok() ? OnMessage(*std::move(message)) : Refuse(message.status(), Refusal::kMalformed);
    if (!go_on) return;
    std::lock_guard lock(mutex_);
    if (closing_ || broken_) {
      reading_ = false;
      return;
    }
    StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok) {
      broken_ = true;
      outgoing_.clear();
    } else {
      ++stats_->frames_sent;
      outgoing_.pop_front();
    }
    WriteNext();
    FinishIfDone();
  }

  void OnCancel() override {
    std::lock_guard lock(mutex_);
    broken_ = true;
    if (!writing_) outgoing_.clear();
    FinishIfDone();
  }

  void OnDone() override {
    control_->Hangup(id_);
    ++stats_->streams_closed;
    if (region_ != nullptr) ++stats_->shared_closed;
    streams_->Remove(id_);
    self_.reset();
  }

  // ---- From the rest of the server.

  void Send(Reply reply) override {
    if (reply.route.values_at) Share(&reply);
    std::lock_guard lock(mutex_);
    Enqueue({std::move(reply.message), reply.route.bytes});
  }

  void Drain() override {
    std::lock_guard lock(mutex_);
    Close(absl::UnavailableError("the server is shutting down"), Refusal::kShuttingDown);
  }

  void CheckGreeting(SteadyClock::time_point now) override {
    std::lock_guard lock(mutex_);
    if (intake_ || now - opened_ < kGreetingTimeout) return;
    Close(absl::DeadlineExceededError("no hello came"), Refusal::kMalformed);
  }

 private:
  struct Outgoing {
    Message message;
    uint64_t releases = 0;  // bytes of credit
  };

  // Ends the stream because of what the peer sent. Always false: there is nothing more to read.
  bool Refuse(const absl::Status& status, Refusal reason) {
    ++stats_->streams_refused;
    ++stats_->refused[static_cast<size_t>(reason)];
    log_.Warn(absl::StrCat("stream from ", peer_, " ended, ", std::string(RefusalName(reason)), ": ",
                           status.message()));
    std::lock_guard lock(mutex_);
    reading_ = false;
    Close(status, reason);
    FinishIfDone();
    return false;
  }

  // Whether to read on.
  bool OnMessage(Message message) {
    const FrameHeader& header = message.header;
    if (!greeted_) return OnHello(message);
    Intake::Verdict verdict;
    {
      std::lock_guard lock(mutex_);
      verdict = intake_->Take(header);
    }
    if (!verdict.end.ok()) return Refuse(verdict.end, verdict.reason);
    // From here on the frame has an answer, and the stream goes on.
    Route route{id_, header.payload_bytes};
    if (!verdict.shard) return Answer(route, header, verdict.reason, std::move(verdict.sentence));
    if (header.kind == FrameKind::kPull && message.payload.size() != 0) {
      if (message.payload.size() != uint64_t{verdict.elements} * sizeof(float)) {
        return Answer(route, header, Refusal::kMalformed,
                      absl::StrCat("part ", header.part, " has ", verdict.elements,
                                   " elements; the place for them has ", message.payload.size(), " bytes"));
      }
      route.values_at = message.payload.chunks().front().data() - region_->bytes().data();
    }
    Shard* const shard = control_->shards()[*verdict.shard];
    const FrameHeader kept = header;
    const size_t part_bytes = verdict.elements * sizeof(float);
    bool taken = false;
    switch (kept.kind) {
      case FrameKind::kSet: taken = shard->TryPost(Set{route, std::move(message)}, part_bytes); break;
      case FrameKind::kPush: {
        const bool finite = IsFinite(message);
        taken = shard->TryPost(Push{route, std::move(message), finite}, part_bytes);
        break;
      }
      default: taken = shard->TryPost(Pull{route, kept}, part_bytes); break;
    }
    return taken || Answer(route, kept, Refusal::kOverload, "the shard's queue is full");
  }

  bool OnHello(const Message& message) {
    const FrameHeader& header = message.header;
    if (header.kind != FrameKind::kHello) {
      return Refuse(
          absl::InvalidArgumentError(absl::StrCat(
              "the first frame is of kind ", std::string(FrameKindName(header.kind)), "; it must be hello")),
          Refusal::kMalformed);
    }
    const bool offers = header.place == PayloadPlace::kShared;
    if (!offers && header.payload_bytes != 0) {
      return Refuse(absl::InvalidArgumentError("a hello with a payload"), Refusal::kMalformed);
    }
    auto directory = control_->Admit(header);
    if (!directory.ok()) {
      const absl::StatusCode code = directory.status().code();
      return Refuse(directory.status(), code == absl::StatusCode::kAborted       ? Refusal::kFenced
                                        : code == absl::StatusCode::kDeadlineExceeded
                                            ? Refusal::kLeaseEnded
                                        : code == absl::StatusCode::kUnavailable ? Refusal::kShuttingDown
                                                                                 : Refusal::kMalformed);
    }
    Message welcome{header, {}};
    welcome.header.kind = FrameKind::kWelcome;
    welcome.header.map_version = (*directory)->map_version;
    welcome.header.sequence = credit_bytes_;
    welcome.header.place = PayloadPlace::kFollows;
    std::shared_ptr<SharedRegion> region;
    if (offers) {
      auto opened = OpenRegion(message, **directory);
      if (opened.ok()) {
        region = *std::move(opened);
        welcome.header.place = PayloadPlace::kShared;
      } else {
        welcome.payload = Sentence(std::string(opened.status().message()));
      }
    }
    welcome.header.payload_bytes = static_cast<uint32_t>(welcome.payload.size());
    std::lock_guard lock(mutex_);
    region_ = std::move(region);
    hello_ = header;
    hello_.place = PayloadPlace::kFollows;
    intake_.emplace(*std::move(directory), header, credit_bytes_);
    greeted_ = true;
    Enqueue({std::move(welcome), 0});
    return true;
  }

  // Maps the memory that a hello offers. Where that is not to be had the stream goes on without.
  absl::StatusOr<std::shared_ptr<SharedRegion>> OpenRegion(const Message& hello, const Directory& directory) {
    absl::StatusOr<std::shared_ptr<SharedRegion>> region =
        absl::InvalidArgumentError(absl::StrCat("an offer of ", hello.payload.size(), " bytes"));
    std::array<std::byte, kRegionOfferBytes> bytes;
    if (hello.payload.size() == bytes.size() && PayloadReader(hello.payload).Read(bytes)) {
      region = SharedRegion::Open(DecodeRegionOffer(bytes),
                                  MostRegionBytes(control_->job().sync().max_pushes_in_flight(), directory.elements));
    }
    const Log log = log_.Worker(hello.header.worker);
    if (region.ok()) {
      ++stats_->shared_opened;
      log.Info(absl::StrCat("exchanges through ", (*region)->bytes().size(), " bytes of shared memory of process ",
                            (*region)->offer().pid));
    } else {
      log.Info(absl::StrCat("exchanges through its socket; no shared memory: ", region.status().message()));
    }
    return region;
  }

  // Writes values where the peer wants them, on the thread that handles the pull.
  void Share(Reply* reply) const {
    Message& message = reply->message;
    const std::span<std::byte> all = region_->bytes();
    const size_t size = message.payload.size();
    const uint64_t at = *reply->route.values_at;
    if (message.header.kind != FrameKind::kValues || message.header.codec != CodecId::kRaw || at > all.size() ||
        size > all.size() - at) {
      return;
    }
    const std::span<std::byte> to = all.subspan(at, size);
    PayloadReader(message.payload).Read(to);
    message.payload = Payload(region_, std::vector<Payload::Bytes>{to});
    stats_->shared_sent_bytes += size;
  }

  // Refuses one frame; true, as the stream goes on.
  bool Answer(const Route& route, const FrameHeader& frame, Refusal reason, std::string sentence) {
    ++stats_->refused[static_cast<size_t>(reason)];
    Send({route, MakeRefusal(frame, reason, std::move(sentence))});
    return true;
  }

  void Enqueue(Outgoing outgoing) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (broken_ || closing_) return;
    const auto header_of = [](const Outgoing& waiting) -> const FrameHeader& { return waiting.message.header; };
    InsertInSendOrder(std::move(outgoing), writing_ ? 1 : 0, header_of, &outgoing_);
    WriteNext();
  }

  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || outgoing_.empty() || broken_ || finished_) return;
    writing_ = true;
    // Before the peer can see the answer: what it sends next may be here before OnWriteDone is. A peer that does not
    // read gets no credit for the answers behind this one.
    if (intake_) intake_->Release(outgoing_.front().message.header.kind, outgoing_.front().releases);
    buffer_ = ToByteBuffer(ToShared(region_.get(), std::move(outgoing_.front().message)));
    grpc::WriteOptions options;
    // What is small waits for what comes right behind it: one call of the system for both.
    if (buffer_.Length() <= kSmallFrameBytes && outgoing_.size() > 1) options.set_buffer_hint();
    StartWrite(&buffer_, options);
  }

  // Says why, and ends the stream once that is sent.
  void Close(const absl::Status& status, Refusal reason) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (closing_) return;
    FrameHeader about = hello_;
    about.kind = FrameKind::kHello;
    Enqueue({MakeRefusal(about, reason, std::string(status.message())), 0});
    closing_ = true;
    end_ = status;
    FinishIfDone();
  }

  void FinishIfDone() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (finished_ || writing_) return;
    if (!broken_) {
      if (!outgoing_.empty()) return;
      // A peer that has sent its last frame still gets its answers.
      if (!closing_ && (reading_ || (intake_ && intake_->unanswered() != 0))) return;
    }
    finished_ = true;
    outgoing_.clear();
    Finish(ToGrpcStatus(end_));
  }

  // Constant after Open().
  Control* const control_;
  Streams* const streams_;
  EdgeStats* const stats_;
  const uint64_t credit_bytes_;
  const Log log_;
  const std::string peer_;
  const SteadyClock::time_point opened_;
  uint64_t id_ = 0;
  std::shared_ptr<Exchange> self_;

  // Of the thread that reads.
  grpc::ByteBuffer incoming_;
  bool greeted_ = false;  // there is an intake

  std::mutex mutex_;
  // Written once, by the thread that reads.
  std::shared_ptr<SharedRegion> region_;  // null where the stream has none
  FrameHeader hello_ ABSL_GUARDED_BY(mutex_);
  std::optional<Intake> intake_ ABSL_GUARDED_BY(mutex_);  // once the peer has said hello
  std::deque<Outgoing> outgoing_ ABSL_GUARDED_BY(mutex_);  // the first is being written
  grpc::ByteBuffer buffer_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool reading_ ABSL_GUARDED_BY(mutex_) = true;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;  // no more answers are taken
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;   // nobody reads what is written
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status end_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ParameterServiceImpl::Exchange(
    grpc::CallbackServerContext* context) {
  return ps::Exchange::Open(
      std::make_shared<ps::Exchange>(control_, streams_, stats_, credit_bytes_, log_, context->peer()));
}

}  // namespace downpour::ps
