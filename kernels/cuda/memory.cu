// Mirrors, and sums of buffers.
#include <cstring>

#include "kernels/cuda/map.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

// Memory of the host's that the GPU copies from and to by itself.
class PinnedMemory {
 public:
  explicit PinnedMemory(std::size_t bytes) {
    if (cudaMallocHost(&data_, bytes) != cudaSuccess) {
      cudaGetLastError();
      throw std::bad_alloc();
    }
  }
  ~PinnedMemory() { cudaFreeHost(data_); }
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  std::byte* data() const { return static_cast<std::byte*>(data_); }

 private:
  void* data_ = nullptr;
};

// When something that was asked for is done.
class Event {
 public:
  Event() { Check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "making an event"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void Record(const Context& context) { Check(cudaEventRecord(event_, context.stream()), "recording an event"); }
  void Wait() { Check(cudaEventSynchronize(event_), "waiting for the GPU"); }

 private:
  cudaEvent_t event_ = nullptr;
};

// Two pieces of pinned memory take turns, so that the host fills one while the GPU reads the other.
class CudaMirror final : public Mirror {
 public:
  CudaMirror(const Context& context, std::size_t bytes)
      : context_(context),
        device_(context.MakeBuffer(bytes / sizeof(float) + 1)),
        pinned_{PinnedMemory(bytes + 1), PinnedMemory(bytes + 1)} {}

  ~CudaMirror() override { context_.Wait(); }

  std::span<const float> ToHost(std::span<const float> values) override {
    CopyToPinned(values.data(), values.size_bytes());
    read_[turn_].Wait();
    return {reinterpret_cast<const float*>(pinned_[turn_].data()), values.size()};
  }

 private:
  const std::byte* ImportBytes(std::span<const std::byte> host) override {
    TakeTurn();
    std::memcpy(pinned_[turn_].data(), host.data(), host.size());
    Check(
        cudaMemcpyAsync(device_.data(), pinned_[turn_].data(), host.size(), cudaMemcpyHostToDevice, context_.stream()),
        "copying to the GPU");
    read_[turn_].Record(context_);
    return reinterpret_cast<const std::byte*>(device_.data());
  }

  std::byte* TargetBytes(std::span<std::byte>) override { return reinterpret_cast<std::byte*>(device_.data()); }

  void ExportBytes(std::span<std::byte> host) override {
    CopyToPinned(device_.data(), host.size());
    read_[turn_].Wait();
    std::memcpy(host.data(), pinned_[turn_].data(), host.size());
  }

  void CopyToPinned(const float* values, std::size_t bytes) {
    TakeTurn();
    Check(cudaMemcpyAsync(pinned_[turn_].data(), values, bytes, cudaMemcpyDeviceToHost, context_.stream()),
          "copying from the GPU");
    read_[turn_].Record(context_);
  }

  void TakeTurn() {
    turn_ = 1 - turn_;
    read_[turn_].Wait();
  }

  const Context& context_;
  const Buffer device_;
  const PinnedMemory pinned_[2];
  Event read_[2];  // the last copy from or to each
  int turn_ = 0;
};

}  // namespace

std::unique_ptr<Mirror> MakeMirror(const Context& context, std::size_t bytes) {
  return std::make_unique<CudaMirror>(context, bytes);
}

void Axpy(const Context& context, float scale, std::span<const float> from, std::span<float> to) {
  Map(
      context, from.size(), to.data(), [scale] __device__(Index, float from, float to) { return to + scale * from; },
      from.data(), static_cast<const float*>(to.data()));
}

}  // namespace downpour::kernels::cuda
