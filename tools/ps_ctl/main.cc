// ps-ctl: looks after a running job, and at nets.
#include <iostream>
#include <map>
#include <memory>

#include <CLI/CLI.hpp>

#include "proto/version.h"
#include "tools/ps_ctl/checkpoint_command.h"
#include "tools/ps_ctl/command.h"
#include "tools/ps_ctl/convert_command.h"
#include "tools/ps_ctl/describe_command.h"
#include "tools/ps_ctl/predict_command.h"
#include "tools/ps_ctl/restore_command.h"
#include "tools/ps_ctl/set_command.h"
#include "tools/ps_ctl/status_command.h"

namespace {

using namespace downpour::ctl;

constexpr CommandType kCommands[] = {
    {"status", "How far the workers are, and which settings count", MakeStatusCommand},
    {"set", "Changes sync.* or optimizer.learning_rate from a clock on", MakeSetCommand},
    {"checkpoint", "Has the servers write a checkpoint, and waits for it", MakeCheckpointCommand},
    {"restore", "Has servers whose workers are gone go back to a checkpoint", MakeRestoreCommand},
    {"describe", "A net layer by layer: shapes, parameters, multiplications, memory", MakeDescribeCommand},
    {"convert", "A net and its parameters in another form", MakeConvertCommand},
    {"predict", "What a net says of samples: number, class where there is one, scores; a line for each", MakePredictCommand},
};

Exit Main(int argc, char** argv) {
  CLI::App cli("Looks after a running job, and at nets. JOB is a run folder, or a job file.\n\n"
               "  ps-ctl status JOB\n"
               "  ps-ctl set JOB sync.n_push=10\n"
               "  ps-ctl set JOB sync.mode=ssp sync.s=2 --at 5000\n"
               "  ps-ctl checkpoint JOB\n"
               "  ps-ctl restore JOB\n"
               "  ps-ctl describe JOB\n"
               "  ps-ctl convert solver.prototxt net.caffemodel --to job.yaml model.safetensors\n"
               "  ps-ctl predict RUN_FOLDER --limit 5\n",
               "ps-ctl");
  cli.set_version_flag("--version", std::string("ps-ctl ") + downpour::kVersion);
  cli.require_subcommand(1);
  cli.footer("Exit status: 0 done; 1 the job as it runs can't take it; 64 wrong flags or settings; 69 a server did not answer");
  std::map<const CLI::App*, std::unique_ptr<Command>> commands;
  for (const CommandType& type : kCommands) {
    CLI::App* const flags = cli.add_subcommand(type.name, type.sentence);
    commands[flags] = type.make(flags);
  }
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return static_cast<Exit>(cli.exit(error));
    return Fail(Exit::kUsage, std::string(error.what()) + " (--help lists the flags)");
  }
  const Exit exit = commands.at(cli.get_subcommands().front())->Run();
  if (!std::cout.flush() && exit == Exit::kDone) return Fail(Exit::kRefused, "standard output can't be written to");
  return exit;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return static_cast<int>(Main(argc, argv));
  } catch (const std::exception& error) {
    return static_cast<int>(Fail(Exit::kRefused, error.what()));
  }
}
