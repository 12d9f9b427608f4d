#include "tools/ps_run/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace downpour::run {
namespace {

constexpr int kEndGraceMs = 2000;

struct Pipe {
  int read = -1;
  int write = -1;
};

absl::StatusOr<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::UnavailableError(absl::StrCat("no pipe: ", std::strerror(errno)));
  return Pipe{ends[0], ends[1]};
}

void CloseFd(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

// In the child, between fork and exec: only what is safe there.
[[noreturn]] void Exec(char* const* argv, int lifeline, int output, int log, int failure) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  setpgid(0, 0);
  // First out of the way of the numbers they are to have.
  lifeline = fcntl(lifeline, F_DUPFD, 10);
  failure = fcntl(failure, F_DUPFD_CLOEXEC, 10);
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  dup2(lifeline, kLifelineFd);
  close(lifeline);
  execv(argv[0], argv);
  const int error = errno;
  [[maybe_unused]] const ssize_t n = write(failure, &error, sizeof(error));
  _exit(127);
}

}  // namespace

absl::StatusOr<Child> Child::Start(std::string name, const std::vector<std::string>& arguments,
                                   const std::string& log_path) {
  absl::StatusOr<Pipe> output = MakePipe();
  absl::StatusOr<Pipe> lifeline = MakePipe();
  absl::StatusOr<Pipe> failure = MakePipe();
  for (const auto* pipe : {&output, &lifeline, &failure}) {
    if (!pipe->ok()) return pipe->status();
  }
  int log = open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0) {
    return absl::UnavailableError(absl::StrCat("can't write the log ", log_path, ": ", std::strerror(errno)));
  }
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  const pid_t pid = fork();
  if (pid == 0) Exec(argv.data(), lifeline->read, output->write, log, failure->write);
  const int fork_error = errno;
  CloseFd(&log);
  CloseFd(&output->write);
  CloseFd(&lifeline->read);
  CloseFd(&failure->write);

  Child child;
  child.name_ = std::move(name);
  child.log_path_ = log_path;
  child.pid_ = pid;
  child.output_fd_ = output->read;
  child.lifeline_fd_ = lifeline->write;
  int error = 0;
  // Ends at once when exec succeeds, for then the other end is closed.
  const bool failed = pid < 0 || read(failure->read, &error, sizeof(error)) == sizeof(error);
  CloseFd(&failure->read);
  if (failed) {
    return absl::UnavailableError(absl::StrCat("can't start ", arguments[0], ": ",
                                               std::strerror(pid < 0 ? fork_error : error)));
  }
  fcntl(child.output_fd_, F_SETFL, O_NONBLOCK);
  return child;
}

Child::Child(Child&& other) noexcept { *this = std::move(other); }

Child& Child::operator=(Child&& other) noexcept {
  if (this == &other) return *this;
  Release();
  name_ = std::move(other.name_);
  log_path_ = std::move(other.log_path_);
  unfinished_ = std::move(other.unfinished_);
  pid_ = std::exchange(other.pid_, -1);
  output_fd_ = std::exchange(other.output_fd_, -1);
  lifeline_fd_ = std::exchange(other.lifeline_fd_, -1);
  ended_ = std::exchange(other.ended_, std::nullopt);
  return *this;
}

Child::~Child() { Release(); }

void Child::Release() {
  CloseFd(&lifeline_fd_);
  if (pid_ > 0 && !Ended()) {
    Signal(SIGTERM);
    for (int waited = 0; waited < kEndGraceMs && !Ended(); waited += 20) usleep(20000);
    if (!Ended()) {
      Signal(SIGKILL);
      int status = 0;
      waitpid(pid_, &status, 0);
    }
  }
  CloseFd(&output_fd_);
  pid_ = -1;
}

std::vector<std::string> Child::Lines() {
  char buffer[4096];
  while (output_fd_ >= 0) {
    const ssize_t n = read(output_fd_, buffer, sizeof(buffer));
    if (n > 0) {
      unfinished_.append(buffer, n);
    } else {
      if (n == 0) CloseFd(&output_fd_);
      break;
    }
  }
  std::vector<std::string> lines;
  for (size_t end; (end = unfinished_.find('\n')) != std::string::npos;) {
    lines.push_back(unfinished_.substr(0, end));
    unfinished_.erase(0, end + 1);
  }
  return lines;
}

std::optional<int> Child::Ended() {
  if (!ended_ && pid_ > 0) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) ended_ = status;
  }
  return ended_;
}

void Child::Signal(int signal) {
  if (pid_ > 0 && !ended_) kill(pid_, signal);
}

std::string DescribeEnd(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    return absl::StrCat("killed by signal ", WTERMSIG(wait_status), " (", strsignal(WTERMSIG(wait_status)), ")");
  }
  return absl::StrCat("exit status ", WEXITSTATUS(wait_status));
}

std::string TailOf(const std::string& path, int lines) {
  std::ifstream in(path);
  std::deque<std::string> last;
  for (std::string line; std::getline(in, line);) {
    last.push_back(line);
    if (last.size() > static_cast<size_t>(lines)) last.pop_front();
  }
  return absl::StrJoin(last, "\n");
}

}  // namespace downpour::run
