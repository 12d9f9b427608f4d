#include "tools/ps_run/evaluator.h"

#include <chrono>
#include <utility>

#include "kernels/device.h"
#include "proto/transforms.h"
#include "worker/data/format.h"
#include "worker/measure.h"
#include "worker/replica.h"

namespace downpour::run {
namespace {

constexpr int kBatch = 250;
constexpr uint32_t kConnectTimeoutMs = 2000;

}  // namespace

absl::StatusOr<std::unique_ptr<Evaluator>> Evaluator::Create(const Job& job) {
  std::unique_ptr<Evaluator> evaluator(new Evaluator(job));
  auto device = kernels::MakeDevice(job.worker().device(), {.threads = 1});
  if (!device.ok()) return device.status();
  evaluator->device_ = *std::move(device);
  auto net = worker::Net::Create(job.net(), NetShape(job.data()), kBatch, *evaluator->device_);
  if (!net.ok()) return net.status();
  evaluator->net_ = *std::move(net);
  if (job.data().test().has_images()) {
    auto samples = worker::ReadSamples(job.data().format(), {.images = job.data().test().images(),
                                                             .labels = job.data().test().labels(),
                                                             .shape = {job.data().shape().begin(), job.data().shape().end()},
                                                             .classes = evaluator->net_->classes()});
    if (!samples.ok()) return samples.status();
    evaluator->samples_ = *std::move(samples);
  }
  return evaluator;
}

Evaluator::Evaluator(const Job& job) : job_(job) {
  // The servers are known to be there; one that is not is not worth waiting for.
  job_.mutable_worker()->set_connect_timeout_ms(kConnectTimeoutMs);
}

Evaluator::~Evaluator() { Stop(); }

void Evaluator::SetServers(const std::vector<std::string>& addresses) {
  job_.mutable_servers()->mutable_addresses()->Assign(addresses.begin(), addresses.end());
}

void Evaluator::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    if (client_) client_->Cancel(absl::CancelledError("the run ends"));
  }
  if (result_.valid()) result_.wait();
}

void Evaluator::Start() {
  result_ = std::async(std::launch::async, [this] { return Measure(); });
}

std::optional<absl::StatusOr<Measured>> Evaluator::Take() {
  if (!result_.valid() || result_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return std::nullopt;
  return result_.get();
}

absl::StatusOr<Measured> Evaluator::Measure() {
  Measured measured;
  auto values = Fetch();
  if (!values.ok()) return values.status();
  measured.values = *std::move(values);
  if (!samples_) return measured;
  const auto held_out = worker::Measure(net_.get(), measured.values, *samples_, worker::Transform(job_.data()),
                                        [this] { return stopped_.load(); });
  if (!held_out.ok()) return held_out.status();
  measured.held_out = *held_out;
  return measured;
}

absl::StatusOr<std::vector<float>> Evaluator::Fetch() {
  const auto table = worker::TableOf(job_, *net_);
  if (!table.ok()) return table.status();
  auto connected = worker::PsClient::Connect(job_, {.role = OBSERVER}, *table, {});
  if (!connected.ok()) return connected.status();
  worker::PsClient* const client = connected->get();
  {
    std::lock_guard lock(mutex_);
    if (stopped_) client->Cancel(absl::CancelledError("the run ends"));
    client_ = client;
  }
  fetching_ = true;
  client->StartFetch({});
  absl::Status status = client->Install();
  if (status.ok()) fetched_bytes_ += client->parameters().size_bytes();
  fetching_ = false;
  if (status.ok()) status = client->Leave(DONE, "", {});
  {
    std::lock_guard lock(mutex_);
    client_ = nullptr;
  }
  if (!status.ok()) return status;
  const std::span<const float> values = client->parameters().first(net_->parameter_count());
  return std::vector<float>(values.begin(), values.end());
}

}  // namespace downpour::run
