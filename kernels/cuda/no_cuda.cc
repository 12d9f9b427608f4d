#include "absl/status/status.h"
#include "kernels/cuda/device.h"

namespace downpour::kernels::cuda {

absl::StatusOr<std::unique_ptr<Device>> MakeCudaDevice(const DeviceOptions&) {
  return absl::UnimplementedError("device cuda: this build has no CUDA; choose worker.device cpu");
}

}  // namespace downpour::kernels::cuda
