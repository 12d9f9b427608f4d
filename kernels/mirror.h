// Values of the host's, where a device's ops can work on them: in place, or in a copy.
#pragma once

#include <cstddef>
#include <span>

namespace downpour::kernels {

// For up to as many bytes as it was made for. One thread at a time.
class Mirror {
 public:
  virtual ~Mirror() = default;

  // The host's values, for ops to read, until the next call. They must not change before the ops that read
  // them are done.
  template <typename T>
  std::span<const T> Import(std::span<const T> host) {
    if (host.empty()) return host;
    return {reinterpret_cast<const T*>(ImportBytes(std::as_bytes(host))), host.size()};
  }

  // What ops have written to the device's memory, for the host to read, until the next call. Waits for them.
  virtual std::span<const float> ToHost(std::span<const float> values) = 0;

  // Where ops write what Export will bring to `host`; holds nothing of the host's.
  std::span<float> Target(std::span<float> host) {
    return {reinterpret_cast<float*>(TargetBytes(std::as_writable_bytes(host))), host.size()};
  }

  // What ops have written up to now; there once the device's Wait has returned.
  void Export(std::span<float> host) { ExportBytes(std::as_writable_bytes(host)); }

 private:
  virtual const std::byte* ImportBytes(std::span<const std::byte> host) = 0;
  virtual std::byte* TargetBytes(std::span<std::byte> host) = 0;
  virtual void ExportBytes(std::span<std::byte> host) = 0;
};

}  // namespace downpour::kernels
