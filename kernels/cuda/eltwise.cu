#include "kernels/eltwise.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

__device__ float Combine(EltwiseOperation operation, float a, float b) {
  switch (operation) {
    case EltwiseOperation::kSum: return a + b;
    case EltwiseOperation::kProduct: return a * b;
    case EltwiseOperation::kMax: return b > a ? b : a;
  }
  return a;
}

class CudaEltwise final : public Eltwise {
 public:
  CudaEltwise(const Context& context, EltwiseOperation operation) : context_(context), operation_(operation) {}

  void Forward(std::span<const ConstTensorView> inputs, TensorView output) override {
    float* const y = output.data;
    if (inputs.size() == 1) return Copy(inputs[0], output);
    ForEach(context_, output.size(), [operation = operation_, a = inputs[0].data, b = inputs[1].data, y] __device__(
                                         Index i) { y[i] = Combine(operation, a[i], b[i]); });
    for (const ConstTensorView& input : inputs.subspan(2)) {
      ForEach(context_, output.size(), [operation = operation_, x = input.data, y] __device__(Index i) {
        y[i] = Combine(operation, y[i], x[i]);
      });
    }
  }

  void Backward(std::span<const ConstTensorView> inputs, ConstTensorView output, ConstTensorView output_gradient,
                std::size_t index, TensorView input_gradient) override {
    float* const dx = input_gradient.data;
    Copy(output_gradient, input_gradient);
    switch (operation_) {
      case EltwiseOperation::kSum: return;
      case EltwiseOperation::kProduct:
        for (std::size_t k = 0; k < inputs.size(); ++k) {
          if (k == index) continue;
          ForEach(context_, output.size(), [x = inputs[k].data, dx] __device__(Index i) { dx[i] *= x[i]; });
        }
        return;
      case EltwiseOperation::kMax:
        for (std::size_t k = 0; k <= index; ++k) {
          // Kept where this input is the largest and none before it is.
          ForEach(context_, output.size(),
                  [kept = k == index, x = inputs[k].data, y = output.data, dx] __device__(Index i) {
                    if ((x[i] == y[i]) != kept) dx[i] = 0;
                  });
        }
        return;
    }
  }

 private:
  void Copy(ConstTensorView from, TensorView to) {
    Check(cudaMemcpyAsync(to.data, from.data, from.size() * sizeof(float), cudaMemcpyDeviceToDevice, context_.stream()),
          "copying on the GPU");
  }

  const Context& context_;
  const EltwiseOperation operation_;
};

}  // namespace

std::unique_ptr<Eltwise> MakeEltwise(const Context& context, EltwiseOperation operation, const Shape& shape,
                                     int max_batch) {
  CheckSize(shape, max_batch);
  return std::make_unique<CudaEltwise>(context, operation);
}

}  // namespace downpour::kernels::cuda
