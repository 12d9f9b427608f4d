#include "ps/shared_buffers.h"

#include <algorithm>
#include <atomic>

namespace downpour::ps {
namespace {

constexpr size_t kMostSpare = 2;

}  // namespace

std::shared_ptr<ByteBuffer> SharedBuffers::Take() {
  auto free = std::ranges::find_if(buffers_, [](const auto& buffer) { return buffer.use_count() == 1; });
  if (free == buffers_.end()) {
    buffers_.push_back(std::make_shared<ByteBuffer>());
    free = buffers_.end() - 1;
  }
  const std::shared_ptr<ByteBuffer> taken = *free;
  // One in use and one on its way are the steady state; more only stay as long as somebody is slow to read.
  size_t spare = 0;
  std::erase_if(buffers_, [&](const auto& buffer) { return buffer.use_count() == 1 && ++spare > kMostSpare; });
  std::atomic_thread_fence(std::memory_order_acquire);  // what its last holder read, it has read
  return taken;
}

}  // namespace downpour::ps
