// Ascending places, each written as what it is beyond the one before, in 7 bits a byte (LEB128): with one place in a
// hundred little more than a byte for each. A few low bits besides may go with each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "proto/codec/byte_buffer.h"

namespace downpour {

class GapWriter {
 public:
  // `tag_bits` low bits of each number are a tag. `at_most` places will be added.
  GapWriter(uint32_t tag_bits, size_t at_most, ByteBuffer* to)
      : tag_bits_(tag_bits), begin_(to->size()), to_(*to), at_(to->Extend(at_most * kMostBytes).data()), first_(at_) {}

  // Gives back what was not needed.
  ~GapWriter() { to_.Truncate(begin_ + written()); }
  GapWriter(const GapWriter&) = delete;
  GapWriter& operator=(const GapWriter&) = delete;

  void Add(uint32_t place, uint32_t tag = 0) {
    uint64_t number = uint64_t{place - next_} << tag_bits_ | tag;
    next_ = place + 1;
    for (; number >= 0x80; number >>= 7) *at_++ = static_cast<std::byte>(number | 0x80);
    *at_++ = static_cast<std::byte>(number);
  }

  size_t written() const { return static_cast<size_t>(at_ - first_); }

 private:
  static constexpr size_t kMostBytes = 5;

  const uint32_t tag_bits_;
  const size_t begin_;
  ByteBuffer& to_;
  std::byte* at_;
  const std::byte* const first_;
  uint32_t next_ = 0;
};

// Borrows the bytes.
class GapReader {
 public:
  struct Place {
    uint32_t place = 0;
    uint32_t tag = 0;
  };

  GapReader(uint32_t tag_bits, std::span<const std::byte> bytes) : tag_bits_(tag_bits), bytes_(bytes) {}

  bool done() const { return bytes_.empty(); }

  // None at the end, and where what is left is no number or leads beyond 2^32: `done` tells which.
  std::optional<Place> Next() {
    uint64_t number = 0;
    for (size_t i = 0; i < bytes_.size() && i < kMostBytes; ++i) {
      const auto byte = static_cast<uint64_t>(bytes_[i]);
      number |= (byte & 0x7f) << 7 * i;
      if (byte >= 0x80) continue;
      const uint64_t place = next_ + (number >> tag_bits_);
      if (place > UINT32_MAX) return std::nullopt;
      bytes_ = bytes_.subspan(i + 1);
      next_ = place + 1;
      return Place{static_cast<uint32_t>(place), static_cast<uint32_t>(number & ((1u << tag_bits_) - 1))};
    }
    return std::nullopt;
  }

 private:
  static constexpr size_t kMostBytes = 5;

  const uint32_t tag_bits_;
  std::span<const std::byte> bytes_;
  uint64_t next_ = 0;
};

// Reads the next places, as many as there is room for, and says how many those were.
inline size_t ReadPlaces(GapReader* reader, std::span<uint32_t> places) {
  for (size_t count = 0; count < places.size(); ++count) {
    const auto next = reader->Next();
    if (!next) return count;
    places[count] = next->place;
  }
  return places.size();
}

// How many places below `elements` the bytes hold; none where they are not that from front to back.
inline std::optional<uint32_t> CountPlaces(uint32_t tag_bits, std::span<const std::byte> bytes, uint32_t elements) {
  GapReader reader(tag_bits, bytes);
  uint32_t count = 0;
  while (!reader.done()) {
    const auto next = reader.Next();
    if (!next || next->place >= elements) return std::nullopt;
    ++count;
  }
  return count;
}

}  // namespace downpour
