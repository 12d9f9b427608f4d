#include <filesystem>
#include <iostream>
#include <thread>

#include <CLI/CLI.hpp>
#include <grpcpp/grpcpp.h>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "proto/address.h"
#include "proto/grpc_status.h"
#include "proto/job_config.h"
#include "proto/service.grpc.pb.h"
#include "tools/ps_ctl/plan.h"

namespace {

using namespace downpour;
using nlohmann::ordered_json;

constexpr int kDone = 0;
constexpr int kRefused = 1;
constexpr int kUsage = 64;
constexpr int kUnreachable = 69;
constexpr std::chrono::seconds kPatience{5};
constexpr std::chrono::seconds kRates{3};
constexpr std::chrono::milliseconds kLook{50};

int Fail(int code, const std::string& message) {
  std::cerr << "ps-ctl: " << message << "\n";
  return code;
}

// The servers of one job.
class Servers {
 public:
  explicit Servers(const Job& job) : job_(job) {
    for (const std::string& address : job.servers().addresses()) {
      stubs_.push_back(ControlService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials())));
    }
  }

  absl::StatusOr<std::vector<StatusReply>> Status() const {
    std::vector<StatusReply> replies(stubs_.size());
    for (size_t i = 0; i < stubs_.size(); ++i) {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + kPatience);
      const absl::Status status = FromGrpcStatus(stubs_[i]->Status(&context, StatusRequest(), &replies[i]));
      if (!status.ok()) return Named(i, status);
      if (replies[i].server() != i) {
        return absl::FailedPreconditionError(absl::StrCat(Name(i), " says that it is server ", replies[i].server(),
                                                          ": are the addresses in the job's order?"));
      }
      if (replies[i].job() != job_.name()) {
        return absl::FailedPreconditionError(
            absl::StrCat(Name(i), " works for job '", replies[i].job(), "', not for '", job_.name(), "'"));
      }
    }
    return replies;
  }

  // Tells every server of a change; one that has it already is content. `told` counts those that took it.
  absl::Status Change(const SettingsChange& change, size_t* told) const {
    for (size_t i = 0; i < stubs_.size(); ++i) {
      ChangeRequest request;
      request.set_job(job_.name());
      *request.mutable_change() = change;
      ChangeReply reply;
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + kPatience);
      if (absl::Status status = FromGrpcStatus(stubs_[i]->Change(&context, request, &reply)); !status.ok()) {
        return Named(i, status);
      }
      ++*told;
    }
    return absl::OkStatus();
  }

 private:
  std::string Name(size_t i) const {
    return absl::StrCat("server ", i, " at ", job_.servers().addresses(static_cast<int>(i)));
  }
  absl::Status Named(size_t i, const absl::Status& status) const {
    return absl::Status(status.code(), absl::StrCat(Name(i), ": ", status.message()));
  }

  const Job& job_;
  std::vector<std::unique_ptr<ControlService::Stub>> stubs_;
};

int CodeOf(const absl::Status& status) {
  if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) return kUnreachable;
  return absl::IsInvalidArgument(status) || absl::IsNotFound(status) ? kUsage : kRefused;
}

bool RatesKnown(const std::vector<StatusReply>& servers) {
  for (const WorkerStatus& worker : servers[0].workers()) {
    if (worker.state() == WorkerStatus::LIVE && worker.report().samples_per_second() == 0) return false;
  }
  return true;
}

int Set(const Job& job, const std::vector<std::string>& assignments, std::optional<uint64_t> at_clock, bool json) {
  const Servers servers(job);
  auto status = servers.Status();
  // How far ahead of the workers a change has to be planned, their rates say, which come with their second report.
  const auto deadline = std::chrono::steady_clock::now() + kRates;
  while (status.ok() && !at_clock && !RatesKnown(*status) && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(kLook);
    status = servers.Status();
  }
  if (!status.ok()) return Fail(CodeOf(status.status()), std::string(status.status().message()));
  const auto change = ctl::PlanChange(job, *status, assignments, at_clock);
  if (!change.ok()) return Fail(CodeOf(change.status()), std::string(change.status().message()));
  const auto known = *ctl::KnownChanges(*status);
  // What an earlier call did not get to every server comes first.
  size_t told = 0;
  for (const SettingsChange& before : known) {
    if (absl::Status sent = servers.Change(before, &told); !sent.ok()) return Fail(CodeOf(sent), std::string(sent.message()));
  }
  told = 0;
  if (absl::Status sent = servers.Change(*change, &told); !sent.ok()) {
    if (told == 0) {
      const bool raced = absl::IsAborted(sent);
      return Fail(CodeOf(sent), absl::StrCat(sent.message(), raced ? ": somebody changed settings at the same moment; "
                                                                     "nothing was changed, try again"
                                                                   : ""));
    }
    return Fail(CodeOf(sent), absl::StrCat(sent.message(), ". The servers before it go by the change from clock ",
                                           change->from_clock(), ", workers only once all servers have it: the same "
                                           "command again completes it, and until then gradients are refused"));
  }
  const std::string what = ctl::Differences(ctl::WithChanges(job, known), ctl::WithChanges(job, {*change}));
  if (json) {
    std::cout << ordered_json{{"version", change->version()}, {"from_clock", change->from_clock()}, {"changes", what}}.dump()
              << "\n";
  } else {
    std::cout << "settings version " << change->version() << " from clock " << change->from_clock() << " on: " << what
              << "\n";
  }
  return kDone;
}

int ShowStatus(const Job& job, bool json) {
  const auto status = Servers(job).Status();
  if (!status.ok()) return Fail(CodeOf(status.status()), std::string(status.status().message()));
  const auto known = ctl::KnownChanges(*status);
  if (!known.ok()) return Fail(CodeOf(known.status()), std::string(known.status().message()));
  const size_t begun = ctl::BegunChanges(*known, ctl::FurthestClock(job, *status));
  const Job now = ctl::WithChanges(job, {known->begin(), known->begin() + static_cast<ptrdiff_t>(begun)});
  ordered_json workers = ordered_json::array();
  std::string lines;
  for (const WorkerStatus& worker : (*status)[0].workers()) {
    const WorkerReport& report = worker.report();
    workers.push_back({{"partition", worker.partition()},
                       {"state", WorkerStatus::State_Name(worker.state())},
                       {"step", report.step()},
                       {"epoch", report.epoch()},
                       {"images_per_second", report.samples_per_second()}});
    absl::StrAppendFormat(&lines, "worker %d  %-8s  step %d  epoch %.2f  %.0f images/s\n", worker.partition(),
                          WorkerStatus::State_Name(worker.state()), report.step(), report.epoch(),
                          report.samples_per_second());
  }
  ordered_json changes = ordered_json::array();
  Job before = job;
  for (size_t i = 0; i < known->size(); ++i) {
    const SettingsChange& change = (*known)[i];
    const Job after = ctl::WithChanges(before, {change});
    const std::string what = ctl::Differences(before, after);
    changes.push_back({{"version", change.version()},
                       {"from_clock", change.from_clock()},
                       {"pending", i >= begun},
                       {"mode", change.sync().mode()},
                       {"learning_rate", change.learning_rate()},
                       {"changes", what}});
    absl::StrAppendFormat(&lines, "settings version %d %s clock %d: %s\n", change.version(),
                          i < begun ? "since" : "to come, from", change.from_clock(), what);
    before = after;
  }
  if (json) {
    std::cout << ordered_json{{"job", job.name()},
                              {"mode", now.sync().mode()},
                              {"learning_rate", now.optimizer().learning_rate()},
                              {"workers", workers},
                              {"changes", changes}}
                     .dump()
              << "\n";
  } else {
    std::cout << job.name() << ": sync.mode " << now.sync().mode() << ", learning rate " << now.optimizer().learning_rate()
              << "\n"
              << lines;
  }
  return kDone;
}

int Main(int argc, char** argv) {
  CLI::App cli("Looks after a running job. JOB is its run folder, or its job file.\n\n"
               "  ps-ctl status JOB\n"
               "  ps-ctl set JOB sync.n_push=10\n"
               "  ps-ctl set JOB sync.mode=ssp sync.s=2 --at 5000\n",
               "ps-ctl");
  std::string target;
  std::string servers;
  std::vector<std::string> assignments;
  std::optional<int64_t> at_clock;
  bool json = false;
  cli.require_subcommand(1);
  cli.footer("Exit status: 0 done; 1 the job as it runs can't take it; 64 wrong flags or settings; 69 a server did not answer");
  CLI::App* const status = cli.add_subcommand("status", "How far the workers are, and which settings count");
  CLI::App* const set = cli.add_subcommand("set", "Changes sync.* or optimizer.learning_rate from a clock on");
  for (CLI::App* const command : {status, set}) {
    command->add_option("job", target, "The run folder, or the job file")->required();
    command->add_option("--servers", servers, "host:port of each server, separated by commas; default: the job's");
    command->add_flag("--json", json, "Speak JSON");
  }
  set->add_option("settings", assignments, "key=value, such as sync.n_push=10")->required();
  set->add_option("--at", at_clock, "The first clock (step) that goes by them; default: soon, but in step for all workers")
      ->check(CLI::NonNegativeNumber);
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return cli.exit(error);
    return Fail(kUsage, std::string(error.what()) + " (--help lists the flags)");
  }
  std::error_code error;
  if (std::filesystem::is_directory(target, error)) {
    if (std::filesystem::exists(target + "/summary.json", error)) {
      return Fail(kRefused, absl::StrCat("the run in ", target, " has ended; ps-run ", target, " shows its summary"));
    }
    target += "/job.yaml";
  }
  auto job = LoadJob(target);
  if (!job.ok()) return Fail(kUsage, std::string(job.status().message()));
  const int wanted = job->servers().addresses_size();
  if (!servers.empty()) {
    job->mutable_servers()->clear_addresses();
    const std::vector<std::string> addresses = absl::StrSplit(servers, ',');
    for (const std::string& address : addresses) {
      if (absl::Status good = CheckConnectAddress(address); !good.ok()) {
        return Fail(kUsage, absl::StrCat("--servers: ", good.message()));
      }
      job->mutable_servers()->add_addresses(address);
    }
    if (job->servers().addresses_size() != wanted) {
      return Fail(kUsage, absl::StrCat("--servers names ", job->servers().addresses_size(), " servers; the job has ", wanted));
    }
  }
  for (const std::string& address : job->servers().addresses()) {
    if (absl::Status good = CheckConnectAddress(address); !good.ok()) {
      return Fail(kUsage, absl::StrCat("the servers' addresses: ", good.message(),
                                       "; name the run folder, whose job.yaml has those that were chosen, or --servers"));
    }
  }
  return set->parsed() ? Set(*job, assignments, at_clock, json) : ShowStatus(*job, json);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Main(argc, argv);
  } catch (const std::exception& error) {
    return Fail(kRefused, error.what());
  }
}
