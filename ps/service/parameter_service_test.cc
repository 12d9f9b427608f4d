// The edge of one stream, with gRPC's part played by the test: what comes in which order is the test's to say.
#include "ps/service/parameter_service.h"

#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "proto/frame_grpc.h"
#include "proto/job_config.h"
#include "ps/shard.h"

namespace downpour::ps {
namespace {

using Reactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

// A server without a network: one shard, and the registration of one worker.
class Edge final : public Shard::Sink {
 public:
  explicit Edge(uint64_t credit_bytes) {
    const auto job = ParseJob(R"(
name: test
workers: 1
servers: {addresses: ["127.0.0.1:0"], shards: 1}
worker: {lease_ms: 60000}
sync: {mode: asp}
optimizer: {name: sgd, learning_rate: 0.5}
net:
  - {name: fc, type: inner_product, outputs: 10}
  - {name: loss, type: softmax_loss}
)",
                              "test.yaml");
    INFO(job.status());
    REQUIRE(job.ok());
    auto core = ShardCore::Create(*job);
    REQUIRE(core.ok());
    const Log log(nullptr, "test", 0);
    shard_ = std::make_unique<Shard>(0, *std::move(core), size_t{1} << 20, this, log);
    auto settings = SettingsHistory::Create(*job);
    REQUIRE(settings.ok());
    control_ = std::make_unique<Control>(*job, *std::move(settings), 0, std::vector<Shard*>{shard_.get()}, &stats_, log,
                                         [] { return int64_t{0}; });
    service_ = std::make_unique<ParameterServiceImpl>(control_.get(), &streams_, &stats_, credit_bytes, log);

    RegisterRequest request;
    request.set_job(job->SerializeAsString());
    TableSpec table;
    table.set_elements(16);
    TensorSpec* const tensor = table.add_tensors();
    tensor->set_name("fc.weights");
    tensor->add_shape(16);
    request.set_table(table.SerializeAsString());
    const auto reply = control_->Register(request);
    INFO(reply.status());
    REQUIRE(reply.ok());
    header_.job = JobId("test");
    header_.fence = reply->fence();
    header_.map_version = reply->map().version();
  }

  void Deliver(Action action) override {
    if (auto* reply = std::get_if<Reply>(&action)) {
      streams_.Send(std::move(*reply));
    } else if (auto* created = std::get_if<Created>(&action)) {
      control_->Deliver(*created);
    } else {
      control_->Deliver(std::get<Report>(std::move(action)));
    }
  }

  FrameHeader Header(FrameKind kind) const {
    FrameHeader header = header_;
    header.kind = kind;
    return header;
  }

  ParameterServiceImpl& service() { return *service_; }

 private:
  EdgeStats stats_;
  Streams streams_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<ParameterServiceImpl> service_;
  FrameHeader header_;
  std::unique_ptr<Shard> shard_;  // ends first: its thread delivers to the rest
};

// A call whose reads and writes end when the test says so.
class Call final : public grpc::ServerCallbackReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  explicit Call(Edge* edge) : reactor_(edge->service().Exchange(&context_)) { BindReactor(reactor_); }
  ~Call() override { reactor_->OnDone(); }

  // `message` arrives.
  void Receive(Message message) {
    REQUIRE(reading_ != nullptr);
    message.header.payload_bytes = message.payload.size();
    *std::exchange(reading_, nullptr) = ToByteBuffer(message);
    reactor_->OnReadDone(true);
  }

  bool reads_on() const { return reading_ != nullptr; }
  // The peer has everything that was written; gRPC says so later, in WriteDone().
  const std::vector<FrameHeader>& written() const { return written_; }
  void WriteDone() { reactor_->OnWriteDone(true); }
  const std::optional<grpc::Status>& finished() const { return finished_; }

  void Finish(grpc::Status status) override { finished_ = std::move(status); }
  void SendInitialMetadata() override {}
  void Read(grpc::ByteBuffer* message) override { reading_ = message; }
  void Write(const grpc::ByteBuffer* message, grpc::WriteOptions) override {
    const auto frame = FromByteBuffer(*message);
    REQUIRE(frame.ok());
    written_.push_back(frame->header);
  }
  void WriteAndFinish(const grpc::ByteBuffer* message, grpc::WriteOptions options, grpc::Status status) override {
    Write(message, options);
    Finish(std::move(status));
  }

 private:
  grpc::internal::ServerReactor* reactor() override { return reactor_; }
  void CallOnDone() override {}

  grpc::CallbackServerContext context_;
  Reactor* const reactor_;
  grpc::ByteBuffer* reading_ = nullptr;
  std::vector<FrameHeader> written_;
  std::optional<grpc::Status> finished_;
};

TEST_CASE("a peer may use the credit of an answer as soon as it can have read it") {
  constexpr size_t kElements = 16;
  Edge edge(kElements * sizeof(float));
  Call call(&edge);
  call.Receive({edge.Header(FrameKind::kHello), {}});
  REQUIRE(call.written().size() == 1);
  REQUIRE(call.written()[0].kind == FrameKind::kWelcome);
  CHECK(call.written()[0].sequence == kElements * sizeof(float));
  call.WriteDone();

  // All of the credit. The answer to a frame for an old map comes at once, from the edge itself.
  FrameHeader push = edge.Header(FrameKind::kPush);
  ++push.map_version;
  push.elements = kElements;
  auto values = std::make_shared<std::vector<float>>(kElements, 1.0f);
  const Message message{push, Payload(values, std::span<const float>(*values))};
  for (size_t sent = 1; sent <= 3; sent += 2) {
    call.Receive(message);
    REQUIRE(call.written().size() == 1 + sent);
    CHECK(call.written()[sent].kind == FrameKind::kAck);
    CHECK(call.written()[sent].reason == Refusal::kWrongMap);
    // The next one is here before gRPC tells that the answer is written.
    call.Receive(message);
    REQUIRE(call.reads_on());
    CHECK(call.written().size() == 1 + sent);
    call.WriteDone();
    REQUIRE(call.written().size() == 2 + sent);
    call.WriteDone();
  }

  // A peer that does not read: the first answer is never written, those behind it give no credit.
  call.Receive(message);
  call.Receive(message);
  call.Receive(message);
  while (!call.finished().has_value() && call.written().size() < 12) call.WriteDone();
  REQUIRE(call.finished().has_value());
  CHECK(call.finished()->error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(call.written().back().kind == FrameKind::kRefused);
  CHECK(call.written().back().reason == Refusal::kOverload);
}

}  // namespace
}  // namespace downpour::ps
