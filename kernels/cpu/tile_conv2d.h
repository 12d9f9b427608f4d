// Convolution on the CPU's matrix unit: factors rounded to bf16, sums in float32.
#pragma once

#include <memory>

#include "kernels/conv2d.h"

namespace downpour::kernels::cpu {

// Null where the convolution has several groups or more padding than its window reaches. Only where HasTiles.
std::unique_ptr<Conv2d> MakeTileConv2d(const Conv2dSpec& spec, int threads);

}  // namespace downpour::kernels::cpu
