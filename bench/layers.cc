// How fast LeNet's forward and backward passes are on one core, in all and layer by layer.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/cpu/matrix_product.h"
#include "kernels/device.h"
#include "worker/net.h"

namespace downpour {
namespace {

constexpr int kBatch = 64;

// Seconds of one call: the best of several rounds, since what else the machine does only slows it down.
double Time(const std::function<void()>& call) {
  using Clock = std::chrono::steady_clock;
  call();
  double best = 1e9;
  for (int round = 0; round < 15; ++round) {
    int calls = 0;
    const Clock::time_point start = Clock::now();
    double seconds = 0;
    do {
      call();
      ++calls;
      seconds = std::chrono::duration<double>(Clock::now() - start).count();
    } while (seconds < 0.03);
    best = std::min(best, seconds / calls);
  }
  return best;
}

struct Buffers {
  explicit Buffers(std::size_t size) : values(size) {
    for (std::size_t i = 0; i < size; ++i) values.data()[i] = static_cast<float>(i % 31) / 31 - 0.5f;
  }
  kernels::AlignedBuffer values;
};

void Report(const char* layer, const char* pass, double seconds, double flop) {
  std::printf("%-8s %-17s %7.2f us/image", layer, pass, seconds / kBatch * 1e6);
  if (flop > 0) std::printf("  %6.1f GFLOP/s", flop * kBatch / seconds / 1e9);
  std::printf("\n");
}

void Convolution(kernels::Device& device, const char* name, const kernels::Conv2dSpec& spec, bool first) {
  auto op = device.MakeConv2d(spec, kBatch);
  const std::size_t in = kBatch * spec.input.size(), out = kBatch * spec.output().size();
  Buffers x(in), dx(in), y(out), dy(out), w(spec.weight_count()), dw(spec.weight_count());
  Buffers b(spec.outputs), db(spec.outputs);
  const kernels::ConstTensorView input{x.values.data(), kBatch, spec.input};
  const kernels::ConstTensorView gradient{dy.values.data(), kBatch, spec.output()};
  const double flop = 2.0 * spec.weight_count() * spec.output().height * spec.output().width;
  Report(name, "forward", Time([&] {
           op->Forward(input, w.values.data(), b.values.data(), {y.values.data(), kBatch, spec.output()});
         }),
         flop);
  Report(name, "backward weights",
         Time([&] { op->BackwardWeights(input, gradient, dw.values.data(), db.values.data()); }), flop);
  if (first) return;
  Report(name, "backward data", Time([&] {
           op->BackwardData(gradient, w.values.data(), {dx.values.data(), kBatch, spec.input});
         }),
         flop);
}

void Pooling(kernels::Device& device, const char* name, const kernels::Pool2dSpec& spec) {
  auto op = device.MakeMaxPool2d(spec, kBatch);
  Buffers x(kBatch * spec.input.size()), y(kBatch * spec.output().size());
  const kernels::TensorView input{x.values.data(), kBatch, spec.input};
  const kernels::TensorView output{y.values.data(), kBatch, spec.output()};
  Report(name, "forward", Time([&] { op->Forward(input, output); }), 0);
  Report(name, "backward", Time([&] { op->Backward(output, input); }), 0);
}

void InnerProduct(kernels::Device& device, const char* name, const kernels::InnerProductSpec& spec) {
  auto op = device.MakeInnerProduct(spec, kBatch);
  const kernels::Shape in{spec.inputs}, out{spec.outputs};
  Buffers x(kBatch * in.size()), dx(x.values.size()), y(kBatch * out.size()), w(in.size() * out.size());
  Buffers dw(w.values.size()), b(out.size());
  const double flop = 2.0 * spec.inputs * spec.outputs;
  const kernels::TensorView input{x.values.data(), kBatch, in}, output{y.values.data(), kBatch, out};
  Report(name, "forward", Time([&] { op->Forward(input, w.values.data(), b.values.data(), output); }), flop);
  Report(name, "backward weights",
         Time([&] { op->BackwardWeights(input, output, dw.values.data(), b.values.data()); }), flop);
  Report(name, "backward data", Time([&] {
           op->BackwardData(output, w.values.data(), {dx.values.data(), kBatch, in});
         }),
         flop);
}

void Relu(kernels::Device& device, const char* name, const kernels::Shape& shape) {
  auto op = device.MakeRelu(shape, kBatch);
  Buffers x(kBatch * shape.size()), y(kBatch * shape.size());
  const kernels::TensorView input{x.values.data(), kBatch, shape}, output{y.values.data(), kBatch, shape};
  Report(name, "forward", Time([&] { op->Forward(input, output); }), 0);
  Report(name, "backward", Time([&] { op->Backward(output, input, input); }), 0);
}

void Peak() {
  double best = 0;
  for (const int side : {256, 512}) {
    Buffers a(side * side), b(side * side), c(side * side);
    const double seconds = Time([&] {
      kernels::cpu::MatrixProduct(side, side, side, {a.values.data(), side}, {b.values.data(), side}, 0,
                                  c.values.data(), side, 1);
    });
    best = std::max(best, 2.0 * side * side * side / seconds / 1e9);
  }
  std::printf("peak of oneDNN's sgemm (256 and 512 cubed): %.1f GFLOP/s\n\n", best);
}

void AddLayer(Job& job, const char* name, const char* type, int outputs, int kernel, int stride) {
  Layer* layer = job.add_net();
  layer->set_name(name);
  layer->set_type(type);
  if (outputs > 0) layer->set_outputs(outputs);
  if (kernel > 0) layer->set_kernel(kernel);
  if (stride > 0) layer->set_stride(stride);
}

int Main() {
  auto device = kernels::MakeDevice("cpu", {.threads = 1});
  if (!device.ok()) {
    std::fprintf(stderr, "%s\n", device.status().ToString().c_str());
    return EXIT_FAILURE;
  }
  Job job;
  AddLayer(job, "conv1", "convolution", 20, 5, 1);
  AddLayer(job, "pool1", "pooling", 0, 2, 2);
  AddLayer(job, "conv2", "convolution", 50, 5, 1);
  AddLayer(job, "pool2", "pooling", 0, 2, 2);
  AddLayer(job, "ip1", "inner_product", 500, 0, 0);
  AddLayer(job, "relu1", "relu", 0, 0, 0);
  AddLayer(job, "ip2", "inner_product", 10, 0, 0);
  AddLayer(job, "loss", "softmax_loss", 0, 0, 0);
  auto net = worker::Net::Create(job.net(), {1, 28, 28}, kBatch, **device);
  if (!net.ok()) {
    std::fprintf(stderr, "%s\n", net.status().ToString().c_str());
    return EXIT_FAILURE;
  }

  Peak();
  kernels::AlignedBuffer parameters((*net)->parameter_count()), gradient((*net)->parameter_count());
  const std::span<float> parameter_span(parameters.data(), parameters.size());
  (*net)->Initialize(1, parameter_span);
  Buffers features(kBatch * (*net)->sample_size());
  std::vector<std::int32_t> labels(kBatch);
  for (int n = 0; n < kBatch; ++n) labels[n] = n % 10;
  const worker::Batch batch{
      .size = kBatch, .features = {features.values.data(), features.values.size()}, .targets = {.classes = labels}};
  const double train = Time([&] {
    (*net)->ForwardBackward(parameter_span, batch, {gradient.data(), gradient.size()});
  });
  const double evaluate = Time([&] { (*net)->Evaluate(parameter_span, batch); });
  std::printf("LeNet 20-50-500-10, batch %d, one core\n", kBatch);
  std::printf("forward and backward: %.0f images/s\nforward: %.0f images/s\n\n", kBatch / train,
              kBatch / evaluate);

  Convolution(**device, "conv1", {.input = {1, 28, 28}, .outputs = 20, .kernel = 5}, true);
  Pooling(**device, "pool1", {.input = {20, 24, 24}, .kernel = 2, .stride = 2});
  Convolution(**device, "conv2", {.input = {20, 12, 12}, .outputs = 50, .kernel = 5}, false);
  Pooling(**device, "pool2", {.input = {50, 8, 8}, .kernel = 2, .stride = 2});
  InnerProduct(**device, "ip1", {800, 500});
  Relu(**device, "relu1", {500});
  InnerProduct(**device, "ip2", {500, 10});
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace downpour

int main() { return downpour::Main(); }
