#include "tools/ps_ctl/restore_command.h"

#include <iostream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "tools/job_servers/servers.h"
#include "tools/ps_ctl/running_job.h"

namespace downpour::ctl {
namespace {

using nlohmann::ordered_json;

class RestoreCommand final : public Command {
 public:
  explicit RestoreCommand(CLI::App* flags) : job_(flags) {
    flags->add_flag("--json", json_, "Speak JSON");
    flags->add_option("--number", number_, "Which checkpoint; default: the latest that is whole")
        ->check(CLI::PositiveNumber);
  }

  Exit Run() override {
    const auto job = job_.Load();
    if (!job.ok()) return Fail(job.status());
    const auto restored = JobServers(*job).Restore(number_);
    if (!restored.ok()) return Fail(restored.status());
    if (json_) {
      ordered_json line = {
          {"number", restored->number()}, {"clock", restored->clock()}, {"passed_by", ordered_json::array()}};
      for (const std::string& passed_by : restored->passed_by()) line["passed_by"].push_back(passed_by);
      std::cout << line.dump() << "\n";
      return Exit::kDone;
    }
    for (const std::string& passed_by : restored->passed_by()) std::cerr << "ps-ctl: " << passed_by << "\n";
    std::cout << "the servers are back at checkpoint " << restored->number()
              << (restored->clock() == 0 ? "" : absl::StrCat(", clock ", restored->clock()))
              << "; workers that come go on from there\n";
    return Exit::kDone;
  }

 private:
  const RunningJob job_;
  uint64_t number_ = 0;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeRestoreCommand(CLI::App* flags) { return std::make_unique<RestoreCommand>(flags); }

}  // namespace downpour::ctl
