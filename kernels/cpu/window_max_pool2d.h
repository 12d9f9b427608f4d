// The largest value of windows of any kind.
#pragma once

#include <memory>

#include "kernels/max_pool2d.h"

namespace downpour::kernels::cpu {

std::unique_ptr<MaxPool2d> MakeWindowMaxPool2d(const Pool2dSpec& spec, int max_batch, int threads);

}  // namespace downpour::kernels::cpu
