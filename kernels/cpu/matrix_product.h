// Products of row-major matrices, by oneDNN.
#pragma once

namespace downpour::kernels::cpu {

// A matrix as it lies in memory, and whether the product takes it as it is or transposed.
struct Matrix {
  const float* data;
  int stride;  // floats from one row in memory to the next
  bool transposed = false;
};

// c = a * b + keep * c, where c is m by n, a (after transposing) m by k and b k by n; row r of c is at
// c + r * stride_c. With a keep of 0 what c held does not matter. Uses up to `threads` threads, one within a
// ParallelFor of several.
void MatrixProduct(int m, int n, int k, Matrix a, Matrix b, float keep, float* c, int stride_c, int threads);

}  // namespace downpour::kernels::cpu
