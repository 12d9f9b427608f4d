// What all ops of one CUDA device share.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/buffer.h"

namespace downpour::kernels::cuda {

// A call that failed after the device was made ends the process, with one line: what the device holds can't be relied
// on then, and who started the worker starts another.
void Check(cudaError_t status, const char* what);
void Check(cublasStatus_t status, const char* what);

// One stream, in whose order everything is done. Owns it and the handle of cuBLAS. One thread at a time.
class Context {
 public:
  // cuBLAS computes products by `products`. Fails with kFailedPrecondition, saying why, where there is no GPU or its
  // driver is too old.
  static absl::StatusOr<std::unique_ptr<Context>> Create(cublasComputeType_t products);
  ~Context();

  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  cudaStream_t stream() const { return stream_; }
  cublasHandle_t blas() const { return blas_; }
  cublasComputeType_t products() const { return products_; }
  int multiprocessors() const { return multiprocessors_; }

  // Zeros. Throws std::bad_alloc.
  Buffer MakeBuffer(std::size_t floats) const;
  void Wait() const { Check(cudaStreamSynchronize(stream_), "waiting for the GPU"); }

 private:
  explicit Context(cublasComputeType_t products) : products_(products) {}

  const cublasComputeType_t products_;
  cudaStream_t stream_ = nullptr;
  cublasHandle_t blas_ = nullptr;
  int multiprocessors_ = 0;
  Buffer blas_workspace_;  // of a fixed place, so that products can be recorded
};

}  // namespace downpour::kernels::cuda
