// What devices that compute in the host's memory have in common. Their ops are done when they return.
#pragma once

#include <memory>

#include "kernels/device.h"

namespace downpour::kernels {

class HostDevice : public Device {
 public:
  Buffer MakeBuffer(std::size_t floats) final;
  std::unique_ptr<Mirror> MakeMirror(std::size_t bytes) final;
  std::unique_ptr<Recording> MakeRecording() final;
  void Wait() final {}
  void Axpy(float scale, std::span<const float> from, std::span<float> to) final;
};

}  // namespace downpour::kernels
