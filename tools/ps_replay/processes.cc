#include "tools/ps_replay/processes.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <google/protobuf/io/zero_copy_stream_impl.h>
#include <google/protobuf/util/delimited_message_util.h>

#include "absl/strings/str_cat.h"
#include "tools/ps_replay/share.pb.h"
#include "tools/ps_run/child.h"

extern char** environ;

namespace downpour::replay {
namespace {

// Ended, and waited for, when this is destroyed.
class ShareProcess {
 public:
  static absl::StatusOr<ShareProcess> Start(std::vector<std::string> arguments) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return Failure("make a pipe");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], kReportFd);
    ShareProcess process;
    const int error = posix_spawn(&process.pid_, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    process.fd_ = ends[0];
    if (error != 0) {
      process.pid_ = -1;
      errno = error;
      return Failure(absl::StrCat("start ", arguments[0]));
    }
    return process;
  }
  ShareProcess(ShareProcess&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), fd_(std::exchange(other.fd_, -1)) {}
  ~ShareProcess() {
    if (fd_ >= 0) close(fd_);
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    Wait();
  }

  // Its report, when it has come to its end.
  absl::StatusOr<ps::Replayed> Read() {
    google::protobuf::io::FileInputStream in(fd_);
    ps::Replayed all;
    for (;;) {
      ShareReport report;
      if (!google::protobuf::util::ParseDelimitedFromZeroCopyStream(&report, &in, nullptr)) {
        return absl::InternalError(absl::StrCat("ended without a report (", run::DescribeEnd(Wait()), ")"));
      }
      if (!report.error().empty()) return absl::Status(static_cast<absl::StatusCode>(report.code()), report.error());
      all.MergeFrom(report.piece());
      if (report.done()) break;
    }
    return all;
  }

 private:
  ShareProcess() = default;

  int Wait() {
    int status = 0;
    while (waitpid(std::exchange(pid_, -1), &status, 0) < 0 && errno == EINTR) {
    }
    return status;
  }
  static absl::Status Failure(absl::string_view what) {
    return absl::UnavailableError(absl::StrCat("can't ", what, ": ", std::strerror(errno)));
  }

  pid_t pid_ = -1;
  int fd_ = -1;
};

}  // namespace

absl::StatusOr<ps::Replayed> ReplayInProcesses(const std::string& program, const std::vector<std::string>& arguments,
                                               uint32_t servers) {
  std::vector<ShareProcess> processes;
  for (uint32_t server = 0; server < servers; ++server) {
    std::vector<std::string> all = {program};
    all.insert(all.end(), arguments.begin(), arguments.end());
    all.insert(all.end(), {"--share", absl::StrCat(server)});
    auto process = ShareProcess::Start(std::move(all));
    if (!process.ok()) return process.status();
    processes.push_back(*std::move(process));
  }
  ps::Replayed whole;
  for (uint32_t server = 0; server < servers; ++server) {
    auto share = processes[server].Read();
    if (!share.ok()) {
      if (!absl::IsInternal(share.status())) return share.status();
      return absl::InternalError(
          absl::StrCat("the process that replays server ", server, " ", share.status().message()));
    }
    // Each has read all logs.
    if (server > 0) share->clear_logs();
    whole.MergeFrom(*share);
  }
  std::sort(whole.mutable_parts()->pointer_begin(), whole.mutable_parts()->pointer_end(),
            [](const ps::ReplayedPart* a, const ps::ReplayedPart* b) {
              return std::pair(a->table(), a->part()) < std::pair(b->table(), b->part());
            });
  return whole;
}

absl::Status ReportShare(const absl::StatusOr<ps::Replayed>& replayed, int fd) {
  google::protobuf::io::FileOutputStream out(fd);
  const auto say = [&](const ShareReport& report) {
    return google::protobuf::util::SerializeDelimitedToZeroCopyStream(report, &out);
  };
  bool said = true;
  ShareReport last;
  last.set_done(true);
  if (!replayed.ok()) {
    last.set_error(std::string(replayed.status().message()));
    last.set_code(replayed.status().raw_code());
  } else {
    *last.mutable_piece()->mutable_logs() = replayed->logs();
    for (const ps::ReplayedPart& part : replayed->parts()) {
      ShareReport report;
      *report.mutable_piece()->add_parts() = part;
      said = said && say(report);
    }
  }
  if (said && say(last) && out.Flush()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("can't report: ", std::strerror(out.GetErrno())));
}

}  // namespace downpour::replay
