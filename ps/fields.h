// Integers as bytes, little endian, for what is kept in files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace downpour::ps {

// Integers and text, at the end of a string.
class Fields {
 public:
  template <typename T>
  Fields& Put(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) {
      bytes_.push_back(static_cast<char>(static_cast<uint64_t>(value) >> (8 * i)));
    }
    return *this;
  }
  Fields& Put(const std::string& text) {
    bytes_ += text;
    return *this;
  }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// The same from the front of some bytes. What is not there reads as zero, and the whole is not ok.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <typename T>
  T Get() {
    if (bytes_.size() < sizeof(T)) {
      ok_ = false;
      bytes_ = {};
      return T{};
    }
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<uint64_t>(bytes_[i]) << (8 * i);
    bytes_ = bytes_.subspan(sizeof(T));
    return static_cast<T>(value);
  }
  bool GetBool() {
    const auto value = Get<uint8_t>();
    ok_ = ok_ && value <= 1;
    return value != 0;
  }
  // The next so many bytes; none of them where they are not there.
  std::span<const std::byte> Take(size_t size) {
    if (size > bytes_.size()) {
      ok_ = false;
      bytes_ = {};
      return {};
    }
    const auto taken = bytes_.first(size);
    bytes_ = bytes_.subspan(size);
    return taken;
  }
  std::span<const std::byte> Rest() { return std::exchange(bytes_, {}); }

  size_t left() const { return bytes_.size(); }
  // Whether all was there, and nothing else.
  bool complete() const { return ok_ && bytes_.empty(); }

 private:
  std::span<const std::byte> bytes_;
  bool ok_ = true;
};

}  // namespace downpour::ps
