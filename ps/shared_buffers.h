// Buffers for payloads, each used again once nobody else holds it.
#pragma once

#include <memory>
#include <vector>

#include "proto/codec/byte_buffer.h"

namespace downpour::ps {

// One thread at a time; the buffers may be let go on any.
class SharedBuffers {
 public:
  // Its content is old.
  std::shared_ptr<ByteBuffer> Take();

 private:
  std::vector<std::shared_ptr<ByteBuffer>> buffers_;
};

}  // namespace downpour::ps
