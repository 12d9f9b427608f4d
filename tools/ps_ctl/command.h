// What the commands of ps-ctl have in common. Each is a file of its own, and a line in main.cc.
#pragma once

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "absl/status/status.h"

namespace downpour::ctl {

// How ps-ctl ends.
enum class Exit { kDone = 0, kRefused = 1, kUsage = 64, kUnreachable = 69 };

// Says what is wrong, and gives back how to end.
Exit Fail(Exit exit, const std::string& message);
// Likewise of a status that is not OK.
Exit Fail(const absl::Status& status);

// Owns what its flags say.
class Command {
 public:
  virtual ~Command() = default;

  // After its flags were read.
  virtual Exit Run() = 0;
};

struct CommandType {
  const char* name;
  const char* sentence;
  // Adds the command's flags to `flags`, which must outlive it.
  std::unique_ptr<Command> (*make)(CLI::App* flags);
};

}  // namespace downpour::ctl
