// ps-ctl set: changes settings of a job while it runs.
#pragma once

#include "tools/ps_ctl/command.h"

namespace downpour::ctl {

std::unique_ptr<Command> MakeSetCommand(CLI::App* flags);

}  // namespace downpour::ctl
