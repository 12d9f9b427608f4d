#include <csignal>
#include <iostream>
#include <thread>

#include <CLI/CLI.hpp>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "absl/strings/str_split.h"
#include "proto/address.h"
#include "proto/job_config.h"
#include "proto/keep_memory.h"
#include "proto/sync/mode.h"
#include "proto/version.h"
#include "ps/server.h"
#include "worker/app.h"
#include "worker/slow_down.h"
#include "worker/standard_streams.h"

namespace {

using downpour::worker::App;
using downpour::worker::AppOptions;
using downpour::worker::ExitStatus;

// The only place where a worker and a server meet.
class Host final : public downpour::worker::ParameterHost {
 public:
  explicit Host(std::unique_ptr<downpour::ps::Server> server) : server_(std::move(server)) {}
  ~Host() override { server_->Shutdown(kShutdown); }

  const std::string& address() const override { return server_->address(); }
  const std::string& metrics_address() const override { return server_->metrics_address(); }
  downpour::StatusReply Status() const override { return server_->Status(); }

 private:
  static constexpr std::chrono::milliseconds kShutdown{1000};
  const std::unique_ptr<downpour::ps::Server> server_;
};

absl::StatusOr<std::unique_ptr<downpour::worker::ParameterHost>> MakeHost(const downpour::Job& job, uint32_t index,
                                                                          const std::string& listen) {
  auto server = downpour::ps::Server::Start(
      job, {.index = index, .listen = listen, .logger = spdlog::default_logger()});
  if (!server.ok()) return server.status();
  return std::make_unique<Host>(*std::move(server));
}

int Fail(const std::string& message) {
  std::cerr << "ps-worker: " << message << "\n";
  return static_cast<int>(ExitStatus::kUsage);
}

}  // namespace

int main(int argc, char** argv) {
  downpour::KeepFreedMemory();
  downpour::worker::EnsureStandardStreams();
  CLI::App cli("Trains one partition of a job. Started by a launcher; worker/CONTRACT.md has the details.", "ps-worker");
  cli.set_version_flag("--version", std::string("ps-worker ") + downpour::kVersion);
  std::string config;
  std::string servers;
  std::string log_file;
  AppOptions options;
  uint32_t stage_attempt = 0;
  uint32_t task_attempt = 0;
  cli.add_option("--config", config, "The job file")->required();
  cli.add_option("--servers", servers, "host:port or unix:path of each server, separated by commas; default: the job's");
  cli.add_option("--partition", options.partition, "Which partition this is, from 0")->required();
  cli.add_option("--stage-attempt", stage_attempt, "Which try of the stage this is");
  cli.add_option("--task-attempt", task_attempt, "Which try of the task this is");
  cli.add_option("--feed-fd", options.feed_fd, "Descriptor from which samples are read; default: the job's data.train");
  cli.add_option("--lifeline-fd", options.lifeline_fd, "Descriptor at whose end the worker ends");
  cli.add_option("--memory-bytes", options.memory_bytes,
                 "Memory that this process may take; default: what the net takes, and the job's worker.feed_memory_bytes");
  cli.add_option("--spool-dir", options.spool_dir,
                 "Folder on a disk for rows that have no room in memory, unless the job has a worker.spool_dir; default: /var/tmp");
  cli.add_option("--log-file", log_file, "Where log lines go; default: standard error");
  cli.add_option("--listen", options.listen,
                 "With sync.mode peer: host:port of this worker's shards; default: the job's servers.addresses[partition]");
  cli.add_option("--rendezvous", options.rendezvous,
                 "With sync.mode peer: host:port where workers learn one another's addresses; default: they are the job's");
  cli.add_option("--slow-down", options.slow_down,
                 "Makes each training step take so many times as long, by sleeping: an aid to debugging, for a straggler")
      ->check(CLI::Range(1.0, downpour::worker::SlowDown::kMost));
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return cli.exit(error);
    return Fail(std::string(error.what()) + " (--help lists the flags)");
  }

  absl::StatusOr<downpour::Job> job = downpour::LoadJob(config);
  if (!job.ok()) return Fail(std::string(job.status().message()));
  options.job = *std::move(job);
  if (!servers.empty()) {
    options.job.mutable_servers()->clear_addresses();
    for (const auto& address : absl::StrSplit(servers, ',')) {
      options.job.mutable_servers()->add_addresses(std::string(address));
    }
  }
  options.attempt.set_stage(stage_attempt);
  options.attempt.set_task(task_attempt);
  for (const auto& fd : {options.feed_fd, options.lifeline_fd}) {
    if (fd && !downpour::worker::IsOpen(*fd)) return Fail("descriptor " + std::to_string(*fd) + " is not open");
  }
  const auto mode = downpour::FindSyncMode(options.job.sync().mode());
  if (!mode.ok()) return Fail(std::string(mode.status().message()));
  if (!(*mode)->peers) {
    if (!options.listen.empty() || !options.rendezvous.empty()) {
      return Fail("--listen and --rendezvous are for workers that hold shards, in sync.mode peer");
    }
    for (const std::string& address : options.job.servers().addresses()) {
      const absl::Status status = downpour::CheckConnectAddress(address);
      if (!status.ok()) return Fail("servers: " + std::string(status.message()));
    }
  }
  if (!options.listen.empty()) {
    const absl::Status status = downpour::CheckListenAddress(options.listen);
    if (!status.ok()) return Fail("--listen: " + std::string(status.message()));
  }
  if (!options.rendezvous.empty()) {
    const absl::Status status = downpour::CheckConnectAddress(options.rendezvous);
    if (!status.ok()) return Fail("--rendezvous: " + std::string(status.message()));
  }
  options.host_factory = MakeHost;

  try {
    auto sink = log_file.empty() ? spdlog::sink_ptr(std::make_shared<spdlog::sinks::stderr_sink_mt>())
                                 : std::make_shared<spdlog::sinks::basic_file_sink_mt>(log_file);
    auto logger = std::make_shared<spdlog::logger>("worker", std::move(sink));
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l [job=" + options.job.name() +
                            " worker=" + std::to_string(options.partition) + "] %v",
                        spdlog::pattern_time_type::utc);
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
  } catch (const spdlog::spdlog_ex& error) {
    return Fail(error.what());
  }

  // Signals go to a thread that waits for them; a launcher that stopped reading is not worth dying for.
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  auto* app = new App(std::move(options));  // never deleted: the thread below may use it until the end
  std::thread([app, signals] {
    int signal = 0;
    sigwait(&signals, &signal);
    app->Stop(std::string("stopped by ") + (signal == SIGINT ? "SIGINT" : "SIGTERM"));
  }).detach();
  ExitStatus status = ExitStatus::kInternal;
  try {
    status = app->Run();
  } catch (const std::exception& error) {  // out of memory, for one
    app->Fail(ExitStatus::kInternal, absl::InternalError(error.what()));
  }
  spdlog::shutdown();
  std::_Exit(static_cast<int>(status));
}
