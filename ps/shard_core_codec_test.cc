// ShardCore and what travels encoded.
#include <catch2/catch.hpp>
#include <random>
#include <vector>

#include "proto/codec/block_reader.h"
#include "proto/codec/part_encoder.h"
#include "ps/core_harness.h"

namespace downpour::ps {
namespace {

Job CodedJob(const std::string& mode, const std::string& push, const std::string& pull = "") {
  Job job = MakeJob(mode);
  job.mutable_wire()->mutable_push()->set_codec(push);
  job.mutable_wire()->mutable_push()->set_share(0.1f);
  job.mutable_wire()->mutable_push()->set_threshold(0.5f);
  job.mutable_wire()->mutable_push()->set_rank(2);
  if (!pull.empty()) job.mutable_wire()->mutable_pull()->set_codec(pull);
  return job;
}

PartLayout Matrix() {
  PartLayout layout;
  layout.elements = kElements;
  layout.exempt = {{0, 4}};
  layout.rows = {{10, 100, 9}};
  return layout;
}

std::vector<float> Gaussian(uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> draw;
  std::vector<float> values(kElements);
  for (float& value : values) value = draw(random);
  return values;
}

// One worker's encoded pushes, and what they stand for.
class Sender {
 public:
  Sender(const Job& job, uint32_t worker, const PartLayout& layout = Matrix())
      : codecs_(*WireCodecsOf(job)), worker_(worker), encoder_(*codecs_.push, codecs_.settings, layout, true, worker) {}

  Push Make(uint64_t sequence, uint64_t clock, const std::vector<float>& gradient) {
    ByteBuffer buffer;
    encoder_.Encode(gradient, &buffer);
    auto bytes = std::make_shared<std::vector<std::byte>>(buffer.bytes().begin(), buffer.bytes().end());
    Push push = Cluster::PushOf(worker_, sequence, clock, 0.0f);
    push.message.header.codec = encoder_.id();
    push.message.payload = Payload(bytes, std::vector<Payload::Bytes>{*bytes});
    push.message.header.payload_bytes = bytes->size();
    return push;
  }

 private:
  const WireCodecs codecs_;
  const uint32_t worker_;
  PartEncoder encoder_;
};

std::vector<float> Decoded(const Message& message) {
  const auto reader = BlockReader::Open(message.header.codec, message.payload, message.header.elements);
  REQUIRE(reader.ok());
  std::vector<float> out, scratch(kElements);
  for (auto block = (*reader)->Next(kElements, scratch); !block.empty(); block = (*reader)->Next(kElements, scratch)) {
    out.insert(out.end(), block.begin(), block.end());
  }
  return out;
}

std::vector<const Codec*> Coded() { return {Codecs().begin() + 1, Codecs().end()}; }

TEST_CASE("an encoded push is applied as the floats that it stands for") {
  for (const Codec* codec : Coded()) {
    INFO(std::string(codec->name));
    const Job job = CodedJob("bsp", std::string(codec->name));
    Cluster coded(job), raw(job);
    Sender first(job, 0), second(job, 1);
    for (uint64_t clock = 0; clock < 3; ++clock) {
      for (Sender* sender : {&second, &first}) {
        const uint32_t worker = sender == &first ? 0 : 1;
        const Push push = sender->Make(clock + 1, clock, Gaussian(10 * clock + worker));
        const std::vector<float> floats = Decoded(push.message);
        coded.Do(push);
        raw.Do(Cluster::PushOf(worker, clock + 1, clock, floats));
      }
    }
    CHECK(coded.stats().updates == 3);
    CHECK(coded.core().Checksum() == raw.core().Checksum());
    CHECK(coded.stats().received_bytes != raw.stats().received_bytes);
  }
}

TEST_CASE("a step from a few floats gives the bits of a step from all") {
  for (const kernels::UpdateRule* rule : kernels::UpdateRules()) {
    for (const char* codec : {"sparse", "top_k"}) {
      for (const float decay : {0.0f, 0.01f}) {
        INFO(rule->name << " and " << codec << ", weight decay " << decay);
        Job job = CodedJob("asp", codec);
        job.mutable_optimizer()->set_name(std::string(rule->name));
        job.mutable_optimizer()->set_weight_decay(decay);
        Cluster coded(job), raw(job);
        PartLayout nothing_exempt;
        nothing_exempt.elements = kElements;
        Sender sender(job, 0, nothing_exempt);
        for (uint64_t clock = 0; clock < 4; ++clock) {
          std::vector<float> gradient = Gaussian(clock);
          for (size_t i = 0; i < gradient.size(); ++i) {
            if ((i + clock) % 5 != 0) gradient[i] = 0;
          }
          const Push push = sender.Make(clock + 1, clock, gradient);
          coded.Do(push);
          raw.Do(Cluster::PushOf(0, clock + 1, clock, Decoded(push.message)));
        }
        CHECK(coded.stats().updates == 4);
        CHECK(coded.core().Checksum() == raw.core().Checksum());
      }
    }
  }
}

TEST_CASE("a codec that is not the job's is refused, raw never is") {
  const Job job = CodedJob("asp", "int8");
  Cluster cluster(job);
  Sender other(CodedJob("asp", "top_k"), 0);
  const Message refused = cluster.One(other.Make(1, 0, Gaussian(1)));
  CHECK(refused.header.reason == Refusal::kMalformed);
  CHECK(Text(refused.payload) == "codec top_k for a push; the job's is int8");
  CHECK(cluster.One(Cluster::PushOf(0, 1, 0, 1.0f)).header.reason == Refusal::kNone);

  Pull pull = Cluster::PullOf(0, 0);
  pull.header.codec = CodecId::kBf16;
  const Message no = cluster.One(pull);
  CHECK(no.header.reason == Refusal::kMalformed);
  CHECK(Text(no.payload) == "codec bf16 for a pull; the job's is raw");

  Push set = Sender(job, 0).Make(1, 0, Gaussian(1));
  set.message.header.kind = FrameKind::kSet;
  CHECK(cluster.One(Set{{}, set.message}).header.reason == Refusal::kMalformed);
}

TEST_CASE("an encoded push that is none is refused and changes nothing") {
  std::mt19937 random(5);
  for (const Codec* codec : Coded()) {
    INFO(std::string(codec->name));
    const Job job = CodedJob("asp", std::string(codec->name));
    Cluster cluster(job);
    Sender sender(job, 0);
    const uint64_t before = cluster.core().Checksum();
    const Push good = sender.Make(1, 0, Gaussian(1));
    for (const size_t keep : {size_t{0}, size_t{3}, good.message.payload.size() - 1}) {
      Push bad = good;
      bad.message.payload = Payload(good.message.payload.owner(), {good.message.payload.chunks()[0].first(keep)});
      const Message answer = cluster.One(bad);
      CHECK(answer.header.reason == Refusal::kMalformed);
      CHECK(!Text(answer.payload).empty());
    }
    CHECK(cluster.core().Checksum() == before);
    CHECK(cluster.One(good).header.reason == Refusal::kNone);
  }
}

TEST_CASE("floats that are not finite are refused in any codec") {
  const Job job = CodedJob("asp", "bf16");
  Cluster cluster(job);
  Push push = Sender(job, 0).Make(1, 0, std::vector<float>(kElements, 1.0f));
  auto bytes = std::make_shared<std::vector<std::byte>>(push.message.payload.chunks()[0].begin(),
                                                        push.message.payload.chunks()[0].end());
  // The last float becomes infinity.
  (*bytes)[bytes->size() - 2] = std::byte{0x80};
  (*bytes)[bytes->size() - 1] = std::byte{0x7f};
  push.message.payload = Payload(bytes, std::vector<Payload::Bytes>{*bytes});
  const Message answer = cluster.One(push);
  CHECK(answer.header.reason == Refusal::kNotFinite);
  CHECK(Text(answer.payload) == "element 99 of the gradient of clock 0 is not finite");
}

TEST_CASE("values come in the codec that the pull asks for, encoded once for all") {
  for (const char* name : {"bf16", "fp16"}) {
    INFO(name);
    const Job job = CodedJob("asp", "raw", name);
    Cluster cluster(job);
    cluster.Do(Cluster::PushOf(0, 1, 0, Gaussian(3)));
    Pull pull = Cluster::PullOf(1, 0);
    const Message raw = cluster.One(pull);
    CHECK(raw.header.codec == CodecId::kRaw);
    pull.header.codec = (*FindCodec(name))->id;
    const Message coded = cluster.One(pull);
    const Message again = cluster.One(pull);
    CHECK(coded.header.codec == pull.header.codec);
    CHECK(coded.header.payload_bytes == coded.payload.size());
    CHECK(coded.payload.size() == 4 + 2 * kElements);
    CHECK(coded.payload.chunks()[0].data() == again.payload.chunks()[0].data());
    const std::vector<float> exact = Values(raw.payload), near = Decoded(coded);
    for (size_t i = 0; i < kElements; ++i) REQUIRE(near[i] == Approx(exact[i]).epsilon(0x1p-8).margin(0x1p-24));
    // What was given out stays as it was.
    cluster.Do(Cluster::PushOf(0, 2, 1, Gaussian(4)));
    CHECK(Decoded(cluster.One(pull)) != near);
    CHECK(Decoded(coded) == near);
  }
}

TEST_CASE("a worker that says what it has gets the difference, any other the values") {
  const Job job = CodedJob("asp", "raw", "int8");
  Cluster cluster(job);
  Pull pull = Cluster::PullOf(1, 0);
  pull.header.codec = CodecId::kInt8;
  pull.header.sequence = 1;
  const Message whole = cluster.One(pull);
  CHECK(whole.header.codec == CodecId::kRaw);
  CHECK(whole.header.content == PushContent::kParameters);
  std::vector<float> has = Values(whole.payload);

  cluster.Do(Cluster::PushOf(0, 1, 0, Gaussian(3)));
  pull.header.sequence = 2;
  pull.header.position = 1;
  const Message difference = cluster.One(pull);
  CHECK(difference.header.codec == CodecId::kInt8);
  CHECK(difference.header.content == PushContent::kDifference);
  CHECK(difference.payload.size() < whole.payload.size());
  const std::vector<float> step = Decoded(difference);
  for (size_t i = 0; i < has.size(); ++i) has[i] += step[i];
  const auto& values = cluster.core().table(0)->parts()[0].values;
  for (size_t i = 0; i < has.size(); ++i) REQUIRE(has[i] == Approx(values[i]).margin(0.02));

  // The answer to 2 is not what it says it has: an attempt that lost it, or one that is new.
  CHECK(cluster.One(pull).header.codec == CodecId::kRaw);
  pull.header.position = 2;
  CHECK(cluster.One(pull).header.codec == CodecId::kInt8);
  cluster.Rejoin(1, 21);
  pull.header.fence = 21;
  CHECK(cluster.One(pull).header.codec == CodecId::kRaw);
  cluster.Do(Leave{.ticket = 0, .partition = 1, .fence = 21});
  cluster.Rejoin(1, 31);
  pull.header.fence = 31;
  CHECK(cluster.One(pull).header.codec == CodecId::kRaw);

  // Who only reads along gets values.
  cluster.Do(Join{.ticket = 9, .partition = 0, .fence = 99, .observer = true});
  pull.header.fence = 99;
  CHECK(cluster.One(pull).header.reason == Refusal::kMalformed);
  pull.header.codec = CodecId::kRaw;
  CHECK(cluster.One(pull).header.kind == FrameKind::kValues);
}

}  // namespace
}  // namespace downpour::ps
