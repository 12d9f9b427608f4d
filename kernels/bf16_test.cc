// The ops whose factors a device may round to bf16. Of factors that are bf16 already nothing is lost, and what comes out
// is the reference's.
#include <catch2/catch.hpp>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include "kernels/device.h"

namespace downpour::kernels {
namespace {

constexpr int kMaxBatch = 5;

std::vector<float> Halves(std::size_t size, int seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(size);
  for (float& value : values) {
    value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(uniform(random)) & 0xffff0000u);
  }
  return values;
}

void RequireClose(const std::vector<float>& seen, const std::vector<float>& expected, float allowed) {
  REQUIRE(seen.size() == expected.size());
  for (std::size_t i = 0; i < seen.size(); ++i) {
    if (!(std::abs(seen[i] - expected[i]) <= allowed * (1 + std::abs(expected[i])))) {
      FAIL("at " << i << ": " << seen[i] << " instead of " << expected[i]);
    }
  }
}

// Each device that computes in bf16 here, with some numbers of threads.
template <typename Body>
void ForEachDevice(Body body) {
  const auto reference = *MakeDevice("reference", {});
  int devices = 0;
  for (const DeviceType& type : DeviceTypes()) {
    for (const int threads : {1, 3}) {
      const auto device = type.make({.threads = threads, .precision = Precision::kBfloat16});
      if (!device.ok()) continue;
      ++devices;
      for (const int batch : {1, 2, kMaxBatch}) {
        INFO(type.name << ", " << threads << " threads, batch " << batch);
        body(**device, *reference, batch);
      }
    }
  }
  if (devices == 0) std::printf("skipped: no device computes in bf16 here\n");
}

struct Results {
  std::vector<float> output, weight_gradient, bias_gradient, input_gradient;
};

template <typename Op>
Results RunAll(Op& op, Shape in, Shape out, std::size_t weights, int batch) {
  const auto x = Halves(batch * in.size(), 1), w = Halves(weights, 2), b = Halves(out.channels, 3);
  const auto dy = Halves(batch * out.size(), 4);
  const float rubbish = std::nanf("");
  Results results{std::vector<float>(dy.size(), rubbish), std::vector<float>(w.size(), rubbish),
                  std::vector<float>(b.size(), rubbish), std::vector<float>(x.size(), rubbish)};
  // Twice, the second time on what the first has left in the scratch memory.
  for (int i = 0; i < 2; ++i) {
    op.Forward({x.data(), batch, in}, w.data(), b.data(), {results.output.data(), batch, out});
    op.BackwardWeights({x.data(), batch, in}, {dy.data(), batch, out}, results.weight_gradient.data(),
                       results.bias_gradient.data());
    op.BackwardData({dy.data(), batch, out}, w.data(), {results.input_gradient.data(), batch, in});
  }
  return results;
}

void Compare(const Results& seen, const Results& expected, double summed) {
  RequireClose(seen.output, expected.output, 1e-4f);
  RequireClose(seen.input_gradient, expected.input_gradient, 1e-4f);
  // Sums over the batch, and so are their errors.
  const auto allowed = static_cast<float>(1e-4 * std::sqrt(summed));
  RequireClose(seen.weight_gradient, expected.weight_gradient, allowed);
  RequireClose(seen.bias_gradient, expected.bias_gradient, allowed);
}

TEST_CASE("convolution in bf16") {
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
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    for (const Conv2dSpec& spec : specs) {
      INFO("input " << ToString(spec.input) << " outputs " << spec.outputs << " kernel " << spec.kernel << " stride "
                    << spec.stride << " pad " << spec.pad << " dilation " << spec.dilation);
      const auto run = [&](Device& each) {
        return RunAll(*each.MakeConv2d(spec, kMaxBatch), spec.input, spec.output(), spec.weight_count(), batch);
      };
      Compare(run(device), run(reference), batch * spec.output().height * spec.output().width);
    }
  });
}

TEST_CASE("inner product in bf16") {
  const InnerProductSpec specs[] = {{800, 500}, {500, 10}, {1, 1}, {7, 13}, {33, 1}, {32, 32}, {65, 48}};
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    for (const InnerProductSpec& spec : specs) {
      INFO(spec.inputs << " to " << spec.outputs);
      const auto run = [&](Device& each) {
        return RunAll(*each.MakeInnerProduct(spec, kMaxBatch), {spec.inputs}, {spec.outputs},
                      static_cast<std::size_t>(spec.inputs) * spec.outputs, batch);
      };
      Compare(run(device), run(reference), batch);
    }
  });
}

TEST_CASE("factors are rounded to bf16, to the nearest") {
  ForEachDevice([&](Device& device, Device&, int) {
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

}  // namespace
}  // namespace downpour::kernels
