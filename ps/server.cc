#include "ps/server.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include "absl/strings/str_cat.h"
#include "proto/address.h"
#include "proto/shard_map.h"
#include "proto/unix_socket.h"
#include "ps/checkpointer.h"
#include "ps/control.h"
#include "ps/edge_stats.h"
#include "ps/flow_limits.h"
#include "ps/listen_error.h"
#include "ps/metrics.h"
#include "ps/metrics_endpoint.h"
#include "ps/recorder.h"
#include "ps/service/control_service.h"
#include "ps/service/parameter_service.h"
#include "ps/service/streams.h"
#include "ps/shard.h"

namespace downpour::ps {
namespace {

using std::chrono::milliseconds;

constexpr char kAddressSetting[] = "servers.addresses or --listen";
constexpr auto kTick = milliseconds(50);
constexpr int kTicksToGreetingCheck = 20;
constexpr uint64_t kLeastMessageLimit = 4 << 20;

int64_t SteadyMs() {
  return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Once a process: each call would add the reflection service once more to every server built after it.
void EnableReflectionOnce() {
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

// The address at which others find it.
std::string WithPort(const std::string& address, int port) {
  if (const auto path = UnixPath(address)) {
    // For whoever reads it elsewhere: where that is not too long.
    std::error_code error;
    const std::string whole = absl::StrCat("unix:", std::filesystem::absolute(*path, error).string());
    return !error && CheckConnectAddress(whole).ok() ? whole : address;
  }
  const size_t colon = address.rfind(':');
  return absl::StrCat(address.substr(0, colon), ":", port);
}

}  // namespace

class Server::Impl final : public Shard::Sink {
 public:
  static absl::StatusOr<std::unique_ptr<Impl>> Start(const Job& job, const ServerOptions& options) {
    if (options.index >= static_cast<uint32_t>(job.servers().addresses_size())) {
      return absl::InvalidArgumentError(absl::StrCat("server ", options.index, " of a job of ",
                                                     job.servers().addresses_size(), " (servers.addresses)"));
    }
    if (job.workers() == 0 || job.servers().shards() == 0) {
      return absl::InvalidArgumentError("a job needs at least one worker, and a server at least one shard");
    }
    std::unique_ptr<Impl> impl(new Impl(job, options));
    const std::string& checkpoints = options.checkpoints.empty() ? job.checkpoint().folder() : options.checkpoints;
    if (!checkpoints.empty()) {
      impl->checkpointer_ = std::make_unique<Checkpointer>(checkpoints, job.checkpoint().keep(), impl->log_);
    }
    if (absl::Status status = impl->StartShards(); !status.ok()) return status;
    if (!options.restore.empty()) {
      const auto number = options.restore_number == 0 ? std::nullopt : std::optional(options.restore_number);
      const auto restored = impl->control_->RestoreFrom(options.restore, number);
      if (!restored.ok()) return restored.status();
    }
    if (absl::Status status = impl->StartMetrics(); !status.ok()) return status;
    if (absl::Status status = impl->StartServing(); !status.ok()) return status;
    impl->housekeeper_ = std::thread([impl = impl.get()] { impl->KeepHouse(); });
    return impl;
  }

  ~Impl() override { Shutdown(milliseconds(0)); }

  void Deliver(Action action) override {
    if (auto* reply = std::get_if<Reply>(&action)) {
      streams_.Send(std::move(*reply));
    } else if (auto* created = std::get_if<Created>(&action)) {
      control_->Deliver(*created);
    } else if (auto* report = std::get_if<Report>(&action)) {
      control_->Deliver(std::move(*report));
    } else if (auto* saved = std::get_if<Saved>(&action)) {
      if (checkpointer_ != nullptr) checkpointer_->Deliver(std::move(*saved));
    } else {
      control_->Deliver(std::get<Restored>(action));
    }
  }

  void Shutdown(milliseconds deadline) {
    if (std::exchange(stopped_, true)) return;
    const auto end = std::chrono::system_clock::now() + deadline;
    const auto left = [&] {
      return std::max(milliseconds(0),
                      std::chrono::duration_cast<milliseconds>(end - std::chrono::system_clock::now()));
    };
    if (server_ != nullptr) {
      log_.Info("draining");
      if (auto* health = server_->GetHealthCheckService()) health->SetServingStatus(false);
      control_->Drain();
      for (const auto& shard : shards_) shard->Post(Drain{});
      for (const auto& shard : shards_) shard->Flush();
      streams_.DrainAll();
      streams_.WaitUntilEmpty(left() / 2);
      server_->Shutdown(end);
      // Streams whose peers are gone or asleep were cancelled by now.
      streams_.WaitUntilEmpty(milliseconds(5000));
      server_->Wait();
    }
    if (housekeeper_.joinable()) {
      {
        std::lock_guard lock(mutex_);
        stopping_ = true;
      }
      wake_.notify_all();
      housekeeper_.join();
    }
    metrics_endpoint_.reset();
    for (const auto& shard : shards_) shard->Stop();
    if (server_ != nullptr) log_.Info("stopped");
  }

  StatusReply Status() const { return control_->Status(); }
  const std::string& address() const { return address_; }
  const std::string& metrics_address() const { return metrics_address_; }

 private:
  Impl(const Job& job, const ServerOptions& options)
      : job_(job), options_(options), log_(options.logger, job.name(), options.index) {}

  absl::Status StartShards() {
    std::vector<std::unique_ptr<ShardCore>> cores;
    for (uint32_t i = 0; i < job_.servers().shards(); ++i) {
      auto core = ShardCore::Create(job_);
      if (!core.ok()) return core.status();
      cores.push_back(*std::move(core));
    }
    std::vector<Shard*> shards;
    for (uint32_t i = 0; i < cores.size(); ++i) {
      std::unique_ptr<Recorder> recorder;
      if (!options_.record.empty()) {
        auto started = Recorder::Start(options_.record, job_, options_.index, i, log_.Shard(i));
        if (!started.ok()) return started.status();
        recorder = *std::move(started);
      }
      shards_.push_back(std::make_unique<Shard>(i, std::move(cores[i]), QueueLimitBytes(job_), this, log_,
                                                std::move(recorder)));
      shards.push_back(shards_.back().get());
    }
    auto settings = SettingsHistory::Create(job_);
    if (!settings.ok()) return settings.status();
    control_ = std::make_unique<Control>(job_, *std::move(settings), options_.index, std::move(shards), &stats_,
                                         checkpointer_.get(), log_, SteadyMs);
    return absl::OkStatus();
  }

  absl::Status StartMetrics() {
    std::string address = options_.metrics_listen;
    if (address.empty() && static_cast<int>(options_.index) < job_.servers().metrics_addresses_size()) {
      address = job_.servers().metrics_addresses(options_.index);
    }
    if (address.empty()) address = "127.0.0.1:0";
    auto endpoint = MetricsEndpoint::Start(address, std::make_shared<Metrics>(control_.get(), &stats_),
                                           "servers.metrics_addresses or --metrics");
    if (!endpoint.ok()) return endpoint.status();
    metrics_endpoint_ = *std::move(endpoint);
    metrics_address_ = metrics_endpoint_->address();
    return absl::OkStatus();
  }

  absl::Status StartServing() {
    EnableReflectionOnce();
    const std::string address =
        options_.listen.empty() ? job_.servers().addresses(options_.index) : options_.listen;
    SocketClaim claim;
    if (const auto path = UnixPath(address)) {
      auto claimed = ClaimSocketPath(*path, kAddressSetting);
      if (!claimed.ok()) return claimed.status();
      claim = *std::move(claimed);
    }
    control_service_ = std::make_unique<ControlServiceImpl>(control_.get());
    parameter_service_ =
        std::make_unique<ParameterServiceImpl>(control_.get(), &streams_, &stats_, CreditBytes(job_), log_);
    const uint64_t message_limit =
        MostPayloadBytes(LargestPartBytes(job_)) + kFrameHeaderBytes + kMaxContributors * kContributorBytes;
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
    // Two servers on one port would each get some of the workers.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    // Notices a worker's machine that is gone without a word.
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 20000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20000);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 1024);
    builder.SetMaxReceiveMessageSize(static_cast<int>(std::max(message_limit, kLeastMessageLimit)));
    builder.SetMaxSendMessageSize(-1);
    builder.RegisterService(control_service_.get());
    builder.RegisterService(parameter_service_.get());
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) return ListenError(address, kAddressSetting);
    address_ = WithPort(address, port);
    log_.Info(absl::StrCat("listening on ", address_, ", metrics on ", metrics_address_, ", ", shards_.size(),
                           " shards, sync ", job_.sync().mode(), ", optimizer ", job_.optimizer().name()));
    return absl::OkStatus();
  }

  void KeepHouse() {
    std::unique_lock lock(mutex_);
    for (int tick = 1; !wake_.wait_for(lock, kTick, [this] { return stopping_; }); ++tick) {
      lock.unlock();
      control_->Tick();
      if (tick % kTicksToGreetingCheck == 0) streams_.CheckGreetings();
      lock.lock();
    }
  }

  // Constant after Start().
  const Job job_;
  const ServerOptions options_;
  const Log log_;
  std::string address_;
  std::string metrics_address_;

  // Thread safe, each by itself. In the order in which they lean on one another.
  EdgeStats stats_;
  Streams streams_;
  std::unique_ptr<Checkpointer> checkpointer_;  // null where the job keeps none
  std::vector<std::unique_ptr<Shard>> shards_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<MetricsEndpoint> metrics_endpoint_;
  std::unique_ptr<ControlServiceImpl> control_service_;
  std::unique_ptr<ParameterServiceImpl> parameter_service_;
  std::unique_ptr<grpc::Server> server_;
  std::thread housekeeper_;

  // Of the thread that shuts down.
  bool stopped_ = false;

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const Job& job, const ServerOptions& options) {
  auto impl = Impl::Start(job, options);
  if (!impl.ok()) return impl.status();
  return std::unique_ptr<Server>(new Server(*std::move(impl)));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

const std::string& Server::address() const { return impl_->address(); }
const std::string& Server::metrics_address() const { return impl_->metrics_address(); }
StatusReply Server::Status() const { return impl_->Status(); }
void Server::Shutdown(milliseconds deadline) { impl_->Shutdown(deadline); }

}  // namespace downpour::ps
