// Every op of every device against the reference, on odd shapes and batches below the largest.
#include "kernels/device.h"

#include <catch2/catch.hpp>
#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

namespace downpour::kernels {
namespace {

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

std::vector<float> Values(std::size_t size, int seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(size);
  for (float& value : values) value = uniform(random);
  return values;
}

// What an op must overwrite.
std::vector<float> Rubbish(std::size_t size) { return std::vector<float>(size, std::nanf("")); }

void RequireClose(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!(std::abs(a[i] - b[i]) <= 1e-4f * (1 + std::abs(b[i])))) {
      FAIL("at " << i << ": " << a[i] << " instead of " << b[i]);
    }
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

TEST_CASE("convolution") {
  const Conv2dSpec specs[] = {
      {.input = {1, 28, 28}, .outputs = 20, .kernel = 5},
      {.input = {20, 12, 12}, .outputs = 50, .kernel = 5},
      {.input = {3, 7, 9}, .outputs = 5, .kernel = 3, .stride = 2, .pad = 1},
      {.input = {2, 5, 5}, .outputs = 3, .kernel = 2, .stride = 3},
      {.input = {1, 4, 4}, .outputs = 1, .kernel = 4},
      {.input = {4, 6, 11}, .outputs = 7, .kernel = 1},
      {.input = {2, 3, 3}, .outputs = 2, .kernel = 3, .stride = 1, .pad = 2},
      {.input = {1, 2, 3}, .outputs = 2, .kernel = 5, .stride = 2, .pad = 4},
      {.input = {3, 16, 33}, .outputs = 9, .kernel = 3, .stride = 1, .pad = 1},
  };
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    for (const Conv2dSpec& spec : specs) {
      INFO("input " << ToString(spec.input) << " kernel " << spec.kernel << " stride " << spec.stride
                    << " pad " << spec.pad);
      const auto x = Values(batch * spec.input.size(), 1), w = Values(spec.weight_count(), 2);
      const auto b = Values(spec.outputs, 3), dy = Values(batch * spec.output().size(), 4);
      std::vector<std::vector<float>> results[2];
      int which = 0;
      for (Device* each : {&device, &reference}) {
        auto op = each->MakeConv2d(spec, kMaxBatch);
        const ConstTensorView input{x.data(), batch, spec.input},
            output_gradient{dy.data(), batch, spec.output()};
        auto y = Rubbish(dy.size()), dx = Rubbish(x.size()), dw = Rubbish(w.size()), db = Rubbish(b.size());
        op->Forward(input, w.data(), b.data(), {y.data(), batch, spec.output()});
        op->BackwardWeights(input, output_gradient, dw.data(), db.data());
        op->BackwardData(output_gradient, w.data(), {dx.data(), batch, spec.input});
        // A second time, on what the first has left in the scratch memory.
        auto again = Rubbish(y.size());
        op->Forward(input, w.data(), b.data(), {again.data(), batch, spec.output()});
        REQUIRE(again == y);
        results[which++] = {y, dw, db, dx};
      }
      for (std::size_t i = 0; i < results[0].size(); ++i) RequireClose(results[0][i], results[1][i]);
    }
  });
}

const std::vector<Pool2dSpec>& PoolSpecs() {
  static const auto& specs = *new std::vector<Pool2dSpec>{
      {.input = {20, 24, 24}, .kernel = 2, .stride = 2},
      {.input = {50, 8, 8}, .kernel = 2, .stride = 2},
      {.input = {3, 7, 9}, .kernel = 2, .stride = 2},
      {.input = {2, 3, 11}, .kernel = 2, .stride = 2},
      {.input = {2, 7, 7}, .kernel = 3, .stride = 2},
      {.input = {2, 5, 6}, .kernel = 2, .stride = 3},
      {.input = {1, 4, 4}, .kernel = 4, .stride = 1},
      {.input = {1, 6, 6}, .kernel = 1, .stride = 1},
      {.input = {3, 7, 9}, .kernel = 2, .stride = 2, .round_up = true},
      {.input = {2, 8, 9}, .kernel = 3, .stride = 2, .round_up = true},
      {.input = {2, 8, 9}, .kernel = 3, .stride = 2, .pad = 1},
      {.input = {2, 8, 9}, .kernel = 3, .stride = 2, .pad = 1, .round_up = true},
      {.input = {2, 5, 4}, .kernel = 4, .stride = 3, .pad = 3, .round_up = true},
      {.input = {3, 6, 6}, .kernel = 2, .stride = 2, .pad = 1},
      {.input = {4, 5, 3}, .global = true},
  };
  return specs;
}

// `make` gives an op of a spec, on a device.
template <typename Make>
void CheckPooling(Make make) {
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    for (const Pool2dSpec& spec : PoolSpecs()) {
      INFO("input " << ToString(spec.input) << " kernel " << spec.kernel << " stride " << spec.stride << " pad "
                    << spec.pad << (spec.round_up ? " up" : ""));
      auto x = Values(batch * spec.input.size(), 1);
      for (float& value : x) value = std::round(value * 3) - 4;  // with equals, and none above the padding's 0
      const auto dy = Values(batch * spec.output().size(), 2);
      std::vector<float> results[2][2];
      int which = 0;
      for (Device* each : {&device, &reference}) {
        auto op = make(*each, spec);
        auto y = Rubbish(dy.size()), dx = Rubbish(x.size());
        op->Forward({x.data(), batch, spec.input}, {y.data(), batch, spec.output()});
        op->Backward({dy.data(), batch, spec.output()}, {dx.data(), batch, spec.input});
        results[which][0] = y;
        results[which++][1] = dx;
      }
      RequireClose(results[0][0], results[1][0]);
      RequireClose(results[0][1], results[1][1]);
    }
  });
}

TEST_CASE("max pooling") {
  CheckPooling([](Device& device, const Pool2dSpec& spec) { return device.MakeMaxPool2d(spec, kMaxBatch); });
}

TEST_CASE("average pooling") {
  CheckPooling([](Device& device, const Pool2dSpec& spec) { return device.MakeAveragePool2d(spec, kMaxBatch); });
}

TEST_CASE("windows lie where they should") {
  const auto side = [](int side, int kernel, int stride, int pad, bool up) {
    return Pool2dSpec{.input = {1, side, side}, .kernel = kernel, .stride = stride, .pad = pad, .round_up = up}
        .output()
        .height;
  };
  // As PyTorch's MaxPool2d has them.
  CHECK(side(32, 3, 2, 0, false) == 15);
  CHECK(side(32, 3, 2, 0, true) == 16);
  CHECK(side(112, 3, 2, 1, false) == 56);
  CHECK(side(7, 2, 2, 0, true) == 4);
  CHECK(side(6, 2, 2, 1, false) == 4);
  CHECK(side(6, 2, 2, 1, true) == 4);
  CHECK(side(5, 2, 3, 1, true) == 2);  // a third would begin in the padding
  const Pool2dSpec spec{.input = {1, 5, 5}, .kernel = 3, .stride = 2, .pad = 1, .round_up = true};
  CHECK(spec.Window(0, 5).first == 0);
  CHECK(spec.Window(0, 5).last == 2);
  CHECK(spec.Window(0, 5).padded == 3);
  CHECK(spec.Window(2, 5).first == 3);
  CHECK(spec.Window(2, 5).last == 5);
  CHECK(spec.Window(2, 5).padded == 3);
}

TEST_CASE("inner product") {
  const InnerProductSpec specs[] = {{800, 500}, {500, 10}, {1, 1}, {7, 13}, {33, 1}};
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    for (const InnerProductSpec& spec : specs) {
      INFO(spec.inputs << " to " << spec.outputs);
      const Shape in{spec.inputs}, out{spec.outputs};
      const auto x = Values(batch * in.size(), 1), w = Values(in.size() * out.size(), 2);
      const auto b = Values(out.size(), 3), dy = Values(batch * out.size(), 4);
      std::vector<std::vector<float>> results[2];
      int which = 0;
      for (Device* each : {&device, &reference}) {
        auto op = each->MakeInnerProduct(spec, kMaxBatch);
        auto y = Rubbish(dy.size()), dx = Rubbish(x.size()), dw = Rubbish(w.size()), db = Rubbish(b.size());
        op->Forward({x.data(), batch, in}, w.data(), b.data(), {y.data(), batch, out});
        op->BackwardWeights({x.data(), batch, in}, {dy.data(), batch, out}, dw.data(), db.data());
        op->BackwardData({dy.data(), batch, out}, w.data(), {dx.data(), batch, in});
        results[which++] = {y, dw, db, dx};
      }
      for (std::size_t i = 0; i < results[0].size(); ++i) RequireClose(results[0][i], results[1][i]);
    }
  });
}

TEST_CASE("relu") {
  ForEachDevice([&](Device& device, Device&, int batch) {
    const Shape shape{3, 5, 7};
    const auto x = Values(batch * shape.size(), 1), dy = Values(batch * shape.size(), 2);
    auto op = device.MakeRelu(shape, kMaxBatch);
    auto y = Rubbish(x.size()), dx = Rubbish(x.size());
    op->Forward({x.data(), batch, shape}, {y.data(), batch, shape});
    op->Backward({y.data(), batch, shape}, {dy.data(), batch, shape}, {dx.data(), batch, shape});
    for (std::size_t i = 0; i < x.size(); ++i) {
      REQUIRE(y[i] == std::max(x[i], 0.0f));
      REQUIRE(dx[i] == (x[i] > 0 ? dy[i] : 0));
    }
    const float bad = std::nanf("");
    float out = 0;
    op->Forward({&bad, 1, {1}}, {&out, 1, {1}});
    REQUIRE(std::isnan(out));
  });
}

TEST_CASE("activations") {
  using Function = ActivationSpec::Function;
  const Shape shape{3, 5, 7};
  for (const Function function :
       {Function::kLeakyRelu, Function::kElu, Function::kGelu, Function::kSigmoid, Function::kTanh}) {
    INFO("function " << static_cast<int>(function));
    ForEachDevice([&](Device& device, Device& reference, int batch) {
      auto x = Values(batch * shape.size(), 1);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] *= static_cast<float>(1 + i % 7);
      std::ranges::copy(std::initializer_list<float>{0, -0.0f, 1e-6f, -1e-6f, 20, -20, 200, -200}, x.begin());
      const auto dy = Values(x.size(), 2);
      const auto run = [&](Device& each) {
        auto op = each.MakeActivation({function, 0.3f}, shape, kMaxBatch);
        std::vector<std::vector<float>> all(2, Rubbish(x.size()));
        const ConstTensorView input{x.data(), batch, shape};
        const TensorView output{all[0].data(), batch, shape};
        op->Forward(input, output);
        op->Backward(input, output, {dy.data(), batch, shape}, {all[1].data(), batch, shape});
        return all;
      };
      const auto seen = run(device), expected = run(reference);
      for (std::size_t k = 0; k < seen.size(); ++k) RequireClose(seen[k], expected[k]);
    });
    for (const DeviceType& type : DeviceTypes()) {
      auto device = type.make({});
      if (!device.ok()) continue;
      const float bad = std::nanf("");
      float out = 0;
      (*device)->MakeActivation({function, 0.3f}, {1}, 1)->Forward({&bad, 1, {1}}, {&out, 1, {1}});
      CHECK(std::isnan(out));
    }
  }
}

TEST_CASE("prelu") {
  const Shape shape{3, 5, 7};
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    const auto x = Values(batch * shape.size(), 1), dy = Values(batch * shape.size(), 2), slopes = Values(3, 3);
    const auto run = [&](Device& each) {
      auto op = each.MakePrelu(shape, kMaxBatch);
      std::vector<std::vector<float>> all = {Rubbish(x.size()), Rubbish(x.size()), Rubbish(3)};
      const ConstTensorView input{x.data(), batch, shape}, gradient{dy.data(), batch, shape};
      op->Forward(input, slopes.data(), {all[0].data(), batch, shape});
      op->BackwardData(input, slopes.data(), gradient, {all[1].data(), batch, shape});
      op->BackwardSlopes(input, gradient, all[2].data());
      return all;
    };
    const auto seen = run(device), expected = run(reference);
    for (std::size_t k = 0; k < seen.size(); ++k) RequireClose(seen[k], expected[k]);
  });
}

TEST_CASE("dropout") {
  const Shape shape{3, 5, 70};
  for (const float rate : {0.0f, 0.3f, 0.5f, 0.99f}) {
    ForEachDevice([&](Device& device, Device& reference, int batch) {
      const auto x = Values(batch * shape.size(), 1);
      const auto run = [&](Device& each, std::uint64_t seed) {
        auto y = Rubbish(x.size());
        each.MakeDropout(rate, shape, kMaxBatch)->Apply(seed, {x.data(), batch, shape}, {y.data(), batch, shape});
        return y;
      };
      const auto seen = run(device, 7);
      RequireClose(seen, run(reference, 7));
      const auto dropped = static_cast<double>(std::ranges::count(seen, 0.0f));
      const auto size = static_cast<double>(x.size());
      CHECK(std::abs(dropped / size - rate) < 4 * std::sqrt(rate * (1 - rate) / size) + 1e-9);
      if (rate == 0) return;
      CHECK(run(device, 8) != seen);
      CHECK(run(device, 7 + (std::uint64_t{1} << 32)) != seen);
    });
  }
}

TEST_CASE("eltwise") {
  const Shape shape{3, 5, 7};
  for (const auto operation : {EltwiseOperation::kSum, EltwiseOperation::kProduct, EltwiseOperation::kMax}) {
    for (const std::size_t count : {1, 2, 3}) {
      INFO("operation " << static_cast<int>(operation) << ", " << count << " inputs");
      ForEachDevice([&](Device& device, Device& reference, int batch) {
        const std::size_t size = batch * shape.size();
        std::vector<std::vector<float>> x;
        for (std::size_t k = 0; k < count; ++k) {
          x.push_back(Values(size, 1 + static_cast<int>(k)));
          x[k][3] = 0.5f;  // the same for all
        }
        const auto dy = Values(size, 9);
        std::vector<ConstTensorView> inputs;
        for (const auto& values : x) inputs.push_back({values.data(), batch, shape});
        const auto run = [&](Device& each) {
          auto op = each.MakeEltwise(operation, shape, kMaxBatch);
          std::vector<std::vector<float>> all(1 + count, Rubbish(size));
          const TensorView output{all[0].data(), batch, shape};
          op->Forward(inputs, output);
          for (std::size_t k = 0; k < count; ++k) {
            op->Backward(inputs, output, {dy.data(), batch, shape}, k, {all[1 + k].data(), batch, shape});
          }
          return all;
        };
        const auto seen = run(device), expected = run(reference);
        for (std::size_t k = 0; k < seen.size(); ++k) RequireClose(seen[k], expected[k]);
      });
    }
  }
}

TEST_CASE("concat") {
  const std::vector<Shape> shapes = {{3, 2, 5}, {1, 2, 5}, {4, 2, 5}};
  const Shape whole{8, 2, 5};
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    std::vector<std::vector<float>> x;
    std::vector<ConstTensorView> inputs;
    for (const Shape& shape : shapes) x.push_back(Values(batch * shape.size(), shape.channels));
    for (std::size_t k = 0; k < x.size(); ++k) inputs.push_back({x[k].data(), batch, shapes[k]});
    const auto dy = Values(batch * whole.size(), 9);
    const auto run = [&](Device& each) {
      auto op = each.MakeConcat(shapes, kMaxBatch);
      std::vector<std::vector<float>> all = {Rubbish(batch * whole.size())};
      op->Forward(inputs, {all[0].data(), batch, whole});
      int first_channel = 0;
      for (const Shape& shape : shapes) {
        all.push_back(Rubbish(batch * shape.size()));
        op->Backward({dy.data(), batch, whole}, first_channel, {all.back().data(), batch, shape});
        first_channel += shape.channels;
      }
      return all;
    };
    const auto seen = run(device), expected = run(reference);
    for (std::size_t k = 0; k < seen.size(); ++k) RequireClose(seen[k], expected[k]);
  });
}

// One loss on both devices, with all samples alike and with weights of their own, of which some are 0.
template <typename Make>
void CheckLoss(Device& device, Device& reference, ConstTensorView x, Targets targets, Make make) {
  std::vector<float> weights(x.batch);
  for (int n = 0; n < x.batch; ++n) weights[n] = 0.5f * static_cast<float>(n % 4);
  for (const bool weighted : {false, true}) {
    if (weighted) targets.weights = weights;
    const auto run = [&](Device& each, std::vector<float>& gradient) {
      auto op = make(each);
      const LossResult result = op->Forward(x, targets);
      op->Backward(0.5f, targets, {gradient.data(), x.batch, x.shape});
      return result;
    };
    std::vector<float> gradients[2] = {Rubbish(x.size()), Rubbish(x.size())};
    const LossResult result = run(device, gradients[0]);
    const LossResult expected = run(reference, gradients[1]);
    CHECK(result.loss_sum == Approx(expected.loss_sum).epsilon(1e-5).margin(1e-6));
    CHECK(result.correct == expected.correct);
    CHECK(result.weight == expected.weight);
    RequireClose(gradients[0], gradients[1]);
  }
}

TEST_CASE("softmax loss") {
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    for (const int classes : {1, 2, 10, 1000}) {
      const Shape shape{classes};
      auto x = Values(batch * shape.size(), 1);
      for (float& value : x) value *= 40;
      std::vector<std::int32_t> labels(batch);
      for (int n = 0; n < batch; ++n) labels[n] = (7 * n) % classes;
      CheckLoss(device, reference, {x.data(), batch, shape}, {.classes = labels},
                [&](Device& each) { return each.MakeSoftmaxLoss(classes, kMaxBatch); });
    }
    auto op = device.MakeSoftmaxLoss(2, kMaxBatch);
    const float bad[] = {std::nanf(""), 0};
    const std::int32_t label = 1;
    CHECK_FALSE(std::isfinite(op->Forward({bad, 1, {2}}, {.classes = {&label, 1}}).loss_sum));
  });
}

TEST_CASE("hinge loss") {
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    for (const int classes : {1, 3, 100}) {
      for (const bool squared : {false, true}) {
        const Shape shape{classes};
        auto x = Values(batch * shape.size(), 1);
        for (float& value : x) value *= 3;
        std::vector<std::int32_t> labels(batch);
        for (int n = 0; n < batch; ++n) labels[n] = (7 * n) % classes;
        CheckLoss(device, reference, {x.data(), batch, shape}, {.classes = labels}, [&](Device& each) {
          return each.MakeHingeLoss({.classes = classes, .squared = squared}, kMaxBatch);
        });
      }
    }
    auto op = device.MakeHingeLoss({.classes = 2}, kMaxBatch);
    const float scores[] = {0.25f, -3};
    const std::int32_t label = 0;
    CHECK(op->Forward({scores, 1, {2}}, {.classes = {&label, 1}}).loss_sum == 0.75);
    const float bad[] = {std::nanf(""), 0};
    CHECK_FALSE(std::isfinite(op->Forward({bad, 1, {2}}, {.classes = {&label, 1}}).loss_sum));
  });
}

TEST_CASE("a sample of weight 2 counts as two") {
  ForEachDevice([&](Device& device, Device&, int) {
    const float x[] = {1, -2, 3, 0.5f, 3, 0.5f};
    const std::int32_t labels[] = {1, 0, 0};
    const float weights[] = {1, 2};
    auto op = device.MakeSoftmaxLoss(2, kMaxBatch);
    const LossResult twice = op->Forward({x, 3, {2}}, {.classes = labels});
    const LossResult weighted = op->Forward({x, 2, {2}}, {.classes = {labels, 2}, .weights = weights});
    CHECK(weighted.loss_sum == Approx(twice.loss_sum));
    CHECK(weighted.correct == twice.correct);
    CHECK(weighted.weight == 3);
  });
}

TEST_CASE("euclidean loss") {
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    const auto x = Values(batch, 1);
    const auto numbers = Values(batch, 2);
    CheckLoss(device, reference, {x.data(), batch, {1}}, {.numbers = numbers},
              [&](Device& each) { return each.MakeEuclideanLoss(kMaxBatch); });
    auto op = device.MakeEuclideanLoss(kMaxBatch);
    const float value = 5, number = 2;
    float gradient = 0;
    CHECK(op->Forward({&value, 1, {1}}, {.numbers = {&number, 1}}).loss_sum == 4.5);
    op->Backward(0.5f, {.numbers = {&number, 1}}, {&gradient, 1, {1}});
    CHECK(gradient == 1.5f);
  });
}

TEST_CASE("a device is chosen by name") {
  CHECK((*MakeDevice("cpu", {}))->name() == "cpu");
  const auto unknown = MakeDevice("tpu", {});
  CHECK(unknown.status().code() == absl::StatusCode::kInvalidArgument);
  for (const DeviceType& type : DeviceTypes()) {
    CHECK_THAT(std::string(unknown.status().message()), Catch::Contains(std::string(type.name)));
  }
  CHECK(MakeDevice("cpu", {.threads = 0}).status().code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace downpour::kernels
