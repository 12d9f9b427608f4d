#include "kernels/channel_bias.h"

#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

class CudaChannelBias final : public ChannelBias {
 public:
  CudaChannelBias(const Context& context, const Shape& shape)
      : context_(context), plane_(shape.height * shape.width), channels_(shape.channels) {}

  void Add(const float* bias, TensorView values) override {
    ForEach(context_, values.size(), [plane = plane_, channels = channels_, y = values.data, bias] __device__(Index i) {
      y[i] += bias[channels.Remainder(plane.Divide(i))];
    });
  }

  void Backward(ConstTensorView output_gradient, float* bias_gradient) override {
    SumEach(context_, channels_.divisor(), output_gradient.batch * plane_.divisor(), bias_gradient,
            [plane = plane_, channels = channels_, dy = output_gradient.data] __device__(Index channel, Index i) {
              const Index n = plane.Divide(i);
              return dy[(n * channels.divisor() + channel) * plane.divisor() + (i - n * plane.divisor())];
            });
  }

 private:
  const Context& context_;
  const FastDivisor plane_;
  const FastDivisor channels_;
};

}  // namespace

std::unique_ptr<ChannelBias> MakeChannelBias(const Context& context, const Shape& shape, int max_batch) {
  CheckSize(shape, max_batch);
  return std::make_unique<CudaChannelBias>(context, shape);
}

}  // namespace downpour::kernels::cuda
