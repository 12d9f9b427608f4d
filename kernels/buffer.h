// Memory in which a device's ops work.
#pragma once

#include <cstddef>
#include <utility>

namespace downpour::kernels {

// Floats, zero at first, which the host may touch only where the device computes in its memory. Owns them; the device
// that made it must outlive it.
class Buffer {
 public:
  using Release = void (*)(float*);

  Buffer() = default;
  Buffer(float* data, std::size_t size, Release release) : data_(data), size_(size), release_(release) {}
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(release_, other.release_);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) release_(data_);
  }

  float* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  float* data_ = nullptr;
  std::size_t size_ = 0;
  Release release_ = nullptr;
};

}  // namespace downpour::kernels
