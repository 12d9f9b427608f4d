// How fast one worker's net computes when there is nobody to exchange parameters with: what `bench/train` holds the
// rates of whole jobs against.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <vector>

#include "kernels/device.h"
#include "kernels/vector_ops.h"
#include "proto/job_config.h"
#include "proto/transforms.h"
#include "worker/net.h"

int main(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  if (argc != 3) {
    std::cerr << "usage: compute JOB.yaml SECONDS\nprints the images/s of forward, backward and a plain step\n";
    return 64;
  }
  const auto job = downpour::LoadJob(argv[1]);
  if (!job.ok()) {
    std::cerr << job.status().message() << "\n";
    return 64;
  }
  const double seconds = std::atof(argv[2]);
  const auto device = *downpour::kernels::MakeDevice("cpu", {.threads = 1});
  const int batch_size = static_cast<int>(job->training().batch());
  auto net = downpour::worker::Net::Create(job->net(), downpour::NetShape(job->data()), batch_size, *device);
  if (!net.ok()) {
    std::cerr << net.status().message() << "\n";
    return 64;
  }
  std::vector<float> parameters((*net)->parameter_count());
  std::vector<float> gradient((*net)->parameter_count());
  (*net)->Initialize(1, parameters);
  std::vector<float> features(batch_size * (*net)->sample_size());
  for (size_t i = 0; i < features.size(); ++i) features[i] = static_cast<float>(i % 97) / 97;
  const std::vector<int32_t> labels(batch_size, 1);
  const downpour::worker::Batch batch{.size = batch_size, .features = features, .targets = {.classes = labels}};
  uint64_t images = 0;
  const auto begun = Clock::now();
  double elapsed = 0;
  do {
    (*net)->ForwardBackward(parameters, batch, gradient);
    downpour::kernels::Axpy(-1e-4f, gradient, parameters);
    images += batch_size;
    elapsed = std::chrono::duration<double>(Clock::now() - begun).count();
  } while (elapsed < seconds);
  std::printf("%.0f\n", static_cast<double>(images) / elapsed);
  return 0;
}
