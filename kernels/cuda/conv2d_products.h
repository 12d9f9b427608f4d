// The passes of a convolution as matrix products of patches that nobody writes down (implicit_product.h): their values
// are taken from the tensors by tables of what a patch's values have in common. Groups are products of their own, made
// together.
#pragma once

#include <numeric>
#include <vector>

#include "kernels/conv2d.h"
#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/implicit_product.h"
#include "kernels/cuda/launch.h"

namespace downpour::kernels::cuda {

// A place in a window: of the input's channel for weights' values, of the output's for gradients of the input.
struct Tap {
  Index offset;         // in the tensor that is read, from the window's first value in the first channel of the group
  Index weight_offset;  // from the group's first weight; used for gradients of the input only
  int row;              // in pixels of the input, or in steps for gradients of it
  int column;
};

// A table in the GPU's memory.
class Taps {
 public:
  Taps(const Context& context, const std::vector<Tap>& taps)
      : buffer_(context.MakeBuffer(taps.size() * sizeof(Tap) / sizeof(float))) {
    Check(cudaMemcpyAsync(buffer_.data(), taps.data(), taps.size() * sizeof(Tap), cudaMemcpyHostToDevice,
                          context.stream()),
          "copying to the GPU");
    context.Wait();
  }
  const Tap* data() const { return reinterpret_cast<const Tap*>(buffer_.data()); }

 private:
  const Buffer buffer_;
};

inline std::vector<Tap> InputTaps(const Conv2dSpec& spec) {
  std::vector<Tap> taps;
  for (int c = 0; c < spec.input.channels / spec.groups; ++c)
    for (int i = 0; i < spec.kernel; ++i)
      for (int j = 0; j < spec.kernel; ++j) {
        const int row = i * spec.dilation, column = j * spec.dilation;
        const Index offset = (static_cast<Index>(c) * spec.input.height + row) * spec.input.width + column;
        taps.push_back({offset, 0, row, column});
      }
  return taps;
}

// In a window, for gradients of the input, of the phase that has most.
inline Index MostTapsOfPhase(const Conv2dSpec& spec) {
  // Each so many places of the window lie a whole number of steps apart.
  const int apart = spec.stride / std::gcd(spec.stride, spec.dilation);
  const Index of_row = CeilDivide(spec.kernel, apart);
  return spec.outputs / spec.groups * of_row * of_row;
}

// Pixels of the input that are a whole number of steps apart, in rows and in columns, are in the same places of
// windows, and so make a product of their own: there are stride * stride such phases. Each has the taps that it needs,
// after their number, as the row of one more.
inline std::vector<Tap> OutputTaps(const Conv2dSpec& spec) {
  const Shape output = spec.output();
  const Index window = spec.kernel * spec.kernel;
  const Index patch = spec.input.channels / spec.groups * window;
  const auto in_phase = [&](int place, int phase) {
    return (place * spec.dilation - spec.pad - phase) % spec.stride == 0;
  };
  std::vector<Tap> taps;
  for (int phase = 0; phase < spec.stride * spec.stride; ++phase) {
    const std::size_t first = taps.size();
    taps.emplace_back();
    for (int o = 0; o < spec.outputs / spec.groups; ++o)
      for (int i = 0; i < spec.kernel; ++i)
        for (int j = 0; j < spec.kernel; ++j) {
          if (!in_phase(i, phase / spec.stride) || !in_phase(j, phase % spec.stride)) continue;
          taps.push_back({static_cast<Index>(o) * output.height * output.width, o * patch + i * spec.kernel + j,
                          i * spec.dilation / spec.stride, j * spec.dilation / spec.stride});
        }
    taps[first].row = static_cast<int>(taps.size() - first) - 1;
    taps.resize(first + 1 + MostTapsOfPhase(spec));
  }
  return taps;
}

// What kernels know of a convolution.
struct Geometry {
  Conv2dSpec spec;
  Shape output;
  FastDivisor output_plane;
  FastDivisor output_width;
  FastDivisor input_plane;
  FastDivisor input_width;

  explicit Geometry(const Conv2dSpec& of)
      : spec(of),
        output(of.output()),
        output_plane(output.height * output.width),
        output_width(output.width),
        input_plane(of.input.height * of.input.width),
        input_width(of.input.width) {}

  __host__ __device__ Index input_size() const { return spec.input.channels * input_plane.divisor(); }
  __host__ __device__ Index group_channels() const { return spec.input.channels / spec.groups; }
  __host__ __device__ Index group_outputs() const { return spec.outputs / spec.groups; }
  __host__ __device__ Index window() const { return spec.kernel * spec.kernel; }
  __host__ __device__ Index patch() const { return group_channels() * window(); }
};

// A window's first value in the input, which padding may put outside.
struct Corner {
  Index first;  // index in the batch
  int row;
  int column;
};

// Of the output's pixel of a sample, in the input's first channel.
__device__ inline Corner CornerAt(const Geometry& g, Index sample, Index pixel) {
  const Index y = g.output_width.Divide(pixel);
  const Index x = pixel - y * g.output.width;
  const int row = static_cast<int>(y) * g.spec.stride - g.spec.pad;
  const int column = static_cast<int>(x) * g.spec.stride - g.spec.pad;
  return {sample * g.input_size() + static_cast<Index>(row * g.spec.input.width + column), row, column};
}

__device__ inline float InputAt(const Geometry& g, const float* input, const Corner& corner, const Tap& tap) {
  const bool inside = static_cast<unsigned>(corner.row + tap.row) < static_cast<unsigned>(g.spec.input.height) &&
                      static_cast<unsigned>(corner.column + tap.column) < static_cast<unsigned>(g.spec.input.width);
  return inside ? input[corner.first + tap.offset] : 0;
}

// Rows are the outputs' channels of a group, columns the pixels of all samples, inner the values of a patch.
struct ForwardProblem {
  Geometry g;
  const Tap* taps;
  const float* input;
  const float* weights;
  const float* bias;
  float* output;

  ProductSize size(int batch) const {
    return {g.group_outputs(), batch * g.output_plane.divisor(), g.patch(), static_cast<Index>(g.spec.groups)};
  }
  __device__ Index Inner(Index, Index inner) const { return inner; }
  __device__ float A(Index group, Index m, Index k) const {
    return weights[(group * g.group_outputs() + m) * g.patch() + k];
  }
  __device__ Corner ColumnAt(Index group, Index n) const {
    const Index sample = g.output_plane.Divide(n);
    Corner corner = CornerAt(g, sample, n - sample * g.output_plane.divisor());
    corner.first += group * g.group_channels() * g.input_plane.divisor();
    return corner;
  }
  __device__ float B(Index k, const Corner& corner) const { return InputAt(g, input, corner, taps[k]); }
  __device__ void Store(Index group, Index m, Index n, Index, float value) const {
    const Index channel = group * g.group_outputs() + m;
    const Index sample = g.output_plane.Divide(n);
    const Index pixel = n - sample * g.output_plane.divisor();
    output[(sample * g.spec.outputs + channel) * g.output_plane.divisor() + pixel] = value + bias[channel];
  }
};

// Rows are the input's channels of a group, columns the pixels of a phase of all samples, inner the group's outputs'
// channels and the phase's places of the window. A product's group is a phase and a group of the convolution.
struct DataProblem {
  Geometry g;
  FastDivisor groups;
  FastDivisor stride;
  FastDivisor phase_plane;
  FastDivisor phase_width;
  Index most_taps;
  const Tap* taps;
  const float* output_gradient;
  const float* weights;
  float* input_gradient;

  DataProblem(const Geometry& geometry, const Tap* taps, const float* output_gradient, const float* weights,
              float* input_gradient)
      : g(geometry),
        groups(g.spec.groups),
        stride(g.spec.stride),
        phase_plane(CeilDivide(g.spec.input.height, g.spec.stride) * CeilDivide(g.spec.input.width, g.spec.stride)),
        phase_width(CeilDivide(g.spec.input.width, g.spec.stride)),
        most_taps(MostTapsOfPhase(g.spec)),
        taps(taps),
        output_gradient(output_gradient),
        weights(weights),
        input_gradient(input_gradient) {}

  ProductSize size(int batch) const {
    return {g.group_channels(), batch * phase_plane.divisor(), most_taps,
            stride.divisor() * stride.divisor() * groups.divisor()};
  }
  __device__ const Tap* TapsOf(Index phase) const { return taps + phase * (most_taps + 1); }
  __device__ Index Inner(Index group, Index) const { return TapsOf(groups.Divide(group))->row; }
  __device__ float A(Index group, Index m, Index k) const {
    const Index phase = groups.Divide(group), in_phase = group - phase * groups.divisor();
    return weights[in_phase * g.group_outputs() * g.patch() + TapsOf(phase)[1 + k].weight_offset + m * g.window()];
  }
  struct Pixel {
    Index sample;
    int row;
    int column;
  };
  __device__ Pixel PixelAt(Index phase, Index n) const {
    const Index sample = phase_plane.Divide(n), in_plane = n - sample * phase_plane.divisor();
    const Index row = phase_width.Divide(in_plane), column = in_plane - row * phase_width.divisor();
    const Index phase_row = stride.Divide(phase), phase_column = phase - phase_row * stride.divisor();
    return {sample, static_cast<int>(row * stride.divisor() + phase_row),
            static_cast<int>(column * stride.divisor() + phase_column)};
  }
  struct Column {
    Index first;  // of the sample's and group's gradient of the output
    int row;      // of the last window that has the pixel in its first row
    int column;
    const Tap* taps;
  };
  __device__ Column ColumnAt(Index group, Index n) const {
    const Index phase = groups.Divide(group), in_phase = group - phase * groups.divisor();
    const Pixel pixel = PixelAt(phase, n);
    return {(pixel.sample * g.spec.outputs + in_phase * g.group_outputs()) * g.output_plane.divisor(),
            static_cast<int>(stride.Divide(pixel.row + g.spec.pad)),
            static_cast<int>(stride.Divide(pixel.column + g.spec.pad)), TapsOf(phase) + 1};
  }
  // The output whose window has the pixel in that place of it, if there is one.
  __device__ float B(Index k, const Column& column) const {
    const Tap tap = column.taps[k];
    const int y = column.row - tap.row, x = column.column - tap.column;
    const bool inside = static_cast<unsigned>(y) < static_cast<unsigned>(g.output.height) &&
                        static_cast<unsigned>(x) < static_cast<unsigned>(g.output.width);
    return inside ? output_gradient[column.first + tap.offset + y * g.output.width + x] : 0;
  }
  __device__ void Store(Index group, Index m, Index n, Index, float value) const {
    const Index phase = groups.Divide(group), in_phase = group - phase * groups.divisor();
    const Pixel pixel = PixelAt(phase, n);
    if (pixel.row >= g.spec.input.height || pixel.column >= g.spec.input.width) return;
    const Index plane = pixel.sample * g.spec.input.channels + in_phase * g.group_channels() + m;
    input_gradient[plane * g.input_plane.divisor() + pixel.row * g.spec.input.width + pixel.column] = value;
  }
};

// Rows are the outputs' channels of a group, columns the values of a patch and one more that is always 1, for the bias;
// inner the pixels of all samples.
struct WeightsProblem {
  Geometry g;
  const Tap* taps;
  const float* input;
  const float* output_gradient;
  float* pieces;

  static ProductSize Size(const Geometry& g, int batch) {
    return {g.group_outputs(), g.patch() + 1, batch * g.output_plane.divisor(), static_cast<Index>(g.spec.groups)};
  }
  __device__ Index Inner(Index, Index inner) const { return inner; }
  struct Column {
    Tap tap;
    bool is_bias;
  };
  __device__ float A(Index group, Index m, Index k) const {
    const Index channel = group * g.group_outputs() + m;
    const Index sample = g.output_plane.Divide(k);
    const Index pixel = k - sample * g.output_plane.divisor();
    return output_gradient[(sample * g.spec.outputs + channel) * g.output_plane.divisor() + pixel];
  }
  __device__ Column ColumnAt(Index group, Index n) const {
    const bool is_bias = n == g.patch();
    Column column{taps[is_bias ? 0 : n], is_bias};
    column.tap.offset += group * g.group_channels() * g.input_plane.divisor();
    return column;
  }
  __device__ float B(Index k, const Column& column) const {
    if (column.is_bias) return 1;
    const Index sample = g.output_plane.Divide(k);
    return InputAt(g, input, CornerAt(g, sample, k - sample * g.output_plane.divisor()), column.tap);
  }
  __device__ void Store(Index group, Index m, Index n, Index piece, float value) const {
    pieces[(piece * g.spec.outputs + group * g.group_outputs() + m) * (g.patch() + 1) + n] = value;
  }
};

}  // namespace downpour::kernels::cuda
