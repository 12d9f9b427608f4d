#include "tools/ps_ctl/checkpoint_command.h"

#include <algorithm>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/job_servers/servers.h"
#include "tools/ps_ctl/plan.h"
#include "tools/ps_ctl/running_job.h"

namespace downpour::ctl {
namespace {

using nlohmann::ordered_json;

constexpr std::chrono::milliseconds kLook{100};

class CheckpointCommand final : public Command {
 public:
  explicit CheckpointCommand(CLI::App* flags) : job_(flags) {
    flags->add_flag("--json", json_, "Speak JSON");
    flags->add_option("--timeout", timeout_s_, "Seconds to wait until it is on the disk")->check(CLI::PositiveNumber);
  }

  Exit Run() override {
    const auto job = job_.Load();
    if (!job.ok()) return Fail(job.status());
    const JobServers servers(*job);
    auto status = servers.Status();
    if (!status.ok()) return Fail(status.status());
    const auto next = PlanCheckpoint(*job, *status);
    if (!next.ok()) return Fail(next.status());
    const auto [number, clock] = *next;
    if (absl::Status sent = servers.Checkpoint(number, clock); !sent.ok()) return Fail(sent);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout_s_);
    for (;;) {
      status = servers.Status();
      if (!status.ok()) return Fail(status.status());
      size_t done = 0;
      for (size_t i = 0; i < status->size(); ++i) {
        const CheckpointStatus& checkpoint = (*status)[i].checkpoint();
        if (checkpoint.number() != number) {
          return Fail(Exit::kRefused, absl::StrCat("checkpoint ", number, " was given up: another was begun"));
        }
        if (checkpoint.state() == CheckpointStatus::FAILED) {
          return Fail(Exit::kRefused,
                      absl::StrCat("server ", i, ": checkpoint ", number, " failed: ", checkpoint.reason()));
        }
        if (checkpoint.state() == CheckpointStatus::DONE) ++done;
      }
      if (done == status->size()) return Told(number, clock, *status);
      if (std::chrono::steady_clock::now() > deadline) return Fail(Exit::kRefused, Late(number, clock, *status));
      std::this_thread::sleep_for(kLook);
    }
  }

 private:
  Exit Told(uint64_t number, uint64_t clock, const std::vector<StatusReply>& servers) const {
    uint64_t bytes = 0;
    uint32_t late = 0;
    double seconds = 0;
    for (const StatusReply& server : servers) {
      bytes += server.checkpoint().bytes();
      late += server.checkpoint().parts_late();
      seconds = std::max(seconds, server.checkpoint().seconds());
    }
    if (json_) {
      std::cout << ordered_json{{"number", number},
                                {"clock", clock},
                                {"bytes", bytes},
                                {"parts_late", late},
                                {"seconds", seconds}}
                       .dump()
                << "\n";
    } else {
      std::cout << "checkpoint " << number << (clock == 0 ? "" : absl::StrCat(" as of clock ", clock))
                << (late == 0 ? "" : absl::StrCat(", but for ", late, " parts that were past it,")) << ": "
                << absl::StrFormat("%.1f MB of %d servers after %.1f s", static_cast<double>(bytes) / 1e6,
                                   servers.size(), seconds)
                << "\n";
    }
    return Exit::kDone;
  }

  std::string Late(uint64_t number, uint64_t clock, const std::vector<StatusReply>& servers) const {
    std::string late = absl::StrFormat("checkpoint %d is not done after %g s", number, timeout_s_);
    for (size_t i = 0; i < servers.size(); ++i) {
      const CheckpointStatus& checkpoint = servers[i].checkpoint();
      absl::StrAppend(&late, "; server ", i, " has ", checkpoint.parts_written(), " of ", checkpoint.parts(), " parts");
    }
    if (clock > 0) absl::StrAppend(&late, ". It waits for clock ", clock, ": do the workers go on?");
    return late;
  }

  const RunningJob job_;
  double timeout_s_ = 60;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeCheckpointCommand(CLI::App* flags) { return std::make_unique<CheckpointCommand>(flags); }

}  // namespace downpour::ctl
