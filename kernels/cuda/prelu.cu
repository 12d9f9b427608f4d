#include "kernels/prelu.h"

#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

class CudaPrelu final : public Prelu {
 public:
  CudaPrelu(const Context& context, const Shape& shape)
      : context_(context), plane_(shape.height * shape.width), channels_(shape.channels) {}

  void Forward(ConstTensorView input, const float* slopes, TensorView output) override {
    ForEach(context_, input.size(),
            [plane = plane_, channels = channels_, x = input.data, y = output.data, slopes] __device__(Index i) {
              y[i] = x[i] > 0 ? x[i] : slopes[channels.Remainder(plane.Divide(i))] * x[i];
            });
  }

  void BackwardData(ConstTensorView input, const float* slopes, ConstTensorView output_gradient,
                    TensorView input_gradient) override {
    ForEach(context_, input.size(),
            [plane = plane_, channels = channels_, x = input.data, dy = output_gradient.data, dx = input_gradient.data,
             slopes] __device__(Index i) {
              dx[i] = dy[i] * (x[i] > 0 ? 1 : slopes[channels.Remainder(plane.Divide(i))]);
            });
  }

  void BackwardSlopes(ConstTensorView input, ConstTensorView output_gradient, float* slope_gradient) override {
    SumEach(context_, channels_.divisor(), input.batch * plane_.divisor(), slope_gradient,
            [plane = plane_, channels = channels_, x = input.data, dy = output_gradient.data] __device__(Index channel,
                                                                                                       Index i) {
              const Index n = plane.Divide(i);
              const Index at = (n * channels.divisor() + channel) * plane.divisor() + (i - n * plane.divisor());
              return x[at] > 0 ? 0 : dy[at] * x[at];
            });
  }

 private:
  const Context& context_;
  const FastDivisor plane_;
  const FastDivisor channels_;
};

}  // namespace

std::unique_ptr<Prelu> MakePrelu(const Context& context, const Shape& shape, int max_batch) {
  CheckSize(shape, max_batch);
  return std::make_unique<CudaPrelu>(context, shape);
}

}  // namespace downpour::kernels::cuda
