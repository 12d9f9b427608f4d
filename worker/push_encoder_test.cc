#include "worker/push_encoder.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <vector>

#include "proto/codec/block_reader.h"
#include "proto/job_config.h"
#include "proto/shard_map.h"

namespace downpour::worker {
namespace {

constexpr uint64_t kElements = 100'000;

TableSpec Table() {
  TableSpec table;
  table.set_elements(kElements);
  TensorSpec* const tensor = table.add_tensors();
  tensor->set_name("ip.weight");
  tensor->add_shape(100);
  tensor->add_shape(kElements / 100);
  return table;
}

class Pushes {
 public:
  explicit Pushes(const std::string& yaml) {
    const auto job = ParseJob(
        "name: small\nnet:\n  - {name: ip, type: inner_product, outputs: 10}\n"
        "  - {name: loss, type: softmax_loss}\n" +
            yaml,
        "job.yaml");
    INFO(job.status());
    REQUIRE(job.ok());
    map_ = MakeShardMap(kElements, 1, 2, 4 << 20);
    encoder_ = *PushEncoder::Create(*job, 0, Table(), map_);
    levels_ = WireCodecsOf(*job)->levels;
  }

  // Bytes of a push of `value` everywhere; what came of it is added to `sum`.
  size_t Push(double now, const std::vector<float>& values) {
    const PushEncoder::Plan plan = encoder_->Begin(PushContent::kGradient, now);
    codec = plan.codec->id;
    last.clear();
    size_t bytes = 0;
    for (int i = 0; i < map_.tables(0).parts_size(); ++i) {
      const ShardMap::Part& part = map_.tables(0).parts(i);
      const std::span<const float> of_part = std::span(values).subspan(part.begin(), part.end() - part.begin());
      if (!plan.encoded) {
        bytes += of_part.size_bytes();
        for (size_t j = 0; j < of_part.size(); ++j) sum[part.begin() + j] += of_part[j];
        continue;
      }
      ByteBuffer buffer;
      encoder_->Encode(i, of_part, &buffer);
      bytes += buffer.size();
      auto kept = std::make_shared<std::vector<std::byte>>(buffer.bytes().begin(), buffer.bytes().end());
      const Payload payload(kept, std::vector<Payload::Bytes>{*kept});
      last.push_back({{.kind = FrameKind::kPush, .codec = codec, .part = static_cast<uint32_t>(i)}, payload});
      const auto reader = BlockReader::Open(codec, payload, of_part.size());
      REQUIRE(reader.ok());
      std::vector<float> scratch(kBlockElements);
      for (size_t at = part.begin(); at < part.end();) {
        const auto block = (*reader)->Next(kBlockElements, scratch);
        for (size_t j = 0; j < block.size(); ++j) sum[at + j] += block[j];
        at += block.size();
      }
    }
    return bytes;
  }

  std::vector<WireLevel> levels_;
  std::unique_ptr<PushEncoder> encoder_;
  CodecId codec = CodecId::kRaw;
  std::vector<double> sum = std::vector<double>(kElements);
  std::vector<Message> last;  // by part, of the push before

  // What was pushed last was taken by nobody.
  void TakeBack(const std::vector<float>& values) {
    for (const Message& message : last) {
      const ShardMap::Part& part = map_.tables(0).parts(static_cast<int>(message.header.part));
      encoder_->TakeBack(message.header.part, std::span(values).subspan(part.begin(), part.end() - part.begin()), message);
    }
  }

 private:
  ShardMap map_;
};

std::vector<float> Gaussian() {
  std::mt19937 random(1);
  std::normal_distribution<float> draw;
  std::vector<float> values(kElements);
  for (float& value : values) value = draw(random);
  return values;
}

TEST_CASE("raw pushes are not touched where nothing can wait for the next") {
  Pushes pushes("");
  CHECK(pushes.Push(1, Gaussian()) == kElements * 4);
  CHECK_FALSE(pushes.encoder_->Begin(PushContent::kGradient, 1).encoded);
  Pushes coded("wire: {push: {codec: int8}}");
  CHECK(coded.Push(1, Gaussian()) < kElements * 1.1);
  CHECK(coded.codec == CodecId::kInt8);
}

TEST_CASE("a bound on bandwidth is kept: what is largest goes first, and the rest comes when there is room") {
  // 1 Mb/s are 125,000 bytes a second, and a push 400,000.
  Pushes pushes("wire: {push: {max_bandwidth_mbps: 1}}");
  const std::vector<float> values = Gaussian(), zeros(kElements);
  double bytes = 0;
  bytes += pushes.Push(10, values);
  CHECK(pushes.codec == CodecId::kTopK);
  CHECK(bytes < 126'000);
  CHECK(bytes > 100'000);
  size_t largest = 0;
  for (size_t i = 0; i < kElements; ++i) {
    if (std::abs(values[i]) > std::abs(values[largest])) largest = i;
  }
  CHECK(pushes.sum[largest] == values[largest]);
  for (int tenth = 1; tenth <= 60; ++tenth) bytes += pushes.Push(10 + 0.1 * tenth, zeros);
  CHECK(bytes < 125'000 * 7.1);
  double missing = 0;
  for (size_t i = 0; i < kElements; ++i) missing += std::abs(pushes.sum[i] - values[i]);
  CHECK(missing < 1e-3);
}

TEST_CASE("under a bound too, a raw push is left where it lies when there is room and nothing waits") {
  // 6 Mb/s are 750,000 bytes a second.
  Pushes pushes("wire: {push: {max_bandwidth_mbps: 6}}");
  const auto encoded = [&](double now) {
    const bool made = pushes.encoder_->Begin(PushContent::kGradient, now).encoded;
    CHECK(pushes.codec == CodecId::kRaw);
    return made;
  };
  const std::vector<float> values = Gaussian();
  CHECK_FALSE(encoded(10));               // takes 400,000 of 750,000
  pushes.Push(10.01, values);             // has room for a part
  CHECK(pushes.codec == CodecId::kTopK);  // and leaves the rest
  pushes.Push(20, values);                // which goes along
  CHECK_FALSE(encoded(30));
  double missing = 0;
  for (size_t i = 0; i < kElements; ++i) missing += std::abs(pushes.sum[i] - 2.0 * values[i]);
  CHECK(missing < 1e-2);
}

TEST_CASE("under a bound a codec of varying size comes back after one push that was large") {
  // 125,000 bytes a second; all of it is 400,000, one in a thousand 500.
  Pushes pushes("wire: {push: {codec: sparse, max_bandwidth_mbps: 1}}");
  std::vector<float> few(kElements);
  for (size_t i = 0; i < kElements; i += 1000) few[i] = 1;
  pushes.Push(10, Gaussian());
  CHECK(pushes.codec == CodecId::kSparse);
  double now = 10;
  int until = 0;
  do {
    pushes.Push(now += 0.5, few);
  } while (pushes.codec != CodecId::kSparse && ++until < 100);
  CHECK(until > 3);
  CHECK(until < 60);
}

TEST_CASE("under a bound the job's codec goes wherever there is room for it") {
  // A push by one_bit takes some 13,000 bytes; a second has 25,000.
  Pushes pushes("wire: {push: {codec: one_bit, max_bandwidth_mbps: 0.2}}");
  const std::vector<float> values = Gaussian();
  std::vector<CodecId> codecs;
  double bytes = 0;
  double now = 1;
  for (int i = 0; i < 20; ++i) {
    now += i % 2 == 0 ? 0.7 : 0.1;
    bytes += pushes.Push(now, values);
    codecs.push_back(pushes.codec);
  }
  CHECK(bytes < 25'000 * (now + 1));
  CHECK(std::ranges::count(codecs, CodecId::kOneBit) > 5);
  CHECK(std::ranges::count(codecs, CodecId::kTopK) > 5);
  // Nothing but that where it always fits.
  Pushes wide("wire: {push: {codec: one_bit, max_bandwidth_mbps: 2}}");
  for (int i = 1; i < 10; ++i) {
    wide.Push(i, values);
    CHECK(wide.codec == CodecId::kOneBit);
  }
}

TEST_CASE("with room enough a bound changes nothing but where values are added up") {
  Pushes pushes("wire: {push: {max_bandwidth_mbps: 100}}");
  const std::vector<float> values = Gaussian();
  for (int i = 1; i <= 3; ++i) {
    CHECK(pushes.Push(i, values) == kElements * 4);
    CHECK(pushes.codec == CodecId::kRaw);
  }
  CHECK(pushes.sum[17] == Approx(3 * values[17]));
}

TEST_CASE("levels go from what the job says to the least that it allows, and nothing is lost between them") {
  Pushes pushes("wire: {adapt: true, adapt_max_n: 22}\nsync: {mode: downpour, n_push: 5, n_fetch: 4}");
  const auto& levels = pushes.levels_;
  REQUIRE(levels.size() == 6);
  CHECK(levels[0].push->name == "raw");
  CHECK(levels[1].push->name == "int8");
  CHECK(levels[2].settings.share == Approx(0.01));
  CHECK(levels[3].settings.share == Approx(0.001));
  CHECK(levels[4].intervals == 2);
  CHECK(levels[5].intervals == 4);
  CHECK(levels[5].push->name == "top_k");

  const std::vector<float> values = Gaussian(), zeros(kElements);
  size_t last = SIZE_MAX;
  for (const WireLevel& level : {levels[0], levels[1], levels[2], levels[3]}) {
    pushes.encoder_->SetLevel(level);
    const size_t bytes = pushes.Push(1, values);
    CHECK(bytes < last);
    last = bytes;
  }
  pushes.encoder_->SetLevel(levels[0]);
  pushes.Push(1, zeros);
  double missing = 0;
  for (size_t i = 0; i < kElements; ++i) missing += std::abs(pushes.sum[i] - 4.0 * values[i]);
  CHECK(missing < 0.1);

  CHECK(Pushes("").levels_.size() == 1);
  CHECK(Pushes("wire: {adapt: true, adapt_min_share: 0.1}\nsync: {mode: asp}").levels_.size() == 3);
  CHECK(Pushes("wire: {adapt: true, push: {codec: top_k, share: 0.05}}\nsync: {mode: asp}").levels_.size() == 2);
}

TEST_CASE("what was taken by nobody leaves nothing that waits") {
  for (const std::string codec : {"top_k", "int8", "one_bit"}) {
    INFO(codec);
    Pushes pushes("wire: {push: {codec: " + codec + "}}");
    const std::vector<float> values = Gaussian(), zeros(kElements);
    pushes.Push(1, values);
    pushes.TakeBack(values);
    std::ranges::fill(pushes.sum, 0);
    pushes.Push(2, zeros);
    for (const double each : pushes.sum) REQUIRE(std::abs(each) < 1e-5);
  }
}

TEST_CASE("what waited before a push that nobody took waits on") {
  for (const std::string codec : {"top_k", "one_bit"}) {
    INFO(codec);
    Pushes without("wire: {push: {codec: " + codec + "}}");
    Pushes with("wire: {push: {codec: " + codec + "}}");
    const std::vector<float> values = Gaussian(), zeros(kElements);
    for (Pushes* pushes : {&without, &with}) pushes->Push(1, values);
    const std::vector<double> sent = with.sum;
    with.Push(2, values);
    with.TakeBack(values);
    with.sum = sent;
    for (Pushes* pushes : {&without, &with}) pushes->Push(3, zeros);
    for (size_t i = 0; i < kElements; ++i) REQUIRE(with.sum[i] == Approx(without.sum[i]).margin(1e-3));
    CHECK(with.sum != sent);
  }
}

}  // namespace
}  // namespace downpour::worker
