#include "worker/combine/host_service.h"

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "proto/frame_grpc.h"
#include "proto/grpc_status.h"
#include "proto/shared_frame.h"
#include "proto/shared_region.h"

namespace downpour::worker {
namespace {

class MemberStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  MemberStream(const HostService::Terms& terms, Combiner* combiner) : terms_(terms), combiner_(combiner) {}

  // gRPC's OnDone() ends its life.
  static MemberStream* Open(std::shared_ptr<MemberStream> self) {
    static std::atomic<uint64_t> last{Combiner::kOwn};
    MemberStream* const stream = self.get();
    stream->id_ = ++last;
    stream->self_ = std::move(self);
    stream->StartRead(&stream->incoming_);
    return stream;
  }

  void OnReadDone(bool ok) override {
    if (!ok) return End(absl::OkStatus());
    auto message = FromByteBuffer(incoming_);
    incoming_.Clear();
    absl::Status status = message.status();
    if (status.ok()) status = greeted_ ? OnPush(*std::move(message)) : OnHello(*message);
    if (!status.ok()) {
      spdlog::warn("a worker of this host sent what makes no sense: {}", std::string(status.message()));
      return End(std::move(status));
    }
    StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok) outgoing_.clear();
    WriteNext();
    FinishIfDone();
  }

  void OnCancel() override { End(absl::CancelledError("the stream was cancelled")); }

  void OnDone() override {
    if (greeted_) combiner_->Leave(id_);
    self_.reset();
  }

 private:
  absl::Status OnHello(const Message& hello) {
    const FrameHeader& header = hello.header;
    if (header.kind != FrameKind::kHello || header.job != terms_.job || header.map_version != terms_.map_version ||
        header.worker >= terms_.workers) {
      return absl::InvalidArgumentError("the first frame is no hello of this job");
    }
    Message welcome{header, {}};
    welcome.header.kind = FrameKind::kWelcome;
    welcome.header.sequence = terms_.credit_bytes;
    welcome.header.place = PayloadPlace::kFollows;
    welcome.header.payload_bytes = 0;
    std::array<std::byte, kRegionOfferBytes> offer;
    if (header.place == PayloadPlace::kShared && hello.payload.size() == offer.size() &&
        PayloadReader(hello.payload).Read(offer)) {
      if (auto region = SharedRegion::Open(DecodeRegionOffer(offer), terms_.most_region_bytes); region.ok()) {
        region_ = *std::move(region);
        welcome.header.place = PayloadPlace::kShared;
      }
    }
    hello_ = header;
    greeted_ = true;
    combiner_->Join(id_);
    Send(std::move(welcome));
    return absl::OkStatus();
  }

  absl::Status OnPush(Message message) {
    auto push = FromShared(region_, std::move(message));
    if (!push.ok()) return push.status();
    if (absl::Status status = CheckHandedOver(terms_, hello_, *push); !status.ok()) return status;
    {
      std::lock_guard lock(mutex_);
      if (++unanswered_ > uint64_t{terms_.most_pushes} * terms_.elements.size()) {
        return absl::ResourceExhaustedError("more pushes than a worker may have under way");
      }
    }
    combiner_->Add({.push = *std::move(push),
                    .answer = [self = self_](Message ack) { self->Send(std::move(ack)); },
                    .member = id_});
    return absl::OkStatus();
  }

  void Send(Message message) {
    std::lock_guard lock(mutex_);
    if (ending_) return;
    outgoing_.push_back(ToByteBuffer(message));
    WriteNext();
  }

  void End(absl::Status status) {
    std::lock_guard lock(mutex_);
    if (!ending_) end_ = std::move(status);
    ending_ = true;
    FinishIfDone();
  }

  // Both need mutex_.
  void WriteNext() {
    if (writing_ || outgoing_.empty() || finished_) return;
    writing_ = true;
    if (unanswered_ > 0 && welcomed_) --unanswered_;
    welcomed_ = true;
    sending_ = std::move(outgoing_.front());
    outgoing_.pop_front();
    StartWrite(&sending_);
  }
  void FinishIfDone() {
    if (!ending_ || writing_ || finished_) return;
    finished_ = true;
    Finish(ToGrpcStatus(end_));
  }

  const HostService::Terms& terms_;
  Combiner* const combiner_;
  uint64_t id_ = 0;
  std::shared_ptr<MemberStream> self_;

  // Of the thread that reads.
  grpc::ByteBuffer incoming_;
  std::shared_ptr<SharedRegion> region_;  // null where the member's payloads follow their headers
  FrameHeader hello_;
  std::atomic<bool> greeted_ = false;

  std::mutex mutex_;
  // Protected by mutex_.
  std::deque<grpc::ByteBuffer> outgoing_;
  grpc::ByteBuffer sending_;
  uint64_t unanswered_ = 0;  // pushes whose ack has not begun to be written
  bool welcomed_ = false;
  bool writing_ = false;
  bool ending_ = false;  // nothing more is sent
  bool finished_ = false;
  absl::Status end_;
};

}  // namespace

absl::Status CheckHandedOver(const HostService::Terms& terms, const FrameHeader& hello, const Message& push) {
  const FrameHeader& header = push.header;
  if (header.kind != FrameKind::kPush || header.job != hello.job || header.worker != hello.worker ||
      header.map_version != hello.map_version || header.sequence == 0) {
    return absl::InvalidArgumentError("a frame that is no push of this worker");
  }
  if (header.table != 0 || header.part >= terms.elements.size() || header.elements != terms.elements[header.part]) {
    return absl::InvalidArgumentError(
        absl::StrCat("part ", header.part, " of table ", header.table, " has not ", header.elements, " elements"));
  }
  if (header.codec != CodecId::kRaw || header.contributors != 0 ||
      push.payload.size() != uint64_t{header.elements} * sizeof(float)) {
    return absl::InvalidArgumentError("a push that is not one worker's raw floats");
  }
  return absl::OkStatus();
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* HostService::Exchange(grpc::CallbackServerContext*) {
  return MemberStream::Open(std::make_shared<MemberStream>(terms_, combiner_));
}

}  // namespace downpour::worker
