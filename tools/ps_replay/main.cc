// ps-replay: has a recorded run again.
#include <signal.h>
#include <sys/prctl.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <optional>
#include <thread>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/device.h"
#include "ps/replay.h"
#include "tools/ps_replay/processes.h"
#include "tools/ps_replay/timeline.h"
#include "tools/ps_replay/verdict.h"
#include "tools/ps_run/json_text.h"
#include "proto/transforms.h"
#include "proto/version.h"
#include "worker/model_file.h"
#include "worker/net.h"
#include "worker/standard_streams.h"

namespace downpour::replay {
namespace {

namespace fs = std::filesystem;

constexpr int kDifferent = 1;
constexpr int kUsage = 64;
constexpr int kDamaged = 65;
constexpr int kInternal = 70;
constexpr uint32_t kMaxShards = 1024;

struct Flags {
  std::string folder;
  std::optional<uint32_t> servers;
  std::optional<uint32_t> shards;
  std::string model;
  std::vector<std::string> until;
  std::optional<uint32_t> share;
  bool events = false;
  bool json = false;
};

int Fail(const absl::Status& status) {
  std::cout.flush();
  std::cerr << "ps-replay: " << status.message() << std::endl;
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kFailedPrecondition: return kUsage;
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kOutOfRange: return kDamaged;
    default: return kInternal;
  }
}

// By log, from "N" for all and "SERVER/SHARD:N" for one.
absl::StatusOr<std::vector<uint64_t>> ParseUntil(const std::vector<std::string>& texts,
                                                 const ps::Recording& recording) {
  std::vector<uint64_t> until;
  if (texts.empty()) return until;
  until.assign(recording.logs.size(), ~uint64_t{0});
  for (const std::string& text : texts) {
    const std::vector<std::string> halves = absl::StrSplit(text, ':');
    uint64_t number = 0;
    bool good = halves.size() <= 2 && absl::SimpleAtoi(halves.back(), &number);
    if (good && halves.size() == 1) {
      for (uint64_t& each : until) each = std::min(each, number);
      continue;
    }
    const std::vector<std::string> place = absl::StrSplit(halves[0], '/');
    uint32_t server = 0;
    uint32_t shard = 0;
    good = good && place.size() == 2 && absl::SimpleAtoi(place[0], &server) && absl::SimpleAtoi(place[1], &shard) &&
           server < recording.servers && shard < recording.shards;
    if (!good) {
      return absl::InvalidArgumentError(absl::StrCat("--until ", text, " is neither an event's number nor ",
                                                     "SERVER/SHARD:NUMBER of a shard that there was"));
    }
    until[server * recording.shards + shard] = number;
  }
  return until;
}

absl::Status WriteModel(const Job& job, const ps::Replayed& replayed, const std::string& path) {
  auto device = kernels::MakeDevice("cpu", {.threads = 1});
  if (!device.ok()) return device.status();
  auto net = worker::Net::Create(job.net(), NetShape(job.data()), 1, **device);
  if (!net.ok()) return net.status();
  std::vector<float> values;
  for (const ps::ReplayedPart& part : replayed.parts()) {
    if (!part.set() || part.begin() != values.size()) {
      return absl::FailedPreconditionError(absl::StrCat("there is no model: part ", part.part(),
                                                        part.set() ? " is not where it should be" : " has no values"));
    }
    values.insert(values.end(), part.values().begin(), part.values().end());
  }
  // What workers exchange besides, in some modes, stands after the parameters.
  if (values.size() < (*net)->parameter_count()) {
    return absl::FailedPreconditionError(absl::StrCat("there is no model: the job's net has ",
                                                      (*net)->parameter_count(), " parameters, the recording ",
                                                      values.size()));
  }
  return worker::WriteModel(path, (*net)->parameters(), values);
}

absl::StatusOr<ps::Replayed> ReplayAll(const std::string& folder, const Flags& flags, const ps::Recording& recording,
                                       const ps::ReplayOptions& options) {
  if (options.servers == 1) return ps::Replay(recording, options);
  std::error_code error;
  const std::string program = fs::read_symlink("/proc/self/exe", error);
  if (error) return absl::InternalError(absl::StrCat("can't find this program: ", error.message()));
  std::vector<std::string> arguments = {folder, "--servers", absl::StrCat(options.servers), "--shards",
                                        absl::StrCat(options.shards)};
  for (const std::string& until : flags.until) arguments.insert(arguments.end(), {"--until", until});
  return ReplayInProcesses(program, arguments, options.servers);
}

int Run(const Flags& flags) {
  std::error_code error;
  if (!flags.model.empty() && !fs::is_directory(fs::absolute(flags.model, error).parent_path(), error)) {
    return Fail(absl::InvalidArgumentError(absl::StrCat("--model ", flags.model, ": there is no such folder")));
  }
  const std::string inner = fs::path(flags.folder) / "record";
  const std::string folder = fs::is_directory(inner, error) ? inner : flags.folder;
  const auto recording = ps::OpenRecording(folder);
  if (!recording.ok()) return Fail(recording.status());
  auto until = ParseUntil(flags.until, *recording);
  if (!until.ok()) return Fail(until.status());
  if (flags.events) {
    const absl::Status status = PrintTimeline(*recording, {*std::move(until), flags.json}, std::cout);
    return status.ok() ? 0 : Fail(status);
  }

  const ps::ReplayOptions options{.servers = flags.servers.value_or(recording->servers),
                                  .shards = flags.shards.value_or(recording->shards),
                                  .only_server = flags.share,
                                  .until = *std::move(until),
                                  .threads = std::max(1u, std::thread::hardware_concurrency())};
  if (uint64_t{options.servers} * options.shards > kMaxShards) {
    return Fail(absl::InvalidArgumentError(absl::StrCat("at most ", kMaxShards, " shards in all")));
  }
  if (flags.share) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    return ReportShare(ps::Replay(*recording, options), kReportFd).ok() ? 0 : kInternal;
  }
  const auto replayed = ReplayAll(folder, flags, *recording, options);
  if (!replayed.ok()) return Fail(replayed.status());
  const Verdict verdict = Judge(*replayed);
  if (flags.json) {
    std::cout << run::JsonText(VerdictJson(*recording, options, *replayed, verdict)) << std::endl;
  } else {
    std::cout << VerdictText(*recording, options, *replayed, verdict) << std::flush;
  }
  if (!flags.model.empty()) {
    if (absl::Status status = WriteModel(recording->job, *replayed, flags.model); !status.ok()) return Fail(status);
  }
  if (verdict.result == Result::kSame) return 0;
  return verdict.result == Result::kBrokenOff && !flags.until.empty() ? 0 : kDifferent;
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App cli("Has a recorded run again, to the same bits, whatever the number of servers and shards.\n\n"
               "  ps-replay RUN_FOLDER              as it was; says whether the bits are the same\n"
               "  ps-replay RUN_FOLDER --servers 3  with a process for each of three servers\n"
               "  ps-replay RUN_FOLDER --events     what came, from whom, and what was decided, one event a line\n",
               "ps-replay");
  cli.set_version_flag("--version", std::string("ps-replay ") + downpour::kVersion);
  cli.add_option("folder", flags.folder, "A run folder, or the one that ps-server --record wrote into")->required();
  cli.add_option("--servers", flags.servers,
                 "Servers, each a process of its own, but a single one is this one; default: as recorded")
      ->check(CLI::PositiveNumber);
  cli.add_option("--shards", flags.shards, "Shards of each server; default: as recorded")->check(CLI::PositiveNumber);
  cli.add_option("--model", flags.model, "Write the parameters at the end to this safetensors file");
  cli.add_option("--until", flags.until, "Stop after this event: NUMBER in each log, or SERVER/SHARD:NUMBER in one");
  cli.add_flag("--events", flags.events, "List the events instead");
  cli.add_flag("--json", flags.json, "Speak JSON");
  cli.add_option("--share", flags.share)->group("");  // of a process of ours
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    if (problem.get_exit_code() == 0) return cli.exit(problem);
    std::cerr << "ps-replay: " << problem.what() << " (--help lists the flags)\n";
    return kUsage;
  }
  return Run(flags);
}

}  // namespace
}  // namespace downpour::replay

int main(int argc, char** argv) {
  downpour::worker::EnsureStandardStreams();
  try {
    return downpour::replay::Main(argc, argv);
  } catch (const std::exception& error) {  // out of memory, for one
    std::cerr << "ps-replay: " << error.what() << std::endl;
    return downpour::replay::kInternal;
  }
}
