// Every op of every device against the reference, on odd shapes and batches below the largest.
#include "kernels/device.h"

#include <catch2/catch.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kernels/op_testing.h"

namespace downpour::kernels {
namespace {

// All passes of one convolution on both devices.
void CheckConvolution(Device& device, Device& reference, const Conv2dSpec& spec, int batch, int max_batch) {
  INFO("input " << ToString(spec.input) << " kernel " << spec.kernel << " stride " << spec.stride << " pad " << spec.pad
                << " dilation " << spec.dilation << " groups " << spec.groups << " batch " << batch);
  const auto x = Values(batch * spec.input.size(), 1), w = Values(spec.weight_count(), 2);
  const auto b = Values(spec.outputs, 3), dy = Values(batch * spec.output().size(), 4);
  const auto run = [&](Device& each) {
    auto op = each.MakeConv2d(spec, max_batch);
    const Tensor input(each, x, batch, spec.input), weights(each, w), bias(each, b);
    const Tensor output_gradient(each, dy, batch, spec.output());
    std::vector<Tensor> all;
    all.emplace_back(each, Rubbish(dy.size()), batch, spec.output());
    all.emplace_back(each, Rubbish(w.size()));
    all.emplace_back(each, Rubbish(b.size()));
    all.emplace_back(each, Rubbish(x.size()), batch, spec.input);
    op->Forward(input, weights.data(), bias.data(), all[0]);
    op->BackwardWeights(input, output_gradient, all[1].data(), all[2].data());
    op->BackwardData(output_gradient, weights.data(), all[3]);
    // A second time, on what the first has left in the scratch memory.
    const Tensor again(each, Rubbish(dy.size()), batch, spec.output());
    op->Forward(input, weights.data(), bias.data(), again);
    REQUIRE(again.Get() == all[0].Get());
    return ValuesOf(all);
  };
  const auto seen = run(device), expected = run(reference);
  // Errors grow as sums do: over windows, and over the batch.
  const auto window = static_cast<float>(spec.kernel * spec.kernel / spec.groups);
  RequireClose(seen[0], expected[0], std::max(1e-4f, 1e-5f * std::sqrt(spec.input.channels * window)));
  RequireClose(seen[3], expected[3], std::max(1e-4f, 1e-5f * std::sqrt(spec.outputs * window)));
  const float allowed = 1e-4f * std::sqrt(static_cast<float>(batch * spec.output().height * spec.output().width));
  RequireClose(seen[1], expected[1], allowed);
  RequireClose(seen[2], expected[2], allowed);
}

TEST_CASE("convolution") {
  const Conv2dSpec specs[] = {
      {.input = {1, 28, 28}, .outputs = 20, .kernel = 5},
      {.input = {20, 12, 12}, .outputs = 50, .kernel = 5},
      {.input = {3, 7, 9}, .outputs = 5, .kernel = 3, .stride = 2, .pad = 1},
      {.input = {2, 5, 5}, .outputs = 3, .kernel = 2, .stride = 3},
      {.input = {1, 4, 4}, .outputs = 1, .kernel = 4},
      {.input = {4, 6, 11}, .outputs = 7, .kernel = 1},
      {.input = {4, 7, 6}, .outputs = 70, .kernel = 1, .stride = 2},
      {.input = {2, 3, 3}, .outputs = 2, .kernel = 3, .stride = 1, .pad = 2},
      {.input = {1, 2, 3}, .outputs = 2, .kernel = 5, .stride = 2, .pad = 4},
      {.input = {3, 16, 33}, .outputs = 9, .kernel = 3, .stride = 1, .pad = 1},
      {.input = {2, 9, 9}, .outputs = 4, .kernel = 7, .stride = 1, .pad = 3},
      {.input = {2, 9, 9}, .outputs = 4, .kernel = 3, .stride = 1, .pad = 5},
      {.input = {2, 9, 11}, .outputs = 4, .kernel = 3, .dilation = 2},
      {.input = {3, 8, 9}, .outputs = 5, .kernel = 2, .stride = 2, .pad = 3, .dilation = 3},
      {.input = {4, 7, 6}, .outputs = 6, .kernel = 3, .pad = 1, .groups = 2},
      {.input = {6, 7, 6}, .outputs = 12, .kernel = 5, .stride = 2, .pad = 2, .groups = 6},
      {.input = {6, 9, 9}, .outputs = 3, .kernel = 3, .stride = 2, .pad = 2, .dilation = 2, .groups = 3},
  };
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    for (const Conv2dSpec& spec : specs) CheckConvolution(device, reference, spec, batch, kMaxBatch);
  });
}

// Several samples are in what is computed together; cpu/conv2d_ways_test.cc has the ways of the CPU, each for itself.
TEST_CASE("convolution of many channels") {
  const Conv2dSpec specs[] = {
      {.input = {16, 8, 8}, .outputs = 32, .kernel = 3, .pad = 1},
      {.input = {20, 7, 9}, .outputs = 36, .kernel = 3},
  };
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    for (const Conv2dSpec& spec : specs) CheckConvolution(device, reference, spec, batch, kMaxBatch);
  });
}

TEST_CASE("convolution with work for a whole GPU") {
  constexpr int kBatch = 40;
  const Conv2dSpec specs[] = {
      {.input = {4, 33, 37}, .outputs = 19, .kernel = 5, .stride = 1, .pad = 2},
      {.input = {5, 65, 67}, .outputs = 23, .kernel = 3, .stride = 2, .pad = 1},
      {.input = {6, 33, 36}, .outputs = 17, .kernel = 1},
      {.input = {2, 33, 37}, .outputs = 19, .kernel = 7, .stride = 1, .pad = 3},
      {.input = {8, 23, 25}, .outputs = 84, .kernel = 3, .pad = 2, .dilation = 2, .groups = 2},
      {.input = {24, 23, 25}, .outputs = 24, .kernel = 3, .pad = 1, .groups = 24},
  };
  const auto reference = *MakeDevice("reference", {});
  for (const DeviceType& type : DeviceTypes()) {
    const auto device = type.make({.threads = 2});
    if (!device.ok() || type.name == "reference") continue;
    INFO(type.name);
    for (const Conv2dSpec& spec : specs) CheckConvolution(**device, *reference, spec, kBatch, kBatch);
  }
}

const std::vector<Pool2dSpec>& PoolSpecs() {
  static const auto& specs = *new std::vector<Pool2dSpec>{
      {.input = {20, 24, 24}, .kernel = 2, .stride = 2},
      {.input = {50, 8, 8}, .kernel = 2, .stride = 2},
      {.input = {3, 7, 9}, .kernel = 2, .stride = 2},
      {.input = {2, 3, 11}, .kernel = 2, .stride = 2},
      {.input = {2, 7, 7}, .kernel = 3, .stride = 2},
      {.input = {2, 5, 6}, .kernel = 2, .stride = 3},
      {.input = {1, 4, 4}, .kernel = 4, .stride = 1},
      {.input = {1, 6, 6}, .kernel = 1, .stride = 1},
      {.input = {3, 7, 9}, .kernel = 2, .stride = 2, .round_up = true},
      {.input = {2, 8, 9}, .kernel = 3, .stride = 2, .round_up = true},
      {.input = {2, 8, 9}, .kernel = 3, .stride = 2, .pad = 1},
      {.input = {2, 8, 9}, .kernel = 3, .stride = 2, .pad = 1, .round_up = true},
      {.input = {2, 5, 4}, .kernel = 4, .stride = 3, .pad = 3, .round_up = true},
      {.input = {3, 6, 6}, .kernel = 2, .stride = 2, .pad = 1},
      {.input = {4, 5, 3}, .global = true},
  };
  return specs;
}

// `make` gives an op of a spec, on a device.
template <typename Make>
void CheckPooling(Make make) {
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    for (const Pool2dSpec& spec : PoolSpecs()) {
      INFO("input " << ToString(spec.input) << " kernel " << spec.kernel << " stride " << spec.stride << " pad "
                    << spec.pad << (spec.round_up ? " up" : ""));
      auto x = Values(batch * spec.input.size(), 1);
      for (float& value : x) value = std::round(value * 3) - 4;  // with equals, and none above the padding's 0
      const auto dy = Values(batch * spec.output().size(), 2);
      const auto run = [&](Device& each) {
        auto op = make(each, spec);
        std::vector<Tensor> all;
        all.emplace_back(each, Rubbish(dy.size()), batch, spec.output());
        all.emplace_back(each, Rubbish(x.size()), batch, spec.input);
        op->Forward(Tensor(each, x, batch, spec.input), all[0]);
        op->Backward(Tensor(each, dy, batch, spec.output()), all[1]);
        return ValuesOf(all);
      };
      RequireClose(run(device), run(reference));
    }
  });
}

TEST_CASE("max pooling") {
  CheckPooling([](Device& device, const Pool2dSpec& spec) { return device.MakeMaxPool2d(spec, kMaxBatch); });
}

TEST_CASE("average pooling") {
  CheckPooling([](Device& device, const Pool2dSpec& spec) { return device.MakeAveragePool2d(spec, kMaxBatch); });
}

TEST_CASE("windows lie where they should") {
  const auto side = [](int side, int kernel, int stride, int pad, bool up) {
    return Pool2dSpec{.input = {1, side, side}, .kernel = kernel, .stride = stride, .pad = pad, .round_up = up}
        .output()
        .height;
  };
  // As PyTorch's MaxPool2d has them.
  CHECK(side(32, 3, 2, 0, false) == 15);
  CHECK(side(32, 3, 2, 0, true) == 16);
  CHECK(side(112, 3, 2, 1, false) == 56);
  CHECK(side(7, 2, 2, 0, true) == 4);
  CHECK(side(6, 2, 2, 1, false) == 4);
  CHECK(side(6, 2, 2, 1, true) == 4);
  CHECK(side(5, 2, 3, 1, true) == 2);  // a third would begin in the padding
  const Pool2dSpec spec{.input = {1, 5, 5}, .kernel = 3, .stride = 2, .pad = 1, .round_up = true};
  CHECK(spec.Window(0, 5).first == 0);
  CHECK(spec.Window(0, 5).last == 2);
  CHECK(spec.Window(0, 5).padded == 3);
  CHECK(spec.Window(2, 5).first == 3);
  CHECK(spec.Window(2, 5).last == 5);
  CHECK(spec.Window(2, 5).padded == 3);
}

TEST_CASE("inner product") {
  const InnerProductSpec specs[] = {{800, 500}, {500, 10}, {1, 1}, {7, 13}, {33, 1}};
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    for (const InnerProductSpec& spec : specs) {
      INFO(spec.inputs << " to " << spec.outputs);
      const Shape in{spec.inputs}, out{spec.outputs};
      const auto x = Values(batch * in.size(), 1), w = Values(in.size() * out.size(), 2);
      const auto b = Values(out.size(), 3), dy = Values(batch * out.size(), 4);
      const auto run = [&](Device& each) {
        auto op = each.MakeInnerProduct(spec, kMaxBatch);
        const Tensor input(each, x, batch, in), weights(each, w), bias(each, b), output_gradient(each, dy, batch, out);
        std::vector<Tensor> all;
        all.emplace_back(each, Rubbish(dy.size()), batch, out);
        all.emplace_back(each, Rubbish(w.size()));
        all.emplace_back(each, Rubbish(b.size()));
        all.emplace_back(each, Rubbish(x.size()), batch, in);
        op->Forward(input, weights.data(), bias.data(), all[0]);
        op->BackwardWeights(input, output_gradient, all[1].data(), all[2].data());
        op->BackwardData(output_gradient, weights.data(), all[3]);
        return ValuesOf(all);
      };
      RequireClose(run(device), run(reference));
    }
  });
}

TEST_CASE("relu") {
  ForEachDevice([&](Device& device, Device&, int batch) {
    const Shape shape{3, 5, 7};
    const auto x = Values(batch * shape.size(), 1), dy = Values(batch * shape.size(), 2);
    auto op = device.MakeRelu(shape, kMaxBatch);
    const Tensor output(device, Rubbish(x.size()), batch, shape);
    const Tensor input_gradient(device, Rubbish(x.size()), batch, shape);
    op->Forward(Tensor(device, x, batch, shape), output);
    op->Backward(output, Tensor(device, dy, batch, shape), input_gradient);
    const auto y = output.Get(), dx = input_gradient.Get();
    for (std::size_t i = 0; i < x.size(); ++i) {
      REQUIRE(y[i] == std::max(x[i], 0.0f));
      REQUIRE(dx[i] == (x[i] > 0 ? dy[i] : 0));
    }
    const Tensor out(device, {0});
    op->Forward(Tensor(device, Rubbish(1)), out);
    REQUIRE(std::isnan(out.Get()[0]));
  });
}

TEST_CASE("activations") {
  using Function = ActivationSpec::Function;
  const Shape shape{3, 5, 7};
  for (const Function function :
       {Function::kLeakyRelu, Function::kElu, Function::kGelu, Function::kSigmoid, Function::kTanh}) {
    INFO("function " << static_cast<int>(function));
    ForEachDevice([&](Device& device, Device& reference, int batch) {
      auto x = Values(batch * shape.size(), 1);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] *= static_cast<float>(1 + i % 7);
      std::ranges::copy(std::initializer_list<float>{0, -0.0f, 1e-6f, -1e-6f, 20, -20, 200, -200}, x.begin());
      const auto dy = Values(x.size(), 2);
      const auto run = [&](Device& each) {
        auto op = each.MakeActivation({function, 0.3f}, shape, kMaxBatch);
        const Tensor input(each, x, batch, shape);
        std::vector<Tensor> all;
        for (int k = 0; k < 2; ++k) all.emplace_back(each, Rubbish(x.size()), batch, shape);
        op->Forward(input, all[0]);
        op->Backward(input, all[0], Tensor(each, dy, batch, shape), all[1]);
        return ValuesOf(all);
      };
      RequireClose(run(device), run(reference));
      const Tensor out(device, {0});
      device.MakeActivation({function, 0.3f}, {1}, 1)->Forward(Tensor(device, Rubbish(1)), out);
      CHECK(std::isnan(out.Get()[0]));
    });
  }
}

TEST_CASE("prelu") {
  const Shape shape{3, 5, 7};
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    const auto x = Values(batch * shape.size(), 1), dy = Values(batch * shape.size(), 2), slopes = Values(3, 3);
    const auto run = [&](Device& each) {
      auto op = each.MakePrelu(shape, kMaxBatch);
      const Tensor input(each, x, batch, shape), gradient(each, dy, batch, shape), parameters(each, slopes);
      std::vector<Tensor> all;
      for (int k = 0; k < 2; ++k) all.emplace_back(each, Rubbish(x.size()), batch, shape);
      all.emplace_back(each, Rubbish(3));
      op->Forward(input, parameters.data(), all[0]);
      op->BackwardData(input, parameters.data(), gradient, all[1]);
      op->BackwardSlopes(input, gradient, all[2].data());
      return ValuesOf(all);
    };
    RequireClose(run(device), run(reference));
  });
}

TEST_CASE("channel bias") {
  const Shape shape{3, 5, 7};
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    const auto x = Values(batch * shape.size(), 1), dy = Values(batch * shape.size(), 2), biases = Values(3, 3);
    const auto run = [&](Device& each) {
      auto op = each.MakeChannelBias(shape, kMaxBatch);
      std::vector<Tensor> all;
      all.emplace_back(each, x, batch, shape);
      all.emplace_back(each, Rubbish(3));
      op->Add(Tensor(each, biases).data(), all[0]);
      op->Backward(Tensor(each, dy, batch, shape), all[1].data());
      return ValuesOf(all);
    };
    RequireClose(run(device), run(reference));
  });
}

TEST_CASE("batch normalisation") {
  for (const Shape& shape : {Shape{3, 5, 7}, Shape{4, 1, 1}, Shape{1, 6, 6}, Shape{2, 8, 40},
                             Shape{2, 33, 64}, Shape{3, 41, 51}, Shape{300, 3, 4}}) {
    INFO("shape " << ToString(shape));
    ForEachDevice([&](Device& device, Device& reference, int batch) {
      const std::size_t channels = shape.channels;
      auto x = Values(batch * shape.size(), 1);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = x[i] * 3 + 20;  // far from 0
      const auto dy = Values(x.size(), 2), weights = Values(channels, 3), biases = Values(channels, 4);
      const auto means = Values(channels, 5);
      auto variances = Values(channels, 6);
      for (float& value : variances) value = value * value + 0.1f;
      const BatchNormSpec spec{.shape = shape, .epsilon = 1e-3f, .keep = 0.75f};
      const auto run = [&](Device& each) {
        auto op = each.MakeBatchNorm(spec, kMaxBatch);
        const Tensor input(each, x, batch, shape), output_gradient(each, dy, batch, shape);
        const Tensor weight(each, weights), bias(each, biases), mean(each, means), variance(each, variances);
        std::vector<Tensor> all;
        for (int k = 0; k < 3; ++k) all.emplace_back(each, Rubbish(x.size()), batch, shape);
        for (int k = 0; k < 4; ++k) all.emplace_back(each, Rubbish(channels));
        op->Forward(input, weight.data(), bias.data(), mean.data(), variance.data(), all[0]);
        op->ForwardInTraining(input, weight.data(), bias.data(), all[1]);
        op->BackwardWeights(input, output_gradient, all[3].data(), all[4].data());
        op->BackwardData(input, weight.data(), output_gradient, all[2]);
        op->AverageGradients(mean.data(), variance.data(), all[5].data(), all[6].data());
        return ValuesOf(all);
      };
      const Results seen = run(device), expected = run(reference);
      for (std::size_t k = 0; k < seen.size(); ++k) {
        INFO("result " << k);
        RequireClose(seen[k], expected[k], 5e-4f);  // what is left of 20 +- 3
      }
    });
  }
}

TEST_CASE("softmax") {
  for (const Shape& shape : {Shape{7, 3, 11}, Shape{10, 1, 1}, Shape{1, 2, 2}, Shape{33, 1, 1}, Shape{300, 1, 1}}) {
    INFO("shape " << ToString(shape));
    ForEachDevice([&](Device& device, Device& reference, int batch) {
      auto x = Values(batch * shape.size(), 1);
      for (float& value : x) value *= 40;
      const auto dy = Values(x.size(), 2);
      const auto run = [&](Device& each) {
        auto op = each.MakeSoftmax(shape, kMaxBatch);
        std::vector<Tensor> all;
        for (int k = 0; k < 2; ++k) all.emplace_back(each, Rubbish(x.size()), batch, shape);
        op->Forward(Tensor(each, x, batch, shape), all[0]);
        op->Backward(all[0], Tensor(each, dy, batch, shape), all[1]);
        return ValuesOf(all);
      };
      RequireClose(run(device), run(reference));
    });
  }
}

TEST_CASE("maxout") {
  const MaxoutSpec specs[] = {{{6, 3, 5}, 3}, {{8, 1, 1}, 2}, {{5, 4, 4}, 5}, {{3, 2, 9}, 1}};
  for (const MaxoutSpec& spec : specs) {
    INFO("input " << ToString(spec.input) << ", pieces " << spec.pieces);
    ForEachDevice([&](Device& device, Device& reference, int batch) {
      auto x = Values(batch * spec.input.size(), 1);
      for (float& value : x) value = std::round(value * 3);  // with equals
      const auto dy = Values(batch * spec.output().size(), 2);
      const auto run = [&](Device& each) {
        auto op = each.MakeMaxout(spec, kMaxBatch);
        const Tensor input(each, x, batch, spec.input);
        std::vector<Tensor> all;
        all.emplace_back(each, Rubbish(dy.size()), batch, spec.output());
        all.emplace_back(each, Rubbish(x.size()), batch, spec.input);
        op->Forward(input, all[0]);
        op->Backward(input, all[0], Tensor(each, dy, batch, spec.output()), all[1]);
        return ValuesOf(all);
      };
      RequireClose(run(device), run(reference));
      const Tensor out(device, {0});
      device.MakeMaxout({{3}, 3}, 1)->Forward(Tensor(device, {1, std::nanf(""), 2}, 1, {3}), out);
      CHECK(std::isnan(out.Get()[0]));
    });
  }
}

TEST_CASE("local response normalisation") {
  using Region = LrnSpec::Region;
  const LrnSpec specs[] = {
      {.shape = {9, 3, 5}, .alpha = 0.5f},
      {.shape = {3, 4, 4}, .local_size = 9, .alpha = 2, .beta = 0.6f, .k = 2},
      {.shape = {6, 1, 1}, .local_size = 1, .alpha = 3},
      {.shape = {2, 6, 7}, .region = Region::kWithinChannel, .local_size = 3, .alpha = 2},
      {.shape = {3, 2, 4}, .region = Region::kWithinChannel, .local_size = 7, .alpha = 5, .beta = 1.5f, .k = 0.5f},
  };
  for (const LrnSpec& spec : specs) {
    INFO("shape " << ToString(spec.shape) << ", local size " << spec.local_size);
    ForEachDevice([&](Device& device, Device& reference, int batch) {
      auto x = Values(batch * spec.shape.size(), 1);
      for (float& value : x) value *= 3;
      const auto dy = Values(x.size(), 2);
      const auto run = [&](Device& each) {
        auto op = each.MakeLrn(spec, kMaxBatch);
        const Tensor input(each, x, batch, spec.shape);
        std::vector<Tensor> all;
        for (int k = 0; k < 2; ++k) all.emplace_back(each, Rubbish(x.size()), batch, spec.shape);
        op->Forward(input, all[0]);
        op->Backward(input, all[0], Tensor(each, dy, batch, spec.shape), all[1]);
        return ValuesOf(all);
      };
      RequireClose(run(device), run(reference));
    });
  }
}

TEST_CASE("layer normalisation") {
  for (const LayerNormSpec& spec : {LayerNormSpec{{3, 5, 7}, 105, 1e-3f}, LayerNormSpec{{4, 1, 37}, 37, 1e-3f},
                                    LayerNormSpec{{2, 3, 5}, 5, 1e-3f}, LayerNormSpec{{6, 1, 1}, 6, 1e-3f},
                                    LayerNormSpec{{4, 1, 700}, 700, 1e-3f}}) {
    INFO("shape " << ToString(spec.shape) << ", length " << spec.length);
    ForEachDevice([&](Device& device, Device& reference, int batch) {
      auto x = Values(batch * spec.shape.size(), 1);
      for (float& value : x) value = value * 3 + 20;  // far from 0
      const auto dy = Values(x.size(), 2), weights = Values(spec.length, 3), biases = Values(spec.length, 4);
      const auto run = [&](Device& each) {
        auto op = each.MakeLayerNorm(spec, kMaxBatch);
        const Tensor input(each, x, batch, spec.shape), output_gradient(each, dy, batch, spec.shape);
        const Tensor weight(each, weights), bias(each, biases);
        std::vector<Tensor> all;
        for (int k = 0; k < 2; ++k) all.emplace_back(each, Rubbish(x.size()), batch, spec.shape);
        for (int k = 0; k < 2; ++k) all.emplace_back(each, Rubbish(spec.length));
        op->Forward(input, weight.data(), bias.data(), all[0]);
        op->BackwardWeights(input, output_gradient, all[2].data(), all[3].data());
        op->BackwardData(input, weight.data(), output_gradient, all[1]);
        return ValuesOf(all);
      };
      RequireClose(run(device), run(reference));
    });
  }
}

TEST_CASE("dropout") {
  const Shape shape{3, 5, 70};
  for (const float rate : {0.0f, 0.3f, 0.5f, 0.99f}) {
    ForEachDevice([&](Device& device, Device& reference, int batch) {
      const auto x = Values(batch * shape.size(), 1);
      const auto run = [&](Device& each, std::uint64_t seed) {
        const Tensor to(each, Rubbish(x.size()), batch, shape);
        auto mirror = each.MakeMirror(sizeof(seed));
        const auto at = mirror->Import(std::span<const std::uint64_t>(&seed, 1));
        each.MakeDropout(rate, shape, kMaxBatch)->Apply(at.data(), Tensor(each, x, batch, shape), to);
        return to.Get();
      };
      const auto seen = run(device, 7);
      RequireClose(seen, run(reference, 7));
      const auto dropped = static_cast<double>(std::ranges::count(seen, 0.0f));
      const auto size = static_cast<double>(x.size());
      CHECK(std::abs(dropped / size - rate) < 4 * std::sqrt(rate * (1 - rate) / size) + 1e-9);
      if (rate == 0) return;
      CHECK(run(device, 8) != seen);
      CHECK(run(device, 7 + (std::uint64_t{1} << 32)) != seen);
    });
  }
}

TEST_CASE("eltwise") {
  const Shape shape{3, 5, 7};
  for (const auto operation : {EltwiseOperation::kSum, EltwiseOperation::kProduct, EltwiseOperation::kMax}) {
    for (const std::size_t count : {1, 2, 3}) {
      INFO("operation " << static_cast<int>(operation) << ", " << count << " inputs");
      ForEachDevice([&](Device& device, Device& reference, int batch) {
        const std::size_t size = batch * shape.size();
        std::vector<std::vector<float>> x;
        for (std::size_t k = 0; k < count; ++k) {
          x.push_back(Values(size, 1 + static_cast<int>(k)));
          x[k][3] = 0.5f;  // the same for all
        }
        const auto dy = Values(size, 9);
        const auto run = [&](Device& each) {
          auto op = each.MakeEltwise(operation, shape, kMaxBatch);
          std::vector<Tensor> from, all;
          for (const auto& values : x) from.emplace_back(each, values, batch, shape);
          for (std::size_t k = 0; k < 1 + count; ++k) all.emplace_back(each, Rubbish(size), batch, shape);
          const std::vector<ConstTensorView> inputs(from.begin(), from.end());
          const Tensor output_gradient(each, dy, batch, shape);
          op->Forward(inputs, all[0]);
          for (std::size_t k = 0; k < count; ++k) op->Backward(inputs, all[0], output_gradient, k, all[1 + k]);
          return ValuesOf(all);
        };
        RequireClose(run(device), run(reference));
      });
    }
  }
}

TEST_CASE("concat") {
  const std::vector<Shape> shapes = {{3, 2, 5}, {1, 2, 5}, {4, 2, 5}};
  const Shape whole{8, 2, 5};
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    std::vector<std::vector<float>> x;
    for (const Shape& shape : shapes) x.push_back(Values(batch * shape.size(), shape.channels));
    const auto dy = Values(batch * whole.size(), 9);
    const auto run = [&](Device& each) {
      auto op = each.MakeConcat(shapes, kMaxBatch);
      std::vector<Tensor> from, all;
      for (std::size_t k = 0; k < x.size(); ++k) from.emplace_back(each, x[k], batch, shapes[k]);
      all.emplace_back(each, Rubbish(batch * whole.size()), batch, whole);
      op->Forward(std::vector<ConstTensorView>(from.begin(), from.end()), all[0]);
      const Tensor output_gradient(each, dy, batch, whole);
      int first_channel = 0;
      for (const Shape& shape : shapes) {
        all.emplace_back(each, Rubbish(batch * shape.size()), batch, shape);
        op->Backward(output_gradient, first_channel, all.back());
        first_channel += shape.channels;
      }
      return ValuesOf(all);
    };
    RequireClose(run(device), run(reference));
  });
}

// Labels in a device's memory.
class ImportedTargets {
 public:
  ImportedTargets(Device& device, const Targets& targets) {
    for (auto& mirror : mirrors_) mirror = device.MakeMirror(4096);
    targets_ = {mirrors_[0]->Import(targets.classes), mirrors_[1]->Import(targets.numbers),
                mirrors_[2]->Import(targets.weights)};
  }
  const Targets& operator*() const { return targets_; }

 private:
  std::unique_ptr<Mirror> mirrors_[3];
  Targets targets_;
};

LossResult LossOf(Device& device, LossOp& op, std::vector<float> values, int batch, const Targets& targets) {
  const Shape shape{static_cast<int>(values.size()) / batch};
  const Tensor input(device, std::move(values), batch, shape);
  const ImportedTargets imported(device, targets);
  op.Forward(input, *imported);
  return op.Result();
}

// One loss on both devices, with all samples alike and with weights of their own, of which some are 0.
template <typename Make>
void CheckLoss(Device& device, Device& reference, const std::vector<float>& x, int batch, Targets targets, Make make) {
  const Shape shape{static_cast<int>(x.size()) / batch};
  std::vector<float> weights(batch);
  for (int n = 0; n < batch; ++n) weights[n] = 0.5f * static_cast<float>(n % 4);
  for (const bool weighted : {false, true}) {
    if (weighted) targets.weights = weights;
    const auto run = [&](Device& each, std::vector<float>* gradient) {
      auto op = make(each);
      const ImportedTargets imported(each, targets);
      const Tensor input(each, x, batch, shape), to(each, Rubbish(x.size()), batch, shape);
      op->Forward(input, *imported);
      op->Backward(0.5f, *imported, to);
      *gradient = to.Get();
      return op->Result();
    };
    std::vector<float> gradient, expected_gradient;
    const LossResult result = run(device, &gradient);
    const LossResult expected = run(reference, &expected_gradient);
    CHECK(result.loss_sum == Approx(expected.loss_sum).epsilon(1e-5).margin(1e-6));
    CHECK(result.correct == expected.correct);
    CHECK(result.weight == expected.weight);
    RequireClose(gradient, expected_gradient);
  }
}

TEST_CASE("softmax loss") {
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    for (const int classes : {1, 2, 10, 1000}) {
      const Shape shape{classes};
      auto x = Values(batch * shape.size(), 1);
      for (float& value : x) value *= 40;
      std::vector<std::int32_t> labels(batch);
      for (int n = 0; n < batch; ++n) labels[n] = (7 * n) % classes;
      CheckLoss(device, reference, x, batch, {.classes = labels},
                [&](Device& each) { return each.MakeSoftmaxLoss({.classes = classes}, kMaxBatch); });
    }
    auto op = device.MakeSoftmaxLoss({.classes = 2}, kMaxBatch);
    const std::int32_t label = 1;
    CHECK_FALSE(std::isfinite(LossOf(device, *op, {std::nanf(""), 0}, 1, {.classes = {&label, 1}}).loss_sum));
  });
}

TEST_CASE("hinge loss") {
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    for (const int classes : {1, 3, 100}) {
      for (const bool squared : {false, true}) {
        const Shape shape{classes};
        auto x = Values(batch * shape.size(), 1);
        for (float& value : x) value *= 3;
        std::vector<std::int32_t> labels(batch);
        for (int n = 0; n < batch; ++n) labels[n] = (7 * n) % classes;
        CheckLoss(device, reference, x, batch, {.classes = labels}, [&](Device& each) {
          return each.MakeHingeLoss({.classes = classes, .squared = squared}, kMaxBatch);
        });
      }
    }
    auto op = device.MakeHingeLoss({.classes = 2}, kMaxBatch);
    const std::int32_t label = 0;
    CHECK(LossOf(device, *op, {0.25f, -3}, 1, {.classes = {&label, 1}}).loss_sum == 0.75);
    CHECK_FALSE(std::isfinite(LossOf(device, *op, {std::nanf(""), 0}, 1, {.classes = {&label, 1}}).loss_sum));
  });
}

TEST_CASE("sigmoid loss") {
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    for (const int scores : {1, 2, 10, 100}) {
      auto x = Values(static_cast<std::size_t>(batch) * scores, 1);
      for (float& value : x) value *= 40;
      x[0] = 0;
      std::vector<std::int32_t> labels(batch);
      for (int n = 0; n < batch; ++n) labels[n] = (7 * n) % std::max(scores, 2);
      CheckLoss(device, reference, x, batch, {.classes = labels}, [&](Device& each) {
        return each.MakeSigmoidLoss({.scores = scores, .top_k = (scores + 1) / 2}, kMaxBatch);
      });
    }
    auto op = device.MakeSigmoidLoss({}, kMaxBatch);
    const auto result = [&](float score, std::int32_t label) {
      return LossOf(device, *op, {score}, 1, {.classes = {&label, 1}});
    };
    CHECK(result(0, 0).loss_sum == Approx(std::log(2.0)));
    CHECK(result(300, 0).loss_sum == Approx(300));
    CHECK(result(-300, 0).loss_sum == Approx(0).margin(1e-30));
    CHECK(result(0, 0).correct == 1);
    CHECK(result(0, 1).correct == 0);
    CHECK(result(0.5f, 1).correct == 1);
    CHECK(result(0.5f, 0).correct == 0);
    for (const std::int32_t label : {0, 1}) {
      CHECK_FALSE(std::isfinite(result(std::nanf(""), label).loss_sum));
      CHECK(result(std::nanf(""), label).correct == 0);
    }
  });
}

TEST_CASE("contrastive loss") {
  const Shape shape{3, 2, 5};
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    for (const float margin : {1.0f, 5.0f, 20.0f}) {
      const auto x = Values(batch * shape.size(), 1);
      auto y = Values(batch * shape.size(), 2);
      std::copy_n(x.begin(), shape.size(), y.begin());  // a pair without a distance
      std::vector<std::int32_t> labels(batch);
      std::vector<float> weights(batch);
      for (int n = 0; n < batch; ++n) labels[n] = n / 2 % 2, weights[n] = 0.5f * static_cast<float>(1 + n % 3);
      const auto run = [&](Device& each, LossResult* result) {
        auto op = each.MakeContrastiveLoss({.shape = shape, .margin = margin}, kMaxBatch);
        const ImportedTargets imported(each, {.classes = labels, .weights = weights});
        std::vector<Tensor> all;
        for (int k = 0; k < 4; ++k) all.emplace_back(each, Rubbish(x.size()), batch, shape);
        op->Forward(Tensor(each, x, batch, shape), Tensor(each, y, batch, shape), *imported);
        op->Backward(0.5f, *imported, all[0], all[1]);
        op->Backward(0.5f, *imported, all[2], {});
        op->Backward(0.5f, *imported, {}, all[3]);
        *result = op->Result();
        return ValuesOf(all);
      };
      LossResult result, expected;
      const Results seen = run(device, &result);
      RequireClose(seen, run(reference, &expected));
      CHECK(seen[2] == seen[0]);
      CHECK(seen[3] == seen[1]);
      CHECK(result.loss_sum == Approx(expected.loss_sum).epsilon(1e-5));
      CHECK(result.correct == expected.correct);
      CHECK(result.weight == expected.weight);
    }
    auto op = device.MakeContrastiveLoss({.shape = {1}, .margin = 4}, 1);
    const auto result = [&](float distance, std::int32_t label) {
      const ImportedTargets imported(device, {.classes = {&label, 1}});
      op->Forward(Tensor(device, {1}), Tensor(device, {1 + distance}), *imported);
      return op->Result();
    };
    CHECK(result(3, 1).loss_sum == 4.5);
    CHECK(result(3, 0).loss_sum == 0.5);
    CHECK(result(5, 0).loss_sum == 0);
    CHECK(result(1.5f, 1).correct == 1);
    CHECK(result(1.5f, 0).correct == 0);
    CHECK(result(2.5f, 0).correct == 1);
    for (const std::int32_t label : {0, 1}) {
      CHECK_FALSE(std::isfinite(result(std::nanf(""), label).loss_sum));
      CHECK(result(std::nanf(""), label).correct == 0);
    }
  });
}

TEST_CASE("correct is what is among the highest scores, the first of equals") {
  const std::vector<float> x = {3, 1, 2, 2, 1};
  const int rank[] = {1, 4, 2, 3, 5};
  ForEachDevice([&](Device& device, Device&, int) {
    for (int top_k = 1; top_k <= 5; ++top_k) {
      const std::unique_ptr<LossOp> ops[] = {device.MakeSoftmaxLoss({.classes = 5, .top_k = top_k}, 1),
                                             device.MakeHingeLoss({.classes = 5, .top_k = top_k}, 1)};
      for (const auto& op : ops) {
        for (std::int32_t label = 0; label < 5; ++label) {
          const Targets targets{.classes = {&label, 1}};
          CHECK(LossOf(device, *op, x, 1, targets).correct == (rank[label] <= top_k ? 1 : 0));
        }
        const std::int32_t label = 1;
        CHECK(LossOf(device, *op, {0, std::nanf(""), 1, 2, 3}, 1, {.classes = {&label, 1}}).correct == 0);
      }
    }
  });
}

TEST_CASE("a sample of weight 2 counts as two") {
  ForEachDevice([&](Device& device, Device&, int) {
    const std::vector<float> x = {1, -2, 3, 0.5f, 3, 0.5f};
    const std::int32_t labels[] = {1, 0, 0};
    const float weights[] = {1, 2};
    auto op = device.MakeSoftmaxLoss({.classes = 2}, kMaxBatch);
    const LossResult twice = LossOf(device, *op, x, 3, {.classes = labels});
    const Targets targets{.classes = {labels, 2}, .weights = weights};
    const LossResult weighted = LossOf(device, *op, {x.begin(), x.begin() + 4}, 2, targets);
    CHECK(weighted.loss_sum == Approx(twice.loss_sum));
    CHECK(weighted.correct == twice.correct);
    CHECK(weighted.weight == 3);
  });
}

TEST_CASE("euclidean loss") {
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    const auto x = Values(batch, 1);
    const auto numbers = Values(batch, 2);
    CheckLoss(device, reference, x, batch, {.numbers = numbers},
              [&](Device& each) { return each.MakeEuclideanLoss(kMaxBatch); });
    auto op = device.MakeEuclideanLoss(kMaxBatch);
    const float number = 2;
    CHECK(LossOf(device, *op, {5}, 1, {.numbers = {&number, 1}}).loss_sum == 4.5);
    const Tensor gradient(device, Rubbish(1));
    const ImportedTargets imported(device, {.numbers = {&number, 1}});
    op->Backward(0.5f, *imported, gradient);
    CHECK(gradient.Get()[0] == 1.5f);
  });
}

TEST_CASE("the devices that this machine has") {
  for (const DeviceType& type : DeviceTypes()) {
    const auto device = type.make({});
    if (!device.ok())
      std::printf("SKIPPED: %s: %s\n", std::string(type.name).c_str(), device.status().ToString().c_str());
  }
}

TEST_CASE("a device is chosen by name") {
  CHECK((*MakeDevice("cpu", {}))->name() == "cpu");
  const auto unknown = MakeDevice("tpu", {});
  CHECK(unknown.status().code() == absl::StatusCode::kInvalidArgument);
  for (const DeviceType& type : DeviceTypes()) {
    CHECK_THAT(std::string(unknown.status().message()), Catch::Contains(std::string(type.name)));
  }
  CHECK(MakeDevice("cpu", {.threads = 0}).status().code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace downpour::kernels
