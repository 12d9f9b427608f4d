#include "kernels/cpu/device.h"

#include <utility>

#include "kernels/cpu/bf16_inner_product.h"
#include "kernels/cpu/tile_conv2d.h"
#include "kernels/cpu/tiles.h"
#include "kernels/host_device.h"

namespace downpour::kernels::cpu {
namespace {

class CpuDevice final : public HostDevice {
 public:
  explicit CpuDevice(const DeviceOptions& options)
      : threads_(options.threads), in_bf16_(options.precision == Precision::kBfloat16) {}

  std::string_view name() const override { return "cpu"; }

  std::unique_ptr<Conv2d> MakeConv2d(const Conv2dSpec& spec, int) override {
    std::unique_ptr<Conv2d> made;
    if (in_bf16_) made = MakeTileConv2d(spec, threads_);
    return made != nullptr ? std::move(made) : cpu::MakeConv2d(spec, threads_);
  }
  std::unique_ptr<MaxPool2d> MakeMaxPool2d(const Pool2dSpec& spec, int max_batch) override {
    return cpu::MakeMaxPool2d(spec, max_batch, threads_);
  }
  std::unique_ptr<AveragePool2d> MakeAveragePool2d(const Pool2dSpec& spec, int) override {
    return cpu::MakeAveragePool2d(spec, threads_);
  }
  std::unique_ptr<InnerProduct> MakeInnerProduct(const InnerProductSpec& spec, int max_batch) override {
    std::unique_ptr<InnerProduct> made;
    if (in_bf16_) made = MakeBf16InnerProduct(spec, max_batch, threads_);
    return made != nullptr ? std::move(made) : cpu::MakeInnerProduct(spec, threads_);
  }
  std::unique_ptr<Relu> MakeRelu(const Shape&, int) override { return cpu::MakeRelu(); }
  std::unique_ptr<Activation> MakeActivation(const ActivationSpec& spec, const Shape&, int) override {
    return cpu::MakeActivation(spec);
  }
  std::unique_ptr<Prelu> MakePrelu(const Shape& shape, int) override { return cpu::MakePrelu(shape); }
  std::unique_ptr<BatchNorm> MakeBatchNorm(const BatchNormSpec& spec, int) override {
    return cpu::MakeBatchNorm(spec, threads_);
  }
  std::unique_ptr<Dropout> MakeDropout(float rate, const Shape&, int) override { return cpu::MakeDropout(rate); }
  std::unique_ptr<Eltwise> MakeEltwise(EltwiseOperation operation, const Shape&, int) override {
    return cpu::MakeEltwise(operation);
  }
  std::unique_ptr<Concat> MakeConcat(const std::vector<Shape>&, int) override { return cpu::MakeConcat(); }
  std::unique_ptr<ChannelBias> MakeChannelBias(const Shape& shape, int) override { return cpu::MakeChannelBias(shape); }
  std::unique_ptr<Softmax> MakeSoftmax(const Shape& shape, int) override { return cpu::MakeSoftmax(shape, threads_); }
  std::unique_ptr<Maxout> MakeMaxout(const MaxoutSpec& spec, int) override { return cpu::MakeMaxout(spec, threads_); }
  std::unique_ptr<Lrn> MakeLrn(const LrnSpec& spec, int max_batch) override {
    return cpu::MakeLrn(spec, max_batch, threads_);
  }
  std::unique_ptr<LayerNorm> MakeLayerNorm(const LayerNormSpec& spec, int max_batch) override {
    return cpu::MakeLayerNorm(spec, max_batch, threads_);
  }
  std::unique_ptr<SoftmaxLoss> MakeSoftmaxLoss(const SoftmaxLossSpec& spec, int max_batch) override {
    return cpu::MakeSoftmaxLoss(spec, max_batch);
  }
  std::unique_ptr<HingeLoss> MakeHingeLoss(const HingeLossSpec& spec, int max_batch) override {
    return cpu::MakeHingeLoss(spec, max_batch);
  }
  std::unique_ptr<EuclideanLoss> MakeEuclideanLoss(int max_batch) override {
    return cpu::MakeEuclideanLoss(max_batch);
  }
  std::unique_ptr<Embedding> MakeEmbedding(const EmbeddingSpec& spec, int) override {
    return cpu::MakeEmbedding(spec);
  }
  std::unique_ptr<Attention> MakeAttention(const AttentionSpec& spec, int max_batch) override {
    return cpu::MakeAttention(spec, max_batch, threads_);
  }
  std::unique_ptr<Recurrent> MakeLstm(const RecurrentSpec& spec, int max_batch) override {
    return cpu::MakeLstm(spec, max_batch, threads_);
  }
  std::unique_ptr<Recurrent> MakeGru(const RecurrentSpec& spec, int max_batch) override {
    return cpu::MakeGru(spec, max_batch, threads_);
  }
  std::unique_ptr<SigmoidLoss> MakeSigmoidLoss(const SigmoidLossSpec& spec, int max_batch) override {
    return cpu::MakeSigmoidLoss(spec, max_batch);
  }
  std::unique_ptr<ContrastiveLoss> MakeContrastiveLoss(const ContrastiveLossSpec& spec, int max_batch) override {
    return cpu::MakeContrastiveLoss(spec, max_batch);
  }

 private:
  const int threads_;
  const bool in_bf16_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Device>> MakeCpuDevice(const DeviceOptions& options) {
  if (options.precision == Precision::kTf32) {
    return absl::UnimplementedError("device cpu computes in float32 or bf16");
  }
  if (options.precision == Precision::kBfloat16 && !HasTiles()) {
    return absl::UnimplementedError("this CPU has no unit for products of bf16 (Intel AMX)");
  }
  return std::make_unique<CpuDevice>(options);
}

}  // namespace downpour::kernels::cpu
