#include "tests/cluster/cluster.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <random>
#include <thread>
#include <utility>

#include <catch2/catch.hpp>

#include "kernels/device.h"
#include "kernels/optimizer/update_rule.h"
#include "kernels/vector_ops.h"
#include "proto/address.h"
#include "proto/hyper.h"
#include "proto/job_config.h"
#include "proto/schedule.h"
#include "proto/sync/mode.h"
#include "proto/transforms.h"
#include "worker/data/batcher.h"
#include "worker/measure.h"
#include "worker/net.h"
#include "worker/ps_client.h"
#include "worker/replica.h"
#include "worker/trainer.h"

namespace downpour::tests {
namespace {

constexpr size_t kSampleSize = 12 * 12;
constexpr int kClasses = 4;

struct NetOnDevice {
  explicit NetOnDevice(const Job& job) : device(*kernels::MakeDevice("cpu", {.threads = 1})) {
    auto made = worker::Net::Create(job.net(), NetShape(job.data()), static_cast<int>(job.training().batch()), *device);
    REQUIRE(made.ok());
    net = *std::move(made);
  }

  std::unique_ptr<kernels::Device> device;
  std::unique_ptr<worker::Net> net;
};

worker::BatcherOptions BatcherOptionsOf(const Job& job, uint32_t partition, uint64_t start) {
  return {.batch_size = static_cast<int>(job.training().batch()),
          .epochs = job.training().epochs(),
          .shuffle = job.training().shuffle(),
          .augment = true,
          .seed = job.seed(),
          .partition = partition,
          .start_position = start,
          .threads = static_cast<int>(job.data().transforms().threads())};
}

std::vector<float> WithoutPadding(const worker::Net& net, std::span<const float> flat) {
  std::vector<float> values;
  for (const worker::Parameter& parameter : net.parameters()) {
    const auto tensor = flat.subspan(parameter.offset, parameter.size);
    values.insert(values.end(), tensor.begin(), tensor.end());
  }
  return values;
}

}  // namespace

Job SmallJob(const std::string& settings) {
  auto job = ParseJob(R"(name: small
net:
  - {name: conv, type: convolution, outputs: 6, kernel: 3}
  - {name: pool, type: pooling, kernel: 2, stride: 2}
  - {name: relu, type: relu}
  - {name: ip, type: inner_product, outputs: 4}
  - {name: loss, type: softmax_loss}
data: {shape: [1, 12, 12], scale: 0.00390625}
)" + settings, "small.yaml");
  INFO(job.status().message());
  REQUIRE(job.ok());
  return *std::move(job);
}

worker::SampleStore SmallSamples(size_t rows, uint32_t partition, uint32_t partitions) {
  worker::SampleStore store(worker::FeatureType::kU8, kSampleSize, {});
  std::mt19937 random(7);
  for (size_t row = 0; row < rows; ++row) {
    const int label = static_cast<int>(random() % kClasses);
    std::vector<std::byte> values(kSampleSize);
    for (size_t i = 0; i < kSampleSize; ++i) {
      // A class is brighter in its own quarter of the image.
      const bool bright = static_cast<int>(i / (kSampleSize / kClasses)) == label;
      values[i] = static_cast<std::byte>(random() % 128 + (bright ? 64 : 0));
    }
    if (row % partitions != partition) continue;
    REQUIRE(store.Append(1).ok());
    std::copy(values.begin(), values.end(), store.AddFeatures(1)->bytes);
    store.mutable_labels()[store.size() - 1] = label;
  }
  return store;
}

Cluster::Cluster(const Job& job, const std::string& record) : job_(job) {
  for (int i = 0; i < job.servers().addresses_size(); ++i) {
    const std::string& address = job.servers().addresses(i);
    const std::string listen = UnixPath(address) ? address : "127.0.0.1:0";
    auto server = ps::Server::Start(
        job, {.index = static_cast<uint32_t>(i), .listen = listen, .metrics_listen = "127.0.0.1:0", .record = record});
    INFO(server.status().message());
    REQUIRE(server.ok());
    servers_.push_back(*std::move(server));
    job_.mutable_servers()->set_addresses(i, servers_.back()->address());
  }
}

absl::Status Cluster::Train(size_t rows) {
  std::vector<absl::Status> statuses(job_.workers());
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < job_.workers(); ++i) {
    threads.emplace_back([this, rows, i, &statuses] {
      statuses[i] = TrainPartition(i, SmallSamples(rows, i, job_.workers()));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Cluster::TrainPartition(uint32_t partition, const worker::SampleStore& samples,
                                     const AttemptOptions& attempt) {
  Job job = job_;
  if (attempt.vanish_after_steps > 0) job.mutable_training()->set_max_steps(attempt.vanish_after_steps);
  NetOnDevice on(job);
  worker::Identity identity{.partition = partition};
  identity.attempt.set_task(attempt.task_attempt);
  const auto table = worker::TableOf(job, *on.net);
  if (!table.ok()) return table.status();
  auto client = worker::PsClient::Connect(job, identity, *table, {});
  if (!client.ok()) return client.status();
  if ((*client)->needs_initial()) {
    std::vector<float> initial(table->elements());
    on.net->Initialize(job.seed(), std::span(initial).first(on.net->parameter_count()));
    if (absl::Status status = (*client)->SetInitial(initial); !status.ok()) return status;
  }
  if (attempt.registered) attempt.registered();
  while ((*client)->known_changes() < attempt.learn_changes) {
    (*client)->Heartbeat({});
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  worker::Batcher batcher(samples, worker::Transform(job.data()),
                          BatcherOptionsOf(job, partition, (*client)->progress().position()));
  const auto trainer = worker::Trainer::Create(job, {.samples = samples.size(), .batcher = &batcher}, on.net.get(),
                                               client->get(), attempt.slow_down);
  if (!trainer.ok()) return trainer.status();
  absl::Status trained;
  {
    std::atomic<bool> ended = false;
    const std::jthread heart([&] {
      while (attempt.heartbeats && !ended) {
        (*client)->Heartbeat({});
        std::this_thread::sleep_for(std::chrono::milliseconds(job.worker().heartbeat_ms()));
      }
    });
    trained = (*trainer)->Run();
    ended = true;
  }
  if (!trained.ok()) return trained;
  if (attempt.vanish_after_steps > 0) return absl::OkStatus();
  return (*client)->Leave(DONE, "", (*trainer)->TakeReport());
}

std::unique_ptr<worker::PsClient> Cluster::Connect(uint32_t partition) {
  NetOnDevice on(job_);
  auto client = worker::PsClient::Connect(job_, {.partition = partition}, *worker::TableOf(job_, *on.net), {});
  INFO(client.status().message());
  REQUIRE(client.ok());
  return *std::move(client);
}

std::vector<float> Cluster::Parameters() {
  const std::vector<float> flat = FlatParameters();
  const NetOnDevice on(job_);
  return WithoutPadding(*on.net, flat);
}

std::vector<float> Cluster::FlatParameters() {
  NetOnDevice on(job_);
  auto client = worker::PsClient::Connect(job_, {.role = OBSERVER}, *worker::TableOf(job_, *on.net), {});
  REQUIRE(client.ok());
  (*client)->StartFetch({});
  REQUIRE((*client)->Install().ok());
  return {(*client)->parameters().begin(), (*client)->parameters().end()};
}

double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(double{a[i]} - b[i]));
  return largest;
}

std::vector<float> TrainAll(const Job& job, size_t rows) {
  Cluster cluster(job);
  const absl::Status status = cluster.Train(rows);
  INFO(status.message());
  REQUIRE(status.ok());
  return cluster.Parameters();
}

double Accuracy(const Job& job, const std::vector<float>& flat_parameters, const worker::SampleStore& samples) {
  NetOnDevice on(job);
  return worker::Measure(on.net.get(), flat_parameters, samples, worker::Transform(job.data()))->accuracy();
}

std::vector<float> PlainSgd(const Job& job, const worker::SampleStore& samples) {
  NetOnDevice on(job);
  std::vector<float> parameters(on.net->parameter_count());
  std::vector<float> gradient(on.net->parameter_count());
  on.net->Initialize(job.seed(), parameters);
  worker::Batcher batcher(samples, worker::Transform(job.data()), BatcherOptionsOf(job, 0, 0));
  worker::Batch batch;
  for (uint64_t step = 0; batcher.Next(&batch); ++step) {
    if (job.training().max_steps() > 0 && step >= job.training().max_steps()) break;
    on.net->ForwardBackward(parameters, batch, gradient);
    kernels::Axpy(-LearningRate(job, step), gradient, parameters);
  }
  return WithoutPadding(*on.net, parameters);
}

std::vector<float> ByHand(const Job& job, size_t rows, const std::function<void(LocalState&)>& exchange) {
  NetOnDevice on(job);
  const size_t size = on.net->parameter_count();
  const kernels::UpdateRule& rule = **kernels::FindUpdateRule(job.optimizer().name());
  std::vector<worker::SampleStore> stores;
  std::vector<std::unique_ptr<worker::Batcher>> batchers;
  LocalState state;
  state.centre.resize(size);
  on.net->Initialize(job.seed(), state.centre);
  for (uint32_t i = 0; i < job.workers(); ++i) stores.push_back(SmallSamples(rows, i, job.workers()));
  for (uint32_t i = 0; i < job.workers(); ++i) {
    batchers.push_back(
        std::make_unique<worker::Batcher>(stores[i], worker::Transform(job.data()), BatcherOptionsOf(job, i, 0)));
    state.workers.emplace_back(state.centre).resize(size * (1 + rule.slots));
  }
  kernels::Hyper hyper = MakeHyper(job.optimizer());
  std::vector<float> gradient(size);
  std::vector<float> scratch(size);
  for (uint64_t step = 0;; ++step) {
    for (uint32_t i = 0; i < job.workers(); ++i) {
      worker::Batch batch;
      if (!batchers[i]->Next(&batch)) return WithoutPadding(*on.net, state.centre);
      const auto parameters = std::span(state.workers[i]).first(size);
      on.net->ForwardBackward(parameters, batch, gradient);
      hyper.learning_rate = LearningRate(job, step);
      hyper.update = step + 1;
      std::vector<float*> slots;
      for (int slot = 0; slot < rule.slots; ++slot) slots.push_back(&state.workers[i][(slot + 1) * size]);
      kernels::ApplyUpdate(rule, hyper, parameters, slots, gradient, scratch);
    }
    if ((step + 1) % job.sync().tau() == 0) exchange(state);
  }
}

}  // namespace downpour::tests
