// CUDA. A build without it links no_cuda.cc, whose one answer is an error.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/device.h"

namespace downpour::kernels::cuda {

absl::StatusOr<std::unique_ptr<Device>> MakeCudaDevice(const DeviceOptions& options);

}  // namespace downpour::kernels::cuda
