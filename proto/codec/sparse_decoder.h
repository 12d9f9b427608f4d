// Payloads that say something of few floats, and leave the rest zero.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "absl/status/statusor.h"
#include "proto/codec/codec.h"

namespace downpour {

// The Decoder of a codec that has a SparseDecoder: the same with the zeros between.
class DensifyingDecoder final : public Decoder {
 public:
  explicit DensifyingDecoder(std::unique_ptr<SparseDecoder> sparse) : sparse_(std::move(sparse)) {}

  void Decode(std::span<float> out) override {
    std::fill(out.begin(), out.end(), 0.0f);
    const size_t end = at_ + out.size();
    for (;;) {
      while (next_ < count_ && places_[next_] < end) {
        out[places_[next_] - at_] = values_[next_];
        ++next_;
      }
      if (next_ < count_ || ended_) break;
      next_ = 0;
      count_ = sparse_->Next(places_, values_);
      ended_ = count_ == 0;
    }
    at_ = end;
  }

 private:
  static constexpr size_t kAtOnce = 256;

  const std::unique_ptr<SparseDecoder> sparse_;
  std::array<uint32_t, kAtOnce> places_;
  std::array<float, kAtOnce> values_;
  size_t count_ = 0;
  size_t next_ = 0;
  bool ended_ = false;
  size_t at_ = 0;
};

// What such a codec's `decoder` is.
template <auto kSparseDecoder>
absl::StatusOr<std::unique_ptr<Decoder>> MakeDensifyingDecoder(std::span<const std::byte> bytes, uint32_t elements) {
  auto sparse = kSparseDecoder(bytes, elements);
  if (!sparse.ok()) return sparse.status();
  return std::make_unique<DensifyingDecoder>(*std::move(sparse));
}

}  // namespace downpour
