#include "worker/net.h"

#include <google/protobuf/text_format.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <random>
#include <set>

#include "proto/key.pb.h"
#include "worker/layers/table.h"

namespace {

std::atomic<std::size_t> allocations{0};

void* Allocate(std::size_t size, std::size_t alignment) {
  ++allocations;
  void* p = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

// Counts what the process allocates through C++, in the libraries too.
void* operator new(std::size_t size) { return Allocate(size, alignof(std::max_align_t)); }
void* operator new[](std::size_t size) { return Allocate(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return Allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return Allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return ++allocations, std::malloc(size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return ++allocations, std::malloc(size);
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace downpour::worker {
namespace {

using Layers = google::protobuf::RepeatedPtrField<downpour::Layer>;
using Sides = std::vector<std::uint32_t>;

Layers Parse(const std::string& text) {
  Job job;
  REQUIRE(google::protobuf::TextFormat::ParseFromString(text, &job));
  return job.net();
}

const char kLeNet[] = R"(
  net { name: "conv1" type: "convolution" outputs: 20 kernel: 5 }
  net { name: "pool1" type: "pooling" kernel: 2 stride: 2 }
  net { name: "conv2" type: "convolution" outputs: 50 kernel: 5 }
  net { name: "pool2" type: "pooling" kernel: 2 stride: 2 }
  net { name: "ip1" type: "inner_product" outputs: 500 }
  net { name: "relu1" type: "relu" }
  net { name: "ip2" type: "inner_product" outputs: 10 }
  net { name: "loss" type: "softmax_loss" })";

// A small net around each type of layer, and the shape of its samples. Each has at least one parameter before
// the layer, so that the gradient with respect to the layer's input is checked too.
struct Example {
  const char* net;
  Sides shape;
  int ids = 0;  // where samples are whole numbers below so many
};

const std::multimap<std::string, Example>& Examples() {
  static const auto& examples = *new std::multimap<std::string, Example>{
      {"convolution",
       {R"(net { name: "c1" type: "convolution" outputs: 3 kernel: 3 pad: 1 }
           net { name: "c2" type: "convolution" outputs: 2 kernel: 2 stride: 2 pad: 1 filler: "msra" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {2, 5, 4}}},
      {"convolution",
       {R"(net { name: "c1" type: "convolution" outputs: 4 kernel: 3 pad: 2 dilation: 2 }
           net { name: "c2" type: "convolution" outputs: 6 kernel: 2 stride: 2 dilation: 2 groups: 2 }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {2, 5, 4}}},
      {"transposed_convolution",
       {R"(net { name: "c1" type: "convolution" outputs: 4 kernel: 1 }
           net { name: "c2" type: "transposed_convolution" outputs: 6 kernel: 3 stride: 2 pad: 1 groups: 2 }
           net { name: "c3" type: "transposed_convolution" outputs: 2 kernel: 2 dilation: 2 }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {2, 2, 3}}},
      {"pooling",
       {R"(net { name: "c" type: "convolution" outputs: 2 kernel: 2 }
           net { name: "p" type: "pooling" kernel: 2 stride: 2 }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 6, 8}}},
      {"pooling",
       {R"(net { name: "c" type: "convolution" outputs: 2 kernel: 2 }
           net { name: "p" type: "pooling" kernel: 3 stride: 2 method: "max" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 6, 8}}},
      {"pooling",
       {R"(net { name: "c" type: "convolution" outputs: 2 kernel: 2 }
           net { name: "p" type: "pooling" kernel: 3 stride: 2 pad: 1 round_up: true method: "average" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 6, 7}}},
      {"global_pooling",
       {R"(net { name: "c" type: "convolution" outputs: 4 kernel: 2 }
           net { name: "p" type: "global_pooling" method: "average" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"batch_norm",
       {R"(net { name: "c" type: "convolution" outputs: 4 kernel: 2 }
           net { name: "b" type: "batch_norm" epsilon: 0.01 }
           net { name: "r" type: "tanh" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"inner_product",
       {R"(net { name: "ip1" type: "inner_product" outputs: 5 }
           net { name: "ip2" type: "inner_product" outputs: 4 }
           net { name: "loss" type: "softmax_loss" })",
        {3, 2, 2}}},
      {"inner_product",
       {R"(net { name: "ip1" type: "inner_product" outputs: 5 per_step: true }
           net { name: "ip2" type: "inner_product" outputs: 2 per_step: true }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {3, 1, 4}}},
      {"relu",
       {R"(net { name: "r0" type: "relu" }
           net { name: "ip1" type: "inner_product" outputs: 8 } net { name: "r" type: "relu" }
           net { name: "ip2" type: "inner_product" outputs: 4 } net { name: "loss" type: "softmax_loss" })",
        {6}}},
      {"leaky_relu",
       {R"(net { name: "c" type: "convolution" outputs: 3 kernel: 2 } net { name: "f" type: "leaky_relu" slope: 0.3 }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"prelu",
       {R"(net { name: "c" type: "convolution" outputs: 3 kernel: 2 } net { name: "f" type: "prelu" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"elu",
       {R"(net { name: "c" type: "convolution" outputs: 3 kernel: 2 } net { name: "f" type: "elu" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"elu",
       {R"(net { name: "c" type: "convolution" outputs: 3 kernel: 2 } net { name: "f" type: "elu" slope: 0.5 }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"gelu",
       {R"(net { name: "c" type: "convolution" outputs: 3 kernel: 2 } net { name: "f" type: "gelu" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"sigmoid",
       {R"(net { name: "c" type: "convolution" outputs: 3 kernel: 2 } net { name: "f" type: "sigmoid" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"tanh",
       {R"(net { name: "c" type: "convolution" outputs: 3 kernel: 2 } net { name: "f" type: "tanh" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"dropout",
       {R"(net { name: "a" type: "inner_product" outputs: 20 } net { name: "d" type: "dropout" rate: 0.4 }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {6}}},
      // Values that several take, an input taken twice, and one that is the samples.
      {"eltwise",
       {R"(net { name: "a" type: "inner_product" outputs: 6 } net { name: "b" type: "inner_product" outputs: 6 }
           net { name: "s" type: "eltwise" inputs: "a" inputs: "b" inputs: "data" inputs: "a" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {6}}},
      {"eltwise",
       {R"(net { name: "a" type: "inner_product" outputs: 5 }
           net { name: "b" type: "inner_product" outputs: 5 inputs: "data" }
           net { name: "s" type: "eltwise" inputs: "a" inputs: "a" inputs: "b" }
           net { name: "t" type: "inner_product" outputs: 5 inputs: "b" }
           net { name: "st" type: "eltwise" inputs: "s" inputs: "t" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {6}}},
      {"eltwise",
       {R"(net { name: "a" type: "inner_product" outputs: 5 }
           net { name: "b" type: "inner_product" outputs: 5 inputs: "data" }
           net { name: "p" type: "eltwise" operation: "product" inputs: "a" inputs: "b" inputs: "a" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {6}}},
      {"eltwise",
       {R"(net { name: "a" type: "inner_product" outputs: 5 }
           net { name: "b" type: "inner_product" outputs: 5 inputs: "data" }
           net { name: "m" type: "eltwise" operation: "max" inputs: "a" inputs: "b" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {6}}},
      {"concat",
       {R"(net { name: "c1" type: "convolution" outputs: 2 kernel: 3 pad: 1 }
           net { name: "c2" type: "convolution" outputs: 3 kernel: 1 }
           net { name: "c" type: "concat" inputs: "c2" inputs: "data" inputs: "c1" inputs: "c2" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {2, 4, 3}}},
      {"softmax",
       {R"(net { name: "c" type: "convolution" outputs: 6 kernel: 2 }
           net { name: "f" type: "softmax" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"softmax",
       {R"(net { name: "a" type: "inner_product" outputs: 8 }
           net { name: "f" type: "softmax" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {9}}},
      {"maxout",
       {R"(net { name: "c" type: "convolution" outputs: 6 kernel: 2 }
           net { name: "f" type: "maxout" pieces: 3 }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"layer_norm",
       {R"(net { name: "c" type: "convolution" outputs: 6 kernel: 2 }
           net { name: "f" type: "layer_norm" epsilon: 0.01 }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"layer_norm",
       {R"(net { name: "c" type: "convolution" outputs: 6 kernel: 2 }
           net { name: "f" type: "layer_norm" axis: "step" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"lrn",
       {R"(net { name: "c" type: "convolution" outputs: 6 kernel: 2 }
           net { name: "f" type: "lrn" alpha: 3 beta: 0.6 k: 0.5 }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"lrn",
       {R"(net { name: "c" type: "convolution" outputs: 6 kernel: 2 }
           net { name: "f" type: "lrn" alpha: 3 local_size: 3 region: "within_channel" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"slice",
       {R"(net { name: "c" type: "convolution" outputs: 6 kernel: 2 }
           net { name: "f" type: "slice" from: 1 to: 4 }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"slice",
       {R"(net { name: "c" type: "convolution" outputs: 6 kernel: 2 }
           net { name: "f" type: "slice" axis: "height" to: 2 }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"slice",
       {R"(net { name: "c" type: "convolution" outputs: 6 kernel: 2 }
           net { name: "f" type: "slice" axis: "width" from: 1 }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"flatten",
       {R"(net { name: "c" type: "convolution" outputs: 6 kernel: 2 }
           net { name: "f" type: "flatten" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"reshape",
       {R"(net { name: "c" type: "convolution" outputs: 6 kernel: 2 }
           net { name: "f" type: "reshape" shape: 3 shape: 4 shape: 3 }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {1, 4, 3}}},
      {"embedding",
       {R"(net { name: "e" type: "embedding" vocabulary: 4 outputs: 3 }
           net { name: "r" type: "tanh" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {5}, 4}},
      {"self_attention",
       {R"(net { name: "p" type: "inner_product" outputs: 6 per_step: true }
           net { name: "a" type: "self_attention" heads: 2 }
           net { name: "sum" type: "eltwise" inputs: "p" inputs: "a" }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {4, 1, 3}}},
      {"self_attention",
       {R"(net { name: "p" type: "inner_product" outputs: 4 per_step: true }
           net { name: "a" type: "self_attention" heads: 4 causal: true }
           net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "softmax_loss" })",
        {3, 1, 3}}},
      {"lstm",
       {R"(net { name: "l1" type: "lstm" outputs: 4 } net { name: "l2" type: "lstm" outputs: 3 last: true }
           net { name: "loss" type: "softmax_loss" })",
        {5, 1, 2}}},
      {"gru",
       {R"(net { name: "g1" type: "gru" outputs: 4 } net { name: "g2" type: "gru" outputs: 3 last: true }
           net { name: "loss" type: "softmax_loss" })",
        {5}}},
      {"softmax_loss",
       {R"(net { name: "ip" type: "inner_product" outputs: 2 } net { name: "loss" type: "softmax_loss" })", {4}}},
      // Two, one of which takes what a layer takes too.
      {"softmax_loss",
       {R"(net { name: "trunk" type: "inner_product" outputs: 3 }
           net { name: "side" type: "softmax_loss" inputs: "trunk" loss_weight: 0.3 }
           net { name: "ip" type: "inner_product" outputs: 3 inputs: "trunk" }
           net { name: "loss" type: "softmax_loss" loss_weight: 2 })",
        {4}}},
      {"hinge_loss",
       {R"(net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "hinge_loss" })", {4}}},
      {"hinge_loss",
       {R"(net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "hinge_loss" squared: true })",
        {4}}},
      {"euclidean_loss",
       {R"(net { name: "ip1" type: "inner_product" outputs: 5 } net { name: "r" type: "relu" }
           net { name: "ip2" type: "inner_product" outputs: 1 } net { name: "loss" type: "euclidean_loss" })",
        {4}}},
      {"sigmoid_loss",
       {R"(net { name: "ip" type: "inner_product" outputs: 1 } net { name: "loss" type: "sigmoid_loss" })", {4}}},
      {"sigmoid_loss",
       {R"(net { name: "ip" type: "inner_product" outputs: 3 } net { name: "loss" type: "sigmoid_loss" })", {4}}},
      // One tower of its own, one shared, and one of which nobody wants the gradient.
      {"contrastive_loss",
       {R"(net { name: "a" type: "inner_product" outputs: 4 }
           net { name: "b" type: "inner_product" outputs: 4 inputs: "data" }
           net { name: "side" type: "contrastive_loss" inputs: "data" inputs: "a" loss_weight: 0.5 }
           net { name: "loss" type: "contrastive_loss" inputs: "a" inputs: "b" margin: 2 })",
        {4}}},
  };
  return examples;
}

struct Data {
  Data(const Net& net, int batch_size, int seed, int ids = 0)
      : features(batch_size * net.sample_size()), labels(batch_size), numbers(batch_size), weights(batch_size) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (float& value : features) value = ids > 0 ? static_cast<float>(random() % ids) : uniform(random);
    for (std::int32_t& label : labels) label = static_cast<std::int32_t>(random() % std::max(net.classes(), 1));
    for (float& number : numbers) number = uniform(random);
    for (float& weight : weights) weight = 1 + uniform(random);
    batch.size = batch_size;
    batch.features = features;
    if (net.classes() > 0) {
      batch.targets.classes = labels;
    } else {
      batch.targets.numbers = numbers;
    }
  }

  std::vector<float> features;
  std::vector<std::int32_t> labels;
  std::vector<float> numbers;
  std::vector<float> weights;
  Batch batch;
};

template <typename Body>
void ForEachDevice(Body body) {
  for (const kernels::DeviceType& type : kernels::DeviceTypes()) {
    auto device = type.make({});
    if (!device.ok()) continue;
    INFO(type.name);
    body(**device);
  }
}

std::string ErrorOf(const std::string& net, const Sides& shape, int max_batch = 4) {
  auto device = *kernels::MakeDevice("cpu", {});
  const auto made = Net::Create(Parse(net), shape, max_batch, *device);
  REQUIRE_FALSE(made.ok());
  CHECK(made.status().code() == absl::StatusCode::kInvalidArgument);
  return std::string(made.status().message());
}

TEST_CASE("the table of layers has what the job file offers, and each has an example here") {
  std::set<std::string> table, offered, examples;
  for (const LayerType& type : LayerTypes()) table.insert(std::string(type.type));
  const auto* field = downpour::Layer::descriptor()->FindFieldByName("type");
  for (const std::string& choice : field->options().GetExtension(downpour::key).choices())
    offered.insert(choice);
  for (const auto& [type, example] : Examples()) examples.insert(type);
  CHECK(table == offered);
  CHECK(table == examples);
}

TEST_CASE("each layer's gradient is the slope of the loss") {
  ForEachDevice([](kernels::Device& device) {
    for (const auto& [type, example] : Examples()) {
      INFO(type);
      const auto made = *Net::Create(Parse(example.net), example.shape, 4, device);
      Net& net = *made;
      Data data(net, 3, 5, example.ids);
      if (type.ends_with("_loss")) data.batch.targets.weights = data.weights;
      std::vector<float> parameters(net.parameter_count()), gradient(net.parameter_count(), std::nanf(""));
      std::vector<float> unused(net.parameter_count());
      net.Initialize(11, parameters);
      net.ForwardBackward(parameters, data.batch, gradient);
      for (const Parameter& tensor : net.parameters()) {
        if (tensor.average) continue;  // its gradient is no slope
        for (std::size_t i = tensor.offset; i < tensor.offset + tensor.size; ++i) {
          const auto slope = [&](float step) {
            std::vector<float> moved = parameters;
            moved[i] = parameters[i] + step;
            const double above = net.ForwardBackward(moved, data.batch, unused).loss_sum;
            moved[i] = parameters[i] - step;
            return (above - net.ForwardBackward(moved, data.batch, unused).loss_sum) / (2.0 * step * data.batch.size);
          };
          // Where a step crosses a kink, a smaller one may not.
          const bool close =
              std::ranges::any_of(std::initializer_list<float>{1e-2f, 2e-3f, 5e-4f},
                                  [&](float step) { return std::abs(slope(step) - gradient[i]) < 2e-3; });
          if (!close)
            FAIL(tensor.name << "[" << i - tensor.offset << "]: " << slope(2e-3f) << " and " << gradient[i]);
        }
      }
    }
  });
}

TEST_CASE("dropout is a matter of training, and the same for the same draw") {
  ForEachDevice([](kernels::Device& device) {
    auto net = *Net::Create(Parse(R"(net { name: "a" type: "inner_product" outputs: 50 }
                                     net { name: "d" type: "dropout" rate: 0.5 }
                                     net { name: "e" type: "dropout" rate: 0.5 inputs: "a" }
                                     net { name: "sum" type: "eltwise" inputs: "d" inputs: "e" }
                                     net { name: "ip" type: "inner_product" outputs: 3 }
                                     net { name: "loss" type: "softmax_loss" })"),
                            {6}, 8, device);
    std::vector<float> parameters(net->parameter_count()), gradient(parameters.size());
    net->Initialize(1, parameters);
    Data data(*net, 8, 3);
    const auto trained = [&](std::uint64_t draw) {
      data.batch.draw = draw;
      return net->ForwardBackward(parameters, data.batch, gradient).loss_sum;
    };
    const double first = trained(1), other = trained(2);
    CHECK(first != other);
    CHECK(trained(1) == first);
    const double evaluated = net->Evaluate(parameters, data.batch).loss_sum;
    data.batch.draw = 9;
    CHECK(net->Evaluate(parameters, data.batch).loss_sum == evaluated);
  });
}

TEST_CASE("what is no id makes the loss no number") {
  ForEachDevice([](kernels::Device& device) {
    auto net = *Net::Create(Parse(R"(net { name: "e" type: "embedding" vocabulary: 4 outputs: 3 }
                                     net { name: "ip" type: "inner_product" outputs: 3 }
                                     net { name: "loss" type: "softmax_loss" })"),
                            {2}, 1, device);
    std::vector<float> parameters(net->parameter_count()), gradient(parameters.size());
    net->Initialize(1, parameters);
    const std::int32_t label = 1;
    const auto loss = [&](float id) {
      const std::vector<float> features = {3, id};
      const Batch batch{.size = 1, .features = features, .targets = {.classes = {&label, 1}}};
      return net->ForwardBackward(parameters, batch, gradient).loss_sum;
    };
    CHECK(std::isfinite(loss(0)));
    CHECK(std::isfinite(loss(3)));
    for (const float id : {-1.0f, 4.0f, 0.5f, 1e30f, -1e30f, std::nanf(""), INFINITY}) CHECK(std::isnan(loss(id)));
  });
}

TEST_CASE("running averages become the batch's, and that is what is taken for inference") {
  ForEachDevice([](kernels::Device& device) {
    auto net = *Net::Create(Parse(R"(net { name: "b" type: "batch_norm" moving_average_fraction: 0.5 epsilon: 1e-9 }
                                     net { name: "ip" type: "inner_product" outputs: 3 }
                                     net { name: "loss" type: "softmax_loss" })"),
                            {1, 1, 2}, 2, device);
    std::vector<float> parameters(net->parameter_count()), gradient(parameters.size());
    net->Initialize(1, parameters);
    const std::vector<float> features = {1, 3, 5, 7};  // mean 4, variance 5, unbiased 20 / 3
    const std::vector<std::int32_t> labels = {0, 1};
    const Batch batch{.size = 2, .features = features, .targets = {.classes = labels}};
    const Parameter *mean = nullptr, *variance = nullptr;
    for (const Parameter& each : net->parameters()) {
      if (each.name == "b.running_mean") mean = &each;
      if (each.name == "b.running_var") variance = &each;
    }
    REQUIRE((mean != nullptr && variance != nullptr && mean->average && variance->average));
    for (int step = 0; step < 40; ++step) {
      net->ForwardBackward(parameters, batch, gradient);
      for (const Parameter* each : {mean, variance}) parameters[each->offset] -= gradient[each->offset];
      if (step == 0) {
        CHECK(parameters[mean->offset] == Approx(2));
        CHECK(parameters[variance->offset] == Approx(0.5 + 10.0 / 3));
      }
    }
    CHECK(parameters[mean->offset] == Approx(4));
    CHECK(parameters[variance->offset] == Approx(20.0 / 3));
    net->Infer(parameters, 2, features);
    const std::span<const float> values = net->ValuesOf(0);
    for (std::size_t i = 0; i < features.size(); ++i) {
      CHECK(values[i] == Approx((features[i] - 4) / std::sqrt(20.0 / 3)));
    }
  });
}

TEST_CASE("losses add up by their weights, and the last one's input is the answer") {
  auto device = *kernels::MakeDevice("cpu", {});
  const auto loss_of = [&](const std::string& side, const std::string& main) {
    auto net = *Net::Create(Parse(R"(net { name: "ip" type: "inner_product" outputs: 3 }
                                     net { name: "main" type: "inner_product" outputs: 3 })" +
                                  side + R"(net { name: "loss" type: "softmax_loss" inputs: "main" )" + main + "}"),
                            {4}, 5, *device);
    CHECK(net->outputs()[*net->scores()].layer == "main");
    std::vector<float> parameters(net->parameter_count());
    net->Initialize(1, parameters);
    return net->Evaluate(parameters, Data(*net, 5, 3).batch);
  };
  const std::string side = R"(net { name: "side" type: "softmax_loss" inputs: "ip" loss_weight: )";
  const Evaluation alone = loss_of("", ""), none = loss_of(side + "0 }", ""), half = loss_of(side + "0.5 }", "");
  const Evaluation whole = loss_of(side + "1 }", ""), thrice = loss_of(side + "0 }", "loss_weight: 3");
  CHECK(none.loss_sum == Approx(alone.loss_sum));
  CHECK(whole.loss_sum - alone.loss_sum == Approx(2 * (half.loss_sum - alone.loss_sum)));
  CHECK(thrice.loss_sum == Approx(3 * alone.loss_sum));
  CHECK(whole.correct == alone.correct);
  CHECK(whole.weight == 5);
}

TEST_CASE("of a pair the first is the answer") {
  auto device = *kernels::MakeDevice("cpu", {});
  auto net = *Net::Create(Parse(R"(net { name: "a" type: "inner_product" outputs: 2 }
                                   net { name: "b" type: "inner_product" outputs: 2 inputs: "data" }
                                   net { name: "loss" type: "contrastive_loss" inputs: "b" inputs: "a" })"),
                          {3}, 1, *device);
  CHECK(net->outputs()[*net->scores()].layer == "b");
  CHECK(net->classes() == 2);
}

TEST_CASE("accuracy is that of the last loss's top_k") {
  auto device = *kernels::MakeDevice("cpu", {});
  const auto evaluate = [&](const std::string& keys) {
    auto net = *Net::Create(Parse(R"(net { name: "side" type: "softmax_loss" inputs: "data" top_k: 5 }
                                     net { name: "loss" type: "softmax_loss" inputs: "data" )" + keys + "}"),
                            {5}, 2, *device);
    const std::vector<float> features = {5, 4, 3, 2, 1, 1, 2, 3, 4, 5};
    const std::vector<std::int32_t> labels = {1, 1};
    const Batch batch{.size = 2, .features = features, .targets = {.classes = labels}};
    return std::pair(net->top_k(), net->Evaluate({}, batch).accuracy());
  };
  CHECK(evaluate("") == std::pair(1, 0.0));
  CHECK(evaluate("top_k: 2") == std::pair(2, 0.5));
  CHECK(evaluate("top_k: 4") == std::pair(4, 1.0));
}

TEST_CASE("LeNet on every device gives the reference's loss and gradient") {
  auto reference_device = *kernels::MakeDevice("reference", {});
  auto reference = *Net::Create(Parse(kLeNet), {1, 28, 28}, 4, *reference_device);
  std::vector<float> parameters(reference->parameter_count());
  reference->Initialize(3, parameters);
  const Data data(*reference, 4, 9);
  std::vector<float> expected(parameters.size());
  const double loss = reference->ForwardBackward(parameters, data.batch, expected).loss();
  ForEachDevice([&](kernels::Device& device) {
    auto net = *Net::Create(Parse(kLeNet), {1, 28, 28}, 64, device);
    std::vector<float> gradient(parameters.size(), std::nanf(""));
    CHECK(net->ForwardBackward(parameters, data.batch, gradient).loss() == Approx(loss).epsilon(1e-5));
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      if (!(std::abs(gradient[i] - expected[i]) < 1e-5)) FAIL(TensorAt(net->parameters(), i));
    }
    const Evaluation evaluation = net->Evaluate(parameters, data.batch);
    CHECK(evaluation.loss_sum == Approx(4 * loss).epsilon(1e-5));
    CHECK(evaluation.weight == 4);
    CHECK(evaluation.correct <= 4);
  });
}

// Steps of whole batches beside those of a net that is made for larger ones.
void CheckWholeBatches(kernels::Device& device, const Layers& layers, const Sides& shape, int ids,
                       bool same_when_evaluated) {
  constexpr int kBatch = 4;
  auto whole = *Net::Create(layers, shape, kBatch, device);
  auto larger = *Net::Create(layers, shape, kBatch + 1, device);
  std::vector<float> parameters(whole->parameter_count()), gradient(parameters.size()), expected(parameters.size());
  for (int step = 0; step < 5; ++step) {
    INFO("step " << step);
    whole->Initialize(step, parameters);
    Data data(*whole, kBatch, step, ids);
    if (step % 2 == 1) data.batch.targets.weights = data.weights;
    const Evaluation result = whole->ForwardBackward(parameters, data.batch, gradient);
    CHECK(result.loss_sum == Approx(larger->ForwardBackward(parameters, data.batch, expected).loss_sum));
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      if (!(std::abs(gradient[i] - expected[i]) < 1e-6)) FAIL(TensorAt(whole->parameters(), i));
    }
    if (same_when_evaluated) CHECK(whole->Evaluate(parameters, data.batch).loss_sum == Approx(result.loss_sum));
  }
}

TEST_CASE("whole batches, whose steps a device may keep, are computed anew each time") {
  ForEachDevice([](kernels::Device& device) {
    CheckWholeBatches(device, Parse(kLeNet), {1, 28, 28}, /*ids=*/0, /*same_when_evaluated=*/true);
    for (const auto& [type, example] : Examples()) {
      INFO(type);
      const bool same = type != "dropout" && type != "batch_norm";
      CheckWholeBatches(device, Parse(example.net), example.shape, example.ids, same);
    }
  });
}

TEST_CASE("parameters lie in one vector in forward order, on cache lines") {
  auto device = *kernels::MakeDevice("cpu", {});
  auto net = *Net::Create(Parse(kLeNet), {1, 28, 28}, 2, *device);
  const std::vector<std::pair<std::string, Sides>> expected = {
      {"conv1.weight", {20, 1, 5, 5}},  {"conv1.bias", {20}},
      {"conv2.weight", {50, 20, 5, 5}}, {"conv2.bias", {50}},
      {"ip1.weight", {500, 800}},       {"ip1.bias", {500}},
      {"ip2.weight", {10, 500}},        {"ip2.bias", {10}}};
  REQUIRE(net->parameters().size() == expected.size());
  std::size_t end = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const Parameter& parameter = net->parameters()[i];
    CHECK(parameter.name == expected[i].first);
    CHECK(parameter.shape == expected[i].second);
    CHECK(parameter.offset % 16 == 0);
    CHECK(parameter.offset >= end);
    CHECK(parameter.offset < end + 16);
    end = parameter.offset + parameter.size;
  }
  CHECK(net->parameter_count() % 16 == 0);
  CHECK(net->parameter_count() - end < 16);
  CHECK(net->classes() == 10);
  CHECK(TensorAt(net->parameters(), net->parameters()[2].offset + 7) == "conv2.weight[7]");
  CHECK(TensorAt(net->parameters(), net->parameters()[1].offset + 20) == "padding");

  // Padding stays zero.
  std::vector<float> parameters(net->parameter_count()), gradient(net->parameter_count(), 5);
  net->Initialize(1, parameters);
  const Data data(*net, 2, 1);
  net->ForwardBackward(parameters, data.batch, gradient);
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    if (TensorAt(net->parameters(), i) != "padding") continue;
    REQUIRE(gradient[i] == 0);
    REQUIRE(parameters[i] == 0);
  }
}

TEST_CASE("initial parameters depend on the seed alone") {
  auto device = *kernels::MakeDevice("cpu", {});
  auto net = *Net::Create(Parse(R"(net { name: "a" type: "inner_product" outputs: 100 }
                                   net { name: "b" type: "inner_product" outputs: 200 filler: "msra" }
                                   net { name: "loss" type: "softmax_loss" })"),
                          {300}, 1, *device);
  std::vector<float> first(net->parameter_count()), second(first.size(), 1), other(first.size());
  net->Initialize(42, first);
  net->Initialize(42, second);
  net->Initialize(43, other);
  CHECK(first == second);
  CHECK(first != other);
  // On any machine: these bits are part of what a seed means.
  CHECK(first[0] == -0x1.90c560p-5f);
  CHECK(first[net->parameters()[2].offset] == -0x1.3d0390p-3f);
  const auto moments = [&](const Parameter& tensor) {
    double sum = 0, squares = 0;
    for (std::size_t i = 0; i < tensor.size; ++i) {
      sum += first[tensor.offset + i];
      squares += first[tensor.offset + i] * first[tensor.offset + i];
    }
    return std::pair(sum / tensor.size, std::sqrt(squares / tensor.size));
  };
  const auto [xavier_mean, xavier_deviation] = moments(net->parameters()[0]);
  CHECK(xavier_mean == Approx(0).margin(2e-3));
  CHECK(xavier_deviation == Approx(std::sqrt(1.0 / 300)).epsilon(0.02));
  const auto [msra_mean, msra_deviation] = moments(net->parameters()[2]);
  CHECK(msra_mean == Approx(0).margin(4e-3));
  CHECK(msra_deviation == Approx(std::sqrt(2.0 / 100)).epsilon(0.02));
  CHECK(moments(net->parameters()[1]) == std::pair(0.0, 0.0));
}

TEST_CASE("fillers fill as their names say") {
  auto device = *kernels::MakeDevice("cpu", {});
  const auto fill = [&](const std::string& layer, const Sides& shape) {
    auto net = *Net::Create(Parse("net { name: 'a' " + layer + R"(} net { name: "ip" type: "inner_product" outputs: 2 }
                                                                 net { name: "loss" type: "softmax_loss" })"),
                            shape, 1, *device);
    std::vector<float> all(net->parameter_count());
    net->Initialize(5, all);
    const Parameter &weight = net->parameters()[0], &bias = net->parameters()[1];
    return std::pair(std::vector<float>(all.begin() + weight.offset, all.begin() + weight.offset + weight.size),
                     std::vector<float>(all.begin() + bias.offset, all.begin() + bias.offset + bias.size));
  };
  const auto moments = [](const std::vector<float>& values) {
    double sum = 0, squares = 0;
    for (const float value : values) sum += value, squares += value * value;
    const double count = static_cast<double>(values.size());
    return std::pair(sum / count, std::sqrt(squares / count));
  };
  const std::string ip = "type: 'inner_product' outputs: 100 ";
  const auto [constant, bias] = fill(ip + "filler: 'constant' filler_value: 0.25 bias_filler_value: 0.1", {300});
  CHECK(std::ranges::count(constant, 0.25f) == 30000);
  CHECK(std::ranges::count(bias, 0.1f) == 100);
  const auto [mean, deviation] = moments(fill(ip + "filler: 'gaussian' filler_std: 0.3", {300}).first);
  CHECK(mean == Approx(0).margin(6e-3));
  CHECK(deviation == Approx(0.3).epsilon(0.02));
  const auto [uniform, zeros] = fill(ip + "filler: 'uniform' filler_min: 1 filler_max: 4", {300});
  const auto [least, most] = std::ranges::minmax(uniform);
  CHECK((least >= 1 && least < 1.01f && most < 4 && most > 3.99f));
  CHECK(moments(uniform).first == Approx(2.5).epsilon(0.01));
  CHECK(std::ranges::count(zeros, 0.0f) == 100);
  // By two, by three.
  const std::string up = "type: 'transposed_convolution' outputs: 2 groups: 2 filler: 'bilinear' ";
  const std::vector<float> two = fill(up + "kernel: 4 stride: 2 pad: 1", {2, 3, 3}).first;
  const float four[] = {0.25f, 0.75f, 0.75f, 0.25f};
  REQUIRE(two.size() == 32);
  for (int i = 0; i < 32; ++i) CHECK(two[i] == Approx(four[i / 4 % 4] * four[i % 4]));
  const std::vector<float> three = fill(up + "kernel: 5 stride: 3 pad: 1", {2, 3, 3}).first;
  const float five[] = {1.0f / 3, 2.0f / 3, 1, 2.0f / 3, 1.0f / 3};
  for (int i = 0; i < 50; ++i) CHECK(three[i] == Approx(five[i / 5 % 5] * five[i % 5]));
}

TEST_CASE("a step allocates nothing, and repeats to the bit") {
  auto device = *kernels::MakeDevice("cpu", {});
  std::multimap<std::string, Example> nets = Examples();
  nets.insert({"LeNet", {kLeNet, {1, 28, 28}}});
  for (const auto& [name, example] : nets) {
    INFO(name);
    auto net = *Net::Create(Parse(example.net), example.shape, 16, *device);
    std::vector<float> parameters(net->parameter_count()), gradient(parameters.size()), again(parameters.size());
    net->Initialize(1, parameters);
    const Data data(*net, 16, 1, example.ids);
    net->ForwardBackward(parameters, data.batch, gradient);
    const std::size_t before = allocations;
    net->ForwardBackward(parameters, data.batch, again);
    net->Evaluate(parameters, data.batch);
    CHECK(allocations == before);
    CHECK(std::memcmp(gradient.data(), again.data(), gradient.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("samples of a batch do not touch each other") {
  auto device = *kernels::MakeDevice("cpu", {});
  auto net = *Net::Create(Parse(kLeNet), {1, 28, 28}, 8, *device);
  std::vector<float> parameters(net->parameter_count());
  net->Initialize(1, parameters);
  const Data data(*net, 8, 3);
  double sum = 0;
  for (int n = 0; n < 8; ++n) {
    const Batch one{.size = 1,
                    .features = data.batch.features.subspan(n * net->sample_size(), net->sample_size()),
                    .targets = data.batch.targets.Sub(n, 1)};
    sum += net->Evaluate(parameters, one).loss_sum;
  }
  CHECK(net->Evaluate(parameters, data.batch).loss_sum == Approx(sum).epsilon(1e-5));
}

TEST_CASE("what does not fit is named") {
  using Catch::Contains;
  const std::string loss = R"(net { name: "loss" type: "softmax_loss" })";
  const std::string ip = R"(net { name: "ip" type: "inner_product" outputs: 3 })";
  CHECK_THAT(
      ErrorOf(R"(net { name: "c" type: "convolution" outputs: 2 kernel: 5 }
                        net { name: "p" type: "pooling" kernel: 9 })" +
                  loss,
              {1, 9, 9}),
      Contains("layer p (pooling)") && Contains("layer c") && Contains("2x5x5") && Contains("kernel 9"));
  CHECK_THAT(ErrorOf(R"(net { name: "c" type: "convolution" outputs: 2 kernel: 7 })" + loss, {1, 5, 9}),
             Contains("layer c") && Contains("the input") && Contains("1x5x9"));
  CHECK_THAT(ErrorOf(R"(net { name: "c" type: "convolution" outputs: 2 kernel: 2 })" + loss, {1, 5, 5}),
             Contains("layer loss (softmax_loss)") && Contains("layer c") && Contains("inner_product"));
  CHECK_THAT(ErrorOf(ip + ip + loss, {4}), Contains("two layers are called ip"));
  CHECK_THAT(ErrorOf(ip, {4}), Contains("layer ip") && Contains("softmax_loss"));
  CHECK_THAT(ErrorOf(ip + R"(net { name: "l" type: "contrastive_loss" })", {4}),
             Contains("layer l (contrastive_loss)") && Contains("at least 2 inputs"));
  const std::string pair = R"(net { name: "l" type: "contrastive_loss" inputs: "ip" inputs: )";
  CHECK_THAT(ErrorOf(ip + pair + R"("data" })", {4}), Contains("one shape"));
  CHECK_THAT(ErrorOf(ip + pair + R"("data" inputs: "ip" })", {4}), Contains("no more than 2 inputs"));
  CHECK_THAT(ErrorOf(ip + pair + R"("data" margin: 0 })", {3}), Contains("margin is 0, not above 0"));
  for (const std::string type : {"softmax_loss", "hinge_loss", "sigmoid_loss"}) {
    for (const std::string top_k : {"0", "4"}) {
      CHECK_THAT(
          ErrorOf(ip + R"(net { name: "l" type: ")" + type + R"(" top_k: )" + top_k + "}", {4}),
          Contains("layer l (" + type + ")") && Contains("top_k is " + top_k + ", not from 1 to") && Contains("3"));
    }
  }
  CHECK_THAT(ErrorOf(ip + R"(net { name: "loss" type: "euclidean_loss" })", {4}),
             Contains("layer loss (euclidean_loss)") && Contains("outputs: 1"));
  CHECK_THAT(ErrorOf(loss + ip, {4}), Contains("layer ip") && Contains("after the loss"));
  CHECK_THAT(ErrorOf(ip + loss + R"(net { name: "ip2" type: "inner_product" outputs: 1 inputs: "ip" }
                                    net { name: "l2" type: "euclidean_loss" })",
                     {4}),
             Contains("the labels of layer loss are 3 classes, those of layer l2 numbers"));
  CHECK_THAT(ErrorOf(ip + R"(net { name: "side" type: "relu" }
                             net { name: "l" type: "softmax_loss" inputs: "ip" })", {4}),
             Contains("nobody takes the values of layer side"));
  CHECK_THAT(ErrorOf(R"(net { name: "r" type: "relu" inputs: "data" inputs: "data" })" + loss, {4}),
             Contains("layer r (relu)") && Contains("no more than 1 input") &&
                 Contains("4, from the input, and 4, from the input"));
  CHECK_THAT(ErrorOf(ip + R"(net { name: "e" type: "eltwise" inputs: "ip" })" + loss, {4}),
             Contains("layer e (eltwise)") && Contains("at least 2 inputs"));
  CHECK_THAT(ErrorOf(ip + R"(net { name: "e" type: "eltwise" inputs: "ip" inputs: "data" })" + loss, {4}),
             Contains("one shape") && Contains("3, from layer ip, and 4, from the input"));
  CHECK_THAT(ErrorOf(R"(net { name: "e" type: "eltwise" operation: "mean" inputs: "data" inputs: "data" })" + loss,
                     {4}),
             Contains("'mean'") && Contains("sum, product and max"));
  CHECK_THAT(ErrorOf(R"(net { name: "c" type: "convolution" outputs: 2 kernel: 2 }
                        net { name: "both" type: "concat" inputs: "c" inputs: "data" })" + loss, {1, 4, 4}),
             Contains("one height and width") && Contains("2x3x3, from layer c, and 1x4x4, from the input"));
  CHECK_THAT(
      ErrorOf(R"(net { name: "c" type: "convolution" outputs: 2 kernel: 3 dilation: 4 pad: 1 })" + loss, {1, 6, 9}),
      Contains("kernel 3 with a dilation of 4 is larger"));
  CHECK_THAT(ErrorOf(R"(net { name: "c" type: "convolution" outputs: 4 kernel: 1 groups: 2 })" + loss, {3, 4, 4}),
             Contains("2 groups divide not both outputs, 4, and channels, 3"));
  CHECK_THAT(
      ErrorOf(R"(net { name: "t" type: "transposed_convolution" outputs: 2 kernel: 2 pad: 1 })" + loss, {1, 1, 4}),
      Contains("layer t") && Contains("a pad of 1 leaves nothing"));
  const auto made = [&](const std::string& layer) {
    return ErrorOf("net { name: 'x' " + layer + "}" + loss, {6, 4, 5});
  };
  CHECK_THAT(made("type: 'maxout' pieces: 4"), Contains("pieces, 4, does not divide the channels, 6"));
  CHECK_THAT(made("type: 'slice' from: 2 to: 2"), Contains("from 2 to 2 is no part of a side of 6"));
  CHECK_THAT(made("type: 'slice' axis: 'width' to: 6"), Contains("from 0 to 6 is no part of a side of 5"));
  CHECK_THAT(made("type: 'slice' axis: 'step' to: 1"), Contains("no axis 'step'") && Contains("channels, height"));
  CHECK_THAT(made("type: 'layer_norm' axis: 'width'"), Contains("no axis 'width'") && Contains("sample and step"));
  CHECK_THAT(made("type: 'reshape' shape: 2 shape: 60"), Contains("shape has 2 sides"));
  CHECK_THAT(made("type: 'reshape' shape: 7 shape: 4 shape: 5"), Contains("7x4x5") && Contains("as its input, 120"));
  CHECK_THAT(made("type: 'reshape' shape: 60"), Contains("shape, 60, has not as many"));
  CHECK_THAT(made("type: 'lrn' local_size: 4"), Contains("local_size is 4, not an odd number"));
  CHECK_THAT(made("type: 'lrn' region: 'here'"), Contains("unknown region 'here'"));
  CHECK_THAT(ErrorOf("", {4}), Contains("no layers"));
  CHECK_THAT(ErrorOf(R"(net { name: "e" type: "embedding" vocabulary: 9 outputs: 3 })" + ip + loss, {4, 1, 2}),
             Contains("layer e (embedding)") && Contains("one value a step") && Contains("4x1x2"));
  for (const std::string vocabulary : {"0", "16777217"}) {
    CHECK_THAT(
        ErrorOf(R"(net { name: "e" type: "embedding" outputs: 3 vocabulary: )" + vocabulary + "}" + ip + loss, {4}),
        Contains("vocabulary is " + vocabulary + ", not from 1 to 16777216"));
  }
  CHECK_THAT(ErrorOf(R"(net { name: "e" type: "embedding" outputs: 256 vocabulary: 16777216 })" + ip + loss, {4}),
             Contains("2^31"));
  CHECK_THAT(ErrorOf(R"(net { name: "ip" type: "inner_product" outputs: 3 per_step: true })" + loss, {1, 4, 4}),
             Contains("layer ip (inner_product)") && Contains("needs a sequence") && Contains("1x4x4"));
  CHECK_THAT(ErrorOf(R"(net { name: "a" type: "inner_product" outputs: 3 per_step: true })" + ip + loss, {9}, 1 << 28),
             Contains("2^31 steps"));
  for (const std::string type : {"lstm", "gru"}) {
    const std::string begin = "net { name: 'l' type: '" + type + "' outputs: ";
    CHECK_THAT(ErrorOf(begin + "3 }" + ip + loss, {1, 4, 4}),
               Contains("(" + type + ")") && Contains("needs a sequence"));
    CHECK_THAT(ErrorOf(begin + "0 }" + ip + loss, {4}), Contains("outputs is 0"));
    CHECK_THAT(ErrorOf(begin + "16777216 }" + ip + loss, {5}), Contains("2^26 in 5 steps"));
    CHECK_THAT(ErrorOf(begin + "40000 }" + ip + loss, {2}), Contains("2^31 weights"));
  }
  const std::string attention = R"(net { name: "a" type: "self_attention" heads: )";
  CHECK_THAT(ErrorOf(attention + "3 }" + ip + loss, {2, 4, 6}),
             Contains("(self_attention)") && Contains("needs a sequence"));
  for (const std::string heads : {"0", "4", "12"}) {
    CHECK_THAT(ErrorOf(attention + heads + "}" + ip + loss, {5, 1, 6}),
               Contains("heads is " + heads + ", which does not divide the 6 features"));
  }
  CHECK_THAT(ErrorOf(attention + "1 }" + ip + loss, {2, 1, 65536}), Contains("2^31 weights"));
  CHECK_THAT(ErrorOf(attention + "2 }" + ip + loss, {6000, 1, 2}), Contains("2^26 pairs"));
  CHECK_THAT(
      ErrorOf(attention + R"(1 } net { name: "a.out_proj" type: "inner_product" outputs: 3 })" + loss, {2, 1, 2}),
      Contains("two tensors of parameters are called a.out_proj.weight"));
  CHECK_THAT(ErrorOf(R"(net { name: "d" type: "dropout" rate: 1 })" + loss, {4}),
             Contains("layer d (dropout)") && Contains("rate is 1"));
  const std::string unknown = ErrorOf(R"(net { name: "x" type: "dropin" })" + loss, {4});
  CHECK_THAT(unknown, Contains("'dropin'"));
  for (const LayerType& type : LayerTypes()) CHECK_THAT(unknown, Contains(std::string(type.type)));
  CHECK_THAT(ErrorOf(R"(net { name: "ip" type: "inner_product" outputs: 3 filler: "he" })" + loss, {4}),
             Contains("'he'") && Contains("constant, gaussian, uniform, xavier, msra, bilinear"));
  const auto filled = [&](const std::string& keys) {
    return ErrorOf(R"(net { name: "ip" type: "inner_product" outputs: 3 )" + keys + "}" + loss, {4});
  };
  CHECK_THAT(filled("filler_std: 1"), Contains("filler_std belongs to filler gaussian"));
  CHECK_THAT(filled("filler: 'gaussian'"), Contains("filler gaussian needs filler_std"));
  CHECK_THAT(filled("filler: 'gaussian' filler_std: -1"), Contains("filler_std is -1, below 0"));
  CHECK_THAT(filled("filler: 'uniform' filler_min: 2 filler_max: 1"),
             Contains("filler_min, 2, is above filler_max, 1"));
  CHECK_THAT(filled("filler: 'bilinear'"), Contains("bilinear is for windows"));
  CHECK_THAT(ErrorOf(R"(net { name: "p" type: "pooling" kernel: 2 method: "mean" })" + loss, {1, 4, 4}),
             Contains("'mean'"));
  CHECK_THAT(ErrorOf(R"(net { name: "p" type: "pooling" kernel: 2 pad: 2 })" + loss, {1, 4, 4}),
             Contains("pad is 2, not less than the kernel"));
  CHECK_THAT(ErrorOf(R"(net { type: "relu" })" + loss, {4}), Contains("no name"));
  CHECK_THAT(
      ErrorOf(R"(net { name: "c" type: "convolution" outputs: 2 kernel: 2 stride: 0 })" + loss, {1, 4, 4}),
      Contains("stride is 0"));
  CHECK_THAT(ErrorOf(R"(net { name: "ip" type: "inner_product" outputs: 4000000000 })" + loss, {4}),
             Contains("2^31"));
  CHECK_THAT(
      ErrorOf(R"(net { name: "c" type: "convolution" outputs: 4000000000 kernel: 1 })" + loss, {1, 4, 4}),
      Contains("2^31"));
  CHECK_THAT(ErrorOf(ip + loss, {}), Contains("data.shape"));
  CHECK_THAT(ErrorOf(ip + loss, {1, 0, 3}), Contains("data.shape"));
  CHECK_THAT(ErrorOf(ip + loss, {65536, 65536, 65536}), Contains("data.shape"));
  CHECK_THAT(ErrorOf(ip + loss, {4}, 0), Contains("batches of 0"));
}

TEST_CASE("a net that no memory can hold is refused") {
  auto device = *kernels::MakeDevice("cpu", {});
  const auto made = Net::Create(Parse(R"(net { name: "ip" type: "inner_product" outputs: 1000000000 }
                                         net { name: "loss" type: "softmax_loss" })"),
                                {1}, 1 << 30, *device);
  CHECK(made.status().code() == absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace downpour::worker
