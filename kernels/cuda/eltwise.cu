#include "kernels/eltwise.h"

#include "kernels/cuda/map.h"
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
    const auto combine = [operation = operation_] __device__(Index, float a, float b) {
      return Combine(operation, a, b);
    };
    Map(context_, output.size(), y, combine, inputs[0].data, inputs[1].data);
    for (const ConstTensorView& input : inputs.subspan(2)) {
      Map(context_, output.size(), y, combine, static_cast<const float*>(y), input.data);
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
          Map(
              context_, output.size(), dx, [] __device__(Index, float a, float b) { return a * b; },
              static_cast<const float*>(dx), inputs[k].data);
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
