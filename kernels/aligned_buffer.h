// Memory for activations and scratch.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace downpour::kernels {

// Floats that start on a cache line, zero at first. Owns them; size fixed at construction.
class AlignedBuffer {
 public:
  explicit AlignedBuffer(std::size_t size)
      : size_(size), data_(static_cast<float*>(::operator new(size * sizeof(float), kAlignment))) {
    std::memset(data_.get(), 0, size * sizeof(float));
  }

  float* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Delete {
    void operator()(float* p) const { ::operator delete(p, kAlignment); }
  };

  std::size_t size_;
  std::unique_ptr<float, Delete> data_;
};

}  // namespace downpour::kernels
