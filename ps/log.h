// Structured log lines: `2026-01-31T12:00:00.000Z info [job=lenet server=0 shard=1 worker=0] message`.
//
// A value, cheap to copy; any thread may use it. A default one says nothing.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <spdlog/logger.h>

#include "absl/status/statusor.h"

namespace downpour::ps {

class Log {
 public:
  Log() = default;
  Log(std::shared_ptr<spdlog::logger> logger, std::string_view job, uint32_t server);

  // The same, with one more thing that each line is about.
  Log Shard(uint32_t shard) const { return With("shard", shard); }
  Log Worker(uint32_t partition) const { return With("worker", partition); }

  void Info(std::string_view message) const { Write(spdlog::level::info, message); }
  void Warn(std::string_view message) const { Write(spdlog::level::warn, message); }
  void Error(std::string_view message) const { Write(spdlog::level::err, message); }

 private:
  Log With(std::string_view key, uint32_t value) const;
  void Write(spdlog::level::level_enum level, std::string_view message) const;

  std::shared_ptr<spdlog::logger> logger_;
  std::string about_;  // "job=lenet server=0"
};

// Appends to a file, or writes to standard error when `path` is empty. A failure says why the file won't
// open.
absl::StatusOr<std::shared_ptr<spdlog::logger>> MakeLogger(const std::string& path);

}  // namespace downpour::ps
