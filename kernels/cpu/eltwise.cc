#include "kernels/eltwise.h"

#include <algorithm>

#include "kernels/cpu/device.h"
#include "kernels/function_clones.h"

namespace downpour::kernels::cpu {
namespace {

// Each: z[i] = x[i] with y[i]. z may be x or y.

DOWNPOUR_CLONES
void Add(const float* x, const float* y, float* z, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) z[i] = x[i] + y[i];
}

DOWNPOUR_CLONES
void Multiply(const float* x, const float* y, float* z, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) z[i] = x[i] * y[i];
}

DOWNPOUR_CLONES
void KeepLarger(const float* x, const float* y, float* z, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) z[i] = y[i] > x[i] ? y[i] : x[i];
}

// Where x is the largest, y; elsewhere 0.
DOWNPOUR_CLONES
void Select(const float* x, const float* largest, float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] = x[i] == largest[i] ? y[i] : 0;
}

// The same where it is not.
DOWNPOUR_CLONES
void SelectOthers(const float* x, const float* largest, float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] = x[i] == largest[i] ? 0 : y[i];
}

class CpuEltwise final : public Eltwise {
 public:
  explicit CpuEltwise(EltwiseOperation operation) : operation_(operation) {}

  void Forward(std::span<const ConstTensorView> inputs, TensorView output) override {
    if (inputs.size() == 1) std::ranges::copy(inputs[0].values(), output.data);
    const float* first = inputs[0].data;
    for (const ConstTensorView& input : inputs.subspan(1)) {
      switch (operation_) {
        case EltwiseOperation::kSum: Add(first, input.data, output.data, output.size()); break;
        case EltwiseOperation::kProduct: Multiply(first, input.data, output.data, output.size()); break;
        case EltwiseOperation::kMax: KeepLarger(first, input.data, output.data, output.size()); break;
      }
      first = output.data;
    }
  }

  void Backward(std::span<const ConstTensorView> inputs, ConstTensorView output, ConstTensorView output_gradient,
                std::size_t index, TensorView input_gradient) override {
    float* const gradient = input_gradient.data;
    const std::size_t size = output.size();
    std::ranges::copy(output_gradient.values(), gradient);
    switch (operation_) {
      case EltwiseOperation::kSum: return;
      case EltwiseOperation::kProduct:
        for (std::size_t k = 0; k < inputs.size(); ++k) {
          if (k != index) Multiply(gradient, inputs[k].data, gradient, size);
        }
        return;
      case EltwiseOperation::kMax:
        for (std::size_t k = 0; k < index; ++k) SelectOthers(inputs[k].data, output.data, gradient, size);
        return Select(inputs[index].data, output.data, gradient, size);
    }
  }

 private:
  const EltwiseOperation operation_;
};

}  // namespace

std::unique_ptr<Eltwise> MakeEltwise(EltwiseOperation operation) { return std::make_unique<CpuEltwise>(operation); }

}  // namespace downpour::kernels::cpu
