#include "tools/ps_ctl/set_command.h"

#include <chrono>
#include <iostream>
#include <optional>
#include <thread>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "tools/job_servers/servers.h"
#include "tools/ps_ctl/plan.h"
#include "tools/ps_ctl/running_job.h"

namespace downpour::ctl {
namespace {

using nlohmann::ordered_json;

constexpr std::chrono::seconds kRates{3};
constexpr std::chrono::milliseconds kLook{50};

bool RatesKnown(const std::vector<StatusReply>& servers) {
  for (const WorkerStatus& worker : servers[0].workers()) {
    if (worker.state() == WorkerStatus::LIVE && worker.report().samples_per_second() == 0) return false;
  }
  return true;
}

class SetCommand final : public Command {
 public:
  explicit SetCommand(CLI::App* flags) : job_(flags) {
    flags->add_flag("--json", json_, "Speak JSON");
    flags->add_option("settings", assignments_, "key=value, such as sync.n_push=10")->required();
    flags->add_option("--at", at_clock_,
                      "The first clock (step) that goes by them; default: soon, but in step for all workers")
        ->check(CLI::NonNegativeNumber);
  }

  Exit Run() override {
    const auto job = job_.Load();
    if (!job.ok()) return Fail(job.status());
    const JobServers servers(*job);
    const auto status = Look(servers);
    if (!status.ok()) return Fail(status.status());
    const auto change = PlanChange(*job, *status, assignments_, at_clock_);
    if (!change.ok()) return Fail(change.status());
    const auto known = *KnownChanges(*status);
    // What an earlier call did not get to every server comes first.
    size_t told = 0;
    for (const SettingsChange& before : known) {
      if (absl::Status sent = servers.Change(before, &told); !sent.ok()) return Fail(sent);
    }
    told = 0;
    if (absl::Status sent = servers.Change(*change, &told); !sent.ok()) return Fail(Explained(sent, told, *change));
    const std::string what = Differences(WithChanges(*job, known), WithChanges(*job, {*change}));
    if (json_) {
      std::cout << ordered_json{{"version", change->version()}, {"from_clock", change->from_clock()}, {"changes", what}}
                       .dump()
                << "\n";
    } else {
      std::cout << "settings version " << change->version() << " from clock " << change->from_clock() << " on: " << what
                << "\n";
    }
    return Exit::kDone;
  }

 private:
  // How far ahead of the workers a change has to be planned, their rates say, which come with their second report.
  absl::StatusOr<std::vector<StatusReply>> Look(const JobServers& servers) const {
    const auto deadline = std::chrono::steady_clock::now() + kRates;
    auto status = servers.Status();
    while (status.ok() && !at_clock_ && !RatesKnown(*status) && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(kLook);
      status = servers.Status();
    }
    return status;
  }

  static absl::Status Explained(const absl::Status& sent, size_t told, const SettingsChange& change) {
    if (told > 0) {
      return absl::Status(sent.code(),
                          absl::StrCat(sent.message(), ". The servers before it go by the change from clock ",
                                       change.from_clock(), ", workers only once all servers have it: the same "
                                       "command again completes it, and until then gradients are refused"));
    }
    if (!absl::IsAborted(sent)) return sent;
    return absl::AbortedError(absl::StrCat(
        sent.message(), ": somebody changed settings at the same moment; nothing was changed, try again"));
  }

  const RunningJob job_;
  std::vector<std::string> assignments_;
  std::optional<uint64_t> at_clock_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeSetCommand(CLI::App* flags) { return std::make_unique<SetCommand>(flags); }

}  // namespace downpour::ctl
