#include "worker/server_stream.h"

#include <array>
#include <utility>
#include <vector>

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/client_callback.h>

#include "absl/strings/str_cat.h"
#include "proto/frame_grpc.h"
#include "proto/grpc_status.h"
#include "proto/send_order.h"
#include "proto/shared_frame.h"

namespace downpour::worker {

class ServerStream::Reactor : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Reactor(std::shared_ptr<grpc::Channel> channel, const FrameHeader& hello, std::shared_ptr<SharedRegion> region,
          Callbacks callbacks)
      : callbacks_(std::move(callbacks)), offered_(std::move(region)), stub_(std::move(channel)) {
    stub_.PrepareBidiStreamingCall(&context_, kExchangeMethod, {}, this);
    outgoing_.push_back(offered_ == nullptr ? Message{hello, {}} : Offer(hello, *offered_));
    {
      std::lock_guard lock(mutex_);
      WriteNext();
    }
    AddHold();  // Send() starts writes from outside gRPC's reactions
    StartRead(&incoming_);
    StartCall();
  }

  void Send(Message message) {
    std::lock_guard lock(mutex_);
    if (ended_) return;
    const auto header_of = [](const Message& waiting) -> const FrameHeader& { return waiting.header; };
    InsertInSendOrder(std::move(message), 0, header_of, &outgoing_);
    WriteNext();
  }

  void Acknowledged(uint64_t bytes) {
    std::lock_guard lock(mutex_);
    credit_ += bytes;
    WriteNext();
  }

  void Close() {
    std::unique_lock lock(mutex_);
    closing_ = true;
    context_.TryCancel();
    done_.wait(lock, [this] { return finished_; });
  }

  void OnReadDone(bool ok) override {
    if (!ok) return StopWriting();  // OnDone says why.
    absl::StatusOr<Message> message = FromByteBuffer(incoming_);
    if (message.ok()) message = FromShared(shared_, *std::move(message));
    if (!message.ok()) {
      {
        std::lock_guard lock(mutex_);
        broken_ = absl::InternalError(absl::StrCat("it sent a broken frame: ", message.status().message()));
      }
      StopWriting();
      context_.TryCancel();
      return;
    }
    if (message->header.kind == FrameKind::kWelcome) OnWelcome(message->header);
    callbacks_.on_message(*std::move(message));
    incoming_.Clear();
    StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (ok) WriteNext();
  }

  void OnDone(const grpc::Status& status) override {
    absl::Status end;
    bool tell;
    {
      std::lock_guard lock(mutex_);
      tell = !closing_;
      end = !broken_.ok() ? broken_
            : status.ok() ? absl::UnavailableError("it closed the stream")
                          : FromGrpcStatus(status);
    }
    if (tell) callbacks_.on_end(std::move(end));
    std::lock_guard lock(mutex_);
    finished_ = true;
    done_.notify_all();
  }

 private:
  // Once, when the last read has ended: no write is started after it, so gRPC may let the call go.
  void StopWriting() {
    {
      std::lock_guard lock(mutex_);
      ended_ = true;
      outgoing_.clear();
    }
    RemoveHold();
  }

  static Message Offer(const FrameHeader& hello, const SharedRegion& region) {
    auto bytes = std::make_shared<std::array<std::byte, kRegionOfferBytes>>(EncodeRegionOffer(region.offer()));
    const Payload::Bytes all(*bytes);
    Message message{hello, Payload(std::move(bytes), std::vector<Payload::Bytes>{all})};
    message.header.place = PayloadPlace::kShared;
    message.header.payload_bytes = kRegionOfferBytes;
    return message;
  }

  void OnWelcome(const FrameHeader& welcome) {
    std::lock_guard lock(mutex_);
    if (welcome.place == PayloadPlace::kShared) shared_ = offered_;
    credit_ += welcome.sequence;
    WriteNext();
  }

  // Needs mutex_.
  void WriteNext() {
    if (writing_ || !MayWrite()) return;
    credit_ -= Cost(outgoing_.front().header);
    writing_ = true;
    sending_ = ToByteBuffer(ToShared(shared_.get(), std::move(outgoing_.front())));
    outgoing_.pop_front();
    grpc::WriteOptions options;
    // What is small waits for what comes right behind it: one call of the system for both.
    if (sending_.Length() <= kSmallFrameBytes && MayWrite()) options.set_buffer_hint();
    StartWrite(&sending_, options);
  }

  // Needs mutex_.
  bool MayWrite() const { return !ended_ && !outgoing_.empty() && Cost(outgoing_.front().header) <= credit_; }

  // Of credit.
  static uint64_t Cost(const FrameHeader& header) {
    return header.kind == FrameKind::kHello ? 0 : header.payload_bytes;
  }

  const Callbacks callbacks_;
  const std::shared_ptr<SharedRegion> offered_;
  grpc::ClientContext context_;
  grpc::GenericStub stub_;
  grpc::ByteBuffer incoming_;  // the read in progress

  std::mutex mutex_;
  std::condition_variable done_;
  // Protected by mutex_; the thread that reads, which alone writes it, reads it without.
  std::shared_ptr<SharedRegion> shared_;  // null until the server says that it has mapped it
  // Protected by mutex_.
  std::deque<Message> outgoing_;
  grpc::ByteBuffer sending_;
  uint64_t credit_ = 0;
  bool writing_ = false;
  bool closing_ = false;
  bool ended_ = false;
  bool finished_ = false;
  absl::Status broken_;
};

ServerStream::ServerStream(std::shared_ptr<grpc::Channel> channel, const FrameHeader& hello,
                           std::shared_ptr<SharedRegion> region, Callbacks callbacks)
    : reactor_(std::make_unique<Reactor>(std::move(channel), hello, std::move(region), std::move(callbacks))) {}

ServerStream::~ServerStream() { Close(); }

void ServerStream::Send(Message message) { reactor_->Send(std::move(message)); }
void ServerStream::Acknowledged(uint64_t bytes) { reactor_->Acknowledged(bytes); }
void ServerStream::Close() { reactor_->Close(); }

}  // namespace downpour::worker
