// ps-server: one parameter server of a job.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <grpc/support/log.h>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "proto/address.h"
#include "proto/job_config.h"
#include "proto/keep_memory.h"
#include "proto/version.h"
#include "ps/log.h"
#include "ps/server.h"

namespace downpour::ps {
namespace {

constexpr int kUsage = 64;
constexpr int kUnavailable = 69;
constexpr int kInternal = 70;
constexpr int kSupervisorGone = 75;
constexpr auto kDrainTime = std::chrono::milliseconds(3000);

struct Flags {
  std::string config;
  std::optional<uint32_t> index;
  std::string listen;
  std::string metrics;
  std::string log_file;
  std::string record;
  std::string checkpoints;
  std::string restore;
  uint64_t restore_number = 0;
  int lifeline_fd = -1;
};

int Fail(int code, absl::string_view message) {
  std::cerr << "ps-server: " << message << std::endl;
  return code;
}

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kPermissionDenied: return kUsage;
    case absl::StatusCode::kUnavailable: return kUnavailable;
    default: return kInternal;
  }
}

// Waits for a signal (0) or for the lifeline's other end to close (kSupervisorGone).
int WaitForEnd(int signal_fd, int lifeline_fd) {
  pollfd fds[] = {{signal_fd, POLLIN, 0}, {lifeline_fd, POLLIN, 0}};
  for (;;) {
    if (poll(fds, lifeline_fd < 0 ? 1 : 2, -1) < 0) continue;
    if (fds[0].revents != 0) return 0;
    if ((fds[1].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) return kSupervisorGone;
    if ((fds[1].revents & POLLIN) != 0) {
      char ignored[256];
      if (read(lifeline_fd, ignored, sizeof(ignored)) <= 0) return kSupervisorGone;
    }
  }
}

int Run(const Flags& flags) {
  if (flags.lifeline_fd >= 0 && fcntl(flags.lifeline_fd, F_GETFD) < 0) {
    return Fail(kUsage, absl::StrCat("--lifeline-fd ", flags.lifeline_fd, " is not open"));
  }
  if (!flags.listen.empty()) {
    if (absl::Status status = CheckListenAddress(flags.listen); !status.ok()) return Fail(kUsage, status.message());
  }
  if (!flags.metrics.empty()) {
    if (absl::Status status = CheckMetricsAddress(flags.metrics); !status.ok()) return Fail(kUsage, status.message());
  }
  const auto job = LoadJob(flags.config);
  if (!job.ok()) return Fail(ExitCode(job.status()), job.status().message());
  if (!flags.index && job->servers().addresses_size() > 1) {
    return Fail(kUsage, absl::StrCat("--index is missing: the job has ", job->servers().addresses_size(), " servers"));
  }
  const uint32_t index = flags.index.value_or(0);
  const auto logger = MakeLogger(flags.log_file);
  if (!logger.ok()) return Fail(kUsage, logger.status().message());

  // Before any thread starts, so that all inherit it.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigprocmask(SIG_BLOCK, &ends, nullptr);
  signal(SIGPIPE, SIG_IGN);
  // A recording that grows too large breaks off; the training does not.
  signal(SIGXFSZ, SIG_IGN);
  const int signal_fd = signalfd(-1, &ends, SFD_CLOEXEC);
  if (signal_fd < 0) return Fail(kInternal, "no signalfd");
  // What matters of gRPC's own complaints is in our statuses.
  gpr_set_log_function([](gpr_log_func_args*) {});

  auto server = Server::Start(*job, {.index = index,
                                     .listen = flags.listen,
                                     .metrics_listen = flags.metrics,
                                     .logger = *logger,
                                     .record = flags.record,
                                     .checkpoints = flags.checkpoints,
                                     .restore = flags.restore,
                                     .restore_number = flags.restore_number});
  if (!server.ok()) return Fail(ExitCode(server.status()), server.status().message());
  const nlohmann::ordered_json line = {{"event", "listening"},
                                       {"index", index},
                                       {"address", (*server)->address()},
                                       {"metrics", (*server)->metrics_address()},
                                       {"pid", getpid()}};
  std::cout << line.dump() << std::endl;

  const int code = WaitForEnd(signal_fd, flags.lifeline_fd);
  (*server)->Shutdown(kDrainTime);
  return code;
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("One parameter server of a Downpour job.");
  app.set_version_flag("--version", std::string("ps-server ") + kVersion);
  app.add_option("--config", flags.config, "The job file")->required();
  app.add_option("--index", flags.index, "Which of the job's servers this is, from 0; needed where it has several");
  app.add_option("--listen", flags.listen, "host:port or unix:path instead of the job's servers.addresses[index]");
  app.add_option("--metrics", flags.metrics, "host:port of /metrics instead of the job's");
  app.add_option("--log-file", flags.log_file, "Where log lines go; without it, to standard error");
  app.add_option("--record", flags.record, "Folder into which each shard writes all that it handles, for ps-replay");
  app.add_option("--checkpoints", flags.checkpoints, "Folder of checkpoints instead of the job's checkpoint.folder");
  app.add_option("--restore", flags.restore,
                 "Folder of checkpoints: go on from the latest that is whole, on however many servers it was made");
  app.add_option("--restore-number", flags.restore_number, "That checkpoint of the folder, the same for all servers");
  app.add_option("--lifeline-fd", flags.lifeline_fd,
                 "Ends the server when this descriptor's other end closes");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  return Run(flags);
}

}  // namespace
}  // namespace downpour::ps

int main(int argc, char** argv) {
  downpour::KeepFreedMemory();
  return downpour::ps::Main(argc, argv);
}
