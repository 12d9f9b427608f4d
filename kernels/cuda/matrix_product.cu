#include "kernels/cuda/matrix_product.h"

#include "kernels/cuda/fast_divisor.h"

namespace downpour::kernels::cuda {
namespace {

cublasOperation_t Operation(const Matrix& matrix) { return matrix.transposed ? CUBLAS_OP_T : CUBLAS_OP_N; }

}  // namespace

// cuBLAS counts columns first: to it our matrices are their transposes, and c' = b' * a'.
void MatrixProduct(const Context& context, int rows, int columns, int inner, const Matrix& a, const Matrix& b,
                   float keep, float* c, int c_leading) {
  const float one = 1;
  Check(cublasGemmEx(context.blas(), Operation(b), Operation(a), columns, rows, inner, &one, b.data, CUDA_R_32F,
                     b.leading, a.data, CUDA_R_32F, a.leading, &keep, c, CUDA_R_32F, c_leading, context.products(),
                     CUBLAS_GEMM_DEFAULT),
        "a matrix product");
}

HeadProducts::HeadProducts(const Context& context, int heads, int max_batch)
    : context_(context),
      heads_(heads),
      pointers_(context.MakeBuffer(std::size_t{3} * max_batch * heads * sizeof(float*) / sizeof(float))) {}

void HeadProducts::Run(int batch, int rows, int columns, int inner, const HeadMatrix& a, const HeadMatrix& b, float* c,
                       int c_leading, const Steps& c_steps) const {
  const Index count = batch * heads_;
  const auto from = reinterpret_cast<const void**>(pointers_.data());
  const auto to = reinterpret_cast<void**>(pointers_.data()) + 2 * count;
  ForEach(context_, count, [heads = FastDivisor(heads_), count, a, b, c, c_steps, from, to] __device__(Index i) {
    const Index sample = heads.Divide(i), head = i - sample * heads.divisor();
    from[i] = a.first.data + sample * a.steps.sample + head * a.steps.head;
    from[count + i] = b.first.data + sample * b.steps.sample + head * b.steps.head;
    to[i] = c + sample * c_steps.sample + head * c_steps.head;
  });
  const float one = 1, none = 0;
  Check(cublasGemmBatchedEx(context_.blas(), Operation(b.first), Operation(a.first), columns, rows, inner, &one,
                            from + count, CUDA_R_32F, b.first.leading, from, CUDA_R_32F, a.first.leading, &none, to,
                            CUDA_R_32F, c_leading, static_cast<int>(count), context_.products(), CUBLAS_GEMM_DEFAULT),
        "matrix products");
}

}  // namespace downpour::kernels::cuda
