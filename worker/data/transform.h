// From a sample as it is kept to the values that the net takes: data.scale and data.transforms.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "proto/job.pb.h"
#include "worker/random.h"

namespace downpour::worker {

// Pure: what comes out depends on the sample and the view alone. Allocates at construction alone. Any thread may call.
class Transform {
 public:
  // The part of a sample that the net sees, a window of the net's height and width. What of it lies beyond the sample
  // is as where input values are 0.
  struct View {
    int top = 0;  // in pixels from the sample's top left; negative where the window begins outside
    int left = 0;
    bool mirrored = false;  // left to right
  };

  // `data` as ParseJob lets it pass.
  explicit Transform(const Data& data);

  // What is seen where nothing is left to chance.
  View Middle() const;
  // What is seen in training. Each key has draws of its own: those of one do not depend on the others.
  View Draw(Random random) const;

  // Writes size() values, scale * (value - mean) in the view's order, of a sample of sample_size().
  void Apply(std::span<const std::uint8_t> sample, const View& view, std::span<float> to) const;
  void Apply(std::span<const float> sample, const View& view, std::span<float> to) const;

  std::size_t sample_size() const { return std::size_t{channels_} * height_ * width_; }
  std::size_t size() const { return std::size_t{channels_} * net_height_ * net_width_; }

 private:
  template <typename Value>
  void ApplyTo(std::span<const Value> sample, const View& view, std::span<float> to) const;
  // Of the sample's values from `at` on, as many as there is room for.
  template <typename Value>
  void Normalise(std::span<const Value> sample, std::size_t at, std::span<float> to) const;

  const std::uint32_t channels_, height_, width_;
  const std::uint32_t net_height_, net_width_;
  const float scale_;
  const bool mirror_;
  const std::uint32_t shift_;
  std::vector<float> mean_;  // of each value; none where it is 0
};

}  // namespace downpour::worker
