#include "tools/ps_ctl/describe_command.h"

#include <iostream>

#include "tools/ps_ctl/net_table.h"
#include "worker/formats/net_file.h"
#include "worker/net_outline.h"

namespace downpour::ctl {
namespace {

class DescribeCommand final : public Command {
 public:
  explicit DescribeCommand(CLI::App* flags) {
    flags->add_option("net", path_, "A job file, or a run folder")->required();
    flags->add_option("--batch", batch_, "Samples of which to tell the memory; default: the job's training.batch")
        ->check(CLI::Range(1, 1 << 20));
    flags->add_flag("--json", json_, "Speak JSON");
  }

  Exit Run() override {
    const auto job = formats::ReadNet(path_);
    if (!job.ok()) return Fail(job.status());
    const auto outline = worker::OutlineNet(job->net(), {job->data().shape().begin(), job->data().shape().end()});
    if (!outline.ok()) return Fail(outline.status());
    const NetTable table(*outline, batch_ > 0 ? batch_ : job->training().batch());
    std::cout << (json_ ? table.Json().dump() + "\n" : table.Text());
    return Exit::kDone;
  }

 private:
  std::string path_;
  std::uint32_t batch_ = 0;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeDescribeCommand(CLI::App* flags) { return std::make_unique<DescribeCommand>(flags); }

}  // namespace downpour::ctl
