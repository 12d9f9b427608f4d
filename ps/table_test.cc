#include "ps/table.h"

#include <catch2/catch.hpp>
#include <random>
#include <vector>

#include "proto/codec/part_encoder.h"

namespace downpour::ps {
namespace {

constexpr uint32_t kElements = 20'011;

// Of which every fifth run of 1 to 90 floats is not zero.
std::vector<float> Sparse(uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(kElements);
  for (size_t i = 0; i < values.size();) {
    const bool taken = random() % 5 == 0;
    for (size_t end = std::min<size_t>(values.size(), i + 1 + random() % 90); i < end; ++i) {
      if (taken) values[i] = static_cast<float>(random() % 1000) / 500 - 0.9999f;
    }
  }
  return values;
}

Message Raw(const std::vector<float>& values) {
  auto owner = std::make_shared<std::vector<float>>(values);
  Message message;
  message.header.elements = kElements;
  message.payload = Payload(owner, std::span<const float>(*owner));
  return message;
}

Message Encoded(const std::vector<float>& values) {
  PartLayout layout;
  layout.elements = kElements;
  PartEncoder encoder(kSparseCodec, {}, layout, false, 0);
  auto buffer = std::make_shared<ByteBuffer>();
  encoder.Encode(values, buffer.get());
  Message message;
  message.header.codec = CodecId::kSparse;
  message.header.elements = kElements;
  message.payload = Payload(buffer, std::vector<Payload::Bytes>{std::as_const(*buffer).bytes()});
  return message;
}

std::unique_ptr<Table> Made(const kernels::UpdateRule& rule) {
  // Borders within what is gathered at once, one group that steps by its own rate, and one of running averages.
  const std::vector<ParamGroup> groups = {{.begin = 0, .end = 700, .settings = {}},
                                          {.begin = 700, .end = 9'001, .settings = {.lr_mult = 3}},
                                          {.begin = 9'001, .end = 9'500, .settings = {.average = true}},
                                          {.begin = 9'500, .end = kElements, .settings = {.lr_mult = 0.5f}}};
  const PartRange range{0, 0, kElements};
  std::unique_ptr<Table> table = Table::Create(0, {&range, 1}, groups, &rule, 1);
  REQUIRE(table != nullptr);
  std::vector<float> first(kElements);
  for (size_t i = 0; i < first.size(); ++i) first[i] = static_cast<float>(i % 17) / 8 - 1.003f;
  table->Assign(table->parts()[0], Raw(first));
  return table;
}

TEST_CASE("a step at the floats that a push says something of gives the bits of the whole, for each rule") {
  for (const kernels::UpdateRule* rule : kernels::UpdateRules()) {
    for (const float clip : {0.0f, 0.3f}) {
      for (const float decay : {0.0f, 0.01f}) {
        CAPTURE(std::string(rule->name), clip, decay);
        const kernels::Hyper hyper = {.learning_rate = 0.05f,
                                      .weight_decay = decay,
                                      .clip_value = clip,
                                      .momentum = 0.9f,
                                      .beta1 = 0.9f,
                                      .beta2 = 0.99f,
                                      .alpha = 0.9f,
                                      .rho = 0.9f,
                                      .epsilon = 1e-6f,
                                      .beta = 1,
                                      .trust = 0.01f};
        const std::unique_ptr<Table> whole = Made(*rule), sparse = Made(*rule);
        for (uint32_t step = 0; step < 3; ++step) {
          const std::vector<float> gradient = Sparse(step);
          const Message raw = Raw(gradient), coded = Encoded(gradient);
          const Table::Gradient a{&raw, 1}, b{&coded, 1};
          whole->Apply(whole->parts()[0], hyper, {&a, 1}, {});
          sparse->Apply(sparse->parts()[0], hyper, {&b, 1}, {});
        }
        CHECK(whole->parts()[0].version == 3);
        CHECK(whole->Checksum() == sparse->Checksum());
      }
    }
  }
}

TEST_CASE("several encoded pushes of one clock are their weighted sum") {
  const std::unique_ptr<Table> raw = Made(kernels::kSgd), coded = Made(kernels::kSgd);
  const std::vector<float> one = Sparse(1), two = Sparse(2);
  const Message raw_one = Raw(one), raw_two = Raw(two), coded_one = Encoded(one), coded_two = Encoded(two);
  const std::vector<Table::Gradient> plain = {{&raw_one, 0.25f}, {&raw_two, 0.75f}};
  const std::vector<Table::Gradient> sparse = {{&coded_one, 0.25f}, {&coded_two, 0.75f}};
  raw->Apply(raw->parts()[0], {.learning_rate = 0.1f}, plain, {});
  coded->Apply(coded->parts()[0], {.learning_rate = 0.1f}, sparse, {});
  CHECK(raw->Checksum() == coded->Checksum());
}

}  // namespace
}  // namespace downpour::ps
