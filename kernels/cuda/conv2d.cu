#include "kernels/conv2d.h"

#include <vector>

#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/implicit_product.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

// All passes are matrix products of patches that nobody writes down (implicit_product.h): their values are taken from the
// tensors by tables of what a patch's values have in common.

// A place in a window: of the input's channel for weights' values, of the output's for gradients of the input.
struct Tap {
  Index offset;         // in the tensor that is read, from the window's first value
  Index weight_offset;  // used for gradients of the input only
  int row;
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

std::vector<Tap> InputTaps(const Conv2dSpec& spec) {
  std::vector<Tap> taps;
  for (int c = 0; c < spec.input.channels; ++c)
    for (int i = 0; i < spec.kernel; ++i)
      for (int j = 0; j < spec.kernel; ++j) {
        const Index offset = (static_cast<Index>(c) * spec.input.height + i) * spec.input.width + j;
        taps.push_back({offset, 0, i, j});
      }
  return taps;
}

std::vector<Tap> OutputTaps(const Conv2dSpec& spec) {
  const Shape output = spec.output();
  const Index window = spec.kernel * spec.kernel;
  std::vector<Tap> taps;
  for (int o = 0; o < spec.outputs; ++o)
    for (int i = 0; i < spec.kernel; ++i)
      for (int j = 0; j < spec.kernel; ++j) {
        taps.push_back({static_cast<Index>(o) * output.height * output.width,
                        o * spec.input.channels * window + i * spec.kernel + j, i, j});
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
  __host__ __device__ Index window() const { return spec.kernel * spec.kernel; }
  __host__ __device__ Index patch() const { return spec.input.channels * window(); }
};

// A window's first value in the input, which padding may put outside.
struct Corner {
  Index first;  // index in the batch
  int row;
  int column;
};

// Of the output's pixel of a sample.
__device__ Corner CornerAt(const Geometry& g, Index sample, Index pixel) {
  const Index y = g.output_width.Divide(pixel);
  const Index x = pixel - y * g.output.width;
  const int row = static_cast<int>(y) * g.spec.stride - g.spec.pad;
  const int column = static_cast<int>(x) * g.spec.stride - g.spec.pad;
  return {sample * g.input_size() + static_cast<Index>(row * g.spec.input.width + column), row, column};
}

__device__ float InputAt(const Geometry& g, const float* input, const Corner& corner, const Tap& tap) {
  const bool inside = static_cast<unsigned>(corner.row + tap.row) < static_cast<unsigned>(g.spec.input.height) &&
                      static_cast<unsigned>(corner.column + tap.column) < static_cast<unsigned>(g.spec.input.width);
  return inside ? input[corner.first + tap.offset] : 0;
}

// Rows are the outputs' channels, columns the pixels of all samples, inner the values of a patch.
struct ForwardProblem {
  Geometry g;
  const Tap* taps;
  const float* input;
  const float* weights;
  const float* bias;
  float* output;

  ProductSize size(int batch) const {
    return {static_cast<Index>(g.spec.outputs), batch * g.output_plane.divisor(), g.patch()};
  }
  __device__ float A(Index m, Index k) const { return weights[m * g.patch() + k]; }
  __device__ Corner ColumnAt(Index n) const {
    const Index sample = g.output_plane.Divide(n);
    return CornerAt(g, sample, n - sample * g.output_plane.divisor());
  }
  __device__ float B(Index k, const Corner& corner) const { return InputAt(g, input, corner, taps[k]); }
  __device__ void Store(Index m, Index n, Index, float value) const {
    const Index sample = g.output_plane.Divide(n);
    const Index pixel = n - sample * g.output_plane.divisor();
    output[(sample * g.spec.outputs + m) * g.output_plane.divisor() + pixel] = value + bias[m];
  }
};

// Rows are the input's channels, columns its pixels of all samples, inner the outputs' channels and the window's places.
struct DataProblem {
  Geometry g;
  const Tap* taps;
  const float* output_gradient;
  const float* weights;
  float* input_gradient;

  ProductSize size(int batch) const {
    return {static_cast<Index>(g.spec.input.channels), batch * g.input_plane.divisor(), g.spec.outputs * g.window()};
  }
  __device__ float A(Index m, Index k) const { return weights[taps[k].weight_offset + m * g.window()]; }
  __device__ Corner ColumnAt(Index n) const {
    const Index sample = g.input_plane.Divide(n);
    const Index pixel = n - sample * g.input_plane.divisor();
    const Index row = g.input_width.Divide(pixel);
    return {sample * g.spec.outputs * g.output_plane.divisor(), static_cast<int>(row) + g.spec.pad,
            static_cast<int>(pixel - row * g.spec.input.width) + g.spec.pad};
  }
  // The output whose window has the pixel in that place of it, if there is one.
  __device__ float B(Index k, const Corner& pixel) const {
    const Tap tap = taps[k];
    int y = pixel.row - tap.row, x = pixel.column - tap.column;
    if (y < 0 || x < 0) return 0;
    if (g.spec.stride > 1) {
      const int row = y / g.spec.stride, column = x / g.spec.stride;
      if (row * g.spec.stride != y || column * g.spec.stride != x) return 0;
      y = row;
      x = column;
    }
    if (y >= g.output.height || x >= g.output.width) return 0;
    return output_gradient[pixel.first + tap.offset + y * g.output.width + x];
  }
  __device__ void Store(Index m, Index n, Index, float value) const {
    const Index sample = g.input_plane.Divide(n);
    const Index pixel = n - sample * g.input_plane.divisor();
    input_gradient[(sample * g.spec.input.channels + m) * g.input_plane.divisor() + pixel] = value;
  }
};

// Rows are the outputs' channels, columns the values of a patch and one more that is always 1, for the bias; inner the
// pixels of all samples.
struct WeightsProblem {
  Geometry g;
  const Tap* taps;
  const float* input;
  const float* output_gradient;
  float* pieces;

  static ProductSize Size(const Geometry& g, int batch) {
    return {static_cast<Index>(g.spec.outputs), g.patch() + 1, batch * g.output_plane.divisor()};
  }
  struct Column {
    Tap tap;
    bool is_bias;
  };
  __device__ float A(Index m, Index k) const {
    const Index sample = g.output_plane.Divide(k);
    const Index pixel = k - sample * g.output_plane.divisor();
    return output_gradient[(sample * g.spec.outputs + m) * g.output_plane.divisor() + pixel];
  }
  __device__ Column ColumnAt(Index n) const { return n < g.patch() ? Column{taps[n], false} : Column{taps[0], true}; }
  __device__ float B(Index k, const Column& column) const {
    if (column.is_bias) return 1;
    const Index sample = g.output_plane.Divide(k);
    return InputAt(g, input, CornerAt(g, sample, k - sample * g.output_plane.divisor()), column.tap);
  }
  __device__ void Store(Index m, Index n, Index piece, float value) const {
    pieces[(piece * g.spec.outputs + m) * (g.patch() + 1) + n] = value;
  }
};

class CudaConv2d final : public Conv2d {
 public:
  CudaConv2d(const Context& context, const Conv2dSpec& spec, int max_batch)
      : context_(context),
        geometry_(spec),
        input_taps_(context, InputTaps(spec)),
        output_taps_(context, OutputTaps(spec)),
        pieces_(context.MakeBuffer(std::size_t{PiecesFor(context, WeightsProblem::Size(geometry_, max_batch))} *
                                   spec.outputs * (geometry_.patch() + 1))) {}

  void Forward(ConstTensorView input, const float* weights, const float* bias, TensorView output) override {
    const ForwardProblem problem{geometry_, input_taps_.data(), input.data, weights, bias, output.data};
    RunProduct(context_, problem, problem.size(input.batch), 1);
  }

  void BackwardData(ConstTensorView output_gradient, const float* weights, TensorView input_gradient) override {
    const DataProblem problem{geometry_, output_taps_.data(), output_gradient.data, weights, input_gradient.data};
    RunProduct(context_, problem, problem.size(output_gradient.batch), 1);
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    const WeightsProblem problem{geometry_, input_taps_.data(), input.data, output_gradient.data, pieces_.data()};
    const ProductSize size = WeightsProblem::Size(geometry_, input.batch);
    const Index pieces = PiecesFor(context_, size);
    RunProduct(context_, problem, size, pieces);
    ForEach(context_, size.rows * size.columns,
            [pieces, size, columns = FastDivisor(size.columns), from = pieces_.data(), weight_gradient,
             bias_gradient] __device__(Index i) {
              float sum = 0;
              for (Index piece = 0; piece < pieces; ++piece) sum += from[piece * (size.rows * size.columns) + i];
              const Index row = columns.Divide(i), column = i - row * size.columns;
              if (column + 1 < size.columns) {
                weight_gradient[row * (size.columns - 1) + column] = sum;
              } else {
                bias_gradient[row] = sum;
              }
            });
  }

 private:
  const Context& context_;
  const Geometry geometry_;
  const Taps input_taps_;
  const Taps output_taps_;
  const Buffer pieces_;  // of the gradients of weights and bias
};

}  // namespace

std::unique_ptr<Conv2d> MakeConv2d(const Context& context, const Conv2dSpec& spec, int max_batch) {
  CheckSize(spec.input, max_batch);
  CheckSize(spec.output(), max_batch);
  return std::make_unique<CudaConv2d>(context, spec, max_batch);
}

}  // namespace downpour::kernels::cuda
