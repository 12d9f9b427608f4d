#include "kernels/relu.h"

#include "kernels/cpu/device.h"
#include "kernels/function_clones.h"

namespace downpour::kernels::cpu {
namespace {

DOWNPOUR_CLONES
void ForwardLoop(const float* x, float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] = x[i] < 0 ? 0 : x[i];
}

DOWNPOUR_CLONES
void BackwardLoop(const float* y, const float* dy, float* dx, std::size_t size) {
#pragma GCC ivdep  // dx may be dy
  for (std::size_t i = 0; i < size; ++i) dx[i] = y[i] > 0 ? dy[i] : 0;
}

class CpuRelu final : public Relu {
 public:
  void Forward(ConstTensorView input, TensorView output) override {
    ForwardLoop(input.data, output.data, input.size());
  }
  void Backward(ConstTensorView output, ConstTensorView output_gradient, TensorView input_gradient) override {
    BackwardLoop(output.data, output_gradient.data, input_gradient.data, output.size());
  }
};

}  // namespace

std::unique_ptr<Relu> MakeRelu() { return std::make_unique<CpuRelu>(); }

}  // namespace downpour::kernels::cpu
