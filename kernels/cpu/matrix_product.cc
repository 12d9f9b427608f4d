#include "kernels/cpu/matrix_product.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include <cstdio>
#include <cstdlib>

namespace downpour::kernels::cpu {

void MatrixProduct(int m, int n, int k, Matrix a, Matrix b, float keep, float* c, int stride_c, int threads) {
  // OpenMP keeps this number for each calling thread, so that it must be set here and not where the plan is
  // made.
  omp_set_num_threads(threads);
  const dnnl_status_t status =
      dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', m, n, k, 1.0f, a.data, a.stride, b.data,
                 b.stride, keep, c, stride_c);
  if (status != dnnl_success) {  // sizes and strides that do not meet, or no memory for a product's scratch
    std::fprintf(stderr, "oneDNN's sgemm of %d x %d x %d failed with status %d\n", m, n, k, static_cast<int>(status));
    std::abort();
  }
}

}  // namespace downpour::kernels::cpu
