// Reads numbers from bytes that somebody else wrote.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace downpour {

// Borrows the bytes.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  size_t left() const { return bytes_.size(); }
  std::span<const std::byte> rest() const { return bytes_; }

  // False, and nothing is read, when fewer bytes are left.
  template <typename T>
  bool Read(T* value) {
    return ReadAll(std::span<T>(value, 1));
  }

  template <typename T>
  bool ReadAll(std::span<T> values) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (values.size_bytes() > bytes_.size()) return false;
    if (!values.empty()) std::memcpy(values.data(), bytes_.data(), values.size_bytes());
    bytes_ = bytes_.subspan(values.size_bytes());
    return true;
  }

  // The next `size` bytes; none, and nothing is read, when fewer are left.
  std::span<const std::byte> Take(size_t size) {
    if (size > bytes_.size()) return {};
    const auto taken = bytes_.first(size);
    bytes_ = bytes_.subspan(size);
    return taken;
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace downpour
