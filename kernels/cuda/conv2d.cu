#include "kernels/conv2d.h"

#include <algorithm>
#include <cassert>

#include "kernels/cuda/conv2d_products.h"
#include "kernels/cuda/direct_conv2d.h"
#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/implicit_product.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

// Small windows are multiplied directly (direct_conv2d.h), others are matrix products (conv2d_products.h).

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
    const DataProblem problem(geometry_, output_taps_.data(), output_gradient.data, weights, input_gradient.data);
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
