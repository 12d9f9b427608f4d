// ps-predict: a trained net as a filter.
#include <csignal>
#include <iostream>

#include <CLI/CLI.hpp>

#include "proto/job_config.h"
#include "proto/version.h"
#include "worker/exit_status.h"
#include "worker/predictor.h"
#include "worker/standard_streams.h"

namespace {

using downpour::worker::ExitStatus;

int Fail(ExitStatus status, const std::string& message) {
  std::cerr << "ps-predict: " << message << "\n";
  return static_cast<int>(status);
}

ExitStatus ExitOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return status.message().substr(0, 5) == "feed:" ? ExitStatus::kData : ExitStatus::kUsage;
    case absl::StatusCode::kNotFound: return ExitStatus::kUsage;
    case absl::StatusCode::kAborted: return ExitStatus::kStopped;
    default: return ExitStatus::kInternal;
  }
}

}  // namespace

int main(int argc, char** argv) {
  downpour::worker::EnsureStandardStreams();
  CLI::App cli("A trained net as a filter: samples in, layers' values out, both as frames; worker/CONTRACT.md has the bytes.",
               "ps-predict");
  cli.set_version_flag("--version", std::string("ps-predict ") + downpour::kVersion);
  std::string config;
  downpour::worker::PredictorOptions options;
  uint32_t threads = 0;
  cli.add_option("--config", config, "The job file that the model was trained by, or a run's job.yaml")->required();
  cli.add_option("--model", options.model, "The model, safetensors")->required();
  cli.add_option("--layers", options.layers, "Whose values to give, separated by commas; default: the last before the loss")
      ->delimiter(',');
  cli.add_option("--batch", options.batch, "Samples computed at once; default: 256")->check(CLI::Range(1, 1 << 20));
  cli.add_option("--threads", threads, "Cores to use; default: the job's worker.threads")->check(CLI::Range(1, 1024));
  cli.add_option("--feed-fd", options.feed_fd, "Descriptor from which samples are read; default: standard input");
  cli.add_option("--answer-fd", options.answer_fd, "Descriptor for the answers; default: standard output");
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return cli.exit(error);
    return Fail(ExitStatus::kUsage, std::string(error.what()) + " (--help lists the flags)");
  }
  for (const int fd : {options.feed_fd, options.answer_fd}) {
    if (!downpour::worker::IsOpen(fd)) return Fail(ExitStatus::kUsage, "descriptor " + std::to_string(fd) + " is not open");
  }
  auto job = downpour::LoadJob(config);
  if (!job.ok()) return Fail(ExitStatus::kUsage, std::string(job.status().message()));
  options.job = *std::move(job);
  if (threads > 0) options.job.mutable_worker()->set_threads(threads);
  std::signal(SIGPIPE, SIG_IGN);
  try {
    const absl::Status status = downpour::worker::Predict(options);
    return status.ok() ? 0 : Fail(ExitOf(status), std::string(status.message()));
  } catch (const std::exception& error) {  // out of memory, for one
    return Fail(ExitStatus::kInternal, error.what());
  }
}
