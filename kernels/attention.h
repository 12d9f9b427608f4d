// Scaled dot-product attention of several heads, of each step of a sequence to its steps (Vaswani et al. 2017).
//
//   score[h][i][j]  = sum over d of query[i][h][d] * key[j][h][d] / sqrt(features / heads)
//   share[h][i]     = softmax of score[h][i] over all j, or where causal over those of j <= i, the others being 0
//   output[i][h][d] = sum over j of share[h][i][j] * value[j][h][d]
//
// A head's d goes over features / heads of them, one head after the other.
#pragma once

#include "kernels/tensor_view.h"

namespace downpour::kernels {

struct AttentionSpec {
  int steps = 1;
  int features = 1;
  int heads = 1;  // which divide the features
  bool causal = false;
};

// Input is {steps, 1, 3 * features} a sample: of each step its queries, its keys and its values; output {steps, 1,
// features}. Views have one batch size, at most the plan's. No two may overlap.
class Attention {
 public:
  virtual ~Attention() = default;

  virtual void Forward(ConstTensorView input, TensorView output) = 0;

  // input_gradient = d loss / d input, for the last Forward's input.
  virtual void Backward(ConstTensorView input, ConstTensorView output_gradient, TensorView input_gradient) = 0;
};

}  // namespace downpour::kernels
