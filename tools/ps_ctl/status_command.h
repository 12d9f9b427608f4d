// ps-ctl status: how far the workers are, and which settings count.
#pragma once

#include "tools/ps_ctl/command.h"

namespace downpour::ctl {

std::unique_ptr<Command> MakeStatusCommand(CLI::App* flags);

}  // namespace downpour::ctl
