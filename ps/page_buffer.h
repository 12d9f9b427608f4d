// A block of floats, all zero at first, aligned to 64 bytes. Large ones are pages of their own, taken from
// the system when first touched.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

namespace downpour::ps {

class PageBuffer {
 public:
  PageBuffer() = default;
  // Empty, where `elements` is not, when the system has no memory left.
  explicit PageBuffer(size_t elements);
  ~PageBuffer();
  PageBuffer(PageBuffer&& other) noexcept { *this = std::move(other); }
  PageBuffer& operator=(PageBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  float* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<float> values() const { return {data_, size_}; }

 private:
  float* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace downpour::ps
