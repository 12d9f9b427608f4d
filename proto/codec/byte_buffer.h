// Bytes that grow at the end, without being written first.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>

namespace downpour {

// Keeps its memory when it is cleared. One thread at a time.
class ByteBuffer {
 public:
  size_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {data_.get(), size_}; }
  std::span<std::byte> bytes() { return {data_.get(), size_}; }

  void Clear() { size_ = 0; }

  // The next `size` bytes, in any state; good until the next call.
  std::span<std::byte> Extend(size_t size) {
    if (size > capacity_ - size_) Grow(size_ + size);
    size_ += size;
    return {data_.get() + size_ - size, size};
  }

  // Forgets what is behind the first `size` bytes.
  void Truncate(size_t size) { size_ = std::min(size, size_); }

  template <typename T>
  void Append(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    std::memcpy(Extend(sizeof(T)).data(), &value, sizeof(T));
  }

  template <typename T>
  void AppendAll(std::span<const T> values) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (!values.empty()) std::memcpy(Extend(values.size_bytes()).data(), values.data(), values.size_bytes());
  }

 private:
  void Grow(size_t least) {
    const size_t capacity = std::max(least, 2 * capacity_);
    auto data = std::make_unique_for_overwrite<std::byte[]>(capacity);
    if (size_ > 0) std::memcpy(data.get(), data_.get(), size_);
    data_ = std::move(data);
    capacity_ = capacity;
  }

  std::unique_ptr<std::byte[]> data_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace downpour
