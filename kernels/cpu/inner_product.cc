#include "kernels/inner_product.h"

#include <algorithm>

#include "kernels/cpu/device.h"
#include "kernels/cpu/matrix_product.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

class CpuInnerProduct final : public InnerProduct {
 public:
  CpuInnerProduct(const InnerProductSpec& spec, int threads)
      : inputs_(spec.inputs), outputs_(spec.outputs), threads_(threads) {}

  void Forward(ConstTensorView input, const float* weights, const float* bias, TensorView output) override {
    for (int n = 0; n < input.batch; ++n) std::copy_n(bias, outputs_, output.sample(n));
    MatrixProduct(input.batch, outputs_, inputs_, {input.data, inputs_}, {weights, inputs_, true}, 1,
                  output.data, outputs_, threads_);
  }

  void BackwardData(ConstTensorView output_gradient, const float* weights,
                    TensorView input_gradient) override {
    MatrixProduct(output_gradient.batch, inputs_, outputs_, {output_gradient.data, outputs_},
                  {weights, inputs_}, 0, input_gradient.data, inputs_, threads_);
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    MatrixProduct(outputs_, inputs_, input.batch, {output_gradient.data, outputs_, true},
                  {input.data, inputs_}, 0, weight_gradient, inputs_, threads_);
    const std::span<float> bias(bias_gradient, outputs_);
    Zero(bias);
    for (int n = 0; n < output_gradient.batch; ++n) Axpy(1, {output_gradient.sample(n), bias.size()}, bias);
  }

 private:
  const int inputs_;
  const int outputs_;
  const int threads_;
};

}  // namespace

std::unique_ptr<InnerProduct> MakeInnerProduct(const InnerProductSpec& spec, int threads) {
  return std::make_unique<CpuInnerProduct>(spec, threads);
}

}  // namespace downpour::kernels::cpu
