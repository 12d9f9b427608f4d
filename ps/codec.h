// Turns the bytes of a payload back into floats, block by block, so that they are decoded in the first-level
// cache on their way into the optimizer and never stand anywhere as a whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "proto/frame.h"
#include "proto/payload.h"

namespace downpour::ps {

inline constexpr size_t kBlockElements = 4096;

// Reads a payload's floats from front to back. Borrows the payload.
class BlockReader {
 public:
  virtual ~BlockReader() = default;

  // The next floats: at least one, at most `limit` and scratch.size(); none at the end. They lie in the
  // payload or in `scratch`, and are good until the next call or until scratch is used otherwise.
  virtual std::span<const float> Next(size_t limit, std::span<float> scratch) = 0;
};

struct Codec {
  CodecId id;
  std::string_view name;
  // How many bytes so many floats must have.
  uint64_t (*payload_bytes)(uint64_t elements);
  std::unique_ptr<BlockReader> (*read)(const Payload&);
};

// Null when there is no such codec.
const Codec* FindCodec(CodecId id);

}  // namespace downpour::ps
