#include "kernels/cuda/device.h"

#include <utility>

#include "kernels/cuda/context.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(std::unique_ptr<Context> context) : context_(std::move(context)) {}

  std::string_view name() const override { return "cuda"; }

  Buffer MakeBuffer(std::size_t floats) override { return context_->MakeBuffer(floats); }
  std::unique_ptr<Mirror> MakeMirror(std::size_t bytes) override { return cuda::MakeMirror(*context_, bytes); }
  std::unique_ptr<Recording> MakeRecording() override { return cuda::MakeRecording(*context_); }
  void Wait() override { context_->Wait(); }
  void Axpy(float scale, std::span<const float> from, std::span<float> to) override {
    cuda::Axpy(*context_, scale, from, to);
  }

  std::unique_ptr<Conv2d> MakeConv2d(const Conv2dSpec& spec, int max_batch) override {
    if (spec.dilation != 1 || spec.groups != 1) return nullptr;
    return cuda::MakeConv2d(*context_, spec, max_batch);
  }
  std::unique_ptr<MaxPool2d> MakeMaxPool2d(const Pool2dSpec& spec, int max_batch) override {
    return cuda::MakeMaxPool2d(*context_, spec, max_batch);
  }
  std::unique_ptr<AveragePool2d> MakeAveragePool2d(const Pool2dSpec& spec, int max_batch) override {
    return cuda::MakeAveragePool2d(*context_, spec, max_batch);
  }
  std::unique_ptr<InnerProduct> MakeInnerProduct(const InnerProductSpec& spec, int max_batch) override {
    return cuda::MakeInnerProduct(*context_, spec, max_batch);
  }
  std::unique_ptr<Relu> MakeRelu(const Shape& shape, int max_batch) override {
    return cuda::MakeRelu(*context_, shape, max_batch);
  }
  std::unique_ptr<Activation> MakeActivation(const ActivationSpec& spec, const Shape& shape, int max_batch) override {
    return cuda::MakeActivation(*context_, spec, shape, max_batch);
  }
  std::unique_ptr<Prelu> MakePrelu(const Shape& shape, int max_batch) override {
    return cuda::MakePrelu(*context_, shape, max_batch);
  }
  std::unique_ptr<BatchNorm> MakeBatchNorm(const BatchNormSpec& spec, int max_batch) override {
    return cuda::MakeBatchNorm(*context_, spec, max_batch);
  }
  std::unique_ptr<Dropout> MakeDropout(float rate, const Shape& shape, int max_batch) override {
    return cuda::MakeDropout(*context_, rate, shape, max_batch);
  }
  std::unique_ptr<Eltwise> MakeEltwise(EltwiseOperation operation, const Shape& shape, int max_batch) override {
    return cuda::MakeEltwise(*context_, operation, shape, max_batch);
  }
  std::unique_ptr<Concat> MakeConcat(const std::vector<Shape>& inputs, int max_batch) override {
    return cuda::MakeConcat(*context_, inputs, max_batch);
  }
  std::unique_ptr<SoftmaxLoss> MakeSoftmaxLoss(const SoftmaxLossSpec& spec, int max_batch) override {
    return spec.top_k == 1 ? cuda::MakeSoftmaxLoss(*context_, spec.classes, max_batch) : nullptr;
  }
  std::unique_ptr<HingeLoss> MakeHingeLoss(const HingeLossSpec& spec, int max_batch) override {
    return spec.top_k == 1 ? cuda::MakeHingeLoss(*context_, spec, max_batch) : nullptr;
  }
  std::unique_ptr<EuclideanLoss> MakeEuclideanLoss(int max_batch) override {
    return cuda::MakeEuclideanLoss(*context_, max_batch);
  }

 private:
  const std::unique_ptr<Context> context_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Device>> MakeCudaDevice(const DeviceOptions& options) {
  if (options.precision != Precision::kFloat32) {
    return absl::UnimplementedError("device cuda computes in float32 only");
  }
  absl::StatusOr<std::unique_ptr<Context>> context = Context::Create();
  if (!context.ok()) return context.status();
  return std::make_unique<CudaDevice>(*std::move(context));
}

}  // namespace downpour::kernels::cuda
