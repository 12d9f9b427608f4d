// Products of matrices in the GPU's memory, row after row, by cuBLAS.
#pragma once

#include "kernels/cuda/launch.h"

namespace downpour::kernels::cuda {

// `leading` is floats from one row to the next. Where transposed, the memory's rows are the matrix's columns.
struct Matrix {
  const float* data;
  int leading;
  bool transposed = false;
};

// c = a * b + keep * c, where a is rows x inner and b inner x columns.
void MatrixProduct(const Context& context, int rows, int columns, int inner, const Matrix& a, const Matrix& b,
                   float keep, float* c, int c_leading);

// So many floats from one sample's matrix to the next sample's, and from one head's to the next head's.
struct Steps {
  Index sample;
  Index head;
};
struct HeadMatrix {
  Matrix first;
  Steps steps;
};

// A product for each head of each sample. Owns what it tells cuBLAS of them.
class HeadProducts {
 public:
  // Throws std::bad_alloc.
  HeadProducts(const Context& context, int heads, int max_batch);

  // c = a * b for each.
  void Run(int batch, int rows, int columns, int inner, const HeadMatrix& a, const HeadMatrix& b, float* c,
           int c_leading, const Steps& c_steps) const;

 private:
  const Context& context_;
  const int heads_;
  const Buffer pointers_;  // of all a, then of all b, then of all c
};

}  // namespace downpour::kernels::cuda
