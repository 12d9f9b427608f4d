// Shapes, and non-owning views of contiguous floats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace downpour::kernels {

// Channels, height and width of one sample; a flat vector of n values is {n, 1, 1}.
struct Shape {
  int channels = 1;
  int height = 1;
  int width = 1;

  constexpr std::size_t size() const { return static_cast<std::size_t>(channels) * height * width; }
  bool operator==(const Shape&) const = default;
};

// "20x12x12", or "500" for a flat vector.
std::string ToString(const Shape& shape);

// A batch of samples, NCHW, contiguous. Whoever made the view owns the memory.
template <typename T>
struct BasicTensorView {
  T* data = nullptr;
  int batch = 0;
  Shape shape;

  std::size_t size() const { return batch * shape.size(); }
  T* sample(int n) const { return data + n * shape.size(); }
  std::span<T> values() const { return {data, size()}; }
  bool empty() const { return data == nullptr; }
  operator BasicTensorView<const T>() const { return {data, batch, shape}; }
};

using TensorView = BasicTensorView<float>;
using ConstTensorView = BasicTensorView<const float>;

}  // namespace downpour::kernels
