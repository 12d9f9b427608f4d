#include "worker/data/transform.h"

#include <algorithm>
#include <cassert>

#include "kernels/vector_ops.h"
#include "proto/transforms.h"

namespace downpour::worker {
namespace {

std::uint32_t NetSide(const Data& data, std::uint32_t side) {
  return data.transforms().crop() > 0 ? data.transforms().crop() : side;
}

}  // namespace

Transform::Transform(const Data& data)
    : channels_(SidesOf(data).channels),
      height_(SidesOf(data).height),
      width_(SidesOf(data).width),
      net_height_(NetSide(data, height_)),
      net_width_(NetSide(data, width_)),
      scale_(data.scale()),
      mirror_(data.transforms().mirror()),
      shift_(data.transforms().shift()) {
  assert(net_height_ <= height_ && net_width_ <= width_);
  const auto& mean = data.transforms().mean();
  if (std::all_of(mean.begin(), mean.end(), [](float value) { return value == 0; })) return;
  assert(mean.size() == 1 || mean.size() == static_cast<int>(channels_));
  const std::size_t plane = std::size_t{height_} * width_;
  mean_.resize(sample_size());
  for (std::size_t i = 0; i < mean_.size(); ++i) mean_[i] = mean[mean.size() == 1 ? 0 : static_cast<int>(i / plane)];
}

Transform::View Transform::Middle() const {
  return {.top = static_cast<int>(height_ - net_height_) / 2, .left = static_cast<int>(width_ - net_width_) / 2};
}

Transform::View Transform::Draw(Random random) const {
  View view;
  view.mirrored = random.Below(2) == 1 && mirror_;
  view.top = static_cast<int>(random.Below(height_ - net_height_ + 1));
  view.left = static_cast<int>(random.Below(width_ - net_width_ + 1));
  view.top += static_cast<int>(random.Below(2 * shift_ + 1)) - static_cast<int>(shift_);
  view.left += static_cast<int>(random.Below(2 * shift_ + 1)) - static_cast<int>(shift_);
  return view;
}

void Transform::Apply(std::span<const std::uint8_t> sample, const View& view, std::span<float> to) const {
  ApplyTo(sample, view, to);
}

void Transform::Apply(std::span<const float> sample, const View& view, std::span<float> to) const {
  ApplyTo(sample, view, to);
}

template <typename Value>
void Transform::ApplyTo(std::span<const Value> sample, const View& view, std::span<float> to) const {
  assert(sample.size() == sample_size() && to.size() == size());
  if (size() == sample_size() && view.top == 0 && view.left == 0 && !view.mirrored) return Normalise(sample, 0, to);
  const int height = static_cast<int>(height_);
  const int width = static_cast<int>(width_);
  const int net_width = static_cast<int>(net_width_);
  // The columns of the view that the sample covers.
  const int begin = std::clamp(-view.left, 0, net_width);
  const int end = std::clamp(width - view.left, begin, net_width);
  float* row = to.data();
  for (std::uint32_t channel = 0; channel < channels_; ++channel) {
    const std::size_t plane = std::size_t{channel} * height_ * width_;
    const float beyond = mean_.empty() ? 0 : scale_ * -mean_[plane];
    for (std::uint32_t y = 0; y < net_height_; ++y, row += net_width) {
      const int from = view.top + static_cast<int>(y);
      if (from < 0 || from >= height) {
        std::fill_n(row, net_width, beyond);
        continue;
      }
      std::fill(row, row + begin, beyond);
      Normalise(sample, plane + static_cast<std::size_t>(from) * width + (view.left + begin), {row + begin, row + end});
      std::fill(row + end, row + net_width, beyond);
      if (view.mirrored) std::reverse(row, row + net_width);
    }
  }
}

template <typename Value>
void Transform::Normalise(std::span<const Value> sample, std::size_t at, std::span<float> to) const {
  const std::span<const Value> from = sample.subspan(at, to.size());
  if (mean_.empty()) {
    kernels::ScaleTo(from, scale_, to);
  } else {
    kernels::CenterTo(from, std::span(mean_).subspan(at, to.size()), scale_, to);
  }
}

}  // namespace downpour::worker
