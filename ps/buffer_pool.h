// Buffers for pull replies, used again when the last holder lets go, so that the steady state touches no new
// page.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "ps/page_buffer.h"

namespace downpour::ps {

class BufferPool {
 public:
  // Hands out buffers of `elements` floats and keeps at most `keep` unused ones.
  BufferPool(size_t elements, size_t keep) : shared_(std::make_shared<Shared>(elements, keep)) {}

  struct Buffer {
    std::shared_ptr<const void> owner;  // goes back to the pool, from whatever thread lets go last
    std::span<float> values;            // empty when the system has no memory left
  };

  // Any thread. The values are whatever the last user left. A buffer may outlive the pool.
  Buffer Take();

 private:
  struct Shared {
    Shared(size_t elements, size_t keep) : elements(elements), keep(keep) {}

    const size_t elements;
    const size_t keep;
    std::mutex mutex;
    std::vector<std::unique_ptr<PageBuffer>> unused ABSL_GUARDED_BY(mutex);
  };

  std::shared_ptr<Shared> shared_;
};

}  // namespace downpour::ps
