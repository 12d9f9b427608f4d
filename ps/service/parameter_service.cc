#include "ps/service/parameter_service.h"

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
#include "proto/frame_grpc.h"
#include "proto/grpc_status.h"
#include "ps/service/compact.h"
#include "ps/service/intake.h"

namespace downpour::ps {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr auto kGreetingTimeout = std::chrono::seconds(10);

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
    if (message.ok()) message->payload = Compact(std::move(message->payload));
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
    streams_->Remove(id_);
    self_.reset();
  }

  // ---- From the rest of the server.

  void Send(Reply reply) override {
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
    if (!greeted_) return OnHello(header);
    Intake::Verdict verdict;
    {
      std::lock_guard lock(mutex_);
      verdict = intake_->Take(header);
    }
    if (!verdict.end.ok()) return Refuse(verdict.end, verdict.reason);
    // From here on the frame has an answer, and the stream goes on.
    const Route route{id_, header.payload_bytes};
    if (!verdict.shard) return Answer(route, header, verdict.reason, std::move(verdict.sentence));
    Shard* const shard = control_->shards()[*verdict.shard];
    const FrameHeader kept = header;
    bool taken = false;
    switch (kept.kind) {
      case FrameKind::kSet: taken = shard->TryPost(Set{route, std::move(message)}); break;
      case FrameKind::kPush: taken = shard->TryPost(Push{route, std::move(message)}); break;
      default: taken = shard->TryPost(Pull{route, kept}); break;
    }
    return taken || Answer(route, kept, Refusal::kOverload, "the shard's queue is full");
  }

  bool OnHello(const FrameHeader& header) {
    if (header.kind != FrameKind::kHello) {
      return Refuse(
          absl::InvalidArgumentError(absl::StrCat(
              "the first frame is of kind ", std::string(FrameKindName(header.kind)), "; it must be hello")),
          Refusal::kMalformed);
    }
    if (header.payload_bytes != 0) {
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
    FrameHeader welcome = header;
    welcome.kind = FrameKind::kWelcome;
    welcome.map_version = (*directory)->map_version;
    welcome.sequence = credit_bytes_;
    std::lock_guard lock(mutex_);
    hello_ = header;
    intake_.emplace(*std::move(directory), header, credit_bytes_);
    greeted_ = true;
    Enqueue({{welcome, {}}, 0});
    return true;
  }

  // Refuses one frame; true, as the stream goes on.
  bool Answer(const Route& route, const FrameHeader& frame, Refusal reason, std::string sentence) {
    ++stats_->refused[static_cast<size_t>(reason)];
    Send({route, MakeRefusal(frame, reason, std::move(sentence))});
    return true;
  }

  void Enqueue(Outgoing outgoing) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (broken_ || closing_) return;
    outgoing_.push_back(std::move(outgoing));
    WriteNext();
  }

  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || outgoing_.empty() || broken_ || finished_) return;
    writing_ = true;
    // Before the peer can see the answer: what it sends next may be here before OnWriteDone is. A peer that does not
    // read gets no credit for the answers behind this one.
    if (intake_) intake_->Release(outgoing_.front().message.header.kind, outgoing_.front().releases);
    buffer_ = ToByteBuffer(outgoing_.front().message);
    StartWrite(&buffer_);
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
