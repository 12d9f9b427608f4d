#include "kernels/reference/device.h"

#include "kernels/host_device.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceDevice final : public HostDevice {
 public:
  std::string_view name() const override { return "reference"; }

  std::unique_ptr<Conv2d> MakeConv2d(const Conv2dSpec& spec, int) override {
    return reference::MakeConv2d(spec);
  }
  std::unique_ptr<MaxPool2d> MakeMaxPool2d(const Pool2dSpec& spec, int max_batch) override {
    return reference::MakeMaxPool2d(spec, max_batch);
  }
  std::unique_ptr<AveragePool2d> MakeAveragePool2d(const Pool2dSpec& spec, int) override {
    return reference::MakeAveragePool2d(spec);
  }
  std::unique_ptr<InnerProduct> MakeInnerProduct(const InnerProductSpec& spec, int) override {
    return reference::MakeInnerProduct(spec);
  }
  std::unique_ptr<Relu> MakeRelu(const Shape&, int) override { return reference::MakeRelu(); }
  std::unique_ptr<Activation> MakeActivation(const ActivationSpec& spec, const Shape&, int) override {
    return reference::MakeActivation(spec);
  }
  std::unique_ptr<Prelu> MakePrelu(const Shape& shape, int) override { return reference::MakePrelu(shape); }
  std::unique_ptr<BatchNorm> MakeBatchNorm(const BatchNormSpec& spec, int) override {
    return reference::MakeBatchNorm(spec);
  }
  std::unique_ptr<Dropout> MakeDropout(float rate, const Shape&, int) override { return reference::MakeDropout(rate); }
  std::unique_ptr<Eltwise> MakeEltwise(EltwiseOperation operation, const Shape&, int) override {
    return reference::MakeEltwise(operation);
  }
  std::unique_ptr<Concat> MakeConcat(const std::vector<Shape>&, int) override { return reference::MakeConcat(); }
  std::unique_ptr<ChannelBias> MakeChannelBias(const Shape& shape, int) override {
    return reference::MakeChannelBias(shape);
  }
  std::unique_ptr<Softmax> MakeSoftmax(const Shape& shape, int) override { return reference::MakeSoftmax(shape); }
  std::unique_ptr<Maxout> MakeMaxout(const MaxoutSpec& spec, int) override { return reference::MakeMaxout(spec); }
  std::unique_ptr<Lrn> MakeLrn(const LrnSpec& spec, int) override { return reference::MakeLrn(spec); }
  std::unique_ptr<LayerNorm> MakeLayerNorm(const LayerNormSpec& spec, int) override {
    return reference::MakeLayerNorm(spec);
  }
  std::unique_ptr<SoftmaxLoss> MakeSoftmaxLoss(const SoftmaxLossSpec& spec, int max_batch) override {
    return reference::MakeSoftmaxLoss(spec, max_batch);
  }
  std::unique_ptr<HingeLoss> MakeHingeLoss(const HingeLossSpec& spec, int max_batch) override {
    return reference::MakeHingeLoss(spec, max_batch);
  }
  std::unique_ptr<EuclideanLoss> MakeEuclideanLoss(int max_batch) override {
    return reference::MakeEuclideanLoss(max_batch);
  }
  std::unique_ptr<Embedding> MakeEmbedding(const EmbeddingSpec& spec, int) override {
    return reference::MakeEmbedding(spec);
  }
  std::unique_ptr<Attention> MakeAttention(const AttentionSpec& spec, int max_batch) override {
    return reference::MakeAttention(spec, max_batch);
  }
  std::unique_ptr<Recurrent> MakeLstm(const RecurrentSpec& spec, int max_batch) override {
    return reference::MakeLstm(spec, max_batch);
  }
  std::unique_ptr<Recurrent> MakeGru(const RecurrentSpec& spec, int max_batch) override {
    return reference::MakeGru(spec, max_batch);
  }
  std::unique_ptr<SigmoidLoss> MakeSigmoidLoss(const SigmoidLossSpec& spec, int max_batch) override {
    return reference::MakeSigmoidLoss(spec, max_batch);
  }
  std::unique_ptr<ContrastiveLoss> MakeContrastiveLoss(const ContrastiveLossSpec& spec, int max_batch) override {
    return reference::MakeContrastiveLoss(spec, max_batch);
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<Device>> MakeReferenceDevice(const DeviceOptions& options) {
  if (options.precision != Precision::kFloat32) {
    return absl::UnimplementedError("device reference computes in float32 only");
  }
  return std::make_unique<ReferenceDevice>();
}

}  // namespace downpour::kernels::reference
