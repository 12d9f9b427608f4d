// ps-ctl restore: has servers go back to a checkpoint.
#pragma once

#include "tools/ps_ctl/command.h"

namespace downpour::ctl {

std::unique_ptr<Command> MakeRestoreCommand(CLI::App* flags);

}  // namespace downpour::ctl
