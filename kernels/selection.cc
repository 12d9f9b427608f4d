#include "kernels/selection.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/avx512.h"
#include "kernels/function_clones.h"

namespace downpour::kernels {
namespace {

// Brings the lowest bits of eight bytes together in the highest byte.
constexpr std::uint64_t kBitOfEachByte = 0x0102040810204080;

using MaskFunction = void(std::uint32_t, const float*, std::size_t, std::uint64_t*);
using SelectFunction = std::size_t(std::uint32_t, const float*, std::size_t, std::uint32_t, std::uint32_t*, float*);

bool IsAtLeast(std::uint32_t magnitude, float x) {
  return (std::bit_cast<std::uint32_t>(x) & kMagnitudeBits) >= magnitude;
}

// Of whole words.
DOWNPOUR_CLONES
void Masks(std::uint32_t magnitude, const float* x, std::size_t words, std::uint64_t* masks) {
  for (std::size_t word = 0; word < words; ++word, x += kMaskBits) {
    std::uint8_t found[kMaskBits];
    for (std::size_t i = 0; i < kMaskBits; ++i) {
      found[i] = static_cast<std::uint8_t>((std::bit_cast<std::uint32_t>(x[i]) & kMagnitudeBits) >= magnitude);
    }
    std::uint64_t mask = 0;
    for (std::size_t byte = 0; byte < kMaskBits / 8; ++byte) {
      std::uint64_t eight;
      std::memcpy(&eight, found + 8 * byte, sizeof(eight));
      mask |= (eight * kBitOfEachByte >> 56) << 8 * byte;
    }
    masks[word] = mask;
  }
}

std::size_t Select(std::uint32_t magnitude, const float* x, std::size_t size, std::uint32_t first,
                   std::uint32_t* places, float* values) {
  std::size_t count = 0;
  for (std::size_t begin = 0; begin < size; begin += kMaskBits) {
    std::uint64_t mask = 0;
    MasksAtLeast(magnitude, {x + begin, std::min(kMaskBits, size - begin)}, {&mask, 1});
    for (; mask != 0; mask &= mask - 1, ++count) {
      const std::size_t i = begin + static_cast<std::size_t>(std::countr_zero(mask));
      places[count] = first + static_cast<std::uint32_t>(i);
      values[count] = x[i];
    }
  }
  return count;
}

#if defined(DOWNPOUR_AVX512)

constexpr std::size_t kLanes = 16;

DOWNPOUR_AVX512
void MasksAvx512(std::uint32_t magnitude, const float* x, std::size_t words, std::uint64_t* masks) {
  const __m512i least = _mm512_set1_epi32(static_cast<int>(magnitude));
  const __m512i without_sign = _mm512_set1_epi32(kMagnitudeBits);
  for (std::size_t word = 0; word < words; ++word) {
    std::uint64_t mask = 0;
    for (std::size_t quarter = 0; quarter < kMaskBits / kLanes; ++quarter, x += kLanes) {
      const __m512i bits = _mm512_and_si512(_mm512_loadu_si512(x), without_sign);
      mask |= std::uint64_t{_mm512_cmpge_epu32_mask(bits, least)} << kLanes * quarter;
    }
    masks[word] = mask;
  }
}

DOWNPOUR_AVX512
std::size_t SelectAvx512(std::uint32_t magnitude, const float* x, std::size_t size, std::uint32_t first,
                         std::uint32_t* places, float* values) {
  const __m512i least = _mm512_set1_epi32(static_cast<int>(magnitude));
  const __m512i without_sign = _mm512_set1_epi32(kMagnitudeBits);
  __m512i place = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(first)),
                                   _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
  std::size_t count = 0;
  for (std::size_t i = 0; i < size; i += kLanes) {
    const auto there = static_cast<__mmask16>(size - i < kLanes ? (1u << (size - i)) - 1 : 0xffff);
    const __m512i bits = _mm512_maskz_loadu_epi32(there, x + i);
    const __mmask16 found = _mm512_mask_cmpge_epu32_mask(there, _mm512_and_si512(bits, without_sign), least);
    _mm512_storeu_si512(places + count, _mm512_maskz_compress_epi32(found, place));
    _mm512_storeu_si512(values + count, _mm512_maskz_compress_epi32(found, bits));
    count += static_cast<std::size_t>(std::popcount(static_cast<unsigned>(found)));
    place = _mm512_add_epi32(place, _mm512_set1_epi32(kLanes));
  }
  return count;
}

MaskFunction* BestMasks() { return __builtin_cpu_supports("avx512f") ? MasksAvx512 : Masks; }
SelectFunction* BestSelect() { return __builtin_cpu_supports("avx512f") ? SelectAvx512 : Select; }

#else

MaskFunction* BestMasks() { return Masks; }
SelectFunction* BestSelect() { return Select; }

#endif

DOWNPOUR_CLONES
void GatherLoop(const float* __restrict from, const std::uint32_t* __restrict places, std::size_t size,
                float* __restrict to) {
  for (std::size_t i = 0; i < size; ++i) to[i] = from[places[i]];
}

DOWNPOUR_CLONES
void ScatterLoop(const float* __restrict from, const std::uint32_t* __restrict places, std::size_t size,
                 float* __restrict to) {
  for (std::size_t i = 0; i < size; ++i) to[places[i]] = from[i];
}

}  // namespace

void MasksAtLeast(std::uint32_t magnitude, std::span<const float> x, std::span<std::uint64_t> masks) {
  static MaskFunction* const best = BestMasks();
  const std::size_t whole = x.size() / kMaskBits;
  best(magnitude, x.data(), whole, masks.data());
  const std::span<const float> rest = x.subspan(whole * kMaskBits);
  if (rest.empty()) return;
  std::uint64_t mask = 0;
  for (std::size_t i = 0; i < rest.size(); ++i) mask |= std::uint64_t{IsAtLeast(magnitude, rest[i])} << i;
  masks[whole] = mask;
}

std::size_t SelectAtLeast(std::uint32_t magnitude, std::span<const float> x, std::uint32_t first,
                          std::span<std::uint32_t> places, std::span<float> values) {
  static SelectFunction* const best = BestSelect();
  return best(magnitude, x.data(), x.size(), first, places.data(), values.data());
}

void Gather(std::span<const float> from, std::span<const std::uint32_t> places, std::span<float> to) {
  GatherLoop(from.data(), places.data(), places.size(), to.data());
}

void Scatter(std::span<const float> from, std::span<const std::uint32_t> places, std::span<float> to) {
  ScatterLoop(from.data(), places.data(), places.size(), to.data());
}

}  // namespace downpour::kernels
