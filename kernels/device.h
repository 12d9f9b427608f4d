// Where a net computes. A device makes the ops; which device is chosen once, by name, when a process starts.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/average_pool2d.h"
#include "kernels/batch_norm.h"
#include "kernels/buffer.h"
#include "kernels/channel_bias.h"
#include "kernels/concat.h"
#include "kernels/contrastive_loss.h"
#include "kernels/conv2d.h"
#include "kernels/dropout.h"
#include "kernels/eltwise.h"
#include "kernels/embedding.h"
#include "kernels/euclidean_loss.h"
#include "kernels/hinge_loss.h"
#include "kernels/inner_product.h"
#include "kernels/layer_norm.h"
#include "kernels/lrn.h"
#include "kernels/max_pool2d.h"
#include "kernels/maxout.h"
#include "kernels/mirror.h"
#include "kernels/prelu.h"
#include "kernels/recording.h"
#include "kernels/recurrent.h"
#include "kernels/relu.h"
#include "kernels/sigmoid_loss.h"
#include "kernels/softmax.h"
#include "kernels/softmax_loss.h"
#include "kernels/tensor_view.h"

namespace downpour::kernels {

// One thread at a time may use a device and what it made; of those that compute in the host's memory any thread may
// make ops, and run its own. An op is a plan for one shape and batches up to `max_batch`, with all its scratch memory.
// The device must outlive what it made.
//
// All memory that ops are given is the device's: buffers or mirrors that it made, or memory of the host's where the
// device computes there. Ops may return before they are done; they are done in the order in which they were asked for.
//
// What a spec asks must be possible (an op's header says what is): layers check that beforehand, with better
// words.
class Device {
 public:
  virtual ~Device() = default;

  virtual std::string_view name() const = 0;

  // Throws std::bad_alloc.
  virtual Buffer MakeBuffer(std::size_t floats) = 0;
  virtual std::unique_ptr<Mirror> MakeMirror(std::size_t bytes) = 0;
  virtual std::unique_ptr<Recording> MakeRecording() = 0;

  // Until all that was asked for is done.
  virtual void Wait() = 0;

  // to += scale * from
  virtual void Axpy(float scale, std::span<const float> from, std::span<float> to) = 0;

  // Ops; throws std::bad_alloc.
  virtual std::unique_ptr<Conv2d> MakeConv2d(const Conv2dSpec& spec, int max_batch) = 0;
  virtual std::unique_ptr<MaxPool2d> MakeMaxPool2d(const Pool2dSpec& spec, int max_batch) = 0;
  virtual std::unique_ptr<AveragePool2d> MakeAveragePool2d(const Pool2dSpec& spec, int max_batch) = 0;
  virtual std::unique_ptr<InnerProduct> MakeInnerProduct(const InnerProductSpec& spec, int max_batch) = 0;
  virtual std::unique_ptr<Relu> MakeRelu(const Shape& shape, int max_batch) = 0;
  virtual std::unique_ptr<Activation> MakeActivation(const ActivationSpec& spec, const Shape& shape,
                                                     int max_batch) = 0;
  virtual std::unique_ptr<Prelu> MakePrelu(const Shape& shape, int max_batch) = 0;
  virtual std::unique_ptr<BatchNorm> MakeBatchNorm(const BatchNormSpec& spec, int max_batch) = 0;
  virtual std::unique_ptr<Dropout> MakeDropout(float rate, const Shape& shape, int max_batch) = 0;
  virtual std::unique_ptr<Eltwise> MakeEltwise(EltwiseOperation operation, const Shape& shape, int max_batch) = 0;
  virtual std::unique_ptr<Concat> MakeConcat(const std::vector<Shape>& inputs, int max_batch) = 0;
  virtual std::unique_ptr<SoftmaxLoss> MakeSoftmaxLoss(const SoftmaxLossSpec& spec, int max_batch) = 0;
  virtual std::unique_ptr<HingeLoss> MakeHingeLoss(const HingeLossSpec& spec, int max_batch) = 0;
  virtual std::unique_ptr<EuclideanLoss> MakeEuclideanLoss(int max_batch) = 0;
  virtual std::unique_ptr<ChannelBias> MakeChannelBias(const Shape& shape, int max_batch) = 0;
  virtual std::unique_ptr<Softmax> MakeSoftmax(const Shape& shape, int max_batch) = 0;
  virtual std::unique_ptr<Maxout> MakeMaxout(const MaxoutSpec& spec, int max_batch) = 0;
  virtual std::unique_ptr<Lrn> MakeLrn(const LrnSpec& spec, int max_batch) = 0;
  virtual std::unique_ptr<LayerNorm> MakeLayerNorm(const LayerNormSpec& spec, int max_batch) = 0;
  virtual std::unique_ptr<Embedding> MakeEmbedding(const EmbeddingSpec& spec, int max_batch) = 0;
  virtual std::unique_ptr<Attention> MakeAttention(const AttentionSpec& spec, int max_batch) = 0;
  virtual std::unique_ptr<Recurrent> MakeLstm(const RecurrentSpec& spec, int max_batch) = 0;
  virtual std::unique_ptr<Recurrent> MakeGru(const RecurrentSpec& spec, int max_batch) = 0;
  virtual std::unique_ptr<SigmoidLoss> MakeSigmoidLoss(const SigmoidLossSpec& spec, int max_batch) = 0;
  virtual std::unique_ptr<ContrastiveLoss> MakeContrastiveLoss(const ContrastiveLossSpec& spec, int max_batch) = 0;
};

// In which numbers the factors of products are. Sums, and all that lies in memory, are float32. On a CPU those are the
// products of convolutions and inner products, on a GPU of inner products, attention and recurrent nets.
enum class Precision {
  kFloat32,
  kTf32,      // 10 bits of fraction and float32's range
  kBfloat16,  // 7 bits, and that range
};

// By its name: float32, tf32 or bf16. Fails with kInvalidArgument for others.
absl::StatusOr<Precision> PrecisionNamed(std::string_view name);

struct DeviceOptions {
  int threads = 1;  // that one op may use, the caller's included
  Precision precision = Precision::kFloat32;
};

struct DeviceType {
  std::string_view name;
  // Fails with kUnimplemented where this build does not have the device, or the device not the precision.
  absl::StatusOr<std::unique_ptr<Device>> (*make)(const DeviceOptions& options);
};

// Every device. To add one: a folder with the same file names as cpu/, and a line in device.cc.
std::span<const DeviceType> DeviceTypes();

// Fails with kInvalidArgument for an unknown name, and says the known ones.
absl::StatusOr<std::unique_ptr<Device>> MakeDevice(std::string_view name, const DeviceOptions& options);

}  // namespace downpour::kernels
