#include "worker/app.h"

#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <span>
#include <thread>
#include <utility>

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/device.h"
#include "kernels/vector_ops.h"
#include "proto/address.h"
#include "proto/sync/mode.h"
#include "proto/transforms.h"
#include "worker/data/batcher.h"
#include "worker/data/feed.h"
#include "worker/data/format.h"
#include "worker/data/hangup_watch.h"
#include "worker/epoch_history.h"
#include "worker/initial_values.h"
#include "worker/memory.h"
#include "worker/replica.h"
#include "worker/trainer.h"

namespace downpour::worker {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kTellWaiting{2};

ExitStatus ExitOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk: return ExitStatus::kDone;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted: return ExitStatus::kServer;
    case absl::StatusCode::kAborted: return ExitStatus::kSuperseded;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kInvalidArgument: return ExitStatus::kDisagree;
    case absl::StatusCode::kCancelled: return ExitStatus::kStopped;
    default: return ExitStatus::kInternal;
  }
}

std::string HintFor(ExitStatus exit, bool peers) {
  switch (exit) {
    case ExitStatus::kUsage: return "ps-worker --help lists the flags; ps-run --check looks a job file over";
    case ExitStatus::kData: return "look at the file, row or column that is named; trying again will not help";
    case ExitStatus::kServer:
      return peers ? "the shards live in the workers: look which of them ended first, and why"
                   : "look whether the ps-server runs and what its log says last";
    case ExitStatus::kInternal: return "the worker's log has what came before";
    case ExitStatus::kStopped: return "it was told to stop; whoever did so knows why";
    case ExitStatus::kSuperseded: return "another attempt at the same partition has its place";
    case ExitStatus::kDisagree: return "start servers and workers from the same job file";
    case ExitStatus::kDone: break;
  }
  return "";
}

// Calls a function now and then, on a thread of its own, until it is destroyed.
class Repeater {
 public:
  Repeater(std::chrono::milliseconds period, std::function<void()> call)
      : thread_([this, period, call = std::move(call)] {
          std::unique_lock lock(mutex_);
          while (!changed_.wait_for(lock, period, [this] { return stop_; })) {
            lock.unlock();
            call();
            lock.lock();
          }
        }) {}

  ~Repeater() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;  // protected by mutex_
  std::thread thread_;
};

void Set(const Evaluation& evaluation, bool classes, Measured* to) {
  to->set_loss_sum(evaluation.loss_sum);
  if (classes) to->set_correct(evaluation.correct);
  to->set_weight(evaluation.weight);
}

// What a worker says of itself that is done; what it has not seen, as an earlier attempt said it.
WorkerReport LastReport(WorkerReport report, std::optional<double> loss, std::span<const EpochResult> epochs, bool classes,
                        const std::optional<WorkerReport>& earlier) {
  if (earlier) *report.mutable_epochs() = earlier->epochs();
  for (size_t i = 0; i < epochs.size(); ++i) {
    EpochReport* const epoch = i < static_cast<size_t>(report.epochs_size()) ? report.mutable_epochs(static_cast<int>(i))
                                                                             : report.add_epochs();
    if (epochs[i].train.weight > 0) Set(epochs[i].train, classes, epoch->mutable_train());
    if (epochs[i].held_out.weight > 0) Set(epochs[i].held_out, classes, epoch->mutable_held_out());
  }
  if (report.loss_steps() > 0) return report;
  if (loss) {
    report.set_loss(*loss);
    report.set_loss_steps(1);
  } else if (earlier) {
    report.set_loss(earlier->loss());
    report.set_loss_steps(earlier->loss_steps());
  }
  return report;
}

absl::StatusOr<std::unique_ptr<kernels::Device>> MakeDevice(const Worker& config) {
  const auto precision = kernels::PrecisionNamed(config.precision());
  if (!precision.ok()) return precision.status();
  auto device = kernels::MakeDevice(config.device(),
                                    {.threads = static_cast<int>(config.threads()), .precision = *precision});
  if (device.ok() || *precision == kernels::Precision::kFloat32) return device;
  return absl::Status(device.status().code(), absl::StrCat("worker.precision is ", config.precision(), ": ",
                                                           device.status().message(), "; float32 runs anywhere"));
}

}  // namespace

App::App(AppOptions options) : options_(std::move(options)), events_(options_.partition) {}

ExitStatus App::Run() {
  if (options_.slow_down > 1) spdlog::warn("--slow-down: each training step takes {} times as long", options_.slow_down);
  const auto& addresses = options_.job.servers().addresses();
  events_.Started({addresses.begin(), addresses.end()});
  std::optional<HangupWatch> lifeline;
  if (options_.lifeline_fd) {
    lifeline.emplace(*options_.lifeline_fd, [this] { Stop("whoever started it is gone: its lifeline closed"); });
  }
  std::optional<HangupWatch> feed;
  if (options_.feed_fd) {
    feed.emplace(*options_.feed_fd, [this] { Stop("its launcher is gone: the feed closed"); });
  }
  const Failure failure = RunSteps();
  end_.lock();
  return Finish(failure);
}

App::Failure App::RunSteps() {
  Job job = options_.job;
  if (options_.partition >= job.workers()) {
    return {ExitStatus::kUsage,
            absl::InvalidArgumentError(absl::StrCat("partition ", options_.partition, " of a job with workers: ",
                                                    job.workers(), "; they count from 0"))};
  }
  auto device = MakeDevice(job.worker());
  if (!device.ok()) return {ExitStatus::kUsage, device.status()};
  auto net = Net::Create(job.net(), NetShape(job.data()), static_cast<int>(job.training().batch()), **device);
  if (!net.ok()) return {ExitStatus::kUsage, net.status()};
  const auto mode = FindSyncMode(job.sync().mode());
  if (!mode.ok()) return {ExitStatus::kUsage, mode.status()};
  if ((*mode)->peers) {
    if (Failure failure = Host(&job); !failure.status.ok()) return failure;
  }
  if (Failure failure = Register(job, net->get()); !failure.status.ok()) return failure;
  if (completed_) {
    spdlog::info("nothing to do: another attempt has completed the partition");
    events_.Done(*completed_);
    return {ExitStatus::kDone, absl::OkStatus()};
  }

  // The lease is kept until training reports by itself.
  std::optional<Repeater> waiting;
  waiting.emplace(std::chrono::milliseconds(job.worker().heartbeat_ms()), [this] {
    client_->Heartbeat({});
    // The main thread may be waiting for rows that never come.
    if (const absl::Status status = client_->status(); !status.ok()) Fail(ExitOf(status), status);
  });
  const MemoryPlan memory = PlanMemory(
      job, **mode,
      {.net_values = (*net)->sample_size(), .elements = client_->elements(), .resident = ResidentBytes()},
      options_.memory_bytes);
  if (options_.memory_bytes && memory.bound() > *options_.memory_bytes) {
    spdlog::warn("--memory-bytes grants {} bytes, but this job takes up to {} with next to no rows in memory: the host may"
                 " run short of it; grant more, or choose a smaller net or training.batch",
                 *options_.memory_bytes, memory.bound());
  }
  const auto samples = Load(**net, memory.rows);
  if (!samples.ok()) {
    const bool launcher_gone = options_.feed_fd && samples.status().code() == absl::StatusCode::kAborted;
    return {launcher_gone ? ExitStatus::kStopped : ExitStatus::kData, samples.status()};
  }
  TellLoaded(*samples, memory);
  if (absl::Status status = CheckRows(samples->train.size()); !status.ok()) return {ExitStatus::kData, status};
  if (client_->needs_initial()) {
    kernels::AlignedBuffer initial(client_->elements());
    const std::span<float> values(initial.data(), initial.size());
    kernels::Zero(values);
    const auto left = InitialValues(job, **net, values.first((*net)->parameter_count()));
    if (!left.ok()) return {ExitStatus::kUsage, left.status()};
    if (!job.training().start_from().empty()) {
      spdlog::info("starts from {}{}", job.training().start_from(),
                   left->empty() ? "" : absl::StrCat("; as their fillers say: ", absl::StrJoin(*left, ", ")));
    }
    if (absl::Status status = client_->SetInitial(values); !status.ok()) return {ExitOf(status), status};
  }
  waiting.reset();
  const Failure failure = Train(job, *samples, net->get());
  if (failure.status.ok() && host_ != nullptr) Linger();
  return failure;
}

App::Failure App::Host(Job* job) {
  std::string listen = options_.listen;
  const int given = job->servers().addresses_size();
  if ((listen.empty() || options_.rendezvous.empty()) && given != static_cast<int>(job->workers())) {
    return {ExitStatus::kUsage,
            absl::InvalidArgumentError(absl::StrCat("with sync.mode ", job->sync().mode(), " each of the ",
                                                    job->workers(), " workers needs an address; there are ",
                                                    given))};
  }
  if (listen.empty()) listen = job->servers().addresses(static_cast<int>(options_.partition));
  auto host = options_.host_factory(*job, options_.partition, listen);
  if (!host.ok()) return {ExitOf(host.status()), host.status()};
  host_ = *std::move(host);
  spdlog::info("this worker's shards listen on {}, metrics on {}", host_->address(), host_->metrics_address());
  events_.Listening(host_->address(), host_->metrics_address());
  if (options_.rendezvous.empty()) {
    for (const std::string& address : job->servers().addresses()) {
      if (absl::Status status = CheckConnectAddress(address); !status.ok()) {
        return {ExitStatus::kUsage,
                absl::InvalidArgumentError(absl::StrCat(
                    "servers.addresses: ", status.message(),
                    ". Workers that hold shards need fixed addresses, or --rendezvous, which ps-run gives them"))};
      }
    }
    return {ExitStatus::kDone, absl::OkStatus()};
  }
  rendezvous_ = std::make_unique<Rendezvous>(options_.rendezvous, options_.job, options_.partition, options_.attempt);
  const auto addresses = rendezvous_->Meet(
      host_->address(), [this] { return Stopping(); }, [](const std::string& what) { spdlog::info("{}", what); });
  if (!addresses.ok()) return {ExitOf(addresses.status()), addresses.status()};
  job->mutable_servers()->mutable_addresses()->Assign(addresses->begin(), addresses->end());
  return {ExitStatus::kDone, absl::OkStatus()};
}

App::Failure App::Register(const Job& job, Net* net) {
  const auto table = TableOf(job, *net);
  if (!table.ok()) return {ExitStatus::kUsage, table.status()};
  const Identity identity{.partition = options_.partition, .attempt = options_.attempt};
  const auto registration = downpour::worker::Register(
      job, identity, *table,
      {.on_wait = [](const std::string& what) { spdlog::warn("{}", what); },
       .on_held = [this](const WorkerStatus& holder) { TellWaiting(holder); }});
  if (!registration.ok()) return {ExitOf(registration.status()), registration.status()};
  earlier_ = registration->earlier;
  completed_ = registration->completed;
  if (completed_) return {ExitStatus::kDone, absl::OkStatus()};
  auto client = PsClient::Open(job, identity, *table, *registration);
  if (!client.ok()) return {ExitOf(client.status()), client.status()};
  {
    std::lock_guard lock(mutex_);
    client_ = *std::move(client);
  }
  spdlog::info("registered with {} servers; {} parameters; earlier attempts completed {} samples",
               job.servers().addresses_size(), net->parameter_count(), client_->progress().position());
  return {ExitStatus::kDone, absl::OkStatus()};
}

void App::TellWaiting(const WorkerStatus& holder) {
  const auto now = Clock::now();
  const bool first = told_waiting_ == Clock::time_point();
  if (!first && now - told_waiting_ < kTellWaiting) return;
  told_waiting_ = now;
  events_.Waiting(holder);
  if (first) {
    spdlog::info("attempt {}.{} waits: attempt {}.{} ({}, pid {}) holds the partition", options_.attempt.stage(),
                 options_.attempt.task(), holder.attempt().stage(), holder.attempt().task(), holder.host(),
                 holder.pid());
  }
}

bool App::Stopping() {
  std::lock_guard lock(mutex_);
  return stopping_;
}

void App::Linger() {
  {
    std::lock_guard lock(mutex_);
    client_.reset();  // the others end when they do
  }
  spdlog::info("done; this worker's shards stay up until nobody needs them");
  const auto stop = [this] { return Stopping(); };
  if (rendezvous_ != nullptr) {
    rendezvous_->AwaitRelease(stop);
  } else {
    AwaitEveryone(*host_, stop);
  }
  host_.reset();
}

absl::StatusOr<PartitionSamples> App::Load(const Net& net, uint64_t memory_bytes) {
  const Job& job = options_.job;
  const StoreLimits limits{.total_bytes = job.worker().feed_limit_bytes(),
                           .memory_bytes = memory_bytes,
                           .spool_dir = job.worker().spool_dir().empty() ? options_.spool_dir : job.worker().spool_dir()};
  const std::size_t sample_size = Transform(job.data()).sample_size();
  if (options_.feed_fd) {
    return ReadFeed(*options_.feed_fd, {.sample_size = sample_size,
                                        .classes = net.classes(),
                                        .limits = limits});
  }
  auto train = ReadSamples(job.data().format(),
                           {.images = job.data().train().images(),
                            .labels = job.data().train().labels(),
                            .shape = {job.data().shape().begin(), job.data().shape().end()},
                            .classes = net.classes(),
                            .limit = job.data().limit(),
                            .partition = options_.partition,
                            .partitions = job.workers(),
                            .limits = limits});
  if (!train.ok()) return train.status();
  return PartitionSamples{*std::move(train), SampleStore(FeatureType::kU8, sample_size, limits)};
}

void App::TellLoaded(const PartitionSamples& samples, const MemoryPlan& memory) {
  const LoadedRows loaded{.samples = samples.train.size(),
                          .held_out = samples.held_out.size(),
                          .bytes = samples.train.bytes() + samples.held_out.bytes(),
                          .memory_bytes = samples.train.memory_bytes() + samples.held_out.memory_bytes(),
                          .spooled_bytes = samples.train.spooled_bytes() + samples.held_out.spooled_bytes(),
                          .bound_bytes = memory.bound()};
  events_.Loaded(loaded);
  spdlog::info("{} samples, {} held out, {} bytes: {} of memory, {} in the spool file; this process takes at most {}: {} so"
               " far, {} to train, {} for rows",
               loaded.samples, loaded.held_out, loaded.bytes, loaded.memory_bytes, loaded.spooled_bytes, loaded.bound_bytes,
               memory.resident, memory.training, memory.rows);
}

absl::Status App::CheckRows(uint64_t rows) const {
  const uint64_t position = client_->progress().position();
  if (!earlier_ || position == 0 || earlier_->partition_samples() == rows) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      "partition ", options_.partition, " has ", rows, " rows, and had ", earlier_->partition_samples(),
      " for an earlier attempt, which got to ", position,
      " samples: going on there would leave out rows and repeat others. A partition has to have the same rows in the "
      "same order each time that it is read; write the data down first"));
}

App::Failure App::Train(const Job& job, const PartitionSamples& samples, Net* net) {
  Batcher batcher(samples.train, Transform(job.data()),
                  {.batch_size = static_cast<int>(job.training().batch()),
                   .epochs = job.training().epochs(),
                   .shuffle = job.training().shuffle(),
                   .augment = true,
                   .seed = job.seed(),
                   .partition = options_.partition,
                   .start_position = client_->progress().position(),
                   .threads = static_cast<int>(job.data().transforms().threads())});
  const auto trainer = Trainer::Create(
      job, {.samples = samples.train.size(), .batcher = &batcher, .held_out = &samples.held_out}, net, client_.get(),
      options_.slow_down);
  if (!trainer.ok()) return {ExitStatus::kUsage, trainer.status()};
  {
    std::lock_guard lock(mutex_);
    training_ = true;
  }
  std::optional<double> loss;  // none where there was nothing to do
  const auto report = [&] {
    const WorkerReport taken = (*trainer)->TakeReport();
    if (taken.loss_steps() > 0) loss = taken.loss();
    std::lock_guard lock(mutex_);
    last_report_ = taken;
  };
  absl::Status status;
  report();
  client_->Heartbeat(last_report_);  // how many rows there are: before anything is pushed
  {
    const Repeater reporting(std::chrono::milliseconds(job.worker().heartbeat_ms()), [&] {
      report();
      client_->Heartbeat(last_report_);
      events_.Progress(last_report_);
    });
    status = (*trainer)->Run();
  }
  report();
  if (!status.ok()) return {ExitOf(status), status};
  const WorkerReport done = LastReport(last_report_, loss, (*trainer)->epochs(), net->classes() > 0, earlier_);
  if (status = client_->Leave(DONE, "", done); !status.ok()) return {ExitOf(status), status};
  events_.Done(done);
  if (!loss) spdlog::info("nothing was left to do: earlier attempts, or no rows");
  spdlog::info("done: {} steps, {} samples, loss {:.4f}, {:.1f} s", done.step(), done.samples(),
               loss.value_or(std::nan("")), done.seconds());
  return {ExitStatus::kDone, absl::OkStatus()};
}

ExitStatus App::Finish(const Failure& failure) {
  if (failure.exit == ExitStatus::kDone) return failure.exit;
  const std::string reason(failure.status.message());
  spdlog::error("{}", reason);
  const auto mode = FindSyncMode(options_.job.sync().mode());
  events_.Failed(reason, HintFor(failure.exit, mode.ok() && (*mode)->peers));
  std::lock_guard lock(mutex_);
  if (client_ && failure.exit != ExitStatus::kSuperseded) {
    const Outcome outcome = failure.exit == ExitStatus::kStopped ? STOPPED : FAILED;
    if (absl::Status left = client_->Leave(outcome, reason, last_report_); !left.ok()) {
      spdlog::warn("could not leave the job in order: {}", std::string(left.message()));
    }
  }
  return failure.exit;
}

void App::Stop(const std::string& reason) {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  if (training_) {
    if (client_) client_->Cancel(absl::CancelledError(reason));
    return;
  }
  // Reading files or the feed can't be interrupted; nothing is lost by leaving it where it is.
  lock.unlock();
  const std::unique_lock end(end_, std::try_to_lock);
  if (!end) return;  // it ends already, and then waits for the thread that calls this
  std::_Exit(static_cast<int>(Finish({ExitStatus::kStopped, absl::CancelledError(reason)})));
}

void App::Fail(ExitStatus exit, const absl::Status& status) {
  end_.lock();
  std::_Exit(static_cast<int>(Finish({exit, status})));
}

}  // namespace downpour::worker
