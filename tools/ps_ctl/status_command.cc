#include "tools/ps_ctl/status_command.h"

#include <iostream>

#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "tools/job_servers/servers.h"
#include "tools/ps_ctl/plan.h"
#include "tools/ps_ctl/running_job.h"

namespace downpour::ctl {
namespace {

using nlohmann::ordered_json;

class StatusCommand final : public Command {
 public:
  explicit StatusCommand(CLI::App* flags) : job_(flags) { flags->add_flag("--json", json_, "Speak JSON"); }

  Exit Run() override {
    const auto job = job_.Load();
    if (!job.ok()) return Fail(job.status());
    const auto servers = JobServers(*job).Status();
    if (!servers.ok()) return Fail(servers.status());
    const auto known = KnownChanges(*servers);
    if (!known.ok()) return Fail(known.status());
    Show(*job, *servers, *known);
    return Exit::kDone;
  }

 private:
  void Show(const Job& job, const std::vector<StatusReply>& servers, const std::vector<SettingsChange>& known) const {
    const size_t begun = BegunChanges(known, FurthestClock(job, servers));
    const Job now = WithChanges(job, {known.begin(), known.begin() + static_cast<ptrdiff_t>(begun)});
    ordered_json workers = ordered_json::array();
    std::string lines;
    for (const WorkerStatus& worker : servers[0].workers()) {
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
    for (size_t i = 0; i < known.size(); ++i) {
      const SettingsChange& change = known[i];
      const Job after = WithChanges(before, {change});
      const std::string what = Differences(before, after);
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
    if (json_) {
      std::cout << ordered_json{{"job", job.name()},
                                {"mode", now.sync().mode()},
                                {"learning_rate", now.optimizer().learning_rate()},
                                {"workers", workers},
                                {"changes", changes}}
                       .dump()
                << "\n";
    } else {
      std::cout << job.name() << ": sync.mode " << now.sync().mode() << ", learning rate "
                << now.optimizer().learning_rate() << "\n"
                << lines;
    }
  }

  const RunningJob job_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeStatusCommand(CLI::App* flags) { return std::make_unique<StatusCommand>(flags); }

}  // namespace downpour::ctl
