#include "kernels/max_pool2d.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/cpu/device.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/cpu/window_max_pool2d.h"

namespace downpour::kernels::cpu {
namespace {

// Windows of 2 with stride 2, four at a time.
using Float4 = float __attribute__((vector_size(16)));
using Int4 = std::int32_t __attribute__((vector_size(16)));

template <typename Vector, typename T>
Vector Load(const T* p) {
  Vector v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

template <typename Vector, typename T>
void Store(Vector v, T* p) {
  std::memcpy(p, &v, sizeof(v));
}

class PairMaxPool2d final : public MaxPool2d {
 public:
  PairMaxPool2d(const Pool2dSpec& spec, int max_batch, int threads)
      : input_(spec.input), output_(spec.output()), threads_(threads), winner_(max_batch * output_.size()) {}

  void Forward(ConstTensorView input, TensorView output) override {
    const int rows = output_.channels * output_.height;
    ParallelFor(input.batch, threads_, [&](int begin, int end, int) {
      for (int n = begin; n < end; ++n)
        for (int row = 0; row < rows; ++row) {
          const float* top = input.sample(n) + InputRow(row);
          const std::size_t out = n * output_.size() + static_cast<std::size_t>(row) * output_.width;
          ForwardRow(top, top + input_.width, output.data + out, winner_.data() + out);
        }
    });
  }

  void Backward(ConstTensorView output_gradient, TensorView input_gradient) override {
    const bool has_rest = input_.height % 2 != 0 || input_.width % 2 != 0;
    const int rows = output_.channels * output_.height;
    ParallelFor(output_gradient.batch, threads_, [&](int begin, int end, int) {
      for (int n = begin; n < end; ++n) {
        if (has_rest) std::fill_n(input_gradient.sample(n), input_.size(), 0.0f);
        for (int row = 0; row < rows; ++row) {
          float* top = input_gradient.sample(n) + InputRow(row);
          const std::size_t out = n * output_.size() + static_cast<std::size_t>(row) * output_.width;
          BackwardRow(output_gradient.data + out, winner_.data() + out, top, top + input_.width);
        }
      }
    });
  }

 private:
  // Where the upper input row of an output row starts, within the sample.
  std::size_t InputRow(int output_row) const {
    const std::size_t channel = output_row / output_.height;
    const std::size_t y = output_row % output_.height;
    return (channel * input_.height + 2 * y) * input_.width;
  }

  void ForwardRow(const float* top, const float* bottom, float* out, std::int32_t* winner) const {
    int x = 0;
    for (; x + 4 <= output_.width; x += 4) {
      const Float4 top0 = Load<Float4>(top + 2 * x), top1 = Load<Float4>(top + 2 * x + 4);
      const Float4 bottom0 = Load<Float4>(bottom + 2 * x), bottom1 = Load<Float4>(bottom + 2 * x + 4);
      const Float4 a = __builtin_shufflevector(top0, top1, 0, 2, 4, 6);
      const Float4 b = __builtin_shufflevector(top0, top1, 1, 3, 5, 7);
      const Float4 c = __builtin_shufflevector(bottom0, bottom1, 0, 2, 4, 6);
      const Float4 d = __builtin_shufflevector(bottom0, bottom1, 1, 3, 5, 7);
      Float4 best = a;
      Int4 which = {0, 0, 0, 0};
      which = b > best ? Int4{1, 1, 1, 1} : which;
      best = b > best ? b : best;
      which = c > best ? Int4{2, 2, 2, 2} : which;
      best = c > best ? c : best;
      which = d > best ? Int4{3, 3, 3, 3} : which;
      best = d > best ? d : best;
      Store(best, out + x);
      Store(which, winner + x);
    }
    for (; x < output_.width; ++x) {
      const float values[] = {top[2 * x], top[2 * x + 1], bottom[2 * x], bottom[2 * x + 1]};
      int best = 0;
      for (int i = 1; i < 4; ++i) best = values[i] > values[best] ? i : best;
      out[x] = values[best];
      winner[x] = best;
    }
  }

  void BackwardRow(const float* dy, const std::int32_t* winner, float* top, float* bottom) const {
    int x = 0;
    for (; x + 4 <= output_.width; x += 4) {
      const Float4 gradient = Load<Float4>(dy + x);
      const Int4 which = Load<Int4>(winner + x);
      const Float4 zero = {0, 0, 0, 0};
      const Float4 a = which == 0 ? gradient : zero;
      const Float4 b = which == 1 ? gradient : zero;
      const Float4 c = which == 2 ? gradient : zero;
      const Float4 d = which == 3 ? gradient : zero;
      Store(__builtin_shufflevector(a, b, 0, 4, 1, 5), top + 2 * x);
      Store(__builtin_shufflevector(a, b, 2, 6, 3, 7), top + 2 * x + 4);
      Store(__builtin_shufflevector(c, d, 0, 4, 1, 5), bottom + 2 * x);
      Store(__builtin_shufflevector(c, d, 2, 6, 3, 7), bottom + 2 * x + 4);
    }
    for (; x < output_.width; ++x) {
      for (int i = 0; i < 2; ++i) {
        top[2 * x + i] = winner[x] == i ? dy[x] : 0;
        bottom[2 * x + i] = winner[x] == 2 + i ? dy[x] : 0;
      }
    }
  }

  const Shape input_;
  const Shape output_;
  const int threads_;
  std::vector<std::int32_t> winner_;  // of each window: 0 and 1 above, 2 and 3 below
};

}  // namespace

std::unique_ptr<MaxPool2d> MakeMaxPool2d(const Pool2dSpec& spec, int max_batch, int threads) {
  const bool pairs = spec.kernel == 2 && spec.stride == 2 && spec.pad == 0 && !spec.round_up && !spec.global;
  if (pairs) return std::make_unique<PairMaxPool2d>(spec, max_batch, threads);
  return MakeWindowMaxPool2d(spec, max_batch, threads);
}

}  // namespace downpour::kernels::cpu
