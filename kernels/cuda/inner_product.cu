#include "kernels/inner_product.h"

#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

// cuBLAS counts columns first: to it our matrices are their transposes.
class CudaInnerProduct final : public InnerProduct {
 public:
  CudaInnerProduct(const Context& context, const InnerProductSpec& spec)
      : context_(context), inputs_(spec.inputs), outputs_(spec.outputs), by_outputs_(spec.outputs) {}

  void Forward(ConstTensorView input, const float* weights, const float* bias, TensorView output) override {
    ForEach(context_, output.size(), [by_outputs = by_outputs_, bias, y = output.data] __device__(Index i) {
      y[i] = bias[by_outputs.Remainder(i)];
    });
    Multiply({CUBLAS_OP_T, weights, inputs_}, {CUBLAS_OP_N, input.data, inputs_}, outputs_, input.batch, inputs_,
             /*keep=*/1, output.data);
  }

  void BackwardData(ConstTensorView output_gradient, const float* weights, TensorView input_gradient) override {
    Multiply({CUBLAS_OP_N, weights, inputs_}, {CUBLAS_OP_N, output_gradient.data, outputs_}, inputs_,
             output_gradient.batch, outputs_, /*keep=*/0, input_gradient.data);
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    Multiply({CUBLAS_OP_N, input.data, inputs_}, {CUBLAS_OP_T, output_gradient.data, outputs_}, inputs_, outputs_,
             input.batch, /*keep=*/0, weight_gradient);
    SumEach(context_, outputs_, input.batch, bias_gradient,
            [outputs = outputs_, dy = output_gradient.data] __device__(Index output, Index n) {
              return dy[n * outputs + output];
            });
  }

 private:
  struct Operand {
    cublasOperation_t operation;
    const float* data;
    int leading;  // floats between two columns
  };

  // c = a * b + keep * c, with c of so many rows and columns.
  void Multiply(const Operand& a, const Operand& b, int rows, int columns, int inner, float keep, float* c) {
    const float one = 1;
    Check(cublasSgemm(context_.blas(), a.operation, b.operation, rows, columns, inner, &one, a.data, a.leading, b.data,
                      b.leading, &keep, c, rows),
          "a matrix product");
  }

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
