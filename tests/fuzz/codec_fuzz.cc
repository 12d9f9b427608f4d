// Damaged payloads: refused, or as many floats as the part has. The first byte says which codec.
#include <cstdlib>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "proto/codec/block_reader.h"
#include "proto/codec/part_encoder.h"
#include "tests/fuzz/mutations.h"

namespace downpour {
namespace {

constexpr uint32_t kElements = 9000;

PartLayout Layout() {
  PartLayout layout;
  layout.elements = kElements;
  layout.exempt = {{0, 40}, {8000, 8100}};
  layout.rows = {{100, 7300, 80}};
  return layout;
}

std::string Seed(const Codec& codec) {
  std::mt19937 random(1);
  std::normal_distribution<float> draw(0, 0.01f);
  std::vector<float> values(kElements);
  for (float& value : values) value = draw(random);
  PartEncoder encoder(codec, {.share = 0.05, .threshold = 0.01f}, Layout(), true, 7);
  ByteBuffer payload;
  encoder.Encode(values, &payload);
  std::string seed(1, static_cast<char>(codec.id));
  seed.append(reinterpret_cast<const char*>(payload.bytes().data()), payload.size());
  return seed;
}

// False where a reader promised more or fewer floats than there are.
bool Read(const std::string& bytes) {
  if (bytes.empty()) return true;
  const auto body = std::as_bytes(std::span(bytes)).subspan(1);
  const Payload payload(nullptr, std::vector<Payload::Bytes>{body});
  const auto codec = static_cast<CodecId>(bytes[0]);
  const auto reader = BlockReader::Open(codec, payload, kElements);
  std::vector<float> sum(kElements);
  if (AddPayload(codec, payload, sum).ok() != reader.ok()) return false;
  if (!reader.ok()) return true;
  std::vector<float> scratch(kBlockElements);
  size_t read = 0;
  for (auto block = (*reader)->Next(kBlockElements, scratch); !block.empty();
       block = (*reader)->Next(kBlockElements, scratch)) {
    read += block.size();
    if (read > kElements) return false;
  }
  return read == kElements;
}

}  // namespace
}  // namespace downpour

int main(int argc, char** argv) {
  std::vector<std::string> seeds;
  for (const downpour::Codec* codec : downpour::Codecs()) seeds.push_back(downpour::Seed(*codec));
  return downpour::fuzz::Main(argc, argv, seeds, [](const std::string& bytes) {
    if (!downpour::Read(bytes)) std::abort();
  });
}
