// Bytes that travel: a sequence of chunks that somebody else allocated and that all holders share.
//
// A payload is what came from a socket, still in the pieces in which it came, or a buffer of our own. It is copied
// by sharing the owner, never the bytes. The bytes don't change as long as a payload refers to them. Copies may be
// used on different threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace downpour {

class Payload {
 public:
  using Bytes = std::span<const std::byte>;

  Payload() = default;

  // `chunks` point into what `owner` keeps alive.
  Payload(std::shared_ptr<const void> owner, std::vector<Bytes> chunks)
      : owner_(std::move(owner)), chunks_(std::move(chunks)) {
    for (const Bytes& chunk : chunks_) size_ += chunk.size();
  }

  // One chunk: `values` in memory that `owner` keeps alive.
  Payload(std::shared_ptr<const void> owner, std::span<const float> values)
      : Payload(std::move(owner), std::vector<Bytes>{std::as_bytes(values)}) {}

  size_t size() const { return size_; }
  const std::vector<Bytes>& chunks() const { return chunks_; }
  const std::shared_ptr<const void>& owner() const { return owner_; }

 private:
  std::shared_ptr<const void> owner_;
  std::vector<Bytes> chunks_;
  size_t size_ = 0;
};

// Reads a payload from front to back. Borrows the payload's chunks.
class PayloadReader {
 public:
  explicit PayloadReader(const Payload& payload) : chunks_(payload.chunks()), left_(payload.size()) {}

  size_t left() const { return left_; }

  // Copies the next `out.size()` bytes; false, and nothing moved, when fewer are left.
  bool Read(std::span<std::byte> out) {
    if (out.size() > left_) return false;
    left_ -= out.size();
    while (!out.empty()) {
      if (offset_ == chunks_[chunk_].size()) {
        ++chunk_;
        offset_ = 0;
        continue;
      }
      const size_t n = std::min(out.size(), chunks_[chunk_].size() - offset_);
      std::memcpy(out.data(), chunks_[chunk_].data() + offset_, n);
      out = out.subspan(n);
      offset_ += n;
    }
    return true;
  }

 private:
  const std::vector<Payload::Bytes>& chunks_;
  size_t left_;
  size_t chunk_ = 0;
  size_t offset_ = 0;
};

}  // namespace downpour
