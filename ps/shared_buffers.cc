#include "ps/shared_buffers.h"

#include <algorithm>
#include <atomic>

namespace downpour::ps {

std::shared_ptr<ByteBuffer> SharedBuffers::Take() {
  auto free = std::ranges::find_if(buffers_, [](const auto& buffer) { return buffer.use_count() == 1; });
  if (free == buffers_.end()) {
    buffers_.push_back(std::make_shared<ByteBuffer>());
    free = buffers_.end() - 1;
  }
  std::atomic_thread_fence(std::memory_order_acquire);  // what its last holder read, it has read
  return *free;
}

}  // namespace downpour::ps
