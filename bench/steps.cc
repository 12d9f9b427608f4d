// How fast a net's steps are on a device, with nobody to exchange parameters with: parameters and gradients stay on the
// device, each batch comes from the host, and each step ends with an update of plain gradient descent.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "kernels/device.h"
#include "proto/job_config.h"
#include "proto/transforms.h"
#include "worker/net.h"

namespace downpour {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string job;
  std::string device = "cuda";
  std::string precision = "float32";
  int batch = 64;
  double seconds = 1;
  int rounds = 5;
};

int Fail(const absl::Status& status) {
  std::cerr << status.message() << "\n";
  return 64;
}

int RunSteps(const Options& options) {
  const auto job = LoadJob(options.job);
  if (!job.ok()) return Fail(job.status());
  const auto precision = kernels::PrecisionNamed(options.precision);
  if (!precision.ok()) return Fail(precision.status());
  const auto device = kernels::MakeDevice(options.device, {.threads = 1, .precision = *precision});
  if (!device.ok()) return Fail(device.status());
  const auto made = worker::Net::Create(job->net(), NetShape(job->data()), options.batch, **device);
  if (!made.ok()) return Fail(made.status());
  worker::Net& net = **made;
  if (net.classes() == 0) return Fail(absl::InvalidArgumentError("steps wants a net whose labels are classes"));

  std::vector<float> initial(net.parameter_count());
  net.Initialize(1, initial);
  const kernels::Buffer gradient = (*device)->MakeBuffer(initial.size());
  const auto mirror = (*device)->MakeMirror(initial.size() * sizeof(float));
  const auto imported = mirror->Import(std::span<const float>(initial));
  // The mirror is written by nobody else, so its copy may serve as the parameters.
  const std::span<float> parameters(const_cast<float*>(imported.data()), imported.size());

  std::vector<float> features(options.batch * net.sample_size());
  for (size_t i = 0; i < features.size(); ++i) features[i] = static_cast<float>(i % 97) / 97;
  std::vector<int32_t> labels(options.batch);
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int32_t>(i % net.classes());
  const worker::Batch batch{.size = options.batch, .features = features, .targets = {.classes = labels}};

  const auto step = [&] {
    net.StartForwardBackward(parameters, batch, {gradient.data(), gradient.size()});
    (*device)->Axpy(-1e-3f, {gradient.data(), gradient.size()}, parameters);
  };
  for (int i = 0; i < 20; ++i) step();
  (*device)->Wait();

  std::vector<double> rates;
  for (int round = 0; round < options.rounds; ++round) {
    int64_t steps = 0;
    double elapsed = 0;
    const auto begun = Clock::now();
    do {
      for (int i = 0; i < 10; ++i) step();
      (*device)->Wait();
      steps += 10;
      elapsed = std::chrono::duration<double>(Clock::now() - begun).count();
    } while (elapsed < options.seconds);
    rates.push_back(static_cast<double>(steps * options.batch) / elapsed);
  }
  std::ranges::sort(rates);
  std::printf(
      "{\"net\": \"%s\", \"batch\": %d, \"device\": \"%s\", \"precision\": \"%s\", \"images_a_second\": %.0f, "
      "\"least\": %.0f, "
      "\"most\": %.0f, \"loss\": %.4f}\n",
      job->name().c_str(), options.batch, options.device.c_str(), options.precision.c_str(), rates[rates.size() / 2],
      rates.front(), rates.back(), net.Result().loss());
  return 0;
}

}  // namespace
}  // namespace downpour

int main(int argc, char** argv) {
  downpour::Options options;
  CLI::App app("Prints the images/s of a net's steps on a device, as a line of JSON.");
  app.add_option("job", options.job, "The job file with the net")->required();
  app.add_option("--device", options.device, "Where to compute")->capture_default_str();
  app.add_option("--precision", options.precision, "Of products' factors, as worker.precision")->capture_default_str();
  app.add_option("--batch", options.batch, "Samples a step")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--seconds", options.seconds, "Length of a round")->capture_default_str();
  app.add_option("--rounds", options.rounds, "How many; the median is given")->capture_default_str()->check(
      CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  return downpour::RunSteps(options);
}
