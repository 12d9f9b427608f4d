#include "kernels/relu.h"

#include "kernels/cuda/map.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

class CudaRelu final : public Relu {
 public:
  explicit CudaRelu(const Context& context) : context_(context) {}

  void Forward(ConstTensorView input, TensorView output) override {
    Map(
        context_, input.size(), output.data, [] __device__(Index, float x) { return x < 0 ? 0 : x; }, input.data);
  }

  void Backward(ConstTensorView output, ConstTensorView output_gradient, TensorView input_gradient) override {
    Map(
        context_, output.size(), input_gradient.data,
        [] __device__(Index, float y, float dy) { return y > 0 ? dy : 0; }, output.data, output_gradient.data);
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
