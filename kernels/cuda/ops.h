// The ops of the CUDA device. A context must outlive its ops.
#pragma once

#include <memory>
#include <vector>

#include "kernels/cuda/context.h"
#include "kernels/device.h"

namespace downpour::kernels::cuda {

std::unique_ptr<Conv2d> MakeConv2d(const Context& context, const Conv2dSpec& spec, int max_batch);
std::unique_ptr<MaxPool2d> MakeMaxPool2d(const Context& context, const Pool2dSpec& spec, int max_batch);
std::unique_ptr<AveragePool2d> MakeAveragePool2d(const Context& context, const Pool2dSpec& spec, int max_batch);
std::unique_ptr<InnerProduct> MakeInnerProduct(const Context& context, const InnerProductSpec& spec, int max_batch);
std::unique_ptr<Relu> MakeRelu(const Context& context, const Shape& shape, int max_batch);
std::unique_ptr<Activation> MakeActivation(const Context& context, const ActivationSpec& spec, const Shape& shape,
                                           int max_batch);
std::unique_ptr<Prelu> MakePrelu(const Context& context, const Shape& shape, int max_batch);
std::unique_ptr<BatchNorm> MakeBatchNorm(const Context& context, const BatchNormSpec& spec, int max_batch);
std::unique_ptr<Dropout> MakeDropout(const Context& context, float rate, const Shape& shape, int max_batch);
std::unique_ptr<Eltwise> MakeEltwise(const Context& context, EltwiseOperation operation, const Shape& shape,
                                     int max_batch);
std::unique_ptr<Concat> MakeConcat(const Context& context, const std::vector<Shape>& inputs, int max_batch);
std::unique_ptr<SoftmaxLoss> MakeSoftmaxLoss(const Context& context, const SoftmaxLossSpec& spec, int max_batch);
std::unique_ptr<HingeLoss> MakeHingeLoss(const Context& context, const HingeLossSpec& spec, int max_batch);
std::unique_ptr<EuclideanLoss> MakeEuclideanLoss(const Context& context, int max_batch);
std::unique_ptr<ChannelBias> MakeChannelBias(const Context& context, const Shape& shape, int max_batch);
std::unique_ptr<Softmax> MakeSoftmax(const Context& context, const Shape& shape, int max_batch);
std::unique_ptr<Maxout> MakeMaxout(const Context& context, const MaxoutSpec& spec, int max_batch);
std::unique_ptr<Lrn> MakeLrn(const Context& context, const LrnSpec& spec, int max_batch);
std::unique_ptr<LayerNorm> MakeLayerNorm(const Context& context, const LayerNormSpec& spec, int max_batch);
std::unique_ptr<Embedding> MakeEmbedding(const Context& context, const EmbeddingSpec& spec, int max_batch);
std::unique_ptr<Attention> MakeAttention(const Context& context, const AttentionSpec& spec, int max_batch);
std::unique_ptr<Recurrent> MakeLstm(const Context& context, const RecurrentSpec& spec, int max_batch);
std::unique_ptr<Recurrent> MakeGru(const Context& context, const RecurrentSpec& spec, int max_batch);
std::unique_ptr<SigmoidLoss> MakeSigmoidLoss(const Context& context, const SigmoidLossSpec& spec, int max_batch);
std::unique_ptr<ContrastiveLoss> MakeContrastiveLoss(const Context& context, const ContrastiveLossSpec& spec,
                                                     int max_batch);

std::unique_ptr<Mirror> MakeMirror(const Context& context, std::size_t bytes);
std::unique_ptr<Recording> MakeRecording(const Context& context);
void Axpy(const Context& context, float scale, std::span<const float> from, std::span<float> to);

}  // namespace downpour::kernels::cuda
