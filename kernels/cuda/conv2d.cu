#include "kernels/conv2d.h"

#include <cassert>
#include <vector>

#include "kernels/cuda/direct_conv2d.h"
#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/implicit_product.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

// Small windows are multiplied directly (direct_conv2d.h). For others all passes are matrix products of patches that
// nobody writes down (implicit_product.h): their values are taken from the tensors by tables of what a patch's values
// have in common. Groups are products of their own, made together.

// A place in a window: of the input's channel for weights' values, of the output's for gradients of the input.
struct Tap {
  Index offset;         // in the tensor that is read, from the window's first value in the first channel of the group
  Index weight_offset;  // from the group's first weight; used for gradients of the input only
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
  for (int c = 0; c < spec.input.channels / spec.groups; ++c)
    for (int i = 0; i < spec.kernel; ++i)
      for (int j = 0; j < spec.kernel; ++j) {
        const int row = i * spec.dilation, column = j * spec.dilation;
        const Index offset = (static_cast<Index>(c) * spec.input.height + row) * spec.input.width + column;
        taps.push_back({offset, 0, row, column});
      }
  return taps;
}

std::vector<Tap> OutputTaps(const Conv2dSpec& spec) {
  const Shape output = spec.output();
  const Index window = spec.kernel * spec.kernel;
  const Index patch = spec.input.channels / spec.groups * window;
  std::vector<Tap> taps;
  for (int o = 0; o < spec.outputs / spec.groups; ++o)
    for (int i = 0; i < spec.kernel; ++i)
      for (int j = 0; j < spec.kernel; ++j) {
        taps.push_back({static_cast<Index>(o) * output.height * output.width, o * patch + i * spec.kernel + j,
                        i * spec.dilation, j * spec.dilation});
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

// Rows are the input's channels of a group, columns its pixels of all samples, inner the group's outputs' channels and
// the window's places.
struct DataProblem {
  Geometry g;
  const Tap* taps;
  const float* output_gradient;
  const float* weights;
  float* input_gradient;

  ProductSize size(int batch) const {
    return {g.group_channels(), batch * g.input_plane.divisor(), g.group_outputs() * g.window(),
            static_cast<Index>(g.spec.groups)};
  }
  __device__ float A(Index group, Index m, Index k) const {
    return weights[group * g.group_outputs() * g.patch() + taps[k].weight_offset + m * g.window()];
  }
  __device__ Corner ColumnAt(Index group, Index n) const {
    const Index sample = g.input_plane.Divide(n);
    const Index pixel = n - sample * g.input_plane.divisor();
    const Index row = g.input_width.Divide(pixel);
    return {(sample * g.spec.outputs + group * g.group_outputs()) * g.output_plane.divisor(),
            static_cast<int>(row) + g.spec.pad, static_cast<int>(pixel - row * g.spec.input.width) + g.spec.pad};
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
  __device__ void Store(Index group, Index m, Index n, Index, float value) const {
    const Index channel = group * g.group_channels() + m;
    const Index sample = g.input_plane.Divide(n);
    const Index pixel = n - sample * g.input_plane.divisor();
    input_gradient[(sample * g.spec.input.channels + channel) * g.input_plane.divisor() + pixel] = value;
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

// Ways to make a direct convolution, for one window and stride: the first where there is work enough for the whole GPU.
struct DirectWay {
  int strip;
  int maps;
  DirectCut (*cut)(const Context&, const DirectProblem&, int batch);
  void (*run)(const Context&, const DirectProblem&, int batch, const float* source, const float* weights,
              const float* bias, float* result);
  WeightsCut (*cut_weights)(const Context&, const DirectProblem&, int batch);
  void (*run_weights)(const Context&, const DirectProblem&, int batch, const float* source, const float* gradient,
                      float* pieces);
};

template <int kKernel, int kStride, int kStrip, int kMaps>
constexpr DirectWay Way() {
  return {kStrip,
          kMaps,
          CutDirect<kKernel, kStride, kStrip, kMaps>,
          RunDirect<kKernel, kStride, kStrip, kMaps>,
          CutWeights<kKernel, kStride, kStrip, kMaps>,
          RunDirectWeights<kKernel, kStride, kStrip, kMaps>};
}

struct DirectWindow {
  int kernel;
  int stride;
  DirectWay ways[2];
};

template <int kKernel, int kStride>
constexpr DirectWindow Window() {
  return {kKernel, kStride, {Way<kKernel, kStride, 8, 8>(), Way<kKernel, kStride, 4, 4>()}};
}

constexpr DirectWindow kDirectWindows[] = {Window<1, 1>(), Window<1, 2>(), Window<3, 1>(),
                                           Window<3, 2>(), Window<5, 1>(), Window<5, 2>()};

// One direction of a convolution made directly, or nothing of it where that is not possible.
class Direct {
 public:
  Direct(const Context& context, const DirectProblem& problem, int kernel, int stride, bool turned)
      : context_(context),
        problem_(problem),
        order_{problem.result.channels, problem.source.channels, kernel * kernel, turned} {
    for (const DirectWindow& window : kDirectWindows) {
      if (window.kernel == kernel && window.stride == stride) window_ = &window;
    }
    if (window_ == nullptr) return;
    std::size_t floats = 0;
    for (const DirectWay& way : window_->ways) {
      const DirectCut cut = way.cut(context, problem_, /*batch=*/1);
      if (cut.channels == 0) {
        window_ = nullptr;
        return;
      }
      floats = std::max(floats, std::size_t{1} * cut.tiles * cut.groups * way.maps * order_.channels * order_.taps);
    }
    CheckSize({static_cast<int>(std::min<std::size_t>(floats, 1u << 31))}, 1);
    arranged_ = context.MakeBuffer(floats);
  }

  bool possible() const { return window_ != nullptr; }

  void Run(int batch, const float* source, const float* weights, const float* bias, float* result) const {
    const DirectWay& way = WayFor(batch);
    const DirectCut cut = way.cut(context_, problem_, batch);
    assert(cut.channels > 0);  // small strips need no more of a stage than large ones, whatever the batch
    ArrangeWeights(context_, order_, cut.tiles, cut.groups * way.maps, weights, arranged_.data());
    way.run(context_, problem_, batch, source, arranged_.data(), bias, result);
  }

  // The weights' gradient, in pieces, is possible where this many are above 0.
  Index WeightPieces(int batch) const {
    if (window_ == nullptr) return 0;
    const WeightsCut cut = WayFor(batch).cut_weights(context_, problem_, batch);
    return cut.channels == 0 ? 0 : cut.pieces();
  }
  // Of batches up to that.
  Index MostWeightPieces(int max_batch) const {
    Index most = 0;
    if (window_ == nullptr) return most;
    for (const DirectWay& way : window_->ways) {
      const WeightsCut cut = way.cut_weights(context_, problem_, max_batch);
      if (cut.channels > 0) most = std::max<Index>(most, cut.pieces());
    }
    return most;
  }
  void RunWeights(int batch, const float* source, const float* gradient, float* pieces) const {
    WayFor(batch).run_weights(context_, problem_, batch, source, gradient, pieces);
  }

 private:
  const DirectWay& WayFor(int batch) const {
    const DirectWay& large = window_->ways[0];
    const Shape& result = problem_.result;
    const std::int64_t threads = std::int64_t{batch} * result.height * CeilDivide(result.width, large.strip) *
                                 CeilDivide(result.channels, large.maps);
    const bool enough = threads >= 128 * context_.multiprocessors() && result.width > window_->ways[1].strip;
    return window_->ways[enough ? 0 : 1];
  }

  const Context& context_;
  const DirectProblem problem_;
  const WeightsOrder order_;
  const DirectWindow* window_ = nullptr;
  Buffer arranged_;
};

class CudaConv2d final : public Conv2d {
 public:
  CudaConv2d(const Context& context, const Conv2dSpec& spec, int max_batch)
      : context_(context),
        geometry_(spec),
        input_taps_(context, InputTaps(spec)),
        output_taps_(context, OutputTaps(spec)),
        forward_(context, {spec.input, spec.output(), spec.pad}, spec.kernel, IsPlain(spec) ? spec.stride : kNoStride,
                 /*turned=*/false),
        backward_(context, {spec.output(), spec.input, spec.kernel - 1 - spec.pad}, spec.kernel,
                  IsPlain(spec) && spec.stride == 1 ? 1 : kNoStride, /*turned=*/true) {
    Index pieces = PiecesFor(context, WeightsProblem::Size(geometry_, max_batch));
    pieces = std::max(pieces, forward_.MostWeightPieces(max_batch));
    pieces_ = context.MakeBuffer(std::size_t{pieces} * spec.outputs * (geometry_.patch() + 1));
  }

  void Forward(ConstTensorView input, const float* weights, const float* bias, TensorView output) override {
    if (forward_.possible()) return forward_.Run(input.batch, input.data, weights, bias, output.data);
    const ForwardProblem problem{geometry_, input_taps_.data(), input.data, weights, bias, output.data};
    RunProduct(context_, problem, problem.size(input.batch), 1);
  }

  void BackwardData(ConstTensorView output_gradient, const float* weights, TensorView input_gradient) override {
    if (backward_.possible()) {
      return backward_.Run(input_gradient.batch, output_gradient.data, weights, nullptr, input_gradient.data);
    }
    const DataProblem problem{geometry_, output_taps_.data(), output_gradient.data, weights, input_gradient.data};
    RunProduct(context_, problem, problem.size(output_gradient.batch), 1);
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    const ProductSize size = WeightsProblem::Size(geometry_, input.batch);
    Index pieces = forward_.WeightPieces(input.batch);
    if (pieces > 0) {
      forward_.RunWeights(input.batch, input.data, output_gradient.data, pieces_.data());
    } else {
      const WeightsProblem problem{geometry_, input_taps_.data(), input.data, output_gradient.data, pieces_.data()};
      pieces = PiecesFor(context_, size);
      RunProduct(context_, problem, size, pieces);
    }
    SumPieces(context_, pieces_.data(), pieces, size.groups * size.rows * size.columns,
              [columns = FastDivisor(size.columns), weight_gradient, bias_gradient] __device__(Index i, float sum) {
                const Index row = columns.Divide(i), column = i - row * columns.divisor();
                if (column + 1 < columns.divisor()) {
                  weight_gradient[row * (columns.divisor() - 1) + column] = sum;
                } else {
                  bias_gradient[row] = sum;
                }
              });
  }

 private:
  static constexpr int kNoStride = 0;  // that no direct way has
  static bool IsPlain(const Conv2dSpec& spec) { return spec.dilation == 1 && spec.groups == 1; }

  const Context& context_;
  const Geometry geometry_;
  const Taps input_taps_;
  const Taps output_taps_;
  const Direct forward_;
  const Direct backward_;
  Buffer pieces_;  // of the gradients of weights and bias
};

}  // namespace

std::unique_ptr<Conv2d> MakeConv2d(const Context& context, const Conv2dSpec& spec, int max_batch) {
  CheckSize(spec.input, max_batch);
  CheckSize(spec.output(), max_batch);
  return std::make_unique<CudaConv2d>(context, spec, max_batch);
}

}  // namespace downpour::kernels::cuda
