#include "kernels/relu.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

class CudaRelu final : public Relu {
 public:
  explicit CudaRelu(const Context& context) : context_(context) {}

  void Forward(ConstTensorView input, TensorView output) override {
    ForEach(context_, input.size(), [x = input.data, y = output.data] __device__(Index i) {
      y[i] = x[i] < 0 ? 0 : x[i];
    });
  }

  void Backward(ConstTensorView output, ConstTensorView output_gradient, TensorView input_gradient) override {
    ForEach(context_, output.size(),
            [y = output.data, dy = output_gradient.data, dx = input_gradient.data] __device__(Index i) {
              dx[i] = y[i] > 0 ? dy[i] : 0;
            });
  }

 private:
  const Context& context_;
};

}  // namespace

std::unique_ptr<Relu> MakeRelu(const Context& context, const Shape& shape, int max_batch) {
  CheckSize(shape, max_batch);
  return std::make_unique<CudaRelu>(context);
}

}  // namespace downpour::kernels::cuda
