#include "kernels/inner_product.h"

#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/matrix_product.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

class CudaInnerProduct final : public InnerProduct {
 public:
  CudaInnerProduct(const Context& context, const InnerProductSpec& spec)
      : context_(context), inputs_(spec.inputs), outputs_(spec.outputs), by_outputs_(spec.outputs) {}

  void Forward(ConstTensorView input, const float* weights, const float* bias, TensorView output) override {
    ForEach(context_, output.size(), [by_outputs = by_outputs_, bias, y = output.data] __device__(Index i) {
      y[i] = bias[by_outputs.Remainder(i)];
    });
    MatrixProduct(context_, input.batch, outputs_, inputs_, {input.data, inputs_}, {weights, inputs_, true},
                  /*keep=*/1, output.data, outputs_);
  }

  void BackwardData(ConstTensorView output_gradient, const float* weights, TensorView input_gradient) override {
    MatrixProduct(context_, output_gradient.batch, inputs_, outputs_, {output_gradient.data, outputs_},
                  {weights, inputs_}, /*keep=*/0, input_gradient.data, inputs_);
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    MatrixProduct(context_, outputs_, inputs_, input.batch, {output_gradient.data, outputs_, true},
                  {input.data, inputs_}, /*keep=*/0, weight_gradient, inputs_);
    SumEach(context_, outputs_, input.batch, bias_gradient,
            [outputs = outputs_, dy = output_gradient.data] __device__(Index output, Index n) {
              return dy[n * outputs + output];
            });
  }

 private:
  const Context& context_;
  const int inputs_;
  const int outputs_;
  const FastDivisor by_outputs_;
};

}  // namespace

std::unique_ptr<InnerProduct> MakeInnerProduct(const Context& context, const InnerProductSpec& spec, int max_batch) {
  CheckSize({spec.inputs}, max_batch);
  CheckSize({spec.outputs}, max_batch);
  return std::make_unique<CudaInnerProduct>(context, spec);
}

}  // namespace downpour::kernels::cuda
