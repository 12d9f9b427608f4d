#include "ps/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"

namespace downpour::ps {

Log::Log(std::shared_ptr<spdlog::logger> logger, std::string_view job, uint32_t server)
    : logger_(std::move(logger)), about_(absl::StrCat("job=", std::string(job), " server=", server)) {}

Log Log::With(std::string_view key, uint32_t value) const {
  Log log = *this;
  absl::StrAppend(&log.about_, " ", std::string(key), "=", value);
  return log;
}

void Log::Write(spdlog::level::level_enum level, std::string_view message) const {
  // Some of it may be a peer's words.
  constexpr size_t kMost = 2000;
  if (logger_ != nullptr) logger_->log(level, "[{}] {}", about_, message.substr(0, kMost));
}

absl::StatusOr<std::shared_ptr<spdlog::logger>> MakeLogger(const std::string& path) {
  spdlog::sink_ptr sink;
  if (path.empty()) {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  } else {
    try {
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path);
    } catch (const spdlog::spdlog_ex& failure) {
      return absl::InvalidArgumentError(failure.what());
    }
  }
  auto logger = std::make_shared<spdlog::logger>("ps", std::move(sink));
  logger->set_formatter(std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ %l %v",
                                                                    spdlog::pattern_time_type::utc));
  logger->flush_on(spdlog::level::info);
  return logger;
}

}  // namespace downpour::ps
