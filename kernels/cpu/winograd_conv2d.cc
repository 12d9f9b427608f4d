// Outputs are cut into tiles (winograd_tiles.h). A chunk of tiles goes through the cache together:
//
//   lay        planes of 16 channels become vectors (channel_lanes.h), zeros around them
//   transform  each tile's 6 x 6 inputs: for each of 36 places a matrix {tiles, channels}
//   multiply   these by the transformed windows, {channels, outputs}, place by place
//   and back   the products to tiles of outputs, their lanes to planes
//
// The gradient of the input is the same with the gradient of the output as its input and the windows turned around.
// That of the weights multiplies transformed inputs by transformed gradients, place by place, which sums over tiles,
// and comes back from there once a pass.
#include "kernels/cpu/winograd_conv2d.h"

#include <algorithm>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/avx512.h"
#include "kernels/cpu/channel_lanes.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/cpu/winograd_tiles.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {

#if defined(__x86_64__)

namespace {

constexpr int kChunkTiles = 64;  // about
// Above it, transformed windows take more memory than the net is likely to have for a layer.
constexpr std::size_t kMostWindows = 1 << 16;

// One of the 36 matrices: rows of whole vectors. A line more, lest the 36 fall on the same few places of the cache.
struct PlaceMatrices {
  std::size_t row = 0;    // floats
  std::size_t plane = 0;  // floats from one matrix to the next

  PlaceMatrices(int rows, int columns)
      : row(RoundUp(columns, kLanes)), plane(static_cast<std::size_t>(rows) * row + kLanes) {}
  std::size_t floats() const { return kTileValues * plane; }
};

// sum[r][q] = (add ? sum[r][q] : 0) + the sum over i of left[r * left_row + i * left_step] * right[i * right_step][q],
// where q are vectors.
struct Factors {
  const float* left;
  std::size_t left_row, left_step;
  const float* right;
  std::size_t right_step;
  int count;
};

template <int kRows, int kVectors>
DOWNPOUR_AVX512 inline void SumBlock(const Factors& of, bool add, float* sum, std::size_t sum_row) {
  __m512 sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int q = 0; q < kVectors; ++q) sums[r][q] = _mm512_setzero_ps();
  const float *left = of.left, *right = of.right;
  for (int i = 0; i < of.count; ++i, left += of.left_step, right += of.right_step) {
    __m512 vectors[kVectors];
#pragma GCC unroll 4
    for (int q = 0; q < kVectors; ++q) vectors[q] = _mm512_load_ps(right + q * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const __m512 value = _mm512_set1_ps(left[r * of.left_row]);
#pragma GCC unroll 4
      for (int q = 0; q < kVectors; ++q) sums[r][q] = _mm512_fmadd_ps(value, vectors[q], sums[r][q]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r, sum += sum_row)
#pragma GCC unroll 4
    for (int q = 0; q < kVectors; ++q) {
      if (add) sums[r][q] = _mm512_add_ps(sums[r][q], _mm512_load_ps(sum + q * kLanes));
      _mm512_store_ps(sum + q * kLanes, sums[r][q]);
    }
}

// All rows of so many columns.
template <int kVectors>
DOWNPOUR_AVX512 void SumColumns(Factors of, int rows, bool add, float* sum, std::size_t sum_row) {
  constexpr int kMost = kVectors == 1 ? 8 : 16 / kVectors;
  const auto next = [&](int done) {
    of.left += done * of.left_row;
    sum += done * sum_row;
    rows -= done;
  };
  for (; rows >= kMost; next(kMost)) SumBlock<kMost, kVectors>(of, add, sum, sum_row);
  if constexpr (kMost > 4)
    for (; rows >= 4; next(4)) SumBlock<4, kVectors>(of, add, sum, sum_row);
  for (; rows > 0; next(1)) SumBlock<1, kVectors>(of, add, sum, sum_row);
}

// sum {rows, columns} of whole vectors.
void SumProducts(Factors of, int rows, int columns, bool add, float* sum, std::size_t sum_row) {
  const auto next = [&](int vectors) {
    of.right += vectors * kLanes;
    sum += vectors * kLanes;
    columns -= vectors * kLanes;
  };
  for (; columns >= 4 * kLanes; next(4)) SumColumns<4>(of, rows, add, sum, sum_row);
  for (; columns >= 2 * kLanes; next(2)) SumColumns<2>(of, rows, add, sum, sum_row);
  for (; columns > 0; next(1)) SumColumns<1>(of, rows, add, sum, sum_row);
}

// The tiles that cover a plane of outputs, in rows.
struct TileGrid {
  int side;           // of a tile
  int rows, columns;  // tiles

  TileGrid(const Shape& output, int side)
      : side(side), rows(CeilDivide(output.height, side)), columns(CeilDivide(output.width, side)) {}
  // Of tiles, that make a chunk.
  int chunk_rows() const { return std::max(1, kChunkTiles / columns); }
  int chunk_tiles() const { return chunk_rows() * columns; }
};

// Neighbouring rows of tiles of one sample, and where their tiles begin in the chunk.
struct Stretch {
  int sample;
  int first_row, rows;
  int first_tile;
};

// body(stretch) for all of a chunk of rows, which are counted over samples.
template <typename Body>
void ForStretches(const TileGrid& grid, int first, int last, Body body) {
  for (int row = first; row < last;) {
    const int sample = row / grid.rows, in_sample = row % grid.rows;
    const int rows = std::min(grid.rows - in_sample, last - row);
    body(Stretch{sample, in_sample, rows, (row - first) * grid.columns});
    row += rows;
  }
}

// Puts planes of 16 channels behind the tiles' places: those rows of them that a stretch's tiles read, of which each
// reads `side`, from `pad` before its own first on, and zeros where there is no plane.
class Laying {
 public:
  Laying(const Shape& planes, const TileGrid& grid, int side, int pad)
      : planes_(planes),
        tile_(grid.side),
        overlap_(side - grid.side),
        pad_(pad),
        pitch_(grid.columns * tile_ + overlap_),
        rows_(grid.chunk_rows() * tile_ + overlap_) {}

  std::size_t floats() const { return pitch_ * rows_ * kLanes; }
  std::size_t row() const { return pitch_ * kLanes; }

  void Lay(const float* sample, int first_channel, const Stretch& stretch, float* to) const {
    const std::size_t plane = static_cast<std::size_t>(planes_.height) * planes_.width;
    const int first = stretch.first_row * tile_ - pad_;
    const int rows = stretch.rows * tile_ + overlap_;
    const int begin = std::clamp(-first, 0, rows), end = std::clamp(planes_.height - first, begin, rows);
    const std::size_t row_floats = pitch_ * kLanes;
    std::fill(to, to + begin * row_floats, 0.0f);
    std::fill(to + end * row_floats, to + rows * row_floats, 0.0f);
    for (int y = begin; y < end; ++y) {
      float* const row = to + y * row_floats;
      std::fill_n(row, pad_ * kLanes, 0.0f);
      std::fill(row + (pad_ + planes_.width) * kLanes, row + row_floats, 0.0f);
    }
    if (begin == end) return;
    const float* const from = sample + first_channel * plane + static_cast<std::size_t>(first + begin) * planes_.width;
    const int channels = std::min(kLanes, planes_.channels - first_channel);
    ToLanes(from, plane, channels, {(end - begin) * planes_.width, planes_.width, pitch_},
            to + begin * row_floats + pad_ * kLanes);
  }

 private:
  const Shape planes_;
  const int tile_;
  const int overlap_;
  const int pad_;
  const std::size_t pitch_;  // vectors
  const std::size_t rows_;
};

// Transformed inputs of a chunk.
class Inputs {
 public:
  Inputs(const Shape& input, const TileGrid& grid, int pad)
      : channels_(input.channels),
        grid_(grid),
        laying_(input, grid, kTileInputs, pad),
        places(grid.chunk_tiles(), channels_) {}

  std::size_t laid_floats() const { return laying_.floats(); }

  void Transform(const float* sample, const Stretch& stretch, float* laid, float* to) const {
    for (int c = 0; c < channels_; c += kLanes) {
      laying_.Lay(sample, c, stretch, laid);
      float* tile = to + stretch.first_tile * places.row + c;
      for (int y = 0; y < stretch.rows; ++y)
        for (int x = 0; x < grid_.columns; ++x, tile += places.row) {
          TransformInput(laid + y * grid_.side * laying_.row() + x * grid_.side * kLanes, laying_.row(), tile,
                         places.plane);
        }
    }
  }

 private:
  const int channels_;
  const TileGrid grid_;
  const Laying laying_;

 public:
  const PlaceMatrices places;
};

// One direction: an output of an input.
class Direction {
 public:
  struct Scratch {
    AlignedBuffer laid, inputs, products;
  };

  Direction(const Shape& input, int pad, const Shape& output, const WinogradTransforms& transforms)
      : transforms_(transforms),
        input_(input),
        output_(output),
        grid_(output, transforms.outputs),
        inputs_(input, grid_, pad),
        products_(grid_.chunk_tiles(), output.channels),
        windows_(input.channels, output.channels),
        weights_(windows_.floats()) {}

  Scratch MakeScratch() const {
    const std::size_t outputs = static_cast<std::size_t>(grid_.chunk_tiles()) * grid_.side * grid_.side * kLanes;
    return {AlignedBuffer(std::max(inputs_.laid_floats(), outputs)), AlignedBuffer(inputs_.places.floats()),
            AlignedBuffer(products_.floats())};
  }

  // Where the window of a channel and the output of the first of 16 lanes comes to lie.
  float* window(int channel, int output) { return weights_.data() + channel * windows_.row + output; }
  std::size_t window_plane() const { return windows_.plane; }

  void Run(ConstTensorView input, int begin, int end, const float* bias, TensorView output, Scratch* scratch) const {
    float* const laid = scratch->laid.data();
    for (int first = begin * grid_.rows; first < end * grid_.rows; first += grid_.chunk_rows()) {
      const int last = std::min(first + grid_.chunk_rows(), end * grid_.rows);
      ForStretches(grid_, first, last, [&](const Stretch& stretch) {
        inputs_.Transform(input.sample(stretch.sample), stretch, laid, scratch->inputs.data());
      });
      for (int place = 0; place < kTileValues; ++place) {
        const Factors factors{scratch->inputs.data() + place * inputs_.places.plane,
                              inputs_.places.row,
                              1,
                              weights_.data() + place * windows_.plane,
                              windows_.row,
                              input_.channels};
        SumProducts(factors, (last - first) * grid_.columns, static_cast<int>(products_.row), false,
                    scratch->products.data() + place * products_.plane, products_.row);
      }
      ForStretches(grid_, first, last, [&](const Stretch& stretch) {
        for (int o = 0; o < output_.channels; o += kLanes) {
          Finish(scratch->products.data() + stretch.first_tile * products_.row + o, stretch, o, bias, laid,
                 output.sample(stretch.sample));
        }
      });
    }
  }

 private:
  void Finish(const float* products, const Stretch& stretch, int first_output, const float* bias, float* tiles,
              float* sample) const {
    const std::size_t pitch = static_cast<std::size_t>(grid_.columns) * grid_.side;
    for (int y = 0; y < stretch.rows; ++y)
      for (int x = 0; x < grid_.columns; ++x, products += products_.row) {
        transforms_.output(products, products_.plane, tiles + (y * pitch + x) * grid_.side * kLanes, pitch * kLanes);
      }
    const std::size_t plane = static_cast<std::size_t>(output_.height) * output_.width;
    const int row = stretch.first_row * grid_.side;
    const int rows = std::min(stretch.rows * grid_.side, output_.height - row);
    FromLanes(tiles, {rows * output_.width, output_.width, pitch}, bias == nullptr ? nullptr : bias + first_output,
              std::min(kLanes, output_.channels - first_output),
              sample + first_output * plane + static_cast<std::size_t>(row) * output_.width, plane);
  }

  const WinogradTransforms& transforms_;
  const Shape input_, output_;
  const TileGrid grid_;
  const Inputs inputs_;
  const PlaceMatrices products_, windows_;
  AlignedBuffer weights_;
};

// The weights' gradient.
class WeightSums {
 public:
  struct Scratch {
    AlignedBuffer laid, inputs, gradients;
    AlignedBuffer sums;  // {channels, outputs} at each place
    AlignedBuffer bias_sums;
  };

  WeightSums(const Conv2dSpec& spec, const WinogradTransforms& transforms)
      : transforms_(transforms),
        spec_(spec),
        window_(spec.kernel * spec.kernel),
        output_(spec.output()),
        grid_(output_, transforms.outputs),
        inputs_(spec.input, grid_, spec.pad),
        laying_(output_, grid_, grid_.side, 0),
        gradients_(grid_.chunk_tiles(), spec.outputs),
        sums_(spec.input.channels, spec.outputs) {}

  Scratch MakeScratch() const {
    return {AlignedBuffer(std::max({inputs_.laid_floats(), laying_.floats(),
                                    static_cast<std::size_t>(spec_.input.channels) * window_ * kLanes})),
            AlignedBuffer(inputs_.places.floats()), AlignedBuffer(gradients_.floats()), AlignedBuffer(sums_.floats()),
            AlignedBuffer(spec_.outputs)};
  }

  void Run(ConstTensorView input, ConstTensorView output_gradient, int begin, int end, Scratch* scratch) const {
    const std::size_t pixels = static_cast<std::size_t>(output_.height) * output_.width;
    Zero({scratch->bias_sums.data(), scratch->bias_sums.size()});
    for (int n = begin; n < end; ++n)
      for (int o = 0; o < spec_.outputs; ++o) {
        scratch->bias_sums.data()[o] += Sum({output_gradient.sample(n) + o * pixels, pixels});
      }
    for (int first = begin * grid_.rows; first < end * grid_.rows; first += grid_.chunk_rows()) {
      const int last = std::min(first + grid_.chunk_rows(), end * grid_.rows);
      ForStretches(grid_, first, last, [&](const Stretch& stretch) {
        inputs_.Transform(input.sample(stretch.sample), stretch, scratch->laid.data(), scratch->inputs.data());
        TransformGradients(output_gradient.sample(stretch.sample), stretch, scratch);
      });
      for (int place = 0; place < kTileValues; ++place) {
        const Factors factors{scratch->inputs.data() + place * inputs_.places.plane,
                              1,
                              inputs_.places.row,
                              scratch->gradients.data() + place * gradients_.plane,
                              gradients_.row,
                              (last - first) * grid_.columns};
        SumProducts(factors, spec_.input.channels, static_cast<int>(sums_.row), first > begin * grid_.rows,
                    scratch->sums.data() + place * sums_.plane, sums_.row);
      }
    }
  }

  // From the sums to the gradient that is laid out as weights are. Uses other scratch of the same one.
  void Finish(Scratch* scratch, float* weight_gradient) const {
    const int taps = spec_.input.channels * window_;
    for (int o = 0; o < spec_.outputs; o += kLanes) {
      for (int c = 0; c < spec_.input.channels; ++c) {
        transforms_.window_gradient(scratch->sums.data() + c * sums_.row + o, sums_.plane,
                                    scratch->laid.data() + static_cast<std::size_t>(c) * window_ * kLanes);
      }
      FromLanes(scratch->laid.data(), {taps, taps, static_cast<std::size_t>(taps)}, nullptr,
                std::min(kLanes, spec_.outputs - o), weight_gradient + static_cast<std::size_t>(o) * taps, taps);
    }
  }

 private:
  void TransformGradients(const float* sample, const Stretch& stretch, Scratch* scratch) const {
    for (int o = 0; o < spec_.outputs; o += kLanes) {
      laying_.Lay(sample, o, stretch, scratch->laid.data());
      float* tile = scratch->gradients.data() + stretch.first_tile * gradients_.row + o;
      for (int y = 0; y < stretch.rows; ++y)
        for (int x = 0; x < grid_.columns; ++x, tile += gradients_.row) {
          transforms_.gradient(scratch->laid.data() + y * grid_.side * laying_.row() + x * grid_.side * kLanes,
                               laying_.row(), tile, gradients_.plane);
        }
    }
  }

  const WinogradTransforms& transforms_;
  const Conv2dSpec spec_;
  const int window_;  // values
  const Shape output_;
  const TileGrid grid_;
  const Inputs inputs_;
  const Laying laying_;
  const PlaceMatrices gradients_, sums_;
};

class WinogradConv2d final : public Conv2d {
 public:
  WinogradConv2d(const Conv2dSpec& spec, int threads)
      : spec_(spec),
        threads_(threads),
        window_(spec.kernel * spec.kernel),
        transforms_(TransformsOf(spec.kernel)),
        forward_(spec.input, spec.pad, spec.output(), transforms_),
        backward_(spec.output(), spec.kernel - 1 - spec.pad, spec.input, transforms_),
        weight_sums_(spec, transforms_),
        laid_weights_(static_cast<std::size_t>(spec.input.channels) * window_ * kLanes) {
    for (int i = 0; i < threads; ++i) {
      forward_scratch_.push_back(forward_.MakeScratch());
      backward_scratch_.push_back(backward_.MakeScratch());
      sums_scratch_.push_back(weight_sums_.MakeScratch());
    }
  }

  void Forward(ConstTensorView input, const float* weights, const float* bias, TensorView output) override {
    const int taps = spec_.input.channels * window_;
    float* const laid = laid_weights_.data();
    for (int o = 0; o < spec_.outputs; o += kLanes) {
      ToLanes(weights + static_cast<std::size_t>(o) * taps, taps, std::min(kLanes, spec_.outputs - o),
              {taps, taps, static_cast<std::size_t>(taps)}, laid);
      for (int c = 0; c < spec_.input.channels; ++c) {
        transforms_.window(laid + static_cast<std::size_t>(c) * window_ * kLanes, false, forward_.window(c, o),
                           forward_.window_plane());
      }
    }
    ParallelFor(input.batch, threads_, [&](int begin, int end, int part) {
      forward_.Run(input, begin, end, bias, output, &forward_scratch_[part]);
    });
  }

  void BackwardData(ConstTensorView output_gradient, const float* weights, TensorView input_gradient) override {
    const int channels = spec_.input.channels;
    float* const laid = laid_weights_.data();
    for (int o = 0; o < spec_.outputs; ++o)
      for (int c = 0; c < channels; c += kLanes) {
        ToLanes(weights + (static_cast<std::size_t>(o) * channels + c) * window_, window_,
                std::min(kLanes, channels - c), {window_, window_, static_cast<std::size_t>(window_)}, laid);
        transforms_.window(laid, true, backward_.window(o, c), backward_.window_plane());
      }
    ParallelFor(output_gradient.batch, threads_, [&](int begin, int end, int part) {
      backward_.Run(output_gradient, begin, end, nullptr, input_gradient, &backward_scratch_[part]);
    });
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    ParallelFor(input.batch, threads_, [&](int begin, int end, int part) {
      weight_sums_.Run(input, output_gradient, begin, end, &sums_scratch_[part]);
    });
    WeightSums::Scratch& all = sums_scratch_[0];
    for (int part = 1; part < std::min(threads_, input.batch); ++part) {
      Axpy(1, {sums_scratch_[part].sums.data(), all.sums.size()}, {all.sums.data(), all.sums.size()});
      Axpy(1, {sums_scratch_[part].bias_sums.data(), all.bias_sums.size()},
           {all.bias_sums.data(), all.bias_sums.size()});
    }
    weight_sums_.Finish(&all, weight_gradient);
    std::copy_n(all.bias_sums.data(), spec_.outputs, bias_gradient);
  }

 private:
  const Conv2dSpec spec_;
  const int threads_;
  const int window_;  // values
  const WinogradTransforms& transforms_;
  Direction forward_, backward_;
  const WeightSums weight_sums_;
  AlignedBuffer laid_weights_;
  // Of each thread.
  std::vector<Direction::Scratch> forward_scratch_, backward_scratch_;
  std::vector<WeightSums::Scratch> sums_scratch_;
};

}  // namespace

Conv2dCosts WinogradConv2dCosts(const Conv2dSpec& spec) {
  // Of a tile's 16 channels, to transform and lay out or back: as long as so many multiplications of each channel.
  constexpr double kTransform = 280;
  const int channels = spec.input.channels, channel_lanes = RoundUp(channels, kLanes),
            output_lanes = RoundUp(spec.outputs, kLanes);
  const auto tiles = [&](const Shape& shape) {
    const TileGrid grid(shape, TransformsOf(spec.kernel).outputs);
    return static_cast<double>(grid.rows) * grid.columns;
  };
  const double transforms = kTransform * (channel_lanes + output_lanes);
  return {tiles(spec.output()) * (kTileValues * static_cast<double>(channels) * output_lanes + transforms),
          tiles(spec.input) * (kTileValues * static_cast<double>(spec.outputs) * channel_lanes + transforms),
          tiles(spec.output()) * (kTileValues * static_cast<double>(channels) * output_lanes + transforms)};
}

bool HasWinogradConv2d(const Conv2dSpec& spec) {
  return __builtin_cpu_supports("avx512f") && (spec.kernel == 3 || spec.kernel == 5) && spec.stride == 1 &&
         spec.dilation == 1 && spec.groups == 1 && spec.pad < spec.kernel &&
         static_cast<std::size_t>(spec.input.channels) * spec.outputs <= kMostWindows;
}

std::unique_ptr<Conv2d> MakeWinogradConv2d(const Conv2dSpec& spec, int threads) {
  return std::make_unique<WinogradConv2d>(spec, threads);
}

#else

bool HasWinogradConv2d(const Conv2dSpec&) { return false; }
std::unique_ptr<Conv2d> MakeWinogradConv2d(const Conv2dSpec&, int) { return nullptr; }
Conv2dCosts WinogradConv2dCosts(const Conv2dSpec&) { return {}; }

#endif

}  // namespace downpour::kernels::cpu
