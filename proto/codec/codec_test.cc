// Contracts of all codecs of the table, and what single ones promise besides.
#include "proto/codec/codec.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "kernels/vector_ops.h"
#include "proto/codec/block_reader.h"
#include "proto/codec/part_encoder.h"
#include "proto/codec/part_layout.h"
#include "proto/codec/sparse_reader.h"
#include "proto/job_keys.h"

namespace downpour {
namespace {

using Floats = std::vector<float>;
using Bytes = std::vector<std::byte>;

std::vector<const Codec*> Coded() {
  std::vector<const Codec*> coded;
  for (const Codec* codec : Codecs()) {
    if (codec->id != CodecId::kRaw) coded.push_back(codec);
  }
  return coded;
}

Payload Whole(Bytes bytes) {
  auto owner = std::make_shared<const Bytes>(std::move(bytes));
  return Payload(owner, std::vector<Payload::Bytes>{Payload::Bytes(*owner)});
}

// The same bytes in pieces.
Payload Cut(const Bytes& bytes, std::mt19937& random) {
  auto owner = std::make_shared<const Bytes>(bytes);
  std::vector<Payload::Bytes> chunks;
  for (size_t at = 0; at < owner->size();) {
    const size_t n = std::min<size_t>(owner->size() - at, random() % 700);
    chunks.push_back(Payload::Bytes(*owner).subspan(at, n));
    at += n;
  }
  return Payload(owner, std::move(chunks));
}

// In blocks of up to `limit`.
absl::StatusOr<Floats> Decoded(CodecId codec, const Payload& payload, uint32_t elements, size_t limit = 1000) {
  auto reader = BlockReader::Open(codec, payload, elements);
  if (!reader.ok()) return reader.status();
  Floats out, scratch(limit);
  for (;;) {
    const auto block = (*reader)->Next(limit, scratch);
    if (block.empty()) return out;
    REQUIRE(block.size() <= limit);
    out.insert(out.end(), block.begin(), block.end());
    REQUIRE(out.size() <= elements);
  }
}

Floats Gaussian(size_t size, float scale, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> draw(0, scale);
  Floats values(size);
  for (float& value : values) value = draw(random);
  return values;
}

// All of one matrix, 50 floats in each row.
PartLayout Plain(uint32_t elements) {
  PartLayout layout;
  layout.elements = elements;
  if (elements >= 50) layout.rows = {{0, elements / 50 * 50, 50}};
  return layout;
}

Bytes Encoded(PartEncoder& encoder, const Floats& values) {
  ByteBuffer buffer;
  encoder.Encode(values, &buffer);
  return Bytes(buffer.bytes().begin(), buffer.bytes().end());
}

double Square(const Floats& values) { return kernels::SumOfSquares(values); }

TEST_CASE("names and numbers are each one codec's") {
  std::set<std::string> names;
  std::set<CodecId> ids;
  for (const Codec* codec : Codecs()) {
    INFO(std::string(codec->name));
    CHECK(names.insert(std::string(codec->name)).second);
    CHECK(ids.insert(codec->id).second);
    CHECK(codec->id <= kLastCodec);
    CHECK(FindCodec(codec->id) == codec);
    CHECK(*FindCodec(codec->name) == codec);
  }
  CHECK(FindCodec(static_cast<CodecId>(99)) == nullptr);
  CHECK(FindCodec("zip").status().message() ==
        "there is no codec 'zip'; there are raw, bf16, fp16, int8, one_bit, top_k, threshold, random_k, power_sgd, "
        "sparse");
}

TEST_CASE("a job may name each of them") {
  const auto choices = [](const google::protobuf::Descriptor* section) {
    const auto& key = KeyOf(section->FindFieldByName("codec"));
    return std::vector<std::string>(key.choices().begin(), key.choices().end());
  };
  std::vector<std::string> all, for_pulls;
  for (const Codec* codec : Codecs()) {
    all.emplace_back(codec->name);
    // A server knows no matrices.
    if (codec->id != CodecId::kPowerSgd) for_pulls.emplace_back(codec->name);
  }
  CHECK(choices(PushWire::descriptor()) == all);
  CHECK(choices(PullWire::descriptor()) == for_pulls);
}

TEST_CASE("numbers on the wire stay what they are") {
  const auto id = [](absl::string_view name) { return static_cast<int>((*FindCodec(name))->id); };
  CHECK(id("raw") == 1);
  CHECK(id("bf16") == 2);
  CHECK(id("fp16") == 3);
  CHECK(id("int8") == 4);
  CHECK(id("one_bit") == 5);
  CHECK(id("top_k") == 6);
  CHECK(id("threshold") == 7);
  CHECK(id("random_k") == 8);
  CHECK(id("power_sgd") == 9);
  CHECK(id("sparse") == 10);
}

TEST_CASE("what is decoded and the error make up what was encoded") {
  for (const Codec* codec : Coded()) {
    for (const uint32_t elements : {1u, 2u, 31u, 33u, 255u, 4096u, 4097u, 12345u}) {
      for (const float scale : {1e-30f, 1e-3f, 1e4f}) {
        INFO(std::string(codec->name) << " of " << elements << " floats around " << scale);
        const Floats values = Gaussian(elements, scale, elements);
        const float largest = std::abs(*std::ranges::max_element(values, {}, [](float x) { return std::abs(x); }));
        CodecSettings settings;
        settings.threshold = scale;
        PartEncoder encoder(*codec, settings, Plain(elements), true, 7);
        std::mt19937 random(elements);
        const Bytes bytes = Encoded(encoder, values);
        const auto decoded = Decoded(codec->id, Cut(bytes, random), elements);
        INFO(decoded.status());
        REQUIRE(decoded.ok());
        REQUIRE(decoded->size() == elements);
        // To within what a float can say of the largest.
        for (size_t i = 0; i < elements; ++i) {
          REQUIRE(std::abs((*decoded)[i] + encoder.error()[i] - values[i]) <= 1e-5f * largest + 1e-37f);
        }
        CHECK(*Decoded(codec->id, Whole(bytes), elements, 5000) == *decoded);
      }
    }
  }
}

TEST_CASE("of many payloads of the same nothing is lost, only late") {
  constexpr uint32_t kElements = 5000;
  constexpr int kTimes = 400;
  for (const Codec* codec : Coded()) {
    INFO(std::string(codec->name));
    const Floats values = Gaussian(kElements, 1e-3f, 3);
    CodecSettings settings;
    settings.share = 0.05;
    settings.threshold = 0.01;  // each payload moves a float by no more
    PartEncoder encoder(*codec, settings, Plain(kElements), true, 7);
    std::vector<double> sum(kElements);
    for (int i = 0; i < kTimes; ++i) {
      const auto decoded = Decoded(codec->id, Whole(Encoded(encoder, values)), kElements);
      REQUIRE(decoded.ok());
      for (size_t at = 0; at < kElements; ++at) sum[at] += (*decoded)[at];
    }
    Floats off(kElements);
    for (size_t at = 0; at < kElements; ++at) off[at] = static_cast<float>(sum[at] / kTimes - values[at]);
    CHECK(Square(off) < 0.02 * Square(values));
  }
}

TEST_CASE("the same values, settings and seed give the same bytes, another seed only where chance decides") {
  for (const Codec* codec : Coded()) {
    INFO(std::string(codec->name));
    const Floats values = Gaussian(3000, 1, 5);
    PartEncoder one(*codec, {}, Plain(3000), true, 7), same(*codec, {}, Plain(3000), true, 7);
    PartEncoder other(*codec, {}, Plain(3000), true, 8);
    const Bytes first = Encoded(one, values);
    CHECK(first == Encoded(same, values));
    const bool chance =
        codec->id == CodecId::kInt8 || codec->id == CodecId::kRandomK || codec->id == CodecId::kPowerSgd;
    CHECK((first != Encoded(other, values)) == chance);
    CHECK(Encoded(one, values) == Encoded(same, values));
  }
}

TEST_CASE("what is finite comes out finite") {
  const float largest = std::numeric_limits<float>::max();
  for (const Codec* codec : Coded()) {
    for (const float extreme : {largest, -largest, 0.0f, -0.0f, std::numeric_limits<float>::denorm_min()}) {
      INFO(std::string(codec->name) << " of " << extreme);
      Floats values(6000, extreme);
      for (size_t i = 0; i < values.size(); i += 3) values[i] = -extreme;
      PartEncoder encoder(*codec, {}, Plain(6000), true, 7);
      const auto decoded = Decoded(codec->id, Whole(Encoded(encoder, values)), 6000);
      REQUIRE(decoded.ok());
      CHECK(kernels::AllFinite(*decoded));
      CHECK(kernels::AllFinite(encoder.error()));
    }
  }
}

TEST_CASE("exempt floats travel as they are, and take no part in the rest") {
  constexpr uint32_t kElements = 10000;
  PartLayout layout = Plain(kElements);
  layout.exempt = {{0, 3}, {4000, 4200}, {9999, 10000}};
  layout.rows = {{5000, 9000, 50}};
  for (const Codec* codec : Coded()) {
    INFO(std::string(codec->name));
    Floats values = Gaussian(kElements, 1, 9);
    const Floats plain = values;
    for (const ExemptRange& range : layout.exempt) {
      for (size_t i = range.begin; i < range.end; ++i) values[i] *= 1e6f;
    }
    PartEncoder encoder(*codec, {}, layout, true, 7), tame(*codec, {}, layout, true, 7);
    std::mt19937 random(1);
    const auto decoded = Decoded(codec->id, Cut(Encoded(encoder, values), random), kElements, 777);
    const auto beside = Decoded(codec->id, Whole(Encoded(tame, plain)), kElements);
    REQUIRE(decoded.ok());
    REQUIRE(beside.ok());
    for (uint32_t i = 0; i < kElements; ++i) {
      const bool exempt = std::ranges::any_of(layout.exempt, [i](auto& r) { return i >= r.begin && i < r.end; });
      REQUIRE((*decoded)[i] == (exempt ? values[i] : (*beside)[i]));
      if (exempt) REQUIRE(encoder.error()[i] == 0);
    }
  }
}

TEST_CASE("what is added to floats is what would be decoded") {
  constexpr uint32_t kElements = 10000;
  PartLayout bare = Plain(kElements), layout = bare;
  layout.exempt = {{0, 3}, {4000, 4200}, {9999, 10000}};
  std::mt19937 random(5);
  for (const Codec* codec : Codecs()) {
    for (const PartLayout* each : {&bare, &layout}) {
      INFO(std::string(codec->name) << ", " << each->exempt.size() << " exempt ranges");
      if (codec->id == CodecId::kRaw && each == &layout) continue;
      PartEncoder encoder(*codec, {}, *each, true, 7);
      const Payload payload = Cut(Encoded(encoder, Gaussian(kElements, 1, 3)), random);
      Floats to = Gaussian(kElements, 1, 4), wanted = to;
      kernels::Axpy(1, *Decoded(codec->id, payload, kElements), wanted);
      REQUIRE(AddPayload(codec->id, payload, to).ok());
      CHECK(to == wanted);
      CHECK(AddPayload(codec->id, Whole({}), to).code() == absl::StatusCode::kInvalidArgument);
      CHECK(to == wanted);
    }
  }
  CHECK_FALSE(AddPayload(static_cast<CodecId>(200), Whole({}), {}).ok());
}

TEST_CASE("without feedback nothing is carried") {
  for (const Codec* codec : Coded()) {
    INFO(std::string(codec->name));
    PartEncoder encoder(*codec, {}, Plain(1000), false, 7);
    (void)Encoded(encoder, Gaussian(1000, 1, 1));
    const Floats zeros(1000);
    const auto decoded = Decoded(codec->id, Whole(Encoded(encoder, zeros)), 1000);
    REQUIRE(decoded.ok());
    CHECK(*decoded == zeros);
  }
}

// Each codec's own bound.
TEST_CASE("errors keep to what each codec states") {
  constexpr uint32_t kElements = 20000;
  const Floats values = Gaussian(kElements, 1, 11);
  const auto error = [&](absl::string_view name, CodecSettings settings = {}) {
    PartEncoder encoder(**FindCodec(name), settings, Plain(kElements), true, 7);
    (void)Encoded(encoder, values);
    return Floats(encoder.error().begin(), encoder.error().end());
  };
  const Floats bf16 = error("bf16"), fp16 = error("fp16"), int8 = error("int8");
  for (size_t i = 0; i < kElements; ++i) {
    REQUIRE(std::abs(bf16[i]) <= 0x1p-8f * std::abs(values[i]));
    REQUIRE(std::abs(fp16[i]) <= std::max(0x1p-11f * std::abs(values[i]), 0x1p-25f));
    float scale = 0;
    for (size_t j = i / 256 * 256; j < std::min<size_t>(kElements, i / 256 * 256 + 256); ++j) {
      scale = std::max(scale, std::abs(values[j]) / 127);
    }
    REQUIRE(std::abs(int8[i]) <= 1.0001f * scale);
  }
  // 1 - 2 / pi for a Gaussian.
  CHECK(Square(error("one_bit")) / Square(values) == Approx(0.363).margin(0.02));
  // The largest tenth holds 44 % of a Gaussian's square.
  CHECK(Square(error("top_k", {.share = 0.1})) / Square(values) == Approx(0.56).margin(0.02));
  CHECK(Square(error("random_k", {.share = 0.1})) / Square(values) == Approx(0.9).margin(0.02));
  const Floats threshold = error("threshold", {.threshold = 0.5f});
  for (size_t i = 0; i < kElements; ++i) {
    REQUIRE(std::abs(threshold[i]) <= std::max(0.5f, std::abs(values[i]) - 0.5f) * 1.0001f);
  }
  CHECK(Square(error("power_sgd")) <= Square(values));
}

TEST_CASE("top_k takes just the largest, of equals the first") {
  Floats values(100, 1.0f);
  values[70] = -3;
  values[20] = 0.5f;
  PartEncoder encoder(kTopKCodec, {.share = 0.04}, Plain(100), true, 7);
  Floats wanted(100);
  wanted[70] = -3;
  wanted[0] = wanted[1] = wanted[2] = 1;
  CHECK(*Decoded(CodecId::kTopK, Whole(Encoded(encoder, values)), 100) == wanted);
  // Zeros are not sent, whatever the share.
  PartEncoder sparse(kTopKCodec, {.share = 0.5}, Plain(100), true, 7);
  Floats few(100);
  few[40] = 1e-40f;
  const Bytes bytes = Encoded(sparse, few);
  CHECK(bytes.size() == 4 + 4 + 1 + 4);
  CHECK(*Decoded(CodecId::kTopK, Whole(bytes), 100) == few);
}

TEST_CASE("top_k takes just the largest wherever they are and however they are spread") {
  constexpr uint32_t kElements = 50000;
  std::mt19937 random(31);
  std::vector<std::pair<std::string, Floats>> shapes = {{"gaussian", Gaussian(kElements, 1, 5)}, {"equal", Floats(kElements, 2)}};
  Floats one_stretch(kElements), few(kElements), steps(kElements), rising(kElements);
  for (uint32_t i = 0; i < kElements; ++i) {
    one_stretch[i] = i / 1000 == 17 ? 100.0f + static_cast<float>(i) : 1e-3f * static_cast<float>(random() % 100);
    few[i] = i % 4999 == 0 ? -1.0f : 0.0f;
    steps[i] = static_cast<float>(random() % 3);
    rising[i] = static_cast<float>(i);
  }
  shapes.insert(shapes.end(), {{"one stretch", one_stretch}, {"few", few}, {"steps", steps}, {"rising", rising}});
  for (const auto& [name, values] : shapes) {
    for (const double share : {1e-5, 0.001, 0.01, 0.3, 1.0}) {
      INFO(name << ", share " << share);
      std::vector<uint32_t> order(kElements);
      std::iota(order.begin(), order.end(), 0u);
      std::stable_sort(order.begin(), order.end(),
                       [&](uint32_t a, uint32_t b) { return std::abs(values[a]) > std::abs(values[b]); });
      Floats wanted(kElements);
      const auto count = static_cast<uint32_t>(std::ceil(share * kElements));
      for (uint32_t i = 0; i < count; ++i) wanted[order[i]] = values[order[i]];
      PartEncoder encoder(kTopKCodec, {.share = share}, Plain(kElements), true, 7);
      CHECK(*Decoded(CodecId::kTopK, Whole(Encoded(encoder, values)), kElements) == wanted);
    }
  }
}

TEST_CASE("of a sparse gradient nothing is lost, whatever is zero") {
  std::mt19937 random(23);
  for (const uint32_t one_in : {1u, 2u, 3u, 10u, 300u, 100000u}) {
    for (const uint32_t run : {1u, 2u, 16u, 64u, 5000u}) {
      INFO("one in " << one_in << ", runs of " << run);
      const auto elements = static_cast<uint32_t>(9000 - random() % 70);
      Floats values(elements);
      for (uint32_t i = 0; i < elements; ++i) {
        if (random() % one_in == 0) {
          for (uint32_t end = std::min(elements, i + run); i < end; ++i) values[i] = 1e-3f * (1 + random() % 100);
        }
      }
      PartEncoder encoder(kSparseCodec, {}, Plain(elements), true, 7);
      const Bytes bytes = Encoded(encoder, values);
      CHECK(*Decoded(CodecId::kSparse, Cut(bytes, random), elements) == values);
      CHECK(Square(Floats(encoder.error().begin(), encoder.error().end())) == 0);
    }
  }
}

TEST_CASE("sparse: what it takes") {
  Floats values(1 << 20);
  const auto bytes = [&] {
    PartEncoder encoder(kSparseCodec, {}, Plain(1 << 20), false, 7);
    return Encoded(encoder, values).size();
  };
  constexpr size_t kHeader = 4 + 4 + 4;
  CHECK(bytes() == kHeader);
  // One far from the first: three bytes of the gap.
  values[600] = 1;
  CHECK(bytes() == kHeader + 3 + 4);
  // A row of 64, the hundredth.
  std::fill_n(values.begin() + 6400, 64, 1.0f);
  values[600] = 0;
  CHECK(bytes() == kHeader + 1 + 256);
  // Nothing but numbers.
  std::ranges::fill(values, 1.0f);
  CHECK(bytes() == kHeader + (4 << 20));
}

TEST_CASE("sparse decoders say what dense ones do") {
  constexpr uint32_t kElements = 9000;
  for (const Codec* codec : Coded()) {
    const Floats values = Gaussian(kElements, 1, 29);
    PartEncoder encoder(*codec, {.share = 0.1, .threshold = 0.5f}, Plain(kElements), true, 7);
    const Payload payload = Whole(Encoded(encoder, values));
    const auto reader = SparseReader::Open(codec->id, payload, kElements);
    INFO(std::string(codec->name));
    REQUIRE(reader.ok());
    REQUIRE((*reader != nullptr) == (codec->sparse_decoder != nullptr));
    if (*reader == nullptr) continue;
    Floats out(kElements);
    std::vector<uint32_t> places(333);
    Floats some(333);
    int64_t before = -1;
    while (const size_t count = (*reader)->Next(places, some)) {
      for (size_t i = 0; i < count; ++i) {
        REQUIRE(int64_t{places[i]} > before);
        REQUIRE(places[i] < kElements);
        out[places[i]] = some[i];
        before = places[i];
      }
    }
    CHECK(out == *Decoded(codec->id, payload, kElements));
  }
}

TEST_CASE("the first float that is no number is found in any payload that has some") {
  Floats values = Gaussian(5000, 1, 3);
  CHECK(*FirstNonFinite(CodecId::kRaw,
                        Whole(Bytes(std::as_bytes(std::span(values)).begin(), std::as_bytes(std::span(values)).end())),
                        5000) == std::nullopt);
  values[4321] = std::numeric_limits<float>::quiet_NaN();
  CHECK(*FirstNonFinite(CodecId::kRaw,
                        Whole(Bytes(std::as_bytes(std::span(values)).begin(), std::as_bytes(std::span(values)).end())),
                        5000) == 4321);
  for (const Codec* codec : {&kSparseCodec, &kTopKCodec}) {
    PartEncoder encoder(*codec, {.share = 1}, Plain(5000), true, 7);
    CHECK(*FirstNonFinite(codec->id, Whole(Encoded(encoder, values)), 5000) == 4321);
    CHECK_FALSE(FirstNonFinite(codec->id, Whole(Bytes(3)), 5000).ok());
  }
}

TEST_CASE("sparse: places beyond the part, cut ones and values that are not as many are refused") {
  // Of a part of 100 floats.
  const auto taken = [](uint32_t unit, std::initializer_list<int> gaps, uint32_t floats, size_t there) {
    ByteBuffer buffer;
    buffer.Append(uint32_t{0});
    buffer.Append(unit);
    buffer.Append(floats);
    buffer.AppendAll(std::span<const float>(Floats(there, 1.0f)));
    for (const int gap : gaps) buffer.Append(static_cast<std::byte>(gap));
    return Decoded(CodecId::kSparse, Whole(Bytes(buffer.bytes().begin(), buffer.bytes().end())), 100).ok();
  };
  CHECK(taken(1, {}, 0, 0));
  CHECK(taken(1, {99}, 1, 1));
  CHECK(taken(1, {0, 0, 97}, 3, 3));
  CHECK(taken(16, {0, 4}, 32, 32));
  CHECK(taken(16, {6}, 4, 4));  // the last one has but four
  CHECK(taken(16, {0, 5}, 20, 20));
  CHECK_FALSE(taken(16, {0, 5}, 32, 32));
  CHECK_FALSE(taken(1, {100}, 1, 1));
  CHECK_FALSE(taken(1, {0, 99}, 2, 2));
  CHECK_FALSE(taken(1, {255}, 0, 0));  // goes on nowhere
  CHECK_FALSE(taken(1, {255, 0}, 1, 1));
  CHECK_FALSE(taken(16, {7}, 16, 16));
  CHECK_FALSE(taken(1, {5}, 2, 2));
  CHECK_FALSE(taken(1, {5, 5}, 1, 1));
  CHECK_FALSE(taken(1, {5}, 1000, 1));
  CHECK_FALSE(taken(1, {5}, 0xffffffff, 1));
  CHECK(taken(0, {}, 100, 100));
  CHECK_FALSE(taken(0, {5}, 100, 100));
  CHECK_FALSE(taken(0, {}, 100, 99));
  CHECK_FALSE(taken(0, {}, 99, 99));
  CHECK_FALSE(taken(3, {5}, 3, 3));
  CHECK_FALSE(taken(128, {0}, 100, 100));
}

TEST_CASE("no codec makes more of floats than a frame has room for") {
  constexpr uint32_t kElements = 1 << 18;
  for (const Codec* codec : Coded()) {
    for (const float scale : {1e-4f, 1.0f}) {
      PartLayout layout = Plain(kElements);
      layout.exempt = {{0, 100}, {3000, 100000}};
      layout.rows = {{100000, 200000, 50}};
      PartEncoder encoder(*codec, {.share = 1, .threshold = 0.1f, .rank = 64}, layout, true, 7);
      INFO(std::string(codec->name));
      CHECK(Encoded(encoder, Gaussian(kElements, scale, 3)).size() <= MostPayloadBytes(kElements * sizeof(float)));
    }
  }
}

TEST_CASE("a matrix of low rank comes through power_sgd as it was") {
  constexpr uint32_t kRows = 60, kColumns = 50, kElements = kRows * kColumns;
  const Floats left = Gaussian(kRows * 2, 1, 1), right = Gaussian(kColumns * 2, 1, 2);
  Floats values(kElements);
  for (uint32_t i = 0; i < kElements; ++i) {
    values[i] = left[i / kColumns] * right[i % kColumns] + left[kRows + i / kColumns] * right[kColumns + i % kColumns];
  }
  PartEncoder encoder(kPowerSgdCodec, {.rank = 3}, Plain(kElements), true, 7);
  const Bytes bytes = Encoded(encoder, values);
  CHECK(bytes.size() == 4 + 8 + 12 + 4 * 3 * (kRows + kColumns));
  CHECK(Square(Floats(encoder.error().begin(), encoder.error().end())) < 1e-8 * Square(values));
}

TEST_CASE("ratios are what they should be") {
  constexpr uint32_t kElements = 1 << 20;
  const Floats values = Gaussian(kElements, 1e-3f, 13);
  const auto ratio = [&](absl::string_view name) {
    PartEncoder encoder(**FindCodec(name), {}, Plain(kElements), true, 7);
    return 4.0 * kElements / static_cast<double>(Encoded(encoder, values).size());
  };
  CHECK(ratio("bf16") == Approx(2).epsilon(0.001));
  CHECK(ratio("fp16") == Approx(2).epsilon(0.001));
  CHECK(ratio("int8") > 3.9);
  CHECK(ratio("one_bit") > 31);
  CHECK(ratio("top_k") > 75);
  CHECK(ratio("random_k") > 99);
}

TEST_CASE("what is no payload is refused, or read without harm") {
  constexpr uint32_t kElements = 5000;
  std::mt19937 random(17);
  PartLayout layout = Plain(kElements);
  layout.exempt = {{100, 120}};
  layout.rows = {{150, 4650, 50}};
  for (const Codec* codec : Coded()) {
    INFO(std::string(codec->name));
    PartEncoder encoder(*codec, {}, layout, true, 7);
    const Bytes good = Encoded(encoder, Gaussian(kElements, 1, 1));
    for (int round = 0; round < 3000; ++round) {
      Bytes bad = good;
      if (round % 3 == 0) bad.resize(random() % (good.size() + 20));
      for (uint32_t i = 0; i < random() % 8 && !bad.empty(); ++i) {
        // Mostly where the structure is.
        const size_t at = random() % (random() % 2 == 0 ? std::min<size_t>(bad.size(), 40) : bad.size());
        bad[at] = static_cast<std::byte>(random() % 4 == 0 ? 0xff : random());
      }
      if (const auto decoded = Decoded(codec->id, Whole(bad), kElements); decoded.ok()) {
        REQUIRE(decoded->size() == kElements);
      }
    }
    CHECK_FALSE(Decoded(codec->id, Whole({}), kElements).ok());
    // Of another part's length.
    if (codec->sparse_decoder == nullptr) {
      CHECK_FALSE(Decoded(codec->id, Whole(good), kElements + 40).ok());
    }
    CHECK_FALSE(Decoded(codec->id, Whole(good), 60).ok());
  }
  CHECK_FALSE(Decoded(CodecId::kRaw, Whole(Bytes(12)), 4).ok());
  CHECK_FALSE(Decoded(static_cast<CodecId>(99), Whole(Bytes(12)), 3).ok());
}

// ---- Where a part is cut.

TableSpec Spec() {
  TableSpec spec;
  uint64_t offset = 0;
  const auto add = [&](const std::string& name, std::initializer_list<uint64_t> shape, bool average) {
    TensorSpec* const tensor = spec.add_tensors();
    tensor->set_name(name);
    tensor->set_offset(offset);
    tensor->set_average(average);
    uint64_t size = 1;
    for (const uint64_t extent : shape) {
      tensor->add_shape(extent);
      size *= extent;
    }
    offset += (size + 15) / 16 * 16;
  };
  add("conv.weight", {20, 30}, false);  // 0, 600 and 8 of padding
  add("conv.bias", {20}, false);        // 608
  add("bn.mean", {20}, true);           // 640
  add("ip.weight", {10, 100}, false);   // 672
  add("bn2.mean", {2000}, true);        // 1680
  spec.set_elements(offset);
  return spec;
}

TEST_CASE("running averages and small tensors are exempt, whole rows are matrices") {
  const TableSpec spec = Spec();
  CHECK(LayoutOf(spec, 0, spec.elements(), 100) ==
        PartLayout{3680, {{608, 660}, {1680, 3680}}, {{0, 600, 30}, {672, 1672, 100}}});
  CHECK(LayoutOf(spec, 0, spec.elements(), 0) ==
        PartLayout{3680, {{640, 660}, {1680, 3680}}, {{0, 600, 30}, {672, 1672, 100}}});
  // From within a row to within another.
  CHECK(LayoutOf(spec, 48, 1040, 100) == PartLayout{992, {{560, 612}}, {{12, 552, 30}, {624, 924, 100}}});
  CHECK(LayoutOf(spec, 16, 32, 100) == PartLayout{16, {}, {}});
}

// ---- Raw payloads.

TEST_CASE("floats are read whole wherever the chunks are cut") {
  Floats values(997);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0.37f;
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    // Starts at an odd address, so that nothing is aligned but by chance.
    auto bytes = std::make_shared<Bytes>(values.size() * sizeof(float) + 1);
    std::memcpy(bytes->data() + 1, values.data(), values.size() * sizeof(float));
    std::span<const std::byte> left(bytes->data() + 1, values.size() * sizeof(float));
    std::vector<Payload::Bytes> chunks;
    while (!left.empty()) {
      const size_t n = std::min<size_t>(left.size(), random() % (round % 2 == 0 ? 7 : 900));
      chunks.push_back(left.first(n));
      left = left.subspan(n);
    }
    const Payload payload(bytes, chunks);
    CHECK(*Decoded(CodecId::kRaw, payload, 997, 1 + random() % 300) == values);
  }
}

TEST_CASE("an aligned chunk is not copied") {
  auto values = std::make_shared<Floats>(64, 1.0f);
  const Payload payload(values, std::span<const float>(*values));
  const auto reader = BlockReader::Open(CodecId::kRaw, payload, 64);
  REQUIRE(reader.ok());
  Floats scratch(64);
  CHECK((*reader)->Next(64, scratch).data() == values->data());
}

}  // namespace
}  // namespace downpour
