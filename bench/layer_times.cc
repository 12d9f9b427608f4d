// How fast each layer of a job's net is on one core, pass by pass.
//
// The clock is the thread's own, so that others on the machine take nothing from it but caches and memory.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/match.h"
#include "bench/cpu_time.h"
#include "kernels/aligned_buffer.h"
#include "kernels/cpu/matrix_product.h"
#include "kernels/device.h"
#include "proto/job_config.h"
#include "proto/transforms.h"
#include "worker/layers/table.h"
#include "worker/net.h"
#include "worker/net_graph.h"
#include "worker/sample_shape.h"

namespace downpour {
namespace {

using bench::CpuSeconds;
using kernels::AlignedBuffer;
using kernels::Shape;

struct Options {
  std::string job = "bench/nets/lenet.yaml";
  int batch = 64;
  int rounds = 15;
  std::string only;
  bool bf16 = false;
};

// Seconds of one call: the best of several rounds, since what else the machine does only slows it down.
double Time(int rounds, const std::function<void()>& call) {
  call();
  double best = 1e9;
  for (int round = 0; round < rounds; ++round) {
    int calls = 0;
    const double start = CpuSeconds();
    double seconds = 0;
    do {
      call();
      ++calls;
      seconds = CpuSeconds() - start;
    } while (seconds < 0.02);
    best = std::min(best, seconds / calls);
  }
  return best;
}

AlignedBuffer Numbers(std::size_t size) {
  AlignedBuffer values(size);
  for (std::size_t i = 0; i < size; ++i) values.data()[i] = static_cast<float>(i % 31) / 31 - 0.5f;
  return values;
}

double PeakOfProducts(int rounds) {
  double best = 0;
  for (const int side : {256, 512}) {
    const AlignedBuffer a = Numbers(side * side), b = Numbers(side * side);
    AlignedBuffer c(side * side);
    const double seconds = Time(rounds, [&] {
      kernels::cpu::MatrixProduct(side, side, side, {a.data(), side}, {b.data(), side}, 0, c.data(), side, 1);
    });
    best = std::max(best, 2.0 * side * side * side / seconds / 1e9);
  }
  return best;
}

// Memory of a layer, and its passes.
class Subject {
 public:
  Subject(worker::Layer& layer, std::vector<Shape> inputs, int batch)
      : layer_(layer), batch_(batch), output_(Numbers(batch * layer.output().size())),
        output_gradient_(Numbers(output_.size())) {
    for (const Shape& shape : inputs) {
      inputs_.push_back({values_.emplace_back(Numbers(batch * shape.size())).data(), batch, shape});
      input_gradients_.push_back({values_.emplace_back(batch * shape.size()).data(), batch, shape});
      no_gradients_.push_back({nullptr, batch, shape});
    }
    for (const worker::ParameterSpec& spec : layer.parameters()) {
      parameters_.push_back({values_.emplace_back(Numbers(spec.size())).data(), spec.size()});
      gradients_.push_back({values_.emplace_back(spec.size()).data(), spec.size()});
    }
    layer_.ForwardInTraining(inputs_, parameters_, OutputView(), &draw_);
  }

  void Forward() { layer_.ForwardInTraining(inputs_, parameters_, OutputView(), &draw_); }
  void Backward(bool data) {
    layer_.Backward(inputs_, parameters_, OutputView(), {output_gradient_.data(), batch_, layer_.output()}, gradients_,
                    data ? input_gradients_ : no_gradients_);
  }
  bool has_parameters() const { return !parameters_.empty(); }
  // Of one pass.
  double flop() const { return 2.0 * static_cast<double>(layer_.multiply_accumulates()) * batch_; }

 private:
  kernels::TensorView OutputView() { return {output_.data(), batch_, layer_.output()}; }

  worker::Layer& layer_;
  const int batch_;
  const std::uint64_t draw_ = 1;
  std::vector<AlignedBuffer> values_;
  std::vector<kernels::ConstTensorView> inputs_;
  std::vector<kernels::TensorView> input_gradients_, no_gradients_;
  std::vector<std::span<const float>> parameters_;
  std::vector<std::span<float>> gradients_;
  AlignedBuffer output_, output_gradient_;
};

struct Totals {
  double seconds = 0;
  double in_products = 0;
  double flop = 0;
};

void Report(const std::string& layer, const char* pass, double seconds, double flop, Totals* totals) {
  std::printf("%-14s %-17s %9.1f us", layer.c_str(), pass, seconds * 1e6);
  if (flop > 0) std::printf("  %6.1f GFLOP/s", flop / seconds / 1e9);
  std::printf("\n");
  totals->seconds += seconds;
  if (flop == 0) return;
  totals->in_products += seconds;
  totals->flop += flop;
}

absl::Status TimeLayers(const Job& job, const Options& options, kernels::Device& device, Totals* totals) {
  const auto order = worker::OrderLayers(job.net());
  if (!order.ok()) return order.status();
  const auto samples = worker::SampleShape(NetShape(job.data()));
  if (!samples.ok()) return samples.status();
  std::vector<worker::LayerInput> made;
  for (const worker::GraphNode& node : *order) {
    const Layer& config = job.net(node.layer);
    std::vector<worker::LayerInput> inputs;
    std::vector<Shape> shapes;
    bool data = false;
    for (const int input : node.inputs) {
      inputs.push_back(input == worker::kSamples ? worker::LayerInput{"the input", *samples} : made[input]);
      shapes.push_back(inputs.back().shape);
      data |= input != worker::kSamples;
    }
    auto layer =
        worker::MakeLayer({.config = config, .inputs = inputs, .max_batch = options.batch, .device = device});
    if (!layer.ok()) return layer.status();
    auto* const made_layer = std::get_if<std::unique_ptr<worker::Layer>>(&*layer);
    if (made_layer == nullptr) {  // a loss, which nobody takes
      made.emplace_back();
      continue;
    }
    made.push_back({config.name(), (*made_layer)->output()});
    if (!absl::StrContains(config.name(), options.only)) continue;
    Subject subject(**made_layer, shapes, options.batch);
    const double flop = subject.flop();
    Report(config.name(), "forward", Time(options.rounds, [&] { subject.Forward(); }), flop, totals);
    if (!subject.has_parameters()) {
      if (data) Report(config.name(), "backward", Time(options.rounds, [&] { subject.Backward(true); }), 2 * flop, totals);
      continue;
    }
    const double weights = Time(options.rounds, [&] { subject.Backward(false); });
    Report(config.name(), "backward weights", weights, flop, totals);
    if (!data) continue;
    const double both = Time(options.rounds, [&] { subject.Backward(true); });
    Report(config.name(), "backward data", std::max(both - weights, 1e-9), flop, totals);
  }
  return absl::OkStatus();
}

absl::Status TimeNet(const Job& job, const Options& options, kernels::Device& device) {
  const auto made = worker::Net::Create(job.net(), NetShape(job.data()), options.batch, device);
  if (!made.ok()) return made.status();
  worker::Net& net = **made;
  if (net.classes() == 0) return absl::InvalidArgumentError("bench/layers wants a net whose labels are classes");
  AlignedBuffer parameters(net.parameter_count()), gradient(net.parameter_count());
  net.Initialize(1, {parameters.data(), parameters.size()});
  const AlignedBuffer features = Numbers(options.batch * net.sample_size());
  std::vector<std::int32_t> labels(options.batch);
  for (int n = 0; n < options.batch; ++n) labels[n] = n % net.classes();
  const worker::Batch batch{
      .size = options.batch, .features = {features.data(), features.size()}, .targets = {.classes = labels}};
  const std::span<const float> values(parameters.data(), parameters.size());
  const double train =
      Time(options.rounds, [&] { net.ForwardBackward(values, batch, {gradient.data(), gradient.size()}); });
  const double evaluate = Time(options.rounds, [&] { net.Evaluate(values, batch); });
  std::printf("\nall of it, batch %d, one core: forward and backward %.0f images/s, forward %.0f images/s\n",
              options.batch, options.batch / train, options.batch / evaluate);
  return absl::OkStatus();
}

int Fail(const absl::Status& status) {
  std::cerr << "bench/layers: " << status.message() << "\n";
  return 64;
}

int TimeJob(const Options& options) {
  const auto job = LoadJob(options.job);
  if (!job.ok()) return Fail(job.status());
  const auto device = kernels::MakeDevice(
      "cpu",
      {.threads = 1, .precision = options.bf16 ? kernels::Precision::kBfloat16 : kernels::Precision::kFloat32});
  if (!device.ok()) return Fail(device.status());
  std::printf("%s: peak of oneDNN's sgemm (256 and 512 cubed): %.1f GFLOP/s\n\n", options.job.c_str(),
              PeakOfProducts(options.rounds));
  Totals totals;
  if (const absl::Status status = TimeLayers(*job, options, **device, &totals); !status.ok()) return Fail(status);
  std::printf("\nproducts: %.1f of %.1f ms, %.1f GFLOP/s\n", totals.in_products * 1e3, totals.seconds * 1e3,
              totals.flop / totals.in_products / 1e9);
  if (!options.only.empty()) return 0;
  const absl::Status status = TimeNet(*job, options, **device);
  return status.ok() ? 0 : Fail(status);
}

}  // namespace
}  // namespace downpour

int main(int argc, char** argv) {
  downpour::Options options;
  CLI::App app("How fast each layer of a job's net is on one core.");
  app.add_option("job", options.job, "Job file whose net to run")->capture_default_str();
  app.add_option("--batch", options.batch, "Samples of a step")->check(CLI::Range(1, 65536))->capture_default_str();
  app.add_option("--rounds", options.rounds, "Of which the best counts")->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--only", options.only, "Layers whose name contains this");
  app.add_flag("--bf16", options.bf16, "Factors in bf16");
  CLI11_PARSE(app, argc, argv);
  return downpour::TimeJob(options);
}
