#include <signal.h>
#include <sys/signalfd.h>

#include <filesystem>
#include <iostream>
#include <map>

#include <CLI/CLI.hpp>
#include <google/protobuf/util/json_util.h>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "proto/job_config.h"
#include "proto/sync/mode.h"
#include "proto/version.h"
#include "tools/ps_run/check.h"
#include "tools/ps_run/idx_folder.h"
#include "tools/ps_run/json_text.h"
#include "tools/ps_run/supervisor.h"
#include "worker/slow_down.h"
#include "worker/standard_streams.h"

namespace {

using downpour::run::JsonText;
using downpour::run::RunExit;

int Usage(const std::string& message) {
  std::cerr << "ps-run: " << message << "\n";
  return static_cast<int>(RunExit::kUsage);
}

int ShowSummary(const std::string& path, bool json) {
  const auto summary = downpour::run::ReadSummary(path);
  if (!summary.ok()) return Usage(std::string(summary.status().message()));
  if (json) {
    std::cout << JsonText(*summary, 2) << "\n";
  } else {
    std::cout << downpour::run::SummaryText(*summary);
  }
  return 0;
}

// The job file with what the command line changes in it.
struct JobSource {
  std::string path;
  std::vector<std::string> set;
  std::string data;  // a folder with IDX files, or empty

  absl::StatusOr<downpour::Job> Read() const {
    for (const char* ending : {".prototxt", ".caffemodel", ".onnx", ".safetensors"}) {
      if (absl::EndsWith(path, ending)) {
        return absl::InvalidArgumentError(absl::StrCat(path, ": a job is YAML; of a ", ending, " file `ps-ctl convert` makes "
                                                       "one (ps-ctl convert --help)"));
      }
    }
    auto job = downpour::LoadJob(path, set);
    if (!job.ok() || data.empty()) return job;
    if (absl::Status status = downpour::run::UseFolder(data, &*job); !status.ok()) {
      return absl::Status(status.code(), absl::StrCat("--data: ", status.message()));
    }
    return job;
  }
};

// "1=3" -> partition 1, three times as slow; false where it is nothing like it.
bool ReadSlowDown(const std::string& text, std::map<uint32_t, double>* slow_downs) {
  const std::pair<std::string, std::string> halves = absl::StrSplit(text, absl::MaxSplits('=', 1));
  uint32_t partition = 0;
  double factor = 0;
  if (!absl::SimpleAtoi(halves.first, &partition) || !absl::SimpleAtod(halves.second, &factor)) return false;
  (*slow_downs)[partition] = factor;
  return factor >= 1 && factor <= downpour::worker::SlowDown::kMost;
}

int Check(const JobSource& source, bool json) {
  const auto job = source.Read();
  const auto net = job.ok() ? downpour::run::CheckJob(*job) : job.status();
  const absl::Status& status = net.status();
  if (json) {
    nlohmann::ordered_json answer = {{"ok", status.ok()}};
    if (status.ok()) {
      answer["net"] = {{"values", net->values},
                       {"outputs", net->outputs},
                       {"classes", net->classes},
                       {"parameters", net->parameters}};
      google::protobuf::util::JsonPrintOptions options;
      options.preserve_proto_field_names = true;
      options.always_print_primitive_fields = false;
      std::string text;
      (void)google::protobuf::util::MessageToJsonString(*job, &text, options);
      answer["job"] = nlohmann::ordered_json::parse(text);
      if (const auto mode = downpour::FindSyncMode(job->sync().mode()); mode.ok()) {
        answer["strong"] = downpour::IsStrong(**mode, job->sync());
        answer["peers"] = (*mode)->peers;
      }
    } else {
      answer["error"] = std::string(status.message());
    }
    std::cout << JsonText(answer) << "\n";
    return status.ok() ? 0 : static_cast<int>(RunExit::kUsage);
  }
  if (!status.ok()) {
    std::cerr << status.message() << "\n";
    return static_cast<int>(RunExit::kUsage);
  }
  std::cout << source.path << ": ok\n";
  return 0;
}

// Of a run folder, where its servers kept them; of anything else, that itself.
std::string CheckpointsOf(const std::string& folder) {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::absolute(folder);
  if (std::filesystem::is_directory(path / "checkpoints", error)) return path / "checkpoints";
  if (!std::filesystem::exists(path / "job.yaml", error)) return path;
  const auto job = downpour::LoadJob(path / "job.yaml");
  return job.ok() && !job->checkpoint().folder().empty() ? job->checkpoint().folder() : path.string();
}

int Main(int argc, char** argv) {
  CLI::App cli("Runs a job on this machine, or shows the summary of a run.\n\n"
               "  ps-run JOB.yaml            servers, workers, progress, summary\n"
               "  ps-run --check JOB.yaml    only looks the job over\n"
               "  ps-run RUN_FOLDER          the summary of a finished run\n",
               "ps-run");
  cli.set_version_flag("--version", std::string("ps-run ") + downpour::kVersion);
  JobSource source;
  std::vector<std::string> slow_downs;
  std::string launcher = "local";
  bool check = false;
  bool json = false;
  bool record = false;
  downpour::run::RunOptions options;
  cli.add_option("job", source.path, "A job file, or the folder of a finished run")->required();
  cli.add_flag("--check", check, "Look the job over and start nothing");
  cli.add_flag("--json", json, "Speak JSON, an object a line");
  cli.add_option("--set", source.set,
                 "key=value, in place of what the file says: sync.n_push=10, \"optimizer={name: adam}\"; the value is "
                 "YAML, paths in it are relative to the current folder; what the file has for another sync.mode than the one "
                 "that is set is dropped; may be given again")
      ->allow_extra_args(false);
  cli.add_option("--data", source.data,
                 "A folder with the four files of MNIST's names, plain or .gz, in place of data.train and data.test");
  cli.add_option("--run-dir", options.run_dir, "The run's folder, empty or not there yet; default: a new one");
  cli.add_option("--restore", options.restore,
                 "A run folder, or a folder of checkpoints: go on from the latest that is whole");
  cli.add_flag("--record", record, "Record all that the servers' shards handle in the run folder, for ps-replay");
  cli.add_option("--launcher", launcher, "local: start the workers here; external: others start and feed them")
      ->check(CLI::IsMember({"local", "external"}));
  cli.add_flag("--attach", options.attach,
               "The servers run already, at the job's servers.addresses: start none, and end none. They must be new, for a "
               "ps-server serves one run");
  cli.add_option("--cluster-file", options.cluster_file, "With external: written once the servers listen, or can't be had");
  cli.add_option("--lifeline-fd", options.lifeline_fd, "Descriptor at whose end the run stops; what was written there before is the reason");
  cli.add_option("--slow-down", slow_downs,
                 "PARTITION=FACTOR: each training step of that worker takes so many times as long, 1 to 100; an aid to "
                 "debugging, for a straggler; may be given again")
      ->allow_extra_args(false);
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return cli.exit(error);
    return Usage(std::string(error.what()) + " (--help lists the flags)");
  }

  std::error_code error;
  if (std::filesystem::is_directory(source.path, error)) return ShowSummary(source.path, json);
  if (check) return Check(source, json);

  auto job = source.Read();
  if (!job.ok()) {
    std::cerr << job.status().message() << "\n";
    return static_cast<int>(RunExit::kUsage);
  }
  options.job = *std::move(job);
  if (launcher == "local") {
    if (const auto net = downpour::run::CheckJob(options.job); !net.ok()) return Usage(std::string(net.status().message()));
  }
  if (record) options.job.mutable_run()->set_record(true);
  options.launcher = launcher == "local" ? downpour::run::Launcher::kLocal : downpour::run::Launcher::kExternal;
  for (const std::string& text : slow_downs) {
    if (!ReadSlowDown(text, &options.slow_downs)) {
      return Usage("--slow-down '" + text + "' should be PARTITION=FACTOR with a factor from 1 to 100, such as 1=3");
    }
  }
  if (!options.restore.empty()) options.restore = CheckpointsOf(options.restore);
  options.binaries = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  options.voice = downpour::run::ChooseVoice(json);
  if (options.lifeline_fd && !downpour::worker::IsOpen(*options.lifeline_fd)) {
    return Usage("--lifeline-fd " + std::to_string(*options.lifeline_fd) + " is not open");
  }

  ::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&signals, signal);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  options.signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);

  downpour::run::Supervisor supervisor(std::move(options));
  return static_cast<int>(supervisor.Run());
}

}  // namespace

int main(int argc, char** argv) {
  downpour::worker::EnsureStandardStreams();
  try {
    return Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "ps-run: " << error.what() << "\n";
    return static_cast<int>(RunExit::kFailed);
  }
}
