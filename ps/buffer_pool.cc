#include "ps/buffer_pool.h"

#include <utility>

namespace downpour::ps {

BufferPool::Buffer BufferPool::Take() {
  std::unique_ptr<PageBuffer> buffer;
  {
    std::lock_guard lock(shared_->mutex);
    if (!shared_->unused.empty()) {
      buffer = std::move(shared_->unused.back());
      shared_->unused.pop_back();
    }
  }
  if (buffer == nullptr) buffer = std::make_unique<PageBuffer>(shared_->elements);
  PageBuffer* taken = buffer.release();
  std::shared_ptr<const void> owner(taken, [shared = shared_](PageBuffer* returned) {
    std::unique_ptr<PageBuffer> back(returned);
    std::lock_guard lock(shared->mutex);
    if (back->size() == shared->elements && shared->unused.size() < shared->keep) {
      shared->unused.push_back(std::move(back));
    }
  });
  return {std::move(owner), taken->values()};
}

}  // namespace downpour::ps
