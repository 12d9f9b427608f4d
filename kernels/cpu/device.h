// The CPU: inner products by oneDNN, convolutions the way that has least to do (conv2d.cc), the rest as vectorised loops.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/device.h"

namespace downpour::kernels::cpu {

std::unique_ptr<Conv2d> MakeConv2d(const Conv2dSpec& spec, int threads);
std::unique_ptr<MaxPool2d> MakeMaxPool2d(const Pool2dSpec& spec, int max_batch, int threads);
std::unique_ptr<AveragePool2d> MakeAveragePool2d(const Pool2dSpec& spec, int threads);
std::unique_ptr<InnerProduct> MakeInnerProduct(const InnerProductSpec& spec, int threads);
std::unique_ptr<Relu> MakeRelu();
std::unique_ptr<Activation> MakeActivation(const ActivationSpec& spec);
std::unique_ptr<Prelu> MakePrelu(const Shape& shape);
std::unique_ptr<BatchNorm> MakeBatchNorm(const BatchNormSpec& spec, int threads);
std::unique_ptr<Dropout> MakeDropout(float rate);
std::unique_ptr<Eltwise> MakeEltwise(EltwiseOperation operation);
std::unique_ptr<Concat> MakeConcat();
std::unique_ptr<ChannelBias> MakeChannelBias(const Shape& shape);
std::unique_ptr<Softmax> MakeSoftmax(const Shape& shape, int threads);
std::unique_ptr<Maxout> MakeMaxout(const MaxoutSpec& spec, int threads);
std::unique_ptr<Lrn> MakeLrn(const LrnSpec& spec, int max_batch, int threads);
std::unique_ptr<LayerNorm> MakeLayerNorm(const LayerNormSpec& spec, int max_batch, int threads);
std::unique_ptr<SoftmaxLoss> MakeSoftmaxLoss(const SoftmaxLossSpec& spec, int max_batch);
std::unique_ptr<HingeLoss> MakeHingeLoss(const HingeLossSpec& spec, int max_batch);
std::unique_ptr<EuclideanLoss> MakeEuclideanLoss(int max_batch);
std::unique_ptr<Embedding> MakeEmbedding(const EmbeddingSpec& spec);
std::unique_ptr<Attention> MakeAttention(const AttentionSpec& spec, int max_batch, int threads);
std::unique_ptr<Recurrent> MakeLstm(const RecurrentSpec& spec, int max_batch, int threads);
std::unique_ptr<Recurrent> MakeGru(const RecurrentSpec& spec, int max_batch, int threads);
std::unique_ptr<SigmoidLoss> MakeSigmoidLoss(const SigmoidLossSpec& spec, int max_batch);
std::unique_ptr<ContrastiveLoss> MakeContrastiveLoss(const ContrastiveLossSpec& spec, int max_batch);

absl::StatusOr<std::unique_ptr<Device>> MakeCpuDevice(const DeviceOptions& options);

}  // namespace downpour::kernels::cpu
