#include "worker/layers/table.h"

#include <google/protobuf/text_format.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace downpour::worker {
namespace {

// A device of another's memory that has no op at all.
class BareDevice final : public kernels::Device {
 public:
  explicit BareDevice(std::unique_ptr<kernels::Device> memory) : memory_(std::move(memory)) {}

  std::string_view name() const override { return "bare"; }
  kernels::Buffer MakeBuffer(std::size_t floats) override { return memory_->MakeBuffer(floats); }
  std::unique_ptr<kernels::Mirror> MakeMirror(std::size_t bytes) override { return memory_->MakeMirror(bytes); }
  std::unique_ptr<kernels::Recording> MakeRecording() override { return memory_->MakeRecording(); }
  void Wait() override { memory_->Wait(); }
  void Axpy(float scale, std::span<const float> from, std::span<float> to) override { memory_->Axpy(scale, from, to); }

  std::unique_ptr<kernels::Conv2d> MakeConv2d(const kernels::Conv2dSpec&, int) override { return nullptr; }
  std::unique_ptr<kernels::MaxPool2d> MakeMaxPool2d(const kernels::Pool2dSpec&, int) override { return nullptr; }
  std::unique_ptr<kernels::AveragePool2d> MakeAveragePool2d(const kernels::Pool2dSpec&, int) override {
    return nullptr;
  }
  std::unique_ptr<kernels::InnerProduct> MakeInnerProduct(const kernels::InnerProductSpec&, int) override {
    return nullptr;
  }
  std::unique_ptr<kernels::Relu> MakeRelu(const kernels::Shape&, int) override { return nullptr; }
  std::unique_ptr<kernels::Activation> MakeActivation(const kernels::ActivationSpec&, const kernels::Shape&,
                                                      int) override {
    return nullptr;
  }
  std::unique_ptr<kernels::Prelu> MakePrelu(const kernels::Shape&, int) override { return nullptr; }
  std::unique_ptr<kernels::BatchNorm> MakeBatchNorm(const kernels::BatchNormSpec&, int) override { return nullptr; }
  std::unique_ptr<kernels::Dropout> MakeDropout(float, const kernels::Shape&, int) override { return nullptr; }
  std::unique_ptr<kernels::Eltwise> MakeEltwise(kernels::EltwiseOperation, const kernels::Shape&, int) override {
    return nullptr;
  }
  std::unique_ptr<kernels::Concat> MakeConcat(const std::vector<kernels::Shape>&, int) override { return nullptr; }
  std::unique_ptr<kernels::SoftmaxLoss> MakeSoftmaxLoss(const kernels::SoftmaxLossSpec&, int) override { return nullptr; }
  std::unique_ptr<kernels::HingeLoss> MakeHingeLoss(const kernels::HingeLossSpec&, int) override { return nullptr; }
  std::unique_ptr<kernels::EuclideanLoss> MakeEuclideanLoss(int) override { return nullptr; }

 private:
  const std::unique_ptr<kernels::Device> memory_;
};

TEST_CASE("a layer whose op a device lacks is refused by name") {
  BareDevice device(*kernels::MakeDevice("reference", {}));
  const LayerInput image{"the input", {4, 3, 3}}, steps{"the input", {4, 1, 6}}, row{"the input", {4, 1, 1}};
  // Those whose ops are not pure virtual, and what not all devices do of the others.
  const std::pair<std::string, std::vector<LayerInput>> layers[] = {
      {"type: 'convolution' outputs: 2 kernel: 2 groups: 2", {image}},
      {"type: 'transposed_convolution' outputs: 2 kernel: 2", {image}},
      {"type: 'softmax'", {image}},
      {"type: 'maxout' pieces: 2", {image}},
      {"type: 'layer_norm'", {image}},
      {"type: 'lrn'", {image}},
      {"type: 'embedding' vocabulary: 5 outputs: 2", {row}},
      {"type: 'self_attention' heads: 2", {steps}},
      {"type: 'lstm' outputs: 2", {steps}},
      {"type: 'gru' outputs: 2", {steps}},
      {"type: 'softmax_loss' top_k: 2", {row}},
      {"type: 'hinge_loss' top_k: 2", {row}},
      {"type: 'sigmoid_loss'", {row}},
      {"type: 'contrastive_loss'", {row, row}}};
  for (const auto& [layer, inputs] : layers) {
    downpour::Layer config;
    REQUIRE(google::protobuf::TextFormat::ParseFromString("name: 'here' " + layer, &config));
    const auto made = MakeLayer({config, inputs, 2, device});
    INFO(layer);
    REQUIRE(made.status().code() == absl::StatusCode::kUnimplemented);
    CHECK_THAT(std::string(made.status().message()),
               Catch::Contains("layer here (" + config.type() + "): ") &&
                   Catch::Contains("not computed on device bare yet; set worker.device to cpu"));
  }
}

}  // namespace
}  // namespace downpour::worker
