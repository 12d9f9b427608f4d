// The edge of one stream, with gRPC's part played by the test: what comes in which order is the test's to say.
#include "ps/service/parameter_service.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <fstream>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proto/frame_grpc.h"
#include "proto/job_config.h"
#include "proto/shared_frame.h"
#include "ps/shard.h"

namespace downpour::ps {
namespace {

constexpr size_t kElements = 16;

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
    control_ = std::make_unique<Control>(*job, *std::move(settings), 0, std::vector<Shard*>{shard_.get()}, &stats_, nullptr, log,
                                         [] { return int64_t{0}; });
    service_ = std::make_unique<ParameterServiceImpl>(control_.get(), &streams_, &stats_, credit_bytes, log);

    RegisterRequest request;
    request.set_job(job->SerializeAsString());
    TableSpec table;
    table.set_elements(kElements);
    TensorSpec* const tensor = table.add_tensors();
    tensor->set_name("fc.weights");
    tensor->add_shape(kElements);
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
  const EdgeStats& stats() const { return stats_; }

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
  std::vector<FrameHeader> written() const {
    std::lock_guard lock(mutex_);
    return written_;
  }
  void WriteDone() { reactor_->OnWriteDone(true); }
  std::optional<grpc::Status> finished() const {
    std::lock_guard lock(mutex_);
    return finished_;
  }
  // The next frame that is written, from whatever thread, as the peer understands it.
  Message Answer(const std::shared_ptr<SharedRegion>& region = nullptr) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !unread_.empty(); });
    auto frame = FromByteBuffer(unread_.front());
    unread_.erase(unread_.begin());
    lock.unlock();
    WriteDone();
    REQUIRE(frame.ok());
    auto meant = FromShared(region, *std::move(frame));
    INFO(meant.status());
    REQUIRE(meant.ok());
    return *std::move(meant);
  }

  void Finish(grpc::Status status) override {
    std::lock_guard lock(mutex_);
    finished_ = std::move(status);
  }
  void SendInitialMetadata() override {}
  void Read(grpc::ByteBuffer* message) override { reading_ = message; }
  void Write(const grpc::ByteBuffer* message, grpc::WriteOptions) override {
    const auto frame = FromByteBuffer(*message);
    std::lock_guard lock(mutex_);
    if (frame.ok()) written_.push_back(frame->header);
    unread_.push_back(*message);
    changed_.notify_all();
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

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Protected by mutex_.
  std::vector<FrameHeader> written_;
  std::vector<grpc::ByteBuffer> unread_;
  std::optional<grpc::Status> finished_;
};

std::shared_ptr<SharedRegion> MakeRegion() {
  auto region = SharedRegion::Create(MostRegionBytes(2, kElements));
  INFO(region.status());
  REQUIRE(region.ok());
  REQUIRE((*region)->Take((*region)->bytes().size()).ok());
  return *std::move(region);
}

Payload Copied(std::span<const std::byte> bytes) {
  auto copy = std::make_shared<std::vector<std::byte>>(bytes.begin(), bytes.end());
  const Payload::Bytes all(*copy);
  return Payload(std::move(copy), std::vector<Payload::Bytes>{all});
}

Message Offering(const Edge& edge, const RegionOffer& offer) {
  Message hello{edge.Header(FrameKind::kHello), Copied(EncodeRegionOffer(offer))};
  hello.header.place = PayloadPlace::kShared;
  return hello;
}

// A frame of the table's only part.
Message Carrying(const Edge& edge, FrameKind kind, Payload payload) {
  Message message{edge.Header(kind), std::move(payload)};
  message.header.elements = kind == FrameKind::kPull ? 0 : kElements;
  message.header.sequence = 1;
  message.header.samples = 1;
  return message;
}

// Memory of the region for the part, from a multiple of 64 on.
std::span<float> PieceOf(const SharedRegion& region, size_t number) {
  return {reinterpret_cast<float*>(region.bytes().data() + 64 * number), kElements};
}

std::string TextOf(const Payload& payload) {
  std::string text(payload.size(), '\0');
  PayloadReader(payload).Read(std::as_writable_bytes(std::span(text)));
  return text;
}

TEST_CASE("a peer may use the credit of an answer as soon as it can have read it") {
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

TEST_CASE("gradients are read from shared memory, and values are written there") {
  Edge edge(kElements * sizeof(float));
  Call call(&edge);
  const auto region = MakeRegion();
  call.Receive(Offering(edge, region->offer()));
  const Message welcome = call.Answer(region);
  REQUIRE(welcome.header.kind == FrameKind::kWelcome);
  CHECK(welcome.header.place == PayloadPlace::kShared);
  CHECK(welcome.payload.size() == 0);

  const auto shared = [&](FrameKind kind, std::span<float> values) {
    return ToShared(region.get(), Carrying(edge, kind, Payload(region, std::span<const float>(values))));
  };
  std::ranges::fill(PieceOf(*region, 0), 3.0f);
  call.Receive(shared(FrameKind::kSet, PieceOf(*region, 0)));
  CHECK(call.Answer().header.reason == Refusal::kNone);
  std::ranges::fill(PieceOf(*region, 1), 2.0f);
  const Message push = shared(FrameKind::kPush, PieceOf(*region, 1));
  CHECK(push.header.place == PayloadPlace::kShared);
  call.Receive(push);
  const Message ack = call.Answer();
  CHECK(ack.header.kind == FrameKind::kAck);
  CHECK(ack.header.reason == Refusal::kNone);
  CHECK(ack.header.place == PayloadPlace::kFollows);

  call.Receive(shared(FrameKind::kPull, PieceOf(*region, 5)));
  const Message values = call.Answer(region);
  REQUIRE(values.header.kind == FrameKind::kValues);
  REQUIRE(values.payload.chunks().size() == 1);
  CHECK(values.payload.chunks()[0].data() == std::as_bytes(PieceOf(*region, 5)).data());
  CHECK(std::ranges::all_of(PieceOf(*region, 5), [](float value) { return value == 2.0f; }));  // 3 - 0.5 * 2
  CHECK(call.written().back().payload_bytes == kSharedPlaceBytes);
  // Whoever does not say where gets them behind the header.
  call.Receive(Carrying(edge, FrameKind::kPull, {}));
  CHECK(call.Answer().payload.size() == kElements * sizeof(float));
  CHECK(call.written().back().place == PayloadPlace::kFollows);

  PieceOf(*region, 1)[9] = std::numeric_limits<float>::quiet_NaN();
  Message bad = shared(FrameKind::kPush, PieceOf(*region, 1));
  bad.header.sequence = 2;
  call.Receive(bad);
  const Message refused = call.Answer();
  CHECK(refused.header.reason == Refusal::kNotFinite);
  CHECK_THAT(TextOf(refused.payload), Catch::Contains("element 9 "));
  call.Receive(shared(FrameKind::kPull, PieceOf(*region, 6)));
  CHECK(call.Answer(region).header.version == 1);
  CHECK(std::ranges::all_of(PieceOf(*region, 6), [](float value) { return value == 2.0f; }));
  CHECK(edge.stats().shared_opened == 1);
  CHECK(edge.stats().shared_received_bytes == 3 * kElements * sizeof(float));
  CHECK(edge.stats().shared_sent_bytes == 2 * kElements * sizeof(float));
}

TEST_CASE("an offer that can't be taken is no reason to end a stream") {
  Edge edge(kElements * sizeof(float));
  const auto region = MakeRegion();
  RegionOffer elsewhere = region->offer();
  elsewhere.boot[0] ^= std::byte{1};
  RegionOffer other = region->offer();
  other.nonce[0] ^= std::byte{1};
  RegionOffer large = region->offer();
  large.bytes += 4096;
  Message no_offer = Offering(edge, region->offer());
  no_offer.payload = Copied(std::as_bytes(std::span("short")));
  const std::pair<Message, const char*> cases[] = {{Offering(edge, elsewhere), "another host"},
                                                   {Offering(edge, other), "is not the region that was offered"},
                                                   {Offering(edge, large), "whole pages up to"},
                                                   {no_offer, "an offer of 6 bytes"}};
  for (const auto& [hello, why] : cases) {
    CAPTURE(why);
    Call call(&edge);
    call.Receive(hello);
    const Message welcome = call.Answer();
    REQUIRE(welcome.header.kind == FrameKind::kWelcome);
    CHECK(welcome.header.place == PayloadPlace::kFollows);
    CHECK_THAT(TextOf(welcome.payload), Catch::Contains(why));
    const std::vector<float> values(kElements, 1.0f);
    call.Receive(Carrying(edge, FrameKind::kSet, Copied(std::as_bytes(std::span(values)))));
    CHECK(call.Answer().header.reason == Refusal::kNone);
  }
  CHECK(edge.stats().shared_opened == 0);
}

TEST_CASE("a frame that names no place in the stream's shared memory ends the stream") {
  Edge edge(kElements * sizeof(float));
  const auto region = MakeRegion();
  const auto place = [&](uint64_t offset, uint64_t bytes) {
    std::vector<std::byte> text(kSharedPlaceBytes);
    for (int i = 0; i < 8; ++i) {
      text[i] = static_cast<std::byte>(offset >> (8 * i));
      text[8 + i] = static_cast<std::byte>(bytes >> (8 * i));
    }
    Message message = Carrying(edge, FrameKind::kPush, Copied(text));
    message.header.place = PayloadPlace::kShared;
    return message;
  };
  constexpr uint64_t kPart = kElements * sizeof(float);
  const struct {
    Message frame;
    bool offers;
    const char* why;
  } cases[] = {
      {place(0, kPart), false, "this stream has agreed on none"},
      {place(region->bytes().size(), kPart), true, "of shared memory, which has"},
      {place(UINT64_MAX - 63, kPart), true, "of shared memory, which has"},
      {place(4, kPart), true, "it should be a multiple of 64"},
      {place(0, kPart + 4), true, "can't hold 16 floats"},
      {Carrying(edge, FrameKind::kHello, Copied(std::vector<std::byte>(48))), false, "a hello with a payload"}};
  for (const auto& [frame, offers, why] : cases) {
    CAPTURE(why);
    Call call(&edge);
    if (frame.header.kind != FrameKind::kHello) {
      call.Receive(offers ? Offering(edge, region->offer()) : Message{edge.Header(FrameKind::kHello), {}});
      REQUIRE(call.Answer().header.kind == FrameKind::kWelcome);
    }
    call.Receive(frame);
    const Message refused = call.Answer();
    CHECK(refused.header.kind == FrameKind::kRefused);
    CHECK(refused.header.reason == Refusal::kMalformed);
    CHECK_THAT(TextOf(refused.payload), Catch::Contains(why));
    REQUIRE(call.finished().has_value());
    CHECK(call.finished()->error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  }
  // A place for values that is not as long as the part: only that fetch is refused.
  Call call(&edge);
  call.Receive(Offering(edge, region->offer()));
  REQUIRE(call.Answer().header.kind == FrameKind::kWelcome);
  Message pull = place(0, kPart / 2);
  pull.header.kind = FrameKind::kPull;
  call.Receive(pull);
  CHECK(call.Answer().header.reason == Refusal::kMalformed);
  CHECK(call.reads_on());
}

TEST_CASE("a region is mapped as long as its stream lives") {
  auto region = MakeRegion();
  const std::string name = RegionName(region->offer());
  const auto mappings = [&name] {
    std::ifstream maps("/proc/self/maps");
    int count = 0;
    for (std::string line; std::getline(maps, line);) count += line.find(name) != std::string::npos;
    return count;
  };
  Edge edge(kElements * sizeof(float));
  {
    Call call(&edge);
    call.Receive(Offering(edge, region->offer()));
    REQUIRE(call.Answer().header.kind == FrameKind::kWelcome);
    CHECK(mappings() == 2);
    region.reset();
    CHECK(mappings() == 1);
  }
  CHECK(mappings() == 0);
}

}  // namespace
}  // namespace downpour::ps
