// What tests of ops share: each device beside the reference, and tensors in their memory.
#pragma once

#include <catch2/catch.hpp>
#include <cmath>
#include <memory>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "kernels/device.h"

namespace downpour::kernels {

constexpr int kMaxBatch = 5;

class Pair {
 public:
  explicit Pair(const DeviceType& type, int threads) {
    auto made = type.make({.threads = threads});
    if (made.ok()) device = *std::move(made);
    reference = *MakeDevice("reference", {});
  }

  std::unique_ptr<Device> device;  // none where this build does not have it
  std::unique_ptr<Device> reference;
};

inline std::vector<float> Values(std::size_t size, int seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(size);
  for (float& value : values) value = uniform(random);
  return values;
}

// What an op must overwrite.
inline std::vector<float> Rubbish(std::size_t size) { return std::vector<float>(size, std::nanf("")); }

// A batch in a device's memory, or one vector of parameters.
class Tensor {
 public:
  Tensor(Device& device, std::vector<float> values, int batch, Shape shape)
      : values_(std::move(values)), mirror_(device.MakeMirror(values_.size() * sizeof(float))) {
    const std::span<const float> imported = mirror_->Import(std::span<const float>(values_));
    view_ = {const_cast<float*>(imported.data()), batch, shape};
  }
  Tensor(Device& device, std::vector<float> values) : Tensor(device, values, 1, {static_cast<int>(values.size())}) {}

  operator TensorView() const { return view_; }
  operator ConstTensorView() const { return view_; }
  float* data() const { return view_.data; }
  std::vector<float> Get() const {
    const std::span<const float> values = mirror_->ToHost(std::span<const float>(view_.data, values_.size()));
    return {values.begin(), values.end()};
  }

 private:
  std::vector<float> values_;
  std::unique_ptr<Mirror> mirror_;
  TensorView view_;
};

using Results = std::vector<std::vector<float>>;

inline Results ValuesOf(const std::vector<Tensor>& tensors) {
  Results results;
  for (const Tensor& tensor : tensors) results.push_back(tensor.Get());
  return results;
}

inline void RequireClose(const std::vector<float>& a, const std::vector<float>& b, float allowed = 1e-4f) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!(std::abs(a[i] - b[i]) <= allowed * (1 + std::abs(b[i])))) {
      FAIL("at " << i << ": " << a[i] << " instead of " << b[i]);
    }
  }
}

inline void RequireClose(const Results& a, const Results& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t k = 0; k < a.size(); ++k) {
    INFO("result " << k);
    RequireClose(a[k], b[k]);
  }
}

template <typename Body>
void ForEachDevice(Body body) {
  for (const DeviceType& type : DeviceTypes()) {
    for (const int threads : {1, 2, 3}) {
      Pair pair(type, threads);
      if (pair.device == nullptr) continue;
      CHECK(pair.device->name() == type.name);
      for (const int batch : {1, 2, kMaxBatch}) {
        INFO(type.name << ", " << threads << " threads, batch " << batch);
        body(*pair.device, *pair.reference, batch);
      }
    }
  }
}

}  // namespace downpour::kernels
