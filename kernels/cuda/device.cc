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
    return cuda::MakeSoftmaxLoss(*context_, spec, max_batch);
  }
  std::unique_ptr<HingeLoss> MakeHingeLoss(const HingeLossSpec& spec, int max_batch) override {
    return cuda::MakeHingeLoss(*context_, spec, max_batch);
  }
  std::unique_ptr<EuclideanLoss> MakeEuclideanLoss(int max_batch) override {
    return cuda::MakeEuclideanLoss(*context_, max_batch);
  }
  std::unique_ptr<ChannelBias> MakeChannelBias(const Shape& shape, int max_batch) override {
    return cuda::MakeChannelBias(*context_, shape, max_batch);
  }
  std::unique_ptr<Softmax> MakeSoftmax(const Shape& shape, int max_batch) override {
    return cuda::MakeSoftmax(*context_, shape, max_batch);
  }
  std::unique_ptr<Maxout> MakeMaxout(const MaxoutSpec& spec, int max_batch) override {
    return cuda::MakeMaxout(*context_, spec, max_batch);
  }
  std::unique_ptr<Lrn> MakeLrn(const LrnSpec& spec, int max_batch) override {
    return cuda::MakeLrn(*context_, spec, max_batch);
  }
  std::unique_ptr<LayerNorm> MakeLayerNorm(const LayerNormSpec& spec, int max_batch) override {
    return cuda::MakeLayerNorm(*context_, spec, max_batch);
  }
  std::unique_ptr<Embedding> MakeEmbedding(const EmbeddingSpec& spec, int max_batch) override {
    return cuda::MakeEmbedding(*context_, spec, max_batch);
  }
  std::unique_ptr<Attention> MakeAttention(const AttentionSpec& spec, int max_batch) override {
    return cuda::MakeAttention(*context_, spec, max_batch);
  }
  std::unique_ptr<Recurrent> MakeLstm(const RecurrentSpec& spec, int max_batch) override {
    return cuda::MakeLstm(*context_, spec, max_batch);
  }
  std::unique_ptr<Recurrent> MakeGru(const RecurrentSpec& spec, int max_batch) override {
    return cuda::MakeGru(*context_, spec, max_batch);
  }
  std::unique_ptr<SigmoidLoss> MakeSigmoidLoss(const SigmoidLossSpec& spec, int max_batch) override {
    return cuda::MakeSigmoidLoss(*context_, spec, max_batch);
  }
  std::unique_ptr<ContrastiveLoss> MakeContrastiveLoss(const ContrastiveLossSpec& spec, int max_batch) override {
    return cuda::MakeContrastiveLoss(*context_, spec, max_batch);
  }

 private:
  const std::unique_ptr<Context> context_;
};

cublasComputeType_t ProductsIn(Precision precision) {
  switch (precision) {
    case Precision::kFloat32: return CUBLAS_COMPUTE_32F;
    case Precision::kTf32: return CUBLAS_COMPUTE_32F_FAST_TF32;
    case Precision::kBfloat16: return CUBLAS_COMPUTE_32F_FAST_16BF;
  }
  return CUBLAS_COMPUTE_32F;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Device>> MakeCudaDevice(const DeviceOptions& options) {
  absl::StatusOr<std::unique_ptr<Context>> context = Context::Create(ProductsIn(options.precision));
  if (!context.ok()) return context.status();
  return std::make_unique<CudaDevice>(*std::move(context));
}

}  // namespace downpour::kernels::cuda
