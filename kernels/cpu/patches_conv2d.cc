// One matrix product an image and group: the weights, {outputs, taps}, by the image's patches, {taps, pixels}, where a tap is
// a (channel, row, column) of the kernel and a pixel one of the output. The patches of one image are laid out in a scratch
// matrix that stays in the cache between being written and being multiplied; doing it anew in each pass costs less than
// keeping them.
#include "kernels/cpu/patches_conv2d.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/cpu/matrix_product.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/function_clones.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

// Rows of a fixed size are moved without a loop; these are the ones that are common, the rest takes any size.
template <int kColumns>
[[gnu::always_inline]] inline void CopyRowsOf(const float* from, int from_stride, float* to, int to_stride,
                                              int rows) {
  for (int y = 0; y < rows; ++y) {
    std::memcpy(to + static_cast<std::size_t>(y) * to_stride,
                from + static_cast<std::size_t>(y) * from_stride, kColumns * sizeof(float));
  }
}

DOWNPOUR_CLONES
void CopyRows(const float* from, int from_stride, float* to, int to_stride, int rows, int columns) {
  switch (columns) {
    case 4:
      return CopyRowsOf<4>(from, from_stride, to, to_stride, rows);
    case 8:
      return CopyRowsOf<8>(from, from_stride, to, to_stride, rows);
    case 12:
      return CopyRowsOf<12>(from, from_stride, to, to_stride, rows);
    case 16:
      return CopyRowsOf<16>(from, from_stride, to, to_stride, rows);
    case 24:
      return CopyRowsOf<24>(from, from_stride, to, to_stride, rows);
    case 32:
      return CopyRowsOf<32>(from, from_stride, to, to_stride, rows);
  }
  for (int y = 0; y < rows; ++y) {
    std::copy_n(from + static_cast<std::size_t>(y) * from_stride, columns,
                to + static_cast<std::size_t>(y) * to_stride);
  }
}

DOWNPOUR_CLONES
void AddRows(const float* __restrict from, int from_stride, float* __restrict to, int to_stride, int rows,
             int columns) {
  for (int y = 0; y < rows; ++y) {
    const float* from_row = from + static_cast<std::size_t>(y) * from_stride;
    float* to_row = to + static_cast<std::size_t>(y) * to_stride;
    int x = 0;
    for (; x + 8 <= columns; x += 8) {
      for (int lane = 0; lane < 8; ++lane) to_row[x + lane] += from_row[x + lane];
    }
    for (; x < columns; ++x) to_row[x] += from_row[x];
  }
}

// For each of `pixels` pixels of a row of the output, for each of `rows` image rows of each of `channels`
// channels, copies `kernel` values. The image must be there for all of them.
struct TapCopy {
  int pixels;
  int stride;
  int channels;
  std::size_t plane;  // from a channel to the next
  int rows;
  int width;  // from an image row to the next
};

template <int kKernel>
[[gnu::always_inline]] inline void CopyTapsOf(const TapCopy& copy, const float* from, float* to) {
  for (int x = 0; x < copy.pixels; ++x) {
    for (int c = 0; c < copy.channels; ++c) {
      const float* row = from + c * copy.plane + x * copy.stride;
      for (int i = 0; i < copy.rows; ++i, row += copy.width, to += kKernel) {
        std::memcpy(to, row, kKernel * sizeof(float));
      }
    }
  }
}

// Whether the kernel is one of the common ones, for which this is done.
DOWNPOUR_CLONES
bool CopyTaps(const TapCopy& copy, int kernel, const float* from, float* to) {
  switch (kernel) {
    case 1:
      CopyTapsOf<1>(copy, from, to);
      return true;
    case 3:
      CopyTapsOf<3>(copy, from, to);
      return true;
    case 5:
      CopyTapsOf<5>(copy, from, to);
      return true;
    case 7:
      CopyTapsOf<7>(copy, from, to);
      return true;
  }
  return false;
}

class PatchesConv2d final : public Conv2d {
 public:
  PatchesConv2d(const Conv2dSpec& spec, int threads)
      : spec_(spec),
        output_(spec.output()),
        taps_(spec.input.channels * spec.kernel * spec.kernel),
        group_{spec.outputs / spec.groups, taps_ / spec.groups},
        pixels_(output_.height * output_.width),
        threads_(threads) {
    for (int i = 0; i < threads; ++i) {
      patches_.emplace_back(static_cast<std::size_t>(taps_) * pixels_);
      if (spec.pad > 0) padded_.emplace_back(Padded().size());
    }
    for (int i = 1; i < threads; ++i) partial_gradients_.emplace_back(spec.weight_count() + spec.outputs);
  }

  void Forward(ConstTensorView input, const float* weights, const float* bias, TensorView output) override {
    ParallelFor(input.batch, threads_, [&](int begin, int end, int part) {
      float* patches = patches_[part].data();
      for (int n = begin; n < end; ++n) {
        GatherPatches(PaddedImage(input.sample(n), part), patches);
        float* out = output.sample(n);
        for (int o = 0; o < spec_.outputs; ++o) std::fill_n(out + o * pixels_, pixels_, bias[o]);
        for (int g = 0; g < spec_.groups; ++g) {
          MatrixProduct(group_.outputs, pixels_, group_.taps, {WeightsOf(g, weights), group_.taps},
                        {PatchesOf(g, patches), pixels_}, 1, PixelsOf(g, out), pixels_, 1);
        }
      }
    });
  }

  void BackwardData(ConstTensorView output_gradient, const float* weights,
                    TensorView input_gradient) override {
    ParallelFor(output_gradient.batch, threads_, [&](int begin, int end, int part) {
      float* patches = patches_[part].data();
      for (int n = begin; n < end; ++n) {
        for (int g = 0; g < spec_.groups; ++g) {
          MatrixProduct(group_.taps, pixels_, group_.outputs, {WeightsOf(g, weights), group_.taps, true},
                        {PixelsOf(g, output_gradient.sample(n)), pixels_}, 0, PatchesOf(g, patches), pixels_, 1);
        }
        ScatterPatches(patches, input_gradient.sample(n));
      }
    });
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    ParallelFor(input.batch, threads_, [&](int begin, int end, int part) {
      float* patches = patches_[part].data();
      float* weight_sum = part == 0 ? weight_gradient : partial_gradients_[part - 1].data();
      float* bias_sum = part == 0 ? bias_gradient : weight_sum + spec_.weight_count();
      Zero({bias_sum, static_cast<std::size_t>(spec_.outputs)});
      for (int n = begin; n < end; ++n) {
        const float* dy = output_gradient.sample(n);
        GatherTaps(PaddedImage(input.sample(n), part), patches);
        for (int g = 0; g < spec_.groups; ++g) {
          MatrixProduct(group_.outputs, group_.taps, pixels_, {PixelsOf(g, dy), pixels_},
                        {patches + g * group_.taps, taps_}, n == begin ? 0 : 1, WeightsOf(g, weight_sum), group_.taps,
                        1);
        }
        for (int o = 0; o < spec_.outputs; ++o) {
          bias_sum[o] += Sum({dy + o * pixels_, static_cast<std::size_t>(pixels_)});
        }
      }
    });
    for (int part = 1; part < std::min(threads_, input.batch); ++part) {
      const float* partial = partial_gradients_[part - 1].data();
      Axpy(1, {partial, spec_.weight_count()}, {weight_gradient, spec_.weight_count()});
      const std::size_t outputs = spec_.outputs;
      Axpy(1, {partial + spec_.weight_count(), outputs}, {bias_gradient, outputs});
    }
  }

 private:
  // What belongs to a group of channels and outputs.
  struct Group {
    int outputs;
    int taps;
  };
  template <typename T>
  T* WeightsOf(int group, T* weights) const {
    return weights + static_cast<std::size_t>(group) * group_.outputs * group_.taps;
  }
  template <typename T>
  T* PixelsOf(int group, T* output) const {
    return output + static_cast<std::size_t>(group) * group_.outputs * pixels_;
  }
  float* PatchesOf(int group, float* patches) const {
    return patches + static_cast<std::size_t>(group) * group_.taps * pixels_;
  }

  // The output columns [first, last) whose input column, for a kernel column that begins at `tap`, lies within the
  // image; rows likewise.
  struct Range {
    int first;
    int last;
  };
  Range Inside(int tap, int input_side, int output_side) const {
    const int first = std::max(0, (spec_.pad - tap + spec_.stride - 1) / spec_.stride);
    const int past = input_side + spec_.pad - tap;
    const int last = past <= 0 ? 0 : std::min(output_side, (past + spec_.stride - 1) / spec_.stride);
    return {std::min(first, output_side), std::max(last, std::min(first, output_side))};
  }

  // What one tap takes from the image: where it starts there and among the tap's pixels, and how much it is.
  struct Block {
    std::size_t image;
    std::size_t patch;
    int rows;
    int columns;
  };
  Block BlockOf(int c, int i, int j, Range rows, Range columns) const {
    if (rows.first == rows.last || columns.first == columns.last) return {0, 0, 0, 0};
    const std::size_t row =
        static_cast<std::size_t>(c) * spec_.input.height + rows.first * spec_.stride + i * spec_.dilation - spec_.pad;
    return {row * spec_.input.width + columns.first * spec_.stride + j * spec_.dilation - spec_.pad,
            static_cast<std::size_t>(rows.first) * output_.width + columns.first, rows.last - rows.first,
            columns.last - columns.first};
  }

  // An image with its zeros around it.
  Shape Padded() const {
    return {spec_.input.channels, spec_.input.height + 2 * spec_.pad, spec_.input.width + 2 * spec_.pad};
  }

  // The image, with its zeros where it has some, in the scratch memory of the part; they are there from the beginning.
  const float* PaddedImage(const float* image, int part) {
    if (spec_.pad == 0) return image;
    const Shape padded = Padded();
    float* const to = padded_[part].data() + static_cast<std::size_t>(spec_.pad) * padded.width + spec_.pad;
    for (int c = 0; c < padded.channels; ++c) {
      CopyRows(image + static_cast<std::size_t>(c) * spec_.input.height * spec_.input.width, spec_.input.width,
               to + static_cast<std::size_t>(c) * padded.height * padded.width, padded.width, spec_.input.height,
               spec_.input.width);
    }
    return padded_[part].data();
  }

  // Of an image with its zeros.
  void GatherPatches(const float* image, float* patches) const {
    const Shape in = Padded();
    for (int c = 0; c < in.channels; ++c)
      for (int i = 0; i < spec_.kernel; ++i)
        for (int j = 0; j < spec_.kernel; ++j, patches += pixels_) {
          const std::size_t row = static_cast<std::size_t>(c) * in.height + i * spec_.dilation;
          const float* from = image + row * in.width + j * spec_.dilation;
          if (spec_.stride == 1) {
            CopyRows(from, in.width, patches, output_.width, output_.height, output_.width);
            continue;
          }
          for (int y = 0; y < output_.height; ++y, from += static_cast<std::size_t>(spec_.stride) * in.width) {
            float* to = patches + y * output_.width;
            for (int x = 0; x < output_.width; ++x) to[x] = from[x * spec_.stride];
          }
        }
  }

  // The transposed of GatherPatches' matrix: {pixels, taps}, likewise. The product with it is faster than with the
  // other.
  void GatherTaps(const float* image, float* taps) const {
    const Shape in = Padded();
    const std::size_t plane = static_cast<std::size_t>(in.height) * in.width;
    const TapCopy copy{output_.width, spec_.stride, in.channels, plane, spec_.kernel, in.width};
    for (int y = 0; y < output_.height; ++y, taps += static_cast<std::size_t>(output_.width) * taps_) {
      const float* const top = image + static_cast<std::size_t>(y) * spec_.stride * in.width;
      if (spec_.dilation == 1 && CopyTaps(copy, spec_.kernel, top, taps)) continue;
      float* to = taps;
      for (int x = 0; x < output_.width; ++x)
        for (int c = 0; c < in.channels; ++c)
          for (int i = 0; i < spec_.kernel; ++i) {
            const float* from =
                top + c * plane + static_cast<std::size_t>(i) * spec_.dilation * in.width + x * spec_.stride;
            for (int j = 0; j < spec_.kernel; ++j, from += spec_.dilation) *to++ = *from;
          }
    }
  }

  void ScatterPatches(const float* patches, float* image) const {
    const Shape& in = spec_.input;
    std::fill_n(image, in.size(), 0.0f);
    for (int c = 0; c < in.channels; ++c)
      for (int i = 0; i < spec_.kernel; ++i) {
        const Range rows = Inside(i * spec_.dilation, in.height, output_.height);
        for (int j = 0; j < spec_.kernel; ++j, patches += pixels_) {
          const Range columns = Inside(j * spec_.dilation, in.width, output_.width);
          const Block block = BlockOf(c, i, j, rows, columns);
          if (spec_.stride == 1) {
            AddRows(patches + block.patch, output_.width, image + block.image, in.width, block.rows,
                    block.columns);
            continue;
          }
          for (int y = 0; y < block.rows; ++y) {
            const float* from = patches + block.patch + y * output_.width;
            float* to = image + block.image + static_cast<std::size_t>(y) * spec_.stride * in.width;
            for (int x = 0; x < block.columns; ++x) to[x * spec_.stride] += from[x];
          }
        }
      }
  }

  const Conv2dSpec spec_;
  const Shape output_;
  const int taps_;
  const Group group_;
  const int pixels_;
  const int threads_;
  std::vector<AlignedBuffer> patches_;            // one for each thread
  std::vector<AlignedBuffer> padded_;             // likewise; none without zeros around images
  std::vector<AlignedBuffer> partial_gradients_;  // weights, then bias, of each thread but the first
};

// Each patch's value is written and read again, which takes as long as so many multiplications.
constexpr double kPatchCost = 12;

}  // namespace

Conv2dCosts PatchesConv2dCosts(const Conv2dSpec& spec) {
  const Shape output = spec.output();
  const double patches =
      static_cast<double>(output.height) * output.width * spec.input.channels * spec.kernel * spec.kernel;
  const double all = patches * (spec.outputs + kPatchCost);
  return {all, all, all};
}

std::unique_ptr<Conv2d> MakePatchesConv2d(const Conv2dSpec& spec, int threads) {
  return std::make_unique<PatchesConv2d>(spec, threads);
}

}  // namespace downpour::kernels::cpu
