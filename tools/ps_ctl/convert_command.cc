#include "tools/ps_ctl/convert_command.h"

#include <iostream>

#include "worker/formats/model_files.h"

namespace downpour::ctl {
namespace {

class ConvertCommand final : public Command {
 public:
  explicit ConvertCommand(CLI::App* flags) {
    flags->add_option("from", source_.paths, std::string("What there is: ") + formats::kReadableFiles)->required();
    flags->add_option("--to", to_, std::string("What is wanted, one or more files: ") + formats::kWritableFiles)
        ->required();
    flags->add_option("--shape", source_.shape, "Sides of a sample, where the net does not say them: 3,32,32")
        ->delimiter(',');
  }

  Exit Run() override {
    const auto model = formats::ReadModelFiles(source_);
    if (!model.ok()) return Fail(model.status());
    if (absl::Status status = formats::WriteModelFiles(*model, to_); !status.ok()) return Fail(status);
    for (const std::string& note : model->notes) std::cerr << "ps-ctl: " << note << "\n";
    return Exit::kDone;
  }

 private:
  formats::ModelSource source_;
  std::vector<std::string> to_;
};

}  // namespace

std::unique_ptr<Command> MakeConvertCommand(CLI::App* flags) { return std::make_unique<ConvertCommand>(flags); }

}  // namespace downpour::ctl
