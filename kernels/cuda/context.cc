#include "kernels/cuda/context.h"

#include <cstdio>
#include <cstdlib>
#include <new>

#include "absl/strings/str_cat.h"

namespace downpour::kernels::cuda {
namespace {

constexpr std::size_t kBlasWorkspaceFloats = std::size_t{8} << 20;  // 32 MiB, as cuBLAS advises for Hopper

[[noreturn]] void Fail(const char* what, const char* why) {
  std::fprintf(stderr, "device cuda: %s: %s\n", what, why);
  std::abort();
}

absl::Status NoGpu(cudaError_t status) {
  return absl::FailedPreconditionError(absl::StrCat("device cuda: ", cudaGetErrorString(status),
                                                    "; choose worker.device cpu, or see what nvidia-smi says"));
}

void ReleaseDeviceMemory(float* data) { cudaFree(data); }

}  // namespace

void Check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) Fail(what, cudaGetErrorString(status));
}

void Check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) Fail(what, cublasGetStatusString(status));
}

absl::StatusOr<std::unique_ptr<Context>> Context::Create(cublasComputeType_t products) {
  int count = 0;
  if (cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess) return NoGpu(status);
  if (count == 0) return NoGpu(cudaErrorNoDevice);
  std::unique_ptr<Context> context(new Context(products));
  if (cudaError_t status = cudaStreamCreateWithFlags(&context->stream_, cudaStreamNonBlocking); status != cudaSuccess) {
    return NoGpu(status);
  }
  Check(cudaDeviceGetAttribute(&context->multiprocessors_, cudaDevAttrMultiProcessorCount, 0),
        "counting multiprocessors");
  Check(cublasCreate(&context->blas_), "starting cuBLAS");
  Check(cublasSetStream(context->blas_, context->stream_), "starting cuBLAS");
  try {
    context->blas_workspace_ = context->MakeBuffer(kBlasWorkspaceFloats);
  } catch (const std::bad_alloc&) {
    return NoGpu(cudaErrorMemoryAllocation);
  }
  Check(cublasSetWorkspace(context->blas_, context->blas_workspace_.data(), kBlasWorkspaceFloats * sizeof(float)),
        "starting cuBLAS");
  return context;
}

Context::~Context() {
  if (blas_ != nullptr) cublasDestroy(blas_);
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

Buffer Context::MakeBuffer(std::size_t floats) const {
  float* data = nullptr;
  if (cudaMalloc(&data, floats * sizeof(float)) != cudaSuccess) {
    cudaGetLastError();  // it is told, not kept
    throw std::bad_alloc();
  }
  Check(cudaMemsetAsync(data, 0, floats * sizeof(float), stream_), "clearing memory");
  return Buffer(data, floats, ReleaseDeviceMemory);
}

}  // namespace downpour::kernels::cuda
