#include "kernels/host_device.h"

#include <cstring>
#include <new>

#include "kernels/vector_ops.h"

namespace downpour::kernels {
namespace {

constexpr std::align_val_t kAlignment{64};

void Release(float* data) { ::operator delete(data, kAlignment); }

class HostMirror final : public Mirror {
 public:
  std::span<const float> ToHost(std::span<const float> values) override { return values; }

 private:
  const std::byte* ImportBytes(std::span<const std::byte> host) override { return host.data(); }
  std::byte* TargetBytes(std::span<std::byte> host) override { return host.data(); }
  void ExportBytes(std::span<std::byte>) override {}
};

class HostRecording final : public Recording {
 public:
  void Run(std::span<const std::uintptr_t>, absl::FunctionRef<void()> work) override { work(); }
};

}  // namespace

Buffer HostDevice::MakeBuffer(std::size_t floats) {
  float* const data = static_cast<float*>(::operator new(floats * sizeof(float), kAlignment));
  std::memset(data, 0, floats * sizeof(float));
  return Buffer(data, floats, Release);
}

std::unique_ptr<Mirror> HostDevice::MakeMirror(std::size_t) { return std::make_unique<HostMirror>(); }

std::unique_ptr<Recording> HostDevice::MakeRecording() { return std::make_unique<HostRecording>(); }

void HostDevice::Axpy(float scale, std::span<const float> from, std::span<float> to) {
  kernels::Axpy(scale, from, to);
}

}  // namespace downpour::kernels
