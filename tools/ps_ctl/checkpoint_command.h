// ps-ctl checkpoint: has the servers write one.
#pragma once

#include "tools/ps_ctl/command.h"

namespace downpour::ctl {

std::unique_ptr<Command> MakeCheckpointCommand(CLI::App* flags);

}  // namespace downpour::ctl
