#include "kernels/activation.h"
#include "kernels/cuda/map.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

struct LeakyRelu {
  float slope;
  __device__ float Value(float x) const { return x > 0 ? x : slope * x; }
  __device__ float Slope(float x, float) const { return x > 0 ? 1 : slope; }
};

struct Elu {
  float alpha;
  __device__ float Value(float x) const { return x > 0 ? x : alpha * expm1f(x); }
  __device__ float Slope(float x, float) const { return x > 0 ? 1 : alpha * expf(x); }
};

struct Gelu {
  __device__ float Value(float x) const { return x * normcdff(x); }
  __device__ float Slope(float x, float) const {
    constexpr float kInverseRootOfTwoPi = 0.3989422804f;
    return normcdff(x) + x * kInverseRootOfTwoPi * expf(-0.5f * x * x);
  }
};

struct Sigmoid {
  __device__ float Value(float x) const { return 1 / (1 + expf(-x)); }
  __device__ float Slope(float, float y) const { return y * (1 - y); }
};

struct Tanh {
  __device__ float Value(float x) const { return tanhf(x); }
  __device__ float Slope(float, float y) const { return 1 - y * y; }
};

template <typename Function>
class CudaActivation final : public Activation {
 public:
  CudaActivation(const Context& context, Function function) : context_(context), function_(function) {}

  void Forward(ConstTensorView input, TensorView output) override {
    Map(
        context_, input.size(), output.data,
        [function = function_] __device__(Index, float x) { return function.Value(x); }, input.data);
  }

  void Backward(ConstTensorView input, ConstTensorView output, ConstTensorView output_gradient,
                TensorView input_gradient) override {
    Map(
        context_, input.size(), input_gradient.data,
        [function = function_] __device__(Index, float x, float y, float dy) { return dy * function.Slope(x, y); },
        input.data, output.data, output_gradient.data);
  }

 private:
  const Context& context_;
  const Function function_;
};

template <typename Function>
std::unique_ptr<Activation> Make(const Context& context, Function function) {
  return std::make_unique<CudaActivation<Function>>(context, function);
}

}  // namespace

std::unique_ptr<Activation> MakeActivation(const Context& context, const ActivationSpec& spec, const Shape& shape,
                                           int max_batch) {
  CheckSize(shape, max_batch);
  switch (spec.function) {
    case ActivationSpec::Function::kLeakyRelu: return Make(context, LeakyRelu{spec.slope});
    case ActivationSpec::Function::kElu: return Make(context, Elu{spec.slope});
    case ActivationSpec::Function::kGelu: return Make(context, Gelu{});
    case ActivationSpec::Function::kSigmoid: return Make(context, Sigmoid{});
    case ActivationSpec::Function::kTanh: return Make(context, Tanh{});
  }
  return nullptr;
}

}  // namespace downpour::kernels::cuda
