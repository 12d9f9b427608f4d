// Square windows that go over the rows and columns of each channel.
#pragma once

#include <algorithm>

#include "kernels/tensor_view.h"

namespace downpour::kernels {

// Output side: (side + 2 * pad - kernel) / stride + 1, rounded down; or up, without a last window that would begin
// beyond the input. `kernel` must not exceed side + 2 * pad, and `pad` must be less than it.
struct Pool2dSpec {
  Shape input;
  int kernel = 0;
  int stride = 1;
  int pad = 0;
  bool round_up = false;
  bool global = false;  // one window, of all rows and columns; nothing else counts

  constexpr Shape output() const { return {input.channels, OutputSide(input.height), OutputSide(input.width)}; }

  // Rows of the input, or columns, that a window has.
  struct Range {
    int first;
    int last;    // exclusive
    int padded;  // how many there are together with those of the padding
  };
  // Of the windows at output row or column `at`, where the input has `side` rows or columns.
  constexpr Range Window(int at, int side) const {
    if (global) return {0, side, side};
    const int first = at * stride - pad;
    const int last = std::min(first + kernel, side + pad);
    return {std::max(first, 0), std::min(last, side), last - first};
  }

 private:
  constexpr int OutputSide(int side) const {
    if (global) return 1;
    const int steps = (side + 2 * pad - kernel + (round_up ? stride - 1 : 0)) / stride;
    return steps * stride < side + pad ? steps + 1 : steps;
  }
};

}  // namespace downpour::kernels
