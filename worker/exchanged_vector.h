// Floats that go to servers or come from them: in memory that servers on this host have mapped, where there is some.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "kernels/aligned_buffer.h"
#include "proto/shared_region.h"

namespace downpour::worker {

// Starts on a cache line, zero at first. Owns its memory, and keeps its region mapped; size fixed at construction.
class ExchangedVector {
 public:
  // In the region as long as that has room, in the worker's own memory otherwise. `region` may be null; it is taken
  // from on one thread.
  ExchangedVector(std::size_t size, const std::shared_ptr<SharedRegion>& region) : size_(size) {
    if (region != nullptr) {
      if (const auto piece = region->Take(size * sizeof(float)); piece.ok()) {
        region_ = region;
        data_ = reinterpret_cast<float*>(piece->data());
        return;
      }
    }
    own_ = std::make_unique<kernels::AlignedBuffer>(size);
    data_ = own_->data();
  }

  float* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::size_t size_;
  std::shared_ptr<SharedRegion> region_;  // or
  std::unique_ptr<kernels::AlignedBuffer> own_;
  float* data_ = nullptr;
};

}  // namespace downpour::worker
