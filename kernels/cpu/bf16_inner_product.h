// Inner products whose factors are rounded to bf16, by oneDNN; sums in float32.
#pragma once

#include <memory>

#include "kernels/inner_product.h"

namespace downpour::kernels::cpu {

// Null where oneDNN does not have them here.
std::unique_ptr<InnerProduct> MakeBf16InnerProduct(const InnerProductSpec& spec, int max_batch, int threads);

}  // namespace downpour::kernels::cpu
