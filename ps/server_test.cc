// A whole server in this process, and clients of every kind on loopback.
#include "ps/server.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <random>
#include <thread>

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/client_unary_call.h>

#include "absl/strings/str_cat.h"
#include "proto/frame.h"
#include "proto/codec/byte_buffer.h"
#include "proto/frame_grpc.h"
#include "proto/job_config.h"
#include "proto/service.grpc.pb.h"

namespace downpour::ps {
namespace {

using namespace std::chrono_literals;
using RawStream = grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>;

constexpr uint64_t kElements = 10000;

Job MakeJob(const std::string& sync = "{mode: asp}", const std::string& extra = "") {
  const auto job = ParseJob(absl::StrCat(R"(
name: test
workers: 2
servers: {addresses: ["127.0.0.1:0"], shards: 2, part_bytes: 16384}
worker: {lease_ms: 60000}
sync: )",
                                         sync, R"(
optimizer: {name: sgd, learning_rate: 0.5}
net:
  - {name: fc, type: inner_product, outputs: 10}
  - {name: loss, type: softmax_loss}
)",
                                         extra),
                            "test.yaml");
  INFO(job.status());
  REQUIRE(job.ok());
  return *job;
}

std::unique_ptr<Server> MustStart(const Job& job) {
  auto server = Server::Start(job, {});
  INFO(server.status());
  REQUIRE(server.ok());
  return *std::move(server);
}

// Changes a message that travels serialized.
template <typename Message, typename Function>
std::string Edited(const std::string& bytes, Function edit) {
  Message message;
  REQUIRE(message.ParseFromString(bytes));
  edit(&message);
  return message.SerializeAsString();
}

RegisterRequest RegisterOf(const Job& job, uint32_t partition) {
  RegisterRequest request;
  request.set_job(job.SerializeAsString());
  request.set_partition(partition);
  TableSpec table;
  table.set_elements(kElements);
  TensorSpec* tensor = table.add_tensors();
  tensor->set_name("fc.weights");
  tensor->add_shape(kElements);
  request.set_table(table.SerializeAsString());
  request.set_host("here");
  request.set_pid(partition + 1);
  return request;
}

uint64_t Count(const Server& server, const std::string& name) {
  const StatusReply status = server.Status();
  const auto found = status.counters().find(name);
  return found == status.counters().end() ? 0 : found->second;
}

std::string Text(const Payload& payload) {
  std::string out(payload.size(), '\0');
  PayloadReader(payload).Read(std::as_writable_bytes(std::span(out)));
  return out;
}

std::vector<float> Values(const Payload& payload) {
  std::vector<float> out(payload.size() / sizeof(float));
  PayloadReader(payload).Read(std::as_writable_bytes(std::span(out)));
  return out;
}

// A worker that says what it is told to, right or wrong.
class Client {
 public:
  explicit Client(const Server& server) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetMaxSendMessageSize(-1);
    channel_ = grpc::CreateCustomChannel(server.address(), grpc::InsecureChannelCredentials(), arguments);
    control_ = ControlService::NewStub(channel_);
  }

  ~Client() {
    if (context_ != nullptr) context_->TryCancel();
  }

  grpc::Status Register(const RegisterRequest& request) {
    grpc::ClientContext context;
    const grpc::Status status = control_->Register(&context, request, &reply_);
    header_ = {};
    Job job;
    job.ParseFromString(request.job());
    header_.job = JobId(job.name());
    header_.worker = request.partition();
    header_.fence = reply_.fence();
    header_.map_version = reply_.map().version();
    return status;
  }

  grpc::Status Heartbeat() {
    HeartbeatRequest request;
    request.set_job("test");
    request.set_partition(header_.worker);
    request.set_fence(header_.fence);
    grpc::ClientContext context;
    HeartbeatReply reply;
    return control_->Heartbeat(&context, request, &reply);
  }

  grpc::Status Leave() {
    LeaveRequest request;
    request.set_job("test");
    request.set_partition(header_.worker);
    request.set_fence(header_.fence);
    grpc::ClientContext context;
    LeaveReply reply;
    return control_->Leave(&context, request, &reply);
  }

  void Open() {
    context_ = std::make_unique<grpc::ClientContext>();
    context_->set_deadline(std::chrono::system_clock::now() + 30s);
    const grpc::internal::RpcMethod method(kExchangeMethod, grpc::internal::RpcMethod::BIDI_STREAMING);
    stream_.reset(grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
        channel_.get(), method, context_.get()));
  }

  // Open and hello.
  void Greet() {
    Open();
    REQUIRE(Send(Header(FrameKind::kHello, 0)));
    const Message welcome = Receive();
    INFO(Text(welcome.payload));
    REQUIRE(welcome.header.kind == FrameKind::kWelcome);
    credit_ = welcome.header.sequence;
  }

  bool SendBytes(const std::string& bytes) {
    const grpc::Slice slice(bytes);
    return stream_->Write(grpc::ByteBuffer(&slice, 1));
  }

  bool Send(const FrameHeader& header, Payload payload = {}) {
    Message message{header, std::move(payload)};
    message.header.payload_bytes = message.payload.size();
    return stream_->Write(ToByteBuffer(message));
  }

  bool SendValues(FrameKind kind, uint32_t part, float value, uint64_t sequence = 0, uint64_t clock = 0) {
    FrameHeader header = Header(kind, part);
    header.sequence = sequence;
    header.clock = clock;
    header.samples = 64;
    header.position = sequence * 64;
    const auto& place = reply_.map().tables(0).parts(part);
    auto values = std::make_shared<std::vector<float>>(place.end() - place.begin(), value);
    header.elements = values->size();
    return Send(header, Payload(values, std::span<const float>(*values)));
  }

  bool SendPull(uint32_t part, uint64_t clock = 0) {
    FrameHeader header = Header(FrameKind::kPull, part);
    header.sequence = ++pulls_;
    header.clock = clock;
    return Send(header);
  }

  // A hello, which no server sends, at the end of the stream and for what does not decode.
  Message Receive() {
    grpc::ByteBuffer buffer;
    if (!stream_->Read(&buffer)) return {};
    auto message = FromByteBuffer(buffer);
    return message.ok() ? *std::move(message) : Message();
  }

  // Reads to the end, keeping the last frame.
  grpc::Status End(Message* last = nullptr) {
    grpc::ByteBuffer buffer;
    while (stream_->Read(&buffer)) {
      auto message = FromByteBuffer(buffer);
      REQUIRE(message.ok());
      if (last != nullptr) *last = *message;
    }
    return stream_->Finish();
  }

  uint32_t elements(int part) const {
    const auto& place = reply_.map().tables(0).parts(part);
    return static_cast<uint32_t>(place.end() - place.begin());
  }

  FrameHeader Header(FrameKind kind, uint32_t part) const {
    FrameHeader header = header_;
    header.kind = kind;
    header.part = part;
    return header;
  }

  const RegisterReply& reply() const { return reply_; }
  int parts() const { return reply_.map().tables(0).parts_size(); }
  uint64_t credit() const { return credit_; }
  RawStream& stream() { return *stream_; }
  std::shared_ptr<grpc::Channel> channel() { return channel_; }

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<ControlService::Stub> control_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<RawStream> stream_;
  RegisterReply reply_;
  FrameHeader header_;
  uint64_t credit_ = 0;
  uint64_t pulls_ = 0;
};

// A worker that does it right: the server is up and its state is sound.
void CheckServes(const Server& server, const Job& job, uint32_t partition = 1) {
  Client client(server);
  const grpc::Status status = client.Register(RegisterOf(job, partition));
  INFO(status.error_message());
  REQUIRE(status.ok());
  client.Greet();
  const uint64_t sequence = client.reply().progress().sequence() + 1;
  for (int part = 0; part < client.parts(); ++part) {
    REQUIRE(client.SendValues(FrameKind::kSet, part, 1));
    CHECK(client.Receive().header.reason == Refusal::kNone);
    REQUIRE(client.SendPull(part));
    const Message before = client.Receive();
    REQUIRE(before.header.kind == FrameKind::kValues);
    REQUIRE(client.SendValues(FrameKind::kPush, part, 0.5f, sequence));
    const Message ack = client.Receive();
    CHECK(ack.header.kind == FrameKind::kAck);
    CHECK(ack.header.reason == Refusal::kNone);
    REQUIRE(client.SendPull(part));
    const Message after = client.Receive();
    CHECK(after.header.version == before.header.version + 1);
    CHECK(Values(after.payload)[3] == Values(before.payload)[3] - 0.25f);
  }
  client.stream().WritesDone();
  CHECK(client.End().ok());
}

TEST_CASE("workers register, set, push and pull; everything is counted") {
  const Job job = MakeJob();
  auto server = MustStart(job);
  Client first(*server);
  REQUIRE(first.Register(RegisterOf(job, 0)).ok());
  CHECK(first.reply().fence() > 0);
  CHECK(first.reply().lease_ms() == 60000);
  REQUIRE(first.parts() == 4);
  CHECK(first.reply().unset_parts_size() == 4);
  CHECK(first.reply().progress().sequence() == 0);
  CHECK(first.Heartbeat().ok());
  CheckServes(*server, job, 1);
  Client again(*server);
  REQUIRE(again.Register(RegisterOf(job, 1)).ok());
  CHECK(again.reply().unset_parts_size() == 0);
  CHECK(again.reply().progress().sequence() == 1);
  CHECK(again.reply().progress().position() == 64);
  CHECK(again.Leave().ok());

  const StatusReply status = server->Status();
  CHECK(status.workers(0).state() == WorkerStatus::LIVE);
  CHECK(status.workers(1).state() == WorkerStatus::FINISHED);
  REQUIRE(status.shards_size() == 2);
  uint64_t elements = 0;
  for (const auto& shard : status.shards()) {
    CHECK(shard.pushes() == 2);
    CHECK(shard.pulls() == 4);
    CHECK(shard.parts() == 2);
    elements += shard.elements();
  }
  CHECK(elements == kElements);
  CHECK(status.counters().at("registrations") == 3);
  CHECK(status.counters().at("payload_received_bytes") == 2 * kElements * 4);
}

TEST_CASE("an optimizer that needs whole tensors gets them, or says which one is too large") {
  Job job = MakeJob();
  job.mutable_optimizer()->set_name("lars");
  job.mutable_optimizer()->set_trust_coefficient(1);
  job.mutable_servers()->set_memory_limit_bytes(uint64_t{1} << 32);
  auto server = MustStart(job);
  const auto resized = [&](uint64_t weights) {
    RegisterRequest request = RegisterOf(job, 0);
    request.set_table(Edited<TableSpec>(request.table(), [weights](TableSpec* t) {
      t->mutable_tensors(0)->set_shape(0, weights);
      TensorSpec* bias = t->add_tensors();
      bias->set_name("fc.bias");
      bias->add_shape(10);
      bias->set_offset(weights);
      t->set_elements(weights + 16);
    }));
    return request;
  };
  Client client(*server);
  const grpc::Status status = client.Register(resized((16 << 20) + 16));
  CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(status.error_message().find("tensor 'fc.weights' has 16777232 elements; optimizer lars") != std::string::npos);
  // More than part_bytes, and than what a message may have otherwise.
  constexpr uint64_t kWeights = 3 << 20;
  REQUIRE(client.Register(resized(kWeights)).ok());
  REQUIRE(client.parts() == 2);
  client.Greet();
  REQUIRE(client.SendValues(FrameKind::kSet, 0, 1));
  CHECK(client.Receive().header.reason == Refusal::kNone);
  REQUIRE(client.SendValues(FrameKind::kPush, 0, 0.25f, 1));
  CHECK(client.Receive().header.reason == Refusal::kNone);
  REQUIRE(client.SendPull(0));
  const std::vector<float> values = Values(client.Receive().payload);
  REQUIRE(values.size() == kWeights);
  // Norms of equal elements: 1 - 0.5 * (1 / 0.25) * 0.25
  CHECK(values[0] == Approx(0.5));
  CHECK(std::count(values.begin(), values.end(), values[0]) == static_cast<int64_t>(kWeights));
}

TEST_CASE("a layer's multipliers reach the shards") {
  Job job = MakeJob();
  job.mutable_net(0)->set_lr_mult(0);
  job.mutable_net(0)->set_bias_lr_mult(2);
  auto server = MustStart(job);
  RegisterRequest request = RegisterOf(job, 0);
  constexpr uint64_t kWeights = 9984;
  request.set_table(Edited<TableSpec>(request.table(), [](TableSpec* t) {
    t->mutable_tensors(0)->set_name("fc.weight");
    t->mutable_tensors(0)->set_shape(0, kWeights);
    TensorSpec* bias = t->add_tensors();
    bias->set_name("fc.bias");
    bias->add_shape(kElements - kWeights);
    bias->set_offset(kWeights);
  }));
  Client client(*server);
  REQUIRE(client.Register(request).ok());
  client.Greet();
  std::vector<float> all;
  for (int part = 0; part < client.parts(); ++part) {
    REQUIRE(client.SendValues(FrameKind::kSet, part, 1));
    CHECK(client.Receive().header.reason == Refusal::kNone);
    REQUIRE(client.SendValues(FrameKind::kPush, part, 0.25f, 1));
    CHECK(client.Receive().header.reason == Refusal::kNone);
    REQUIRE(client.SendPull(part));
    const std::vector<float> values = Values(client.Receive().payload);
    all.insert(all.end(), values.begin(), values.end());
  }
  REQUIRE(all.size() == kElements);
  CHECK(std::count(all.begin(), all.begin() + kWeights, 1.0f) == kWeights);
  CHECK(std::count(all.begin() + kWeights, all.end(), 0.75f) == kElements - kWeights);
}

TEST_CASE("an observer reads along") {
  const Job job = MakeJob();
  auto server = MustStart(job);
  CheckServes(*server, job);
  Client observer(*server);
  RegisterRequest request = RegisterOf(job, 0);
  request.set_role(OBSERVER);
  request.clear_table();
  REQUIRE(observer.Register(request).ok());
  observer.Greet();
  REQUIRE(observer.SendPull(2));
  CHECK(observer.Receive().header.kind == FrameKind::kValues);
  REQUIRE(observer.SendValues(FrameKind::kPush, 2, 1, 1));
  CHECK(observer.Receive().header.reason == Refusal::kFenced);
  CHECK(server->Status().workers(0).state() == WorkerStatus::ABSENT);
}

TEST_CASE("registrations that do not agree are refused and say why") {
  const Job job = MakeJob();
  auto server = MustStart(job);
  CheckServes(*server, job);
  Client client(*server);
  const auto refusal = [&](const RegisterRequest& request, grpc::StatusCode code) {
    const grpc::Status status = client.Register(request);
    CHECK(status.error_code() == code);
    return status.error_message();
  };
  RegisterRequest request = RegisterOf(job, 0);
  request.set_job(Edited<Job>(request.job(), [](Job* j) { j->set_name("other"); }));
  CHECK(refusal(request, grpc::StatusCode::FAILED_PRECONDITION).find("other") != std::string::npos);
  request = RegisterOf(job, 0);
  request.set_job(Edited<Job>(request.job(), [](Job* j) { j->mutable_optimizer()->set_learning_rate(0.1f); }));
  CHECK(refusal(request, grpc::StatusCode::FAILED_PRECONDITION).find("learning_rate") != std::string::npos);
  request = RegisterOf(job, 0);
  request.set_table(Edited<TableSpec>(request.table(), [](TableSpec* t) { t->mutable_tensors(0)->set_shape(0, 5); }));
  CHECK(refusal(request, grpc::StatusCode::FAILED_PRECONDITION).find("fc.weights") != std::string::npos);
  refusal(RegisterOf(job, 2), grpc::StatusCode::INVALID_ARGUMENT);
  refusal(RegisterRequest(), grpc::StatusCode::FAILED_PRECONDITION);
  request = RegisterOf(job, 1);
  request.mutable_attempt()->set_stage(1);
  CHECK(client.Register(request).ok());
  refusal(RegisterOf(job, 1), grpc::StatusCode::ABORTED);
  CHECK(Count(*server, "registrations_refused") == 6);
  // Millions of empty layers or tensors are refused before they are parsed.
  request = RegisterOf(job, 0);
  for (int i = 0; i < 1000000; ++i) request.mutable_job()->append("\x5a\0", 2);
  refusal(request, grpc::StatusCode::INVALID_ARGUMENT);
  request = RegisterOf(job, 0);
  for (int i = 0; i < 1000000; ++i) request.mutable_table()->append("\x12\0", 2);
  refusal(request, grpc::StatusCode::INVALID_ARGUMENT);
  request = RegisterOf(job, 0);
  request.set_job("garbage");
  refusal(request, grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_CASE("a net that does not fit the memory limit is refused before anything is allocated") {
  Job job = MakeJob();
  job.mutable_servers()->set_memory_limit_bytes(65536);
  auto server = MustStart(job);
  Client client(*server);
  RegisterRequest request = RegisterOf(job, 0);
  request.set_table(Edited<TableSpec>(request.table(), [](TableSpec* t) { t->set_elements(16385); }));
  grpc::Status status = client.Register(request);
  CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(status.error_message().find("memory_limit_bytes") != std::string::npos);
  request.set_table(Edited<TableSpec>(
      request.table(), [](TableSpec* t) { t->set_elements(std::numeric_limits<uint64_t>::max()); }));
  CHECK(client.Register(request).error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CheckServes(*server, job);
}

TEST_CASE("copies of what workers have count: two where they go together, or one each") {
  const std::string wire = "wire: {pull: {codec: top_k}}\n";
  Job together = MakeJob("{mode: bsp}", wire), apart = MakeJob("{mode: asp}", wire);
  constexpr uint64_t kWorkers = 30;
  for (Job* job : {&together, &apart}) {
    job->set_workers(kWorkers);
    job->mutable_servers()->set_memory_limit_bytes(65536);
  }
  const auto request = [](const Job& job, uint64_t elements) {
    RegisterRequest request = RegisterOf(job, 0);
    request.set_table(Edited<TableSpec>(request.table(), [elements](TableSpec* table) {
      table->set_elements(elements);
      table->mutable_tensors(0)->set_shape(0, elements);
    }));
    return request;
  };
  const auto change_to = [](const Server& server, const Sync& sync) {
    const auto stub =
        ControlService::NewStub(grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
    ChangeRequest request;
    request.set_job("test");
    request.mutable_change()->set_version(1);
    request.mutable_change()->set_from_clock(10);
    *request.mutable_change()->mutable_sync() = sync;
    request.mutable_change()->set_learning_rate(0.5f);
    grpc::ClientContext context;
    ChangeReply reply;
    return stub->Change(&context, request, &reply);
  };
  constexpr uint64_t kFits = 65536 / (4 * (1 + 2)), kFitsApart = 65536 / (4 * (1 + kWorkers));
  {
    auto server = MustStart(together);
    CHECK(Client(*server).Register(request(together, kFits + 1)).error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
    CHECK(Client(*server).Register(request(together, kFits)).ok());
    const grpc::Status refused = change_to(*server, apart.sync());
    CHECK(refused.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
    CHECK(refused.error_message().find("30 copies") != std::string::npos);
  }
  {
    auto server = MustStart(together);
    CHECK(Client(*server).Register(request(together, kFitsApart)).ok());
    CHECK(change_to(*server, apart.sync()).ok());
  }
  auto server = MustStart(apart);
  CHECK(Client(*server).Register(request(apart, kFitsApart + 1)).error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(Client(*server).Register(request(apart, kFitsApart)).ok());
}

TEST_CASE("whatever a stream sends, the server stays up and serves others") {
  const Job job = MakeJob();
  auto server = MustStart(job);
  CheckServes(*server, job);
  Client client(*server);
  REQUIRE(client.Register(RegisterOf(job, 0)).ok());
  Message last;
  using Code = grpc::StatusCode;
  const auto ends = [&](Code code, Refusal reason) {
    const grpc::Status status = client.End(&last);
    INFO(status.error_message());
    CHECK(status.error_code() == code);
    CHECK(last.header.kind == FrameKind::kRefused);
    CHECK(last.header.reason == reason);
    CHECK(!Text(last.payload).empty());
  };

  SECTION("garbage") {
    client.Open();
    CHECK(
        client.SendBytes("garbage, and quite long, so that there is enough of it for a header; "
                         "garbage, and quite long, so that there is enough of it for a header"));
    ends(Code::INVALID_ARGUMENT, Refusal::kMalformed);
  }
  SECTION("an empty message") {
    client.Open();
    CHECK(client.SendBytes(""));
    ends(Code::INVALID_ARGUMENT, Refusal::kMalformed);
  }
  SECTION("random bytes after a good hello") {
    std::mt19937 random(3);
    for (int i = 0; i < 20; ++i) {
      client.Greet();
      std::string bytes(random() % 4000, '\0');
      for (char& c : bytes) c = static_cast<char>(random());
      CHECK(client.SendBytes(bytes));
      ends(Code::INVALID_ARGUMENT, Refusal::kMalformed);
    }
  }
  SECTION("a length that is not what follows") {
    client.Greet();
    FrameHeader header = client.Header(FrameKind::kPush, 0);
    header.elements = 16 << 20;
    header.payload_bytes = kMaxFramePayloadBytes;
    const auto bytes = EncodeFrameHeader(header);
    CHECK(client.SendBytes(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())));
    ends(Code::INVALID_ARGUMENT, Refusal::kMalformed);
  }
  SECTION("another version") {
    client.Open();
    auto bytes = EncodeFrameHeader(client.Header(FrameKind::kHello, 0));
    bytes[4] = std::byte{9};
    CHECK(client.SendBytes(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())));
    ends(Code::INVALID_ARGUMENT, Refusal::kMalformed);
    CHECK(Text(last.payload).find("version") != std::string::npos);
  }
  SECTION("no hello") {
    client.Open();
    CHECK(client.SendPull(0));
    ends(Code::INVALID_ARGUMENT, Refusal::kMalformed);
    CHECK(Text(last.payload).find("hello") != std::string::npos);
  }
  SECTION("two of them") {
    client.Greet();
    CHECK(client.Send(client.Header(FrameKind::kHello, 0)));
    ends(Code::INVALID_ARGUMENT, Refusal::kMalformed);
  }
  SECTION("another job") {
    client.Open();
    FrameHeader hello = client.Header(FrameKind::kHello, 0);
    hello.job = JobId("other");
    CHECK(client.Send(hello));
    ends(Code::FAILED_PRECONDITION, Refusal::kMalformed);
  }
  SECTION("a fence that is not its own") {
    client.Open();
    FrameHeader hello = client.Header(FrameKind::kHello, 0);
    hello.fence += 77;
    CHECK(client.Send(hello));
    ends(Code::ABORTED, Refusal::kFenced);
  }
  SECTION("a frame in another worker's name") {
    client.Greet();
    FrameHeader pull = client.Header(FrameKind::kPull, 0);
    pull.worker = 1;
    CHECK(client.Send(pull));
    ends(Code::INVALID_ARGUMENT, Refusal::kMalformed);
  }
  SECTION("a kind that only servers send") {
    client.Greet();
    CHECK(client.Send(client.Header(FrameKind::kAck, 0)));
    ends(Code::INVALID_ARGUMENT, Refusal::kMalformed);
  }
  SECTION("a message that is too large") {
    client.Greet();
    client.SendBytes(std::string(16 << 20, 'x'));
    CHECK(client.End().error_code() == Code::RESOURCE_EXHAUSTED);
  }
  SECTION("more pulls than it reads") {
    client.Greet();
    for (int i = 0; i < 10000; ++i) {
      FrameHeader pull = client.Header(FrameKind::kPull, 0);
      pull.clock = 1;
      if (!client.Send(pull)) break;
    }
    const grpc::Status status = client.End(&last);
    CHECK((status.ok() || status.error_code() == Code::RESOURCE_EXHAUSTED ||
           status.error_code() == Code::DEADLINE_EXCEEDED || status.error_code() == Code::CANCELLED));
    CHECK(last.header.kind != FrameKind::kHello);
  }
  SECTION("single frames are refused and the stream goes on") {
    client.Greet();
    FrameHeader pull = client.Header(FrameKind::kPull, 0);
    pull.map_version += 1;
    CHECK(client.Send(pull));
    CHECK(client.Receive().header.reason == Refusal::kWrongMap);
    CHECK(client.SendPull(99));
    CHECK(client.Receive().header.reason == Refusal::kMalformed);
    pull = client.Header(FrameKind::kPull, 0);
    pull.table = 7;
    CHECK(client.Send(pull));
    CHECK(client.Receive().header.reason == Refusal::kMalformed);
    FrameHeader push = client.Header(FrameKind::kPush, 0);
    auto values = std::make_shared<std::vector<float>>(3);
    push.elements = 3;
    push.sequence = 1;
    CHECK(client.Send(push, Payload(values, std::span<const float>(*values))));
    const Message ack = client.Receive();
    CHECK(ack.header.kind == FrameKind::kAck);
    CHECK(ack.header.reason == Refusal::kMalformed);
    CHECK(client.SendValues(FrameKind::kPush, 0, std::numeric_limits<float>::quiet_NaN(), 1));
    CHECK(client.Receive().header.reason == Refusal::kNotFinite);
    CHECK(client.SendValues(FrameKind::kPush, 0, 1, 1));
    CHECK(client.Receive().header.reason == Refusal::kNone);
    CHECK(Count(*server, "refused_wrong_map") == 1);
    CHECK(Count(*server, "refused_malformed") == 3);
    CHECK(Count(*server, "refused_not_finite") == 1);
  }
  CheckServes(*server, job);
}

TEST_CASE("a worker that is superseded is told so") {
  const Job job = MakeJob();
  auto server = MustStart(job);
  CheckServes(*server, job, 1);
  Client old(*server);
  REQUIRE(old.Register(RegisterOf(job, 0)).ok());
  old.Greet();
  RegisterRequest request = RegisterOf(job, 0);
  request.mutable_attempt()->set_stage(1);
  Client young(*server);
  REQUIRE(young.Register(request).ok());
  CHECK(old.SendValues(FrameKind::kPush, 0, 1, 1));
  CHECK(old.Receive().header.reason == Refusal::kFenced);
  CHECK(old.Heartbeat().error_code() == grpc::StatusCode::ABORTED);
}

TEST_CASE("more than the credit ends the stream") {
  const Job job = MakeJob("{mode: bsp}");
  auto server = MustStart(job);
  Client client(*server);
  REQUIRE(client.Register(RegisterOf(job, 0)).ok());
  client.Greet();
  REQUIRE(client.SendValues(FrameKind::kSet, 0, 1));
  CHECK(client.Receive().header.kind == FrameKind::kAck);
  // Held for the other worker, each time anew: none is acknowledged.
  std::thread writer([&] {
    for (uint64_t sent = 0; sent < 4 * client.credit(); sent += 10000) {
      if (!client.SendValues(FrameKind::kPush, 0, 1, 1)) return;
    }
  });
  Message last;
  const grpc::Status status = client.End(&last);
  writer.join();
  CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(last.header.reason == Refusal::kOverload);
}

TEST_CASE("a peer that asks on and on, and does not read, is stopped, and others are served") {
  const Job job = MakeJob();
  auto server = MustStart(job);
  CheckServes(*server, job);
  Client deaf(*server);
  REQUIRE(deaf.Register(RegisterOf(job, 0)).ok());
  deaf.Greet();
  // The sockets' buffers hold some answers; of what waits behind them there may be a few for each part. Then nothing more
  // is read of it.
  std::thread writer([&] {
    while (deaf.SendPull(0)) {
    }
  });
  for (int i = 0; i < 20'000 && Count(*server, "refused_overload") == 0; ++i) std::this_thread::sleep_for(1ms);
  CHECK(Count(*server, "refused_overload") == 1);
  CheckServes(*server, job);
  Message last;
  const grpc::Status status = deaf.End(&last);
  writer.join();
  CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(last.header.reason == Refusal::kOverload);
}

TEST_CASE("a sparse push whose places make no sense is refused and counted, and changes nothing") {
  const Job job = MakeJob("{mode: asp}", "wire: {push: {codec: sparse}}");
  auto server = MustStart(job);
  CheckServes(*server, job);
  Client client(*server);
  REQUIRE(client.Register(RegisterOf(job, 0)).ok());
  client.Greet();
  const auto push = [&](std::initializer_list<int> gaps, uint32_t floats) {
    const uint32_t raw = 0, unit = 1;
    const std::vector<float> values(floats, 1.0f);
    auto bytes = std::make_shared<ByteBuffer>();
    bytes->Append(raw);
    bytes->Append(unit);
    bytes->Append(floats);
    bytes->AppendAll(std::span(values));
    for (const int gap : gaps) bytes->Append(static_cast<std::byte>(gap));
    FrameHeader header = client.Header(FrameKind::kPush, 0);
    header.codec = CodecId::kSparse;
    header.sequence = 1;
    header.samples = 1;
    header.elements = client.elements(0);
    REQUIRE(client.Send(header, Payload(bytes, std::vector<Payload::Bytes>{std::as_const(*bytes).bytes()})));
    return client.Receive();
  };
  const auto refused = [&](std::initializer_list<int> gaps, uint32_t floats) {
    const Message ack = push(gaps, floats);
    CHECK(ack.header.kind == FrameKind::kAck);
    CHECK(ack.header.reason == Refusal::kMalformed);
    CHECK(Text(ack.payload).find("places") != std::string::npos);
  };
  refused({0, 0}, 1);  // too few values
  refused({0}, 2);     // too many
  refused({255}, 0);   // a place is cut
  CHECK(Count(*server, "refused_malformed") == 3);
  REQUIRE(client.SendPull(0));
  const Message before = client.Receive();
  CHECK(push({2, 0, 0}, 3).header.reason == Refusal::kNone);
  REQUIRE(client.SendPull(0));
  const Message after = client.Receive();
  CHECK(after.header.version == before.header.version + 1);
  std::vector<float> wanted = Values(before.payload);
  for (size_t i = 2; i < 5; ++i) wanted[i] -= 0.5f;
  CHECK(Values(after.payload) == wanted);
}

TEST_CASE("bsp: a silent worker is lost and its clock closes without it") {
  Job job = MakeJob("{mode: bsp}");
  job.mutable_worker()->set_lease_ms(1500);
  auto server = MustStart(job);
  Client alive(*server);
  Client silent(*server);
  REQUIRE(alive.Register(RegisterOf(job, 0)).ok());
  REQUIRE(silent.Register(RegisterOf(job, 1)).ok());
  alive.Greet();
  for (int part = 0; part < alive.parts(); ++part) {
    REQUIRE(alive.SendValues(FrameKind::kSet, part, 1));
    CHECK(alive.Receive().header.reason == Refusal::kNone);
  }
  REQUIRE(alive.SendValues(FrameKind::kPush, 0, 1, 1));
  REQUIRE(alive.SendPull(0, 1));
  std::atomic<bool> done = false;
  std::thread heart([&] {
    while (!done) {
      alive.Heartbeat();
      std::this_thread::sleep_for(100ms);
    }
  });
  CHECK(alive.Receive().header.kind == FrameKind::kAck);
  const Message values = alive.Receive();
  done = true;
  heart.join();
  CHECK(values.header.clock == 1);
  CHECK(Values(values.payload)[0] == 0.5f);
  CHECK(server->Status().workers(1).state() == WorkerStatus::LOST);
  CHECK(silent.Heartbeat().error_code() == grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST_CASE("many streams at once") {
  Job job = MakeJob();
  job.set_workers(40);
  auto server = MustStart(job);
  CheckServes(*server, job, 0);
  std::vector<std::unique_ptr<Client>> clients;
  for (uint32_t p = 0; p < 40; ++p) {
    clients.push_back(std::make_unique<Client>(*server));
    REQUIRE(clients[p]->Register(RegisterOf(job, p)).ok());
    clients[p]->Greet();
  }
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (uint32_t p = 0; p < 40; ++p) {
    threads.emplace_back([&, p] {
      Client& client = *clients[p];
      for (uint64_t n = 2; n < 12; ++n) {
        bool ok = true;
        for (int part = 0; part < client.parts(); ++part) {
          ok = ok && client.SendValues(FrameKind::kPush, part, 0.01f, n) && client.SendPull(part);
        }
        for (int i = 0; i < 2 * client.parts(); ++i) {
          const FrameHeader header = client.Receive().header;
          ok = ok && header.reason == Refusal::kNone &&
               (header.kind == FrameKind::kAck || header.kind == FrameKind::kValues);
        }
        good += ok;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(good == 400);
  uint64_t updates = 0;
  const StatusReply status = server->Status();
  for (const auto& shard : status.shards()) updates += shard.updates();
  CHECK(updates == 4 * (1 + 400));
  // Streams that break off without a word are forgotten.
  clients.clear();
  for (int i = 0; i < 200; ++i) {
    if (Count(*server, "streams_opened") == Count(*server, "streams_closed")) break;
    std::this_thread::sleep_for(20ms);
  }
  CHECK(Count(*server, "streams_opened") == Count(*server, "streams_closed"));
}

TEST_CASE("shutdown answers what waits and ends open streams") {
  const Job job = MakeJob("{mode: bsp}");
  auto server = MustStart(job);
  Client client(*server);
  Client idle(*server);
  REQUIRE(client.Register(RegisterOf(job, 0)).ok());
  REQUIRE(idle.Register(RegisterOf(job, 1)).ok());
  client.Greet();
  idle.Greet();
  REQUIRE(client.SendValues(FrameKind::kSet, 0, 1));
  CHECK(client.Receive().header.kind == FrameKind::kAck);
  REQUIRE(client.SendValues(FrameKind::kPush, 0, 1, 1));
  REQUIRE(client.SendPull(0, 1));
  while (Count(*server, "frames_received") < 5) std::this_thread::sleep_for(1ms);
  std::thread stop([&] { server->Shutdown(3000ms); });
  const auto begin = std::chrono::steady_clock::now();
  std::map<FrameKind, int> kinds;
  grpc::ByteBuffer buffer;
  while (client.stream().Read(&buffer)) {
    const auto message = FromByteBuffer(buffer);
    REQUIRE(message.ok());
    CHECK(message->header.reason == Refusal::kShuttingDown);
    ++kinds[message->header.kind];
  }
  CHECK(kinds[FrameKind::kAck] == 1);
  CHECK(kinds[FrameKind::kRefused] == 2);  // the pull, and the stream
  CHECK(client.stream().Finish().error_code() == grpc::StatusCode::UNAVAILABLE);
  // The idle one never reads: it does not hold the server up.
  stop.join();
  CHECK(std::chrono::steady_clock::now() - begin < 8s);
  CHECK(!client.Heartbeat().ok());
}

TEST_CASE("a port in use is named, and who to ask about it") {
  const Job job = MakeJob();
  auto server = MustStart(job);
  const auto second = Server::Start(job, {.listen = server->address()});
  REQUIRE(second.status().code() == absl::StatusCode::kUnavailable);
  CHECK(std::string(second.status().message()).find(server->address()) != std::string::npos);
  CHECK(std::string(second.status().message()).find("in use") != std::string::npos);
  const auto third = Server::Start(job, {.metrics_listen = server->metrics_address()});
  REQUIRE(third.status().code() == absl::StatusCode::kUnavailable);
  CHECK(std::string(third.status().message()).find(server->metrics_address()) != std::string::npos);
  CHECK(Server::Start(job, {.listen = "nonsense"}).status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(Server::Start(job, {.index = 5}).status().code() == absl::StatusCode::kInvalidArgument);
  CheckServes(*server, job);
}

TEST_CASE("it serves on a Unix socket too") {
  const Job job = MakeJob();
  const std::string path = absl::StrCat("/tmp/ps_server_test.", getpid());
  const std::string address = absl::StrCat("unix:", path);
  {  // As a killed server leaves it.
    sockaddr_un stale{};
    stale.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), stale.sun_path);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    REQUIRE(bind(fd, reinterpret_cast<const sockaddr*>(&stale), sizeof(stale)) == 0);
    close(fd);
  }
  auto server = Server::Start(job, {.listen = address});
  INFO(server.status());
  REQUIRE(server.ok());
  CHECK((*server)->address() == address);
  const auto second = Server::Start(job, {.listen = address});
  REQUIRE(second.status().code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(second.status().message()), Catch::Contains("listens there"));
  CheckServes(**server, job);
  server->reset();
  CHECK(access(path.c_str(), F_OK) != 0);
  const auto nowhere = Server::Start(job, {.listen = "unix:/nowhere/ps.sock"});
  CHECK_THAT(std::string(nowhere.status().message()), Catch::Contains("the folder /nowhere is not there"));
}

TEST_CASE("health is served") {
  auto server = MustStart(MakeJob());
  Client client(*server);
  grpc::ClientContext context;
  const grpc::internal::RpcMethod method("/grpc.health.v1.Health/Check",
                                         grpc::internal::RpcMethod::NORMAL_RPC);
  const grpc::Slice empty("");
  const grpc::ByteBuffer request(&empty, 1);
  grpc::ByteBuffer reply;
  const grpc::Status status = grpc::internal::BlockingUnaryCallImpl<grpc::ByteBuffer, grpc::ByteBuffer>(
                                  client.channel().get(), method, &context, request, &reply)
                                  .status();
  REQUIRE(status.ok());
  std::vector<grpc::Slice> slices;
  REQUIRE(reply.Dump(&slices).ok());
  CHECK(std::string(reinterpret_cast<const char*>(slices[0].begin()), slices[0].size()) == "\x08\x01");
}

TEST_CASE("a server starts and stops many times in one process") {
  const Job job = MakeJob();
  for (int i = 0; i < 5; ++i) {
    auto server = MustStart(job);
    CheckServes(*server, job);
    if (i % 2 == 0) server->Shutdown(1000ms);
  }
}

}  // namespace
}  // namespace downpour::ps
