// The ops whose factors a device may round to bf16 or TF32. Of factors that are bf16 already neither loses anything,
// and what comes out is the reference's.
#include <catch2/catch.hpp>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include "kernels/device.h"
#include "kernels/op_testing.h"

namespace downpour::kernels {
namespace {

std::vector<float> Halves(std::size_t size, int seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(size);
  for (float& value : values) {
    value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(uniform(random)) & 0xffff0000u);
  }
  return values;
}

// Each device that rounds factors here, with some numbers of threads.
template <typename Body>
void ForEachRoundingDevice(Body body) {
  const auto reference = *MakeDevice("reference", {});
  int devices = 0;
  for (const DeviceType& type : DeviceTypes()) {
    for (const Precision precision : {Precision::kBfloat16, Precision::kTf32}) {
      for (const int threads : {1, 3}) {
        const auto device = type.make({.threads = threads, .precision = precision});
        if (!device.ok()) continue;
        ++devices;
        for (const int batch : {1, 2, kMaxBatch}) {
          INFO(type.name << (precision == Precision::kTf32 ? " in tf32, " : " in bf16, ") << threads
                         << " threads, batch " << batch);
          body(**device, *reference, batch);
        }
      }
    }
  }
  if (devices == 0) std::printf("skipped: no device rounds factors here\n");
}

enum { kOutput, kInputGradient, kWeightGradient, kBiasGradient };

template <typename Op>
Results RunAll(Device& device, Op& op, Shape in, Shape out, std::size_t weights, int batch) {
  const Tensor x(device, Halves(batch * in.size(), 1), batch, in), w(device, Halves(weights, 2));
  const Tensor b(device, Halves(out.channels, 3)), dy(device, Halves(batch * out.size(), 4), batch, out);
  std::vector<Tensor> all;
  all.emplace_back(device, Rubbish(batch * out.size()), batch, out);
  all.emplace_back(device, Rubbish(batch * in.size()), batch, in);
  all.emplace_back(device, Rubbish(weights));
  all.emplace_back(device, Rubbish(out.channels));
  // Twice, the second time on what the first has left in the scratch memory.
  for (int i = 0; i < 2; ++i) {
    op.Forward(x, w.data(), b.data(), all[kOutput]);
    op.BackwardWeights(x, dy, all[kWeightGradient].data(), all[kBiasGradient].data());
    op.BackwardData(dy, w.data(), all[kInputGradient]);
  }
  return ValuesOf(all);
}

void Compare(const Results& seen, const Results& expected, double summed) {
  RequireClose(seen[kOutput], expected[kOutput], 1e-4f);
  RequireClose(seen[kInputGradient], expected[kInputGradient], 1e-4f);
  // Sums over the batch, and so are their errors.
  const auto allowed = static_cast<float>(1e-4 * std::sqrt(summed));
  RequireClose(seen[kWeightGradient], expected[kWeightGradient], allowed);
  RequireClose(seen[kBiasGradient], expected[kBiasGradient], allowed);
}

TEST_CASE("convolution of rounded factors") {
  const Conv2dSpec specs[] = {
      {.input = {1, 28, 28}, .outputs = 20, .kernel = 5},
      {.input = {20, 12, 12}, .outputs = 50, .kernel = 5},
      {.input = {3, 32, 32}, .outputs = 32, .kernel = 5, .pad = 2},
      {.input = {16, 32, 32}, .outputs = 16, .kernel = 3, .pad = 1},
      {.input = {16, 16, 16}, .outputs = 32, .kernel = 3, .stride = 2, .pad = 1},
      {.input = {16, 9, 16}, .outputs = 33, .kernel = 1, .stride = 2},
      {.input = {64, 8, 8}, .outputs = 64, .kernel = 3, .pad = 1},
      {.input = {3, 7, 9}, .outputs = 5, .kernel = 3, .stride = 2, .pad = 1},
      {.input = {2, 5, 5}, .outputs = 3, .kernel = 2, .stride = 3},
      {.input = {1, 4, 4}, .outputs = 1, .kernel = 4},
      {.input = {4, 6, 11}, .outputs = 7, .kernel = 1},
      {.input = {1, 2, 3}, .outputs = 2, .kernel = 5, .stride = 2, .pad = 4},
      {.input = {2, 9, 9}, .outputs = 4, .kernel = 3, .stride = 1, .pad = 5},
      {.input = {5, 9, 11}, .outputs = 81, .kernel = 3, .dilation = 2},
      {.input = {3, 8, 9}, .outputs = 5, .kernel = 2, .stride = 2, .pad = 3, .dilation = 3},
      {.input = {4, 7, 6}, .outputs = 6, .kernel = 3, .pad = 1, .groups = 2},
  };
  ForEachRoundingDevice([&](Device& device, Device& reference, int batch) {
    for (const Conv2dSpec& spec : specs) {
      INFO("input " << ToString(spec.input) << " outputs " << spec.outputs << " kernel " << spec.kernel << " stride "
                    << spec.stride << " pad " << spec.pad << " dilation " << spec.dilation);
      const auto run = [&](Device& each) {
        return RunAll(each, *each.MakeConv2d(spec, kMaxBatch), spec.input, spec.output(), spec.weight_count(), batch);
      };
      Compare(run(device), run(reference), batch * spec.output().height * spec.output().width);
    }
  });
}

TEST_CASE("inner product of rounded factors") {
  const InnerProductSpec specs[] = {{800, 500}, {500, 10}, {1, 1}, {7, 13}, {33, 1}, {32, 32}, {65, 48}};
  ForEachRoundingDevice([&](Device& device, Device& reference, int batch) {
    for (const InnerProductSpec& spec : specs) {
      INFO(spec.inputs << " to " << spec.outputs);
      const auto run = [&](Device& each) {
        return RunAll(each, *each.MakeInnerProduct(spec, kMaxBatch), {spec.inputs}, {spec.outputs},
                      static_cast<std::size_t>(spec.inputs) * spec.outputs, batch);
      };
      Compare(run(device), run(reference), batch);
    }
  });
}

// Shares of attention are no factors of bf16, so a share's error is one of its results.
TEST_CASE("attention of rounded factors") {
  const AttentionSpec spec{.steps = 20, .features = 40, .heads = 2};
  const Shape in{spec.steps, 1, 3 * spec.features}, out{spec.steps, 1, spec.features};
  ForEachRoundingDevice([&](Device& device, Device& reference, int batch) {
    const auto run = [&](Device& each) {
      const auto op = each.MakeAttention(spec, kMaxBatch);
      const Tensor x(each, Halves(batch * in.size(), 1), batch, in),
          dy(each, Halves(batch * out.size(), 2), batch, out);
      std::vector<Tensor> all;
      all.emplace_back(each, Rubbish(batch * out.size()), batch, out);
      all.emplace_back(each, Rubbish(batch * in.size()), batch, in);
      op->Forward(x, all[0]);
      op->Backward(x, dy, all[1]);
      return ValuesOf(all);
    };
    const Results seen = run(device), expected = run(reference);
    for (std::size_t k = 0; k < seen.size(); ++k) RequireClose(seen[k], expected[k], 1e-2f);
  });
}

TEST_CASE("the cpu rounds factors to bf16, to the nearest") {
  ForEachRoundingDevice([&](Device& device, Device&, int) {
    if (device.name() != "cpu") return;
    const Conv2dSpec spec{.input = {1, 1, 1}, .outputs = 1, .kernel = 1};
    const auto op = device.MakeConv2d(spec, 1);
    const auto product = [&](float x, float w) {
      const float none = 0;
      float y = -1;
      op->Forward({&x, 1, spec.input}, &w, &none, {&y, 1, spec.output()});
      return y;
    };
    CHECK(product(1 + 0x1p-8f, 1) == 1);  // of two neighbours the even one
    CHECK(product(1, 1 + 0x1p-8f) == 1);
    CHECK(product(1 + 0x1.8p-8f, 1) == 1 + 0x1p-7f);
    CHECK(product(1, 1 + 0x1.8p-8f) == 1 + 0x1p-7f);
    CHECK(std::isnan(product(1, std::nanf(""))));
    CHECK(std::isnan(product(std::nanf(""), 1)));
    CHECK(std::isinf(product(1, HUGE_VALF)));
  });
}

TEST_CASE("a precision is known by its name, and refused by a device that lacks it") {
  CHECK(*PrecisionNamed("float32") == Precision::kFloat32);
  CHECK(*PrecisionNamed("tf32") == Precision::kTf32);
  CHECK(*PrecisionNamed("bf16") == Precision::kBfloat16);
  CHECK(PrecisionNamed("fp8").status().message() == "unknown precision 'fp8'; known are: float32, tf32, bf16");
  CHECK(MakeDevice("cpu", {.precision = Precision::kTf32}).status().message() ==
        "device cpu computes in float32 or bf16");
  for (const Precision precision : {Precision::kBfloat16, Precision::kTf32}) {
    CHECK(MakeDevice("reference", {.precision = precision}).status().message() ==
          "device reference computes in float32 only");
  }
}

}  // namespace
}  // namespace downpour::kernels
