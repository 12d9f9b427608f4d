// A process that ps-run started.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace downpour::run {

// The number under which a child finds the descriptor that closes when its supervisor is gone.
inline constexpr int kLifelineFd = 3;

// Owns the process: it is ended when this is destroyed. In a process group of its own, so that a terminal's Ctrl-C
// reaches only the supervisor, which then stops everybody in order. One thread at a time may use it.
class Child {
 public:
  // Starts `arguments[0]`. Standard output is read through Lines(); standard error is added to `log_path`.
  // NotFound or Unavailable, naming the program, where it can't be started.
  static absl::StatusOr<Child> Start(std::string name, const std::vector<std::string>& arguments,
                                     const std::string& log_path);
  ~Child();

  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;

  const std::string& name() const { return name_; }
  const std::string& log_path() const { return log_path_; }
  pid_t pid() const { return pid_; }
  // To poll for reading; -1 once it has ended.
  int output_fd() const { return output_fd_; }

  // The whole lines that have arrived since the last call. Does not wait.
  std::vector<std::string> Lines();

  // The wait status once it has ended. Does not wait.
  std::optional<int> Ended();
  void Signal(int signal);

 private:
  Child() = default;
  void Release();

  std::string name_;
  std::string log_path_;
  std::string unfinished_;  // the beginning of a line
  pid_t pid_ = -1;
  int output_fd_ = -1;
  int lifeline_fd_ = -1;
  std::optional<int> ended_;
};

// "exit status 69", "killed by signal 9 (Killed)".
std::string DescribeEnd(int wait_status);

// The last `lines` lines of a file; what can be read of it.
std::string TailOf(const std::string& path, int lines);

}  // namespace downpour::run
