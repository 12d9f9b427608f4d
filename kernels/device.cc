#include "kernels/device.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/cpu/device.h"
#include "kernels/cuda/device.h"
#include "kernels/reference/device.h"

namespace downpour::kernels {
namespace {

constexpr DeviceType kDeviceTypes[] = {
    {"cpu", cpu::MakeCpuDevice},
    {"reference", reference::MakeReferenceDevice},
    {"cuda", cuda::MakeCudaDevice},
};

}  // namespace

std::span<const DeviceType> DeviceTypes() { return kDeviceTypes; }

absl::StatusOr<Precision> PrecisionNamed(std::string_view name) {
  if (name == "float32") return Precision::kFloat32;
  if (name == "tf32") return Precision::kTf32;
  if (name == "bf16") return Precision::kBfloat16;
  return absl::InvalidArgumentError(
      absl::StrCat("unknown precision '", std::string(name), "'; known are: float32, tf32, bf16"));
}

absl::StatusOr<std::unique_ptr<Device>> MakeDevice(std::string_view name, const DeviceOptions& options) {
  if (options.threads < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("device ", std::string(name), ": ", options.threads, " threads; at least 1 is needed"));
  }
  for (const DeviceType& type : kDeviceTypes) {
    if (type.name == name) return type.make(options);
  }
  const std::string known = absl::StrJoin(
      kDeviceTypes, ", ", [](std::string* out, const DeviceType& type) { out->append(type.name); });
  return absl::InvalidArgumentError(
      absl::StrCat("unknown device '", std::string(name), "'; known are: ", known));
}

}  // namespace downpour::kernels
