// Each way to make a convolution, in all passes, whether or not it would be chosen for them.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>

#include "kernels/cpu/direct_conv2d.h"
#include "kernels/cpu/patches_conv2d.h"
#include "kernels/cpu/winograd_conv2d.h"
#include "kernels/op_testing.h"

namespace downpour::kernels {
namespace {

struct Way {
  const char* name;
  bool (*has)(const Conv2dSpec& spec);
  std::unique_ptr<Conv2d> (*make)(const Conv2dSpec& spec, int threads);
};

constexpr Way kWays[] = {
    {"patches", [](const Conv2dSpec&) { return true; }, cpu::MakePatchesConv2d},
    {"direct", cpu::HasDirectConv2d, cpu::MakeDirectConv2d},
    {"winograd", cpu::HasWinogradConv2d, cpu::MakeWinogradConv2d},
};

const Conv2dSpec kSpecs[] = {
    {.input = {1, 9, 9}, .outputs = 1, .kernel = 3},
    {.input = {3, 8, 7}, .outputs = 5, .kernel = 3, .pad = 1},
    {.input = {20, 7, 9}, .outputs = 36, .kernel = 3, .pad = 2},
    {.input = {33, 5, 6}, .outputs = 17, .kernel = 3},
    {.input = {4, 3, 3}, .outputs = 4, .kernel = 3},
    {.input = {2, 5, 270}, .outputs = 3, .kernel = 3, .pad = 1},
    {.input = {1, 9, 8}, .outputs = 1, .kernel = 5},
    {.input = {20, 12, 12}, .outputs = 50, .kernel = 5},
    {.input = {3, 7, 9}, .outputs = 18, .kernel = 5, .pad = 2},
    {.input = {17, 5, 6}, .outputs = 3, .kernel = 5, .pad = 4},
    {.input = {2, 18, 141}, .outputs = 3, .kernel = 5, .pad = 1},
};

Results Run(Device& device, Conv2d& op, const Conv2dSpec& spec, int batch) {
  const Tensor input(device, Values(batch * spec.input.size(), 1), batch, spec.input);
  const Tensor weights(device, Values(spec.weight_count(), 2)), bias(device, Values(spec.outputs, 3));
  const Tensor output_gradient(device, Values(batch * spec.output().size(), 4), batch, spec.output());
  std::vector<Tensor> all;
  all.emplace_back(device, Rubbish(batch * spec.output().size()), batch, spec.output());
  all.emplace_back(device, Rubbish(spec.weight_count()));
  all.emplace_back(device, Rubbish(spec.outputs));
  all.emplace_back(device, Rubbish(batch * spec.input.size()), batch, spec.input);
  // Twice: the second time on what the first has left in the scratch memory.
  for (int time = 0; time < 2; ++time) {
    op.Forward(input, weights.data(), bias.data(), all[0]);
    op.BackwardWeights(input, output_gradient, all[1].data(), all[2].data());
    op.BackwardData(output_gradient, weights.data(), all[3]);
  }
  return ValuesOf(all);
}

TEST_CASE("each way computes what the reference does") {
  const auto reference = *MakeDevice("reference", {}), cpu = *MakeDevice("cpu", {});
  for (const Way& way : kWays) {
    int had = 0;
    for (const Conv2dSpec& spec : kSpecs) {
      if (!way.has(spec)) continue;
      ++had;
      for (const int threads : {1, 3}) {
        for (const int batch : {1, 7}) {
          INFO(way.name << ", " << threads << " threads, batch " << batch << ", input " << ToString(spec.input)
                        << " kernel " << spec.kernel << " pad " << spec.pad << " outputs " << spec.outputs);
          const auto expected_op = reference->MakeConv2d(spec, batch);
          const auto op = way.make(spec, threads);
          const Results seen = Run(*cpu, *op, spec, batch), expected = Run(*reference, *expected_op, spec, batch);
          const auto window = static_cast<float>(spec.kernel * spec.kernel);
          const auto sums = static_cast<float>(batch * spec.output().height * spec.output().width);
          RequireClose(seen[0], expected[0], std::max(1e-4f, 1e-5f * std::sqrt(spec.input.channels * window)));
          RequireClose(seen[1], expected[1], 1e-4f * std::sqrt(sums));
          RequireClose(seen[2], expected[2], 1e-4f * std::sqrt(sums));
          RequireClose(seen[3], expected[3], std::max(1e-4f, 1e-5f * std::sqrt(spec.outputs * window)));
        }
      }
    }
    if (had == 0) std::printf("SKIPPED: %s: this CPU does not have it\n", way.name);
  }
}

}  // namespace
}  // namespace downpour::kernels
