#include "proto/codec/narrow.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/vector_ops.h"

namespace downpour {
namespace {

class NarrowEncoder final : public Encoder {
 public:
  explicit NarrowEncoder(const NarrowFormat& format) : format_(format) {}

  void Encode(std::span<float> values, ByteBuffer* payload) override {
    std::span<std::byte> to = payload->Extend(values.size() * sizeof(uint16_t));
    while (!values.empty()) {
      const size_t n = std::min(values.size(), kBlockElements);
      const std::span<float> block = values.first(n);
      const std::span narrow = std::span(narrow_).first(n);
      const std::span wide = std::span(wide_).first(n);
      format_.narrow(block, narrow);
      std::memcpy(to.data(), narrow.data(), narrow.size_bytes());
      format_.widen(narrow, wide);
      kernels::Axpy(-1, wide, block);
      to = to.subspan(narrow.size_bytes());
      values = values.subspan(n);
    }
  }

 private:
  const NarrowFormat& format_;
  std::array<uint16_t, kBlockElements> narrow_;
  std::array<float, kBlockElements> wide_;
};

class NarrowDecoder final : public Decoder {
 public:
  NarrowDecoder(const NarrowFormat& format, std::span<const std::byte> bytes) : format_(format), bytes_(bytes) {}

  void Decode(std::span<float> out) override {
    const std::span narrow = std::span(narrow_).first(out.size());
    std::memcpy(narrow.data(), bytes_.data(), narrow.size_bytes());
    bytes_ = bytes_.subspan(narrow.size_bytes());
    format_.widen(narrow, out);
  }

 private:
  const NarrowFormat& format_;
  std::span<const std::byte> bytes_;
  std::array<uint16_t, kBlockElements> narrow_;
};

}  // namespace

std::unique_ptr<Encoder> MakeNarrowEncoder(const NarrowFormat& format) {
  return std::make_unique<NarrowEncoder>(format);
}

absl::StatusOr<std::unique_ptr<Decoder>> MakeNarrowDecoder(const NarrowFormat& format, std::span<const std::byte> bytes,
                                                           uint32_t elements) {
  if (bytes.size() != uint64_t{elements} * sizeof(uint16_t)) {
    return absl::InvalidArgumentError(absl::StrCat(bytes.size(), " bytes are not ", elements, " numbers of 16 bits"));
  }
  return std::make_unique<NarrowDecoder>(format, bytes);
}

}  // namespace downpour
