// Trains LeNet for some steps of plain SGD and writes down all that another program needs to do the same: the
// initial parameters, each step's batch, and the loss that came out. test_lenet_against_pytorch.py is that
// program.
//
//   lenet_trace FOLDER
//
// Files, little endian, without headers: parameters.f32 (tensors as parameters.txt lists them: name, offset
// and size in floats, sides), features.f32 and labels.i32 (all steps' batches), losses.f32 (one a step);
// trace.txt has the numbers of steps, batch and classes, and the learning rate.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "kernels/vector_ops.h"
#include "worker/net.h"
#include "worker/random.h"

namespace downpour {
namespace {

constexpr int kSteps = 50;
constexpr int kBatch = 64;
constexpr float kLearningRate = 0.02f;

void AddLayer(Job& job, const char* name, const char* type, int outputs, int kernel, int stride) {
  Layer* layer = job.add_net();
  layer->set_name(name);
  layer->set_type(type);
  if (outputs > 0) layer->set_outputs(outputs);
  if (kernel > 0) layer->set_kernel(kernel);
  if (stride > 0) layer->set_stride(stride);
}

Job LeNet() {
  Job job;
  AddLayer(job, "conv1", "convolution", 20, 5, 1);
  AddLayer(job, "pool1", "pooling", 0, 2, 2);
  AddLayer(job, "conv2", "convolution", 50, 5, 1);
  AddLayer(job, "pool2", "pooling", 0, 2, 2);
  AddLayer(job, "ip1", "inner_product", 500, 0, 0);
  AddLayer(job, "relu1", "relu", 0, 0, 0);
  AddLayer(job, "ip2", "inner_product", 10, 0, 0);
  AddLayer(job, "loss", "softmax_loss", 0, 0, 0);
  return job;
}

// Pictures that a net can learn from: noise, with a bright bar whose place tells the class.
void Draw(worker::Random& random, std::span<float> features, std::span<std::int32_t> labels) {
  constexpr std::size_t kSide = 28;
  for (std::size_t n = 0; n < labels.size(); ++n) {
    labels[n] = static_cast<std::int32_t>(random.Below(10));
    const std::span<float> image = features.subspan(n * kSide * kSide, kSide * kSide);
    for (float& value : image) value = 0.3f * (random.Symmetric() + 1);
    for (std::size_t x = 0; x < kSide; ++x) image[(4 + 2 * labels[n]) * kSide + x] += 0.5f;
  }
}

template <typename T>
bool Write(const std::string& path, const std::vector<T>& values) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(values.data()),
            static_cast<std::streamsize>(values.size() * sizeof(T)));
  return static_cast<bool>(out.flush());
}

int Main(const std::string& folder) {
  auto device = kernels::MakeDevice("cpu", {});
  if (!device.ok()) {
    std::fprintf(stderr, "lenet_trace: %s\n", device.status().ToString().c_str());
    return EXIT_FAILURE;
  }
  auto made = worker::Net::Create(LeNet().net(), {1, 28, 28}, kBatch, **device);
  if (!made.ok()) {
    std::fprintf(stderr, "lenet_trace: %s\n", made.status().ToString().c_str());
    return EXIT_FAILURE;
  }
  worker::Net& net = **made;
  std::vector<float> parameters(net.parameter_count()), gradient(net.parameter_count()), losses;
  net.Initialize(1, parameters);
  const std::vector<float> initial = parameters;

  std::vector<float> features(kSteps * kBatch * net.sample_size());
  std::vector<std::int32_t> labels(kSteps * kBatch);
  worker::Random random(2);
  Draw(random, features, labels);

  for (int step = 0; step < kSteps; ++step) {
    const worker::Batch batch{.size = kBatch,
                              .features = std::span(features).subspan(step * kBatch * net.sample_size(),
                                                                      kBatch * net.sample_size()),
                              .targets = {.classes = std::span(labels).subspan(step * kBatch, kBatch)}};
    losses.push_back(static_cast<float>(net.ForwardBackward(parameters, batch, gradient).loss()));
    kernels::Axpy(-kLearningRate, gradient, parameters);
  }

  std::ofstream tensors(folder + "/parameters.txt");
  for (const worker::Parameter& parameter : net.parameters()) {
    tensors << parameter.name << ' ' << parameter.offset << ' ' << parameter.size;
    for (const std::uint32_t side : parameter.shape) tensors << ' ' << side;
    tensors << '\n';
  }
  std::ofstream trace(folder + "/trace.txt");
  trace << kSteps << ' ' << kBatch << ' ' << net.classes() << ' ' << kLearningRate << '\n';
  const bool written = tensors.flush() && trace.flush() && Write(folder + "/parameters.f32", initial) &&
                       Write(folder + "/features.f32", features) && Write(folder + "/labels.i32", labels) &&
                       Write(folder + "/losses.f32", losses);
  if (!written) std::fprintf(stderr, "lenet_trace: cannot write to %s; is it a folder?\n", folder.c_str());
  return written ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace downpour

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: lenet_trace FOLDER\n");
    return EXIT_FAILURE;
  }
  return downpour::Main(argv[1]);
}
