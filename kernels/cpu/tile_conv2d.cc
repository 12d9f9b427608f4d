// Both directions are sums, for 16 outputs and some vectors of positions at a time, over the elements that a gather has
// laid out (tile_gather.h): weights, 16 outputs by up to 16 pairs of elements, times pairs by 16 positions. The
// gradient of the weights sums over positions: 16 elements by 32 positions, times pairs of positions by 16 outputs.
#include "kernels/cpu/tile_conv2d.h"

#if defined(__x86_64__)

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/avx512.h"
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/cpu/tile_gather.h"
#include "kernels/cpu/tiles.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

constexpr int kStep = 32;  // positions of a product that sums over them

int Blocks(std::size_t size, int block) { return static_cast<int>((size + block - 1) / block); }

// Zero at first.
template <typename T>
class TileMemory {
 public:
  explicit TileMemory(std::size_t size) : buffer_((size * sizeof(T) + sizeof(float) - 1) / sizeof(float)) {}
  T* data() const { return reinterpret_cast<T*>(buffer_.data()); }

 private:
  AlignedBuffer buffer_;
};

// Sums of products, one step after the other: left factors lie behind each other, right ones at `offsets` from `right`.
struct Sums {
  const std::uint32_t* left;
  std::size_t left_tile;  // pairs
  int pairs;              // of a row
  const std::uint32_t* right;
  std::size_t right_row;  // pairs from one row to the next
  const std::int32_t* offsets;
  int steps;
};

// 32 outputs at 32 positions.
DOWNPOUR_AMX void SumSquare(const Sums& sums, const float* first, float* to, std::size_t to_row) {
  DOWNPOUR_TILES_READ_MEMORY;
  _tile_loadd(0, first, 64);
  _tile_loadd(1, first, 64);
  _tile_loadd(2, first + kTileFloats, 64);
  _tile_loadd(3, first + kTileFloats, 64);
  const std::uint32_t* left = sums.left;
  for (int step = 0; step < sums.steps; ++step, left += 2 * sums.left_tile) {
    const std::uint32_t* const right = sums.right + sums.offsets[step];
    _tile_loadd(4, left, 4 * sums.pairs);
    _tile_loadd(6, right, 4 * sums.right_row);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, right + kLanes, 4 * sums.right_row);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, left + sums.left_tile, 4 * sums.pairs);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, to, 4 * to_row);
  _tile_stored(1, to + kLanes, 4 * to_row);
  _tile_stored(2, to + kTileRows * to_row, 4 * to_row);
  _tile_stored(3, to + kTileRows * to_row + kLanes, 4 * to_row);
}

// 16 outputs at 64 positions.
DOWNPOUR_AMX void SumStripe(const Sums& sums, const float* first, float* to, std::size_t to_row) {
  DOWNPOUR_TILES_READ_MEMORY;
  _tile_loadd(0, first, 64);
  _tile_loadd(1, first, 64);
  _tile_loadd(2, first, 64);
  _tile_loadd(3, first, 64);
  const std::uint32_t* left = sums.left;
  for (int step = 0; step < sums.steps; ++step, left += sums.left_tile) {
    const std::uint32_t* const right = sums.right + sums.offsets[step];
    _tile_loadd(4, left, 4 * sums.pairs);
    _tile_loadd(6, right, 4 * sums.right_row);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, right + kLanes, 4 * sums.right_row);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(6, right + 2 * kLanes, 4 * sums.right_row);
    _tile_dpbf16ps(2, 4, 6);
    _tile_loadd(7, right + 3 * kLanes, 4 * sums.right_row);
    _tile_dpbf16ps(3, 4, 7);
  }
  _tile_stored(0, to, 4 * to_row);
  _tile_stored(1, to + kLanes, 4 * to_row);
  _tile_stored(2, to + 2 * kLanes, 4 * to_row);
  _tile_stored(3, to + 3 * kLanes, 4 * to_row);
}

// Both directions of a convolution.
class TileSums {
 public:
  // Of a thread.
  struct Scratch {
    explicit Scratch(const TileSums& sums)
        : source(static_cast<std::size_t>(sums.chunks_) * sums.pairs_ * sums.gather_.plane()),
          block(2 * kTileRows * 4 * kLanes) {}
    TileMemory<std::uint32_t> source;
    AlignedBuffer block;
  };

  TileSums(const GatherSpec& spec, int outputs)
      : gather_(spec),
        outputs_(outputs),
        positions_(static_cast<std::size_t>(spec.height) * spec.width),
        chunks_(Blocks((gather_.elements() + 1) / 2, kTilePairs)),
        pairs_(Blocks((gather_.elements() + 1) / 2, chunks_)),
        tiles_(Blocks(outputs, kTileRows)),
        left_(static_cast<std::size_t>(tiles_) * gather_.window_rows() * chunks_ * kTileRows * pairs_),
        first_(tiles_ * kTileFloats) {
    for (int row = 0; row < gather_.window_rows(); ++row)
      for (int chunk = 0; chunk < chunks_; ++chunk) {
        offsets_.push_back(static_cast<std::int32_t>(chunk * pairs_ * gather_.plane() + gather_.row_offset(row)));
      }
  }

  // weight_at(output, place) for all of them; no bias where it is null.
  template <typename WeightAt>
  void SetWeights(WeightAt weight_at, const float* bias) {
    const int steps = static_cast<int>(offsets_.size());
    auto* const left = reinterpret_cast<std::uint16_t*>(left_.data());
    for (int tile = 0; tile < tiles_; ++tile) {
      const int rows = std::min(kTileRows, outputs_ - tile * kTileRows);
      for (int o = 0; o < rows; ++o) {
        const int output = tile * kTileRows + o;
        if (bias != nullptr) std::fill_n(first_.data() + tile * kTileFloats + o * kLanes, kLanes, bias[output]);
        for (int step = 0; step < steps; ++step) {
          const int begin = step % chunks_ * 2 * pairs_, count = std::min(2 * pairs_, gather_.elements() - begin);
          float row[2 * kTilePairs];
          for (int e = 0; e < count; ++e) row[e] = weight_at(output, gather_.PlaceOf(begin + e, step / chunks_));
          RoundToBf16(row, count, left + 2 * (TileAt(tile, step) + static_cast<std::size_t>(o) * pairs_));
        }
      }
    }
  }

  int pairs() const { return pairs_; }

  // One sample.
  void Run(const float* image, Scratch* scratch, float* result) const {
    gather_.FillPairs(image, scratch->source.data());
    Sums sums{.left = left_.data(),
              .left_tile = static_cast<std::size_t>(kTileRows) * pairs_,
              .pairs = pairs_,
              .right = scratch->source.data(),
              .right_row = gather_.plane(),
              .offsets = offsets_.data(),
              .steps = static_cast<int>(offsets_.size())};
    for (int tile = 0; tile < tiles_; tile += 2) {
      const bool square = tile + 1 < tiles_;
      const int width = square ? 2 * kLanes : 4 * kLanes;
      const int rows = std::min((square ? 2 : 1) * kTileRows, outputs_ - tile * kTileRows);
      const bool full = rows == (square ? 2 : 1) * kTileRows;
      const float* const first = first_.data() + tile * kTileFloats;
      float* const to = result + tile * kTileRows * positions_;
      sums.left = left_.data() + TileAt(tile, 0);
      for (std::size_t at = 0; at < positions_; at += width) {
        sums.right = scratch->source.data() + at;
        const auto sum = square ? SumSquare : SumStripe;
        const std::size_t columns = std::min<std::size_t>(width, positions_ - at);
        if (full && columns == static_cast<std::size_t>(width)) {
          sum(sums, first, to + at, positions_);
          continue;
        }
        sum(sums, first, scratch->block.data(), width);
        for (int o = 0; o < rows; ++o) {
          std::copy_n(scratch->block.data() + static_cast<std::size_t>(o) * width, columns, to + o * positions_ + at);
        }
      }
    }
  }

 private:
  // Where a left factor begins. Those of two tiles of outputs take turns, step by step.
  std::size_t TileAt(int tile, int step) const {
    const std::size_t steps = offsets_.size(), size = static_cast<std::size_t>(kTileRows) * pairs_;
    const int even = tile / 2 * 2;
    const int together = std::min(2, tiles_ - even);
    return (even * steps + static_cast<std::size_t>(step) * together + (tile - even)) * size;
  }

  const TileGather gather_;
  const int outputs_;
  const std::size_t positions_;
  const int chunks_;  // products that a row of the window takes
  const int pairs_;   // of each of them
  const int tiles_;   // of outputs
  TileMemory<std::uint32_t> left_;
  AlignedBuffer first_;  // what sums begin with: the bias, in each column
  std::vector<std::int32_t> offsets_;
};

// Rows of pairs become columns.
DOWNPOUR_AMX void TransposePairs(__m512i* rows) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    rows[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    rows[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    rows[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    rows[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    rows[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    rows[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    rows[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    rows[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

// 16 rows of 32 values become 16 rows of 16 pairs, a row a pair of columns. Rows and columns that are not there count
// as zero.
DOWNPOUR_AMX void PackTransposed(const float* from, std::size_t from_row, int rows, int columns, std::uint32_t* to) {
  const auto mask = [](int count) { return static_cast<__mmask16>((1u << std::clamp(count, 0, kLanes)) - 1); };
  const __mmask16 low = mask(columns), high = mask(columns - kLanes);
  __m512i pairs[kTileRows];
  for (int row = 0; row < kTileRows; ++row) {
    if (row >= rows) {
      pairs[row] = _mm512_setzero_si512();
      continue;
    }
    const float* const at = from + row * from_row;
    pairs[row] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(high, at + kLanes), _mm512_maskz_loadu_ps(low, at));
  }
  TransposePairs(pairs);
  for (int row = 0; row < kTileRows; ++row) _mm512_store_si512(to + row * kLanes, pairs[row]);
}

// Adds to sums over positions: tiles of elements by tiles of outputs.
struct Correlation {
  std::size_t left_row;  // halves from one element to the next
  int steps;             // of kStep positions
};

// 64 elements, or 48, by 16 outputs.
template <int kLeft>
DOWNPOUR_AMX void AddStripe(const Correlation& with, const std::uint16_t* const* left, const std::uint32_t* right,
                            float* const* sums) {
  DOWNPOUR_TILES_READ_MEMORY;
  _tile_loadd(0, sums[0], 64);
  _tile_loadd(1, sums[1], 64);
  _tile_loadd(2, sums[2], 64);
  if constexpr (kLeft == 4) _tile_loadd(3, sums[3], 64);
  for (int step = 0; step < with.steps; ++step) {
    const int at = step * kStep;
    _tile_loadd(6, right + step * kTileHalves / 2, 64);
    _tile_loadd(4, left[0] + at, 2 * with.left_row);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, left[1] + at, 2 * with.left_row);
    _tile_dpbf16ps(1, 5, 6);
    _tile_loadd(4, left[2] + at, 2 * with.left_row);
    _tile_dpbf16ps(2, 4, 6);
    if constexpr (kLeft == 4) {
      _tile_loadd(5, left[3] + at, 2 * with.left_row);
      _tile_dpbf16ps(3, 5, 6);
    }
  }
  _tile_stored(0, sums[0], 64);
  _tile_stored(1, sums[1], 64);
  _tile_stored(2, sums[2], 64);
  if constexpr (kLeft == 4) _tile_stored(3, sums[3], 64);
}

// 32 elements by 32 outputs; sums of the first of the elements with both, then of the second.
DOWNPOUR_AMX void AddSquare(const Correlation& with, const std::uint16_t* const* left,
                            const std::uint32_t* const* right, float* const* sums) {
  DOWNPOUR_TILES_READ_MEMORY;
  _tile_loadd(0, sums[0], 64);
  _tile_loadd(1, sums[1], 64);
  _tile_loadd(2, sums[2], 64);
  _tile_loadd(3, sums[3], 64);
  for (int step = 0; step < with.steps; ++step) {
    const int at = step * kStep;
    _tile_loadd(4, left[0] + at, 2 * with.left_row);
    _tile_loadd(6, right[0] + step * kTileHalves / 2, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, right[1] + step * kTileHalves / 2, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, left[1] + at, 2 * with.left_row);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums[0], 64);
  _tile_stored(1, sums[1], 64);
  _tile_stored(2, sums[2], 64);
  _tile_stored(3, sums[3], 64);
}

// The gradient of the weights.
class TileWeightSums {
 public:
  // Of a thread.
  struct Scratch {
    explicit Scratch(const TileWeightSums& of)
        : planes(static_cast<std::size_t>(of.lefts_) * kTileRows * of.gather_.plane()),
          gradients(static_cast<std::size_t>(of.rights_) * of.steps_ * kTileHalves / 2),
          sums((static_cast<std::size_t>(of.rights_) * of.items_ + 1) * kTileFloats),
          bias(of.outputs_) {}
    TileMemory<std::uint16_t> planes;
    TileMemory<std::uint32_t> gradients;
    AlignedBuffer sums;  // the last tile is for what is done to fill a block
    std::vector<float> bias;
  };

  TileWeightSums(const GatherSpec& spec, int outputs)
      : gather_(spec),
        outputs_(outputs),
        positions_(static_cast<std::size_t>(spec.height) * spec.width),
        steps_(Blocks(positions_, kStep)),
        lefts_(Blocks(gather_.elements(), kTileRows)),
        items_(lefts_ * gather_.window_rows()),
        rights_(Blocks(outputs, kTileRows)) {}

  void Begin(Scratch* scratch) const {
    Zero({scratch->sums.data(), scratch->sums.size()});
    Zero(scratch->bias);
  }

  void Add(const float* image, const float* gradient, Scratch* scratch) const {
    gather_.FillPlanes(image, scratch->planes.data());
    for (int o = 0; o < outputs_; ++o) scratch->bias[o] += Sum({gradient + o * positions_, positions_});
    for (int tile = 0; tile < rights_; ++tile) {
      const float* const from = gradient + tile * kTileRows * positions_;
      const int rows = std::min(kTileRows, outputs_ - tile * kTileRows);
      for (int step = 0; step < steps_; ++step) {
        const std::size_t at = static_cast<std::size_t>(step) * kStep;
        PackTransposed(from + at, positions_, rows, static_cast<int>(std::min<std::size_t>(kStep, positions_ - at)),
                       scratch->gradients.data() + RightAt(tile, step));
      }
    }
    int tile = 0;
    for (; tile + 1 < rights_; tile += 2) AddSquares(tile, scratch);
    if (tile < rights_) AddStripes(tile, scratch);
  }

  // What one thread has summed: add_to(output, place, value) for each.
  template <typename AddTo>
  void ForEach(const Scratch& scratch, AddTo add_to) const {
    for (int tile = 0; tile < rights_; ++tile)
      for (int item = 0; item < items_; ++item)
        for (int e = 0; e < std::min(kTileRows, gather_.elements() - item % lefts_ * kTileRows); ++e) {
          const TileGather::Place place = gather_.PlaceOf(item % lefts_ * kTileRows + e, item / lefts_);
          const float* const row = SumsOf(scratch, tile, item) + e * kLanes;
          for (int o = 0; o < std::min(kTileRows, outputs_ - tile * kTileRows); ++o) {
            add_to(tile * kTileRows + o, place, row[o]);
          }
        }
  }

 private:
  std::size_t RightAt(int tile, int step) const {
    return (static_cast<std::size_t>(tile) * steps_ + step) * kTileHalves / 2;
  }
  // An item is 16 elements in a row of the window. What comes after the last is nobody's.
  float* SumsOf(const Scratch& scratch, int tile, int item) const {
    const std::size_t at =
        item < items_ ? static_cast<std::size_t>(tile) * items_ + item : static_cast<std::size_t>(rights_) * items_;
    return scratch.sums.data() + at * kTileFloats;
  }
  const std::uint16_t* LeftOf(const Scratch& scratch, int item) const {
    item = std::min(item, items_ - 1);
    return scratch.planes.data() + static_cast<std::size_t>(item % lefts_) * kTileRows * gather_.plane() +
           gather_.row_offset(item / lefts_);
  }

  void AddSquares(int tile, Scratch* scratch) const {
    const std::uint32_t* const right[] = {scratch->gradients.data() + RightAt(tile, 0),
                                          scratch->gradients.data() + RightAt(tile + 1, 0)};
    for (int item = 0; item < items_; item += 2) {
      const std::uint16_t* const left[] = {LeftOf(*scratch, item), LeftOf(*scratch, item + 1)};
      float* const sums[] = {SumsOf(*scratch, tile, item), SumsOf(*scratch, tile + 1, item),
                             SumsOf(*scratch, tile, item + 1), SumsOf(*scratch, tile + 1, item + 1)};
      AddSquare({gather_.plane(), steps_}, left, right, sums);
    }
  }

  void AddStripes(int tile, Scratch* scratch) const {
    const int block = items_ % 4 == 0 ? 4 : 3;
    const std::uint32_t* const right = scratch->gradients.data() + RightAt(tile, 0);
    for (int item = 0; item < items_; item += block) {
      const std::uint16_t* left[4];
      float* sums[4];
      for (int i = 0; i < block; ++i) {
        left[i] = LeftOf(*scratch, item + i);
        sums[i] = SumsOf(*scratch, tile, item + i);
      }
      (block == 4 ? AddStripe<4> : AddStripe<3>)({gather_.plane(), steps_}, left, right, sums);
    }
  }

  const TileGather gather_;
  const int outputs_;
  const std::size_t positions_;
  const int steps_;
  const int lefts_;  // tiles of elements
  const int items_;
  const int rights_;  // tiles of outputs
};

class TileConv2d final : public Conv2d {
 public:
  TileConv2d(const Conv2dSpec& spec, int threads)
      : spec_(spec),
        threads_(threads),
        window_(spec.kernel * spec.kernel),
        forward_(Forwards(spec), spec.outputs),
        backward_(Backwards(spec), spec.input.channels),
        weight_sums_(Forwards(spec), spec.outputs) {
    for (int i = 0; i < threads; ++i) {
      forward_scratch_.emplace_back(forward_);
      backward_scratch_.emplace_back(backward_);
      weight_scratch_.emplace_back(weight_sums_);
    }
  }

  void Forward(ConstTensorView input, const float* weights, const float* bias, TensorView output) override {
    forward_.SetWeights(
        [&](int o, const TileGather::Place& place) {
          return weights[WeightAt(o, place.channel) + place.row * spec_.kernel + place.column];
        },
        bias);
    ParallelFor(input.batch, threads_, [&](int begin, int end, int part) {
      const TileScope scope(forward_.pairs());
      for (int n = begin; n < end; ++n) forward_.Run(input.sample(n), &forward_scratch_[part], output.sample(n));
    });
  }

  void BackwardData(ConstTensorView output_gradient, const float* weights, TensorView input_gradient) override {
    backward_.SetWeights(
        [&](int c, const TileGather::Place& place) {
          return weights[WeightAt(place.channel, c) + window_ - 1 - (place.row * spec_.kernel + place.column)];
        },
        nullptr);
    ParallelFor(output_gradient.batch, threads_, [&](int begin, int end, int part) {
      const TileScope scope(backward_.pairs());
      for (int n = begin; n < end; ++n) {
        backward_.Run(output_gradient.sample(n), &backward_scratch_[part], input_gradient.sample(n));
      }
    });
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    ParallelFor(input.batch, threads_, [&](int begin, int end, int part) {
      const TileScope scope;
      weight_sums_.Begin(&weight_scratch_[part]);
      for (int n = begin; n < end; ++n) {
        weight_sums_.Add(input.sample(n), output_gradient.sample(n), &weight_scratch_[part]);
      }
    });
    const std::size_t outputs = spec_.outputs;
    Zero({weight_gradient, spec_.weight_count()});
    Zero({bias_gradient, outputs});
    for (int part = 0; part < std::min(threads_, input.batch); ++part) {
      weight_sums_.ForEach(weight_scratch_[part], [&](int o, const TileGather::Place& place, float value) {
        weight_gradient[WeightAt(o, place.channel) + place.row * spec_.kernel + place.column] += value;
      });
      Axpy(1, weight_scratch_[part].bias, {bias_gradient, outputs});
    }
  }

 private:
  static GatherSpec Forwards(const Conv2dSpec& spec) {
    const Shape output = spec.output();
    return {.input = spec.input,
            .kernel = spec.kernel,
            .step = spec.stride,
            .dilation = spec.dilation,
            .pad = spec.pad,
            .height = output.height,
            .width = output.width};
  }
  // Of the output's gradient, by the window turned around.
  static GatherSpec Backwards(const Conv2dSpec& spec) {
    return {.input = spec.output(),
            .kernel = spec.kernel,
            .spread = spec.stride,
            .dilation = spec.dilation,
            .pad = spec.extent() - 1 - spec.pad,
            .height = spec.input.height,
            .width = spec.input.width};
  }

  std::size_t WeightAt(int output, int channel) const {
    return (static_cast<std::size_t>(output) * spec_.input.channels + channel) * window_;
  }

  const Conv2dSpec spec_;
  const int threads_;
  const int window_;
  TileSums forward_;
  TileSums backward_;
  const TileWeightSums weight_sums_;
  // One for each thread.
  std::vector<TileSums::Scratch> forward_scratch_, backward_scratch_;
  std::vector<TileWeightSums::Scratch> weight_scratch_;
};

}  // namespace

std::unique_ptr<Conv2d> MakeTileConv2d(const Conv2dSpec& spec, int threads) {
  if (spec.groups != 1) return nullptr;
  return std::make_unique<TileConv2d>(spec, threads);
}

}  // namespace downpour::kernels::cpu

#else

namespace downpour::kernels::cpu {

std::unique_ptr<Conv2d> MakeTileConv2d(const Conv2dSpec&, int) { return nullptr; }

}  // namespace downpour::kernels::cpu

#endif
