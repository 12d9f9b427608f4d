#include "worker/layers/slice.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "worker/layers/errors.h"

namespace downpour::worker {
namespace {

// A tensor as a slice sees it: `outer` blocks a sample, of `side` pieces of `inner` values.
struct Axis {
  int outer;
  int side;
  int inner;
};

absl::StatusOr<Axis> AxisOf(const LayerContext& context) {
  const kernels::Shape& input = context.input();
  const std::string& axis = context.config.axis();
  if (axis.empty() || axis == "channels") return Axis{1, input.channels, input.height * input.width};
  if (axis == "height") return Axis{input.channels, input.height, input.width};
  if (axis == "width") return Axis{input.channels * input.height, input.width, 1};
  return LayerError(context, "has no axis '", axis, "'; known are channels, height and width");
}

// The other way round it is a concat of what lies before, the slice, and what lies behind, with each block in the place
// of a sample: its backward pass cuts, and its forward pass puts the gradient between zeros.
class Slice final : public UnaryLayer {
 public:
  Slice(const Axis& axis, int from, int to, const kernels::Shape& output, const LayerContext& context)
      : axis_(axis), from_(from), length_(to - from), output_(output) {
    std::vector<kernels::Shape> pieces;
    for (const int length : {from, length_, axis.side - to}) {
      if (length > 0) pieces.push_back(Piece(length));
    }
    const int blocks = context.max_batch * axis.outer;
    op_ = context.device.MakeConcat(pieces, blocks);
    zeros_ = context.device.MakeBuffer(Piece(std::max(from, axis.side - to)).size() * blocks);
  }

  kernels::Shape output() const override { return output_; }

 private:
  kernels::Shape Piece(int length) const { return {length, axis_.inner, 1}; }

  void Forward(kernels::ConstTensorView input, ConstTensors, kernels::TensorView output) override {
    const int blocks = input.batch * axis_.outer;
    op_->Backward({input.data, blocks, Piece(axis_.side)}, from_, {output.data, blocks, Piece(length_)});
  }

  void Backward(kernels::ConstTensorView, ConstTensors, kernels::ConstTensorView,
                kernels::ConstTensorView output_gradient, Tensors, kernels::TensorView input_gradient) override {
    if (input_gradient.empty()) return;
    const int blocks = output_gradient.batch * axis_.outer, behind = axis_.side - from_ - length_;
    kernels::ConstTensorView pieces[3];
    std::size_t count = 0;
    if (from_ > 0) pieces[count++] = {zeros_.data(), blocks, Piece(from_)};
    pieces[count++] = {output_gradient.data, blocks, Piece(length_)};
    if (behind > 0) pieces[count++] = {zeros_.data(), blocks, Piece(behind)};
    op_->Forward({pieces, count}, {input_gradient.data, blocks, Piece(axis_.side)});
  }

  const Axis axis_;
  const int from_;
  const int length_;
  const kernels::Shape output_;
  std::unique_ptr<kernels::Concat> op_;
  kernels::Buffer zeros_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeSlice(const LayerContext& context) {
  const auto axis = AxisOf(context);
  if (!axis.ok()) return axis.status();
  const auto side = static_cast<std::uint32_t>(axis->side);
  const std::uint32_t from = context.config.from(), to = context.config.has_to() ? context.config.to() : side;
  if (from >= to || to > side) {
    return LayerError(context, "from ", from, " to ", to, " is no part of a side of ", axis->side);
  }
  if (axis->outer > std::numeric_limits<std::int32_t>::max() / context.max_batch) {
    return LayerError(context, "a batch of ", context.max_batch, " has more than 2^31 rows");
  }
  kernels::Shape output = context.input();
  const std::string& name = context.config.axis();
  (name == "height" ? output.height : name == "width" ? output.width : output.channels) = static_cast<int>(to - from);
  return std::make_unique<Slice>(*axis, static_cast<int>(from), static_cast<int>(to), output, context);
}

}  // namespace downpour::worker
