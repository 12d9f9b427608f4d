#include "kernels/activation.h"

#include <cmath>

#include "kernels/cpu/device.h"
#include "kernels/cpu/exponential.h"
#include "kernels/function_clones.h"

namespace downpour::kernels::cpu {
namespace {

// P(X <= x) by Abramowitz and Stegun 1964, 7.1.26, to 1.5e-7.
[[gnu::always_inline]] inline float NormalCdf(float x) {
  const float z = std::abs(x) * 0.707106781f;
  const float t = 1.0f / (1.0f + 0.3275911f * z);
  const float series =
      ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
  const float tail = 0.5f * series * Exponential(-z * z);
  return x < 0 ? tail : 1.0f - tail;
}

DOWNPOUR_CLONES
void LeakyRelu(const float* x, float* y, std::size_t size, float slope) {
  for (std::size_t i = 0; i < size; ++i) y[i] = x[i] > 0 ? x[i] : slope * x[i];
}

DOWNPOUR_CLONES
void LeakyReluBack(const float* x, const float*, const float* dy, float* dx, std::size_t size, float slope) {
#pragma GCC ivdep  // dx may be dy
  for (std::size_t i = 0; i < size; ++i) dx[i] = x[i] > 0 ? dy[i] : slope * dy[i];
}

DOWNPOUR_CLONES
void Elu(const float* x, float* y, std::size_t size, float slope) {
  for (std::size_t i = 0; i < size; ++i) {
    const float below = slope * (Exponential(x[i]) - 1.0f);
    y[i] = x[i] > 0 ? x[i] : below;
  }
}

DOWNPOUR_CLONES
void EluBack(const float* x, const float* y, const float* dy, float* dx, std::size_t size, float slope) {
#pragma GCC ivdep  // dx may be dy
  for (std::size_t i = 0; i < size; ++i) dx[i] = x[i] > 0 ? dy[i] : dy[i] * (y[i] + slope);
}

DOWNPOUR_CLONES
void Gelu(const float* x, float* y, std::size_t size, float) {
  for (std::size_t i = 0; i < size; ++i) y[i] = x[i] * NormalCdf(x[i]);
}

DOWNPOUR_CLONES
void GeluBack(const float* x, const float*, const float* dy, float* dx, std::size_t size, float) {
  constexpr float kDensityAtZero = 0.398942280f;  // 1 / sqrt(2 pi)
#pragma GCC ivdep  // dx may be dy
  for (std::size_t i = 0; i < size; ++i) {
    dx[i] = dy[i] * (NormalCdf(x[i]) + x[i] * kDensityAtZero * Exponential(-0.5f * x[i] * x[i]));
  }
}

DOWNPOUR_CLONES
void SigmoidOf(const float* x, float* y, std::size_t size, float) {
  for (std::size_t i = 0; i < size; ++i) y[i] = Sigmoid(x[i]);
}

DOWNPOUR_CLONES
void SigmoidBack(const float*, const float* y, const float* dy, float* dx, std::size_t size, float) {
#pragma GCC ivdep  // dx may be dy
  for (std::size_t i = 0; i < size; ++i) dx[i] = dy[i] * y[i] * (1.0f - y[i]);
}

DOWNPOUR_CLONES
void TanhOf(const float* x, float* y, std::size_t size, float) {
  for (std::size_t i = 0; i < size; ++i) y[i] = Tanh(x[i]);
}

DOWNPOUR_CLONES
void TanhBack(const float*, const float* y, const float* dy, float* dx, std::size_t size, float) {
#pragma GCC ivdep  // dx may be dy
  for (std::size_t i = 0; i < size; ++i) dx[i] = dy[i] * (1.0f - y[i] * y[i]);
}

struct Loops {
  void (*forward)(const float* x, float* y, std::size_t size, float slope);
  void (*backward)(const float* x, const float* y, const float* dy, float* dx, std::size_t size, float slope);
};

Loops LoopsOf(ActivationSpec::Function function) {
  switch (function) {
    case ActivationSpec::Function::kLeakyRelu: return {LeakyRelu, LeakyReluBack};
    case ActivationSpec::Function::kElu: return {Elu, EluBack};
    case ActivationSpec::Function::kGelu: return {Gelu, GeluBack};
    case ActivationSpec::Function::kSigmoid: return {SigmoidOf, SigmoidBack};
    case ActivationSpec::Function::kTanh: return {TanhOf, TanhBack};
  }
  return {};
}

class CpuActivation final : public Activation {
 public:
  explicit CpuActivation(const ActivationSpec& spec) : loops_(LoopsOf(spec.function)), slope_(spec.slope) {}

  void Forward(ConstTensorView input, TensorView output) override {
    loops_.forward(input.data, output.data, input.size(), slope_);
  }
  void Backward(ConstTensorView input, ConstTensorView output, ConstTensorView output_gradient,
                TensorView input_gradient) override {
    loops_.backward(input.data, output.data, output_gradient.data, input_gradient.data, input.size(), slope_);
  }

 private:
  const Loops loops_;
  const float slope_;
};

}  // namespace

std::unique_ptr<Activation> MakeActivation(const ActivationSpec& spec) { return std::make_unique<CpuActivation>(spec); }

}  // namespace downpour::kernels::cpu
