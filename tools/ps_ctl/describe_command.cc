#include "tools/ps_ctl/describe_command.h"

#include <iostream>

#include "tools/ps_ctl/net_table.h"
#include "worker/formats/model_files.h"

namespace downpour::ctl {
namespace {

class DescribeCommand final : public Command {
 public:
  explicit DescribeCommand(CLI::App* flags) {
    flags->add_option("net", source_.paths, std::string("What there is: ") + formats::kReadableFiles)->required();
    flags->add_option("--shape", source_.shape, "Sides of a sample, where the net does not say them: 3,32,32")
        ->delimiter(',');
    flags->add_option("--batch", batch_, "Samples of which to tell the memory; default: the job's training.batch")
        ->check(CLI::Range(1, 1 << 20));
    flags->add_flag("--json", json_, "Speak JSON");
  }

  Exit Run() override {
    const auto model = formats::ReadModelFiles(source_);
    if (!model.ok()) return Fail(model.status());
    for (const std::string& note : model->notes) std::cerr << "ps-ctl: " << note << "\n";
    const auto job = formats::CompleteJob(*model);
    if (!job.ok()) return Fail(job.status());
    const NetTable table(model->outline, batch_ > 0 ? batch_ : job->training().batch());
    std::cout << (json_ ? table.Json().dump() + "\n" : table.Text());
    return Exit::kDone;
  }

 private:
  formats::ModelSource source_;
  std::uint32_t batch_ = 0;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeDescribeCommand(CLI::App* flags) { return std::make_unique<DescribeCommand>(flags); }

}  // namespace downpour::ctl
