// ps-ctl describe: a net, layer by layer.
#pragma once

#include "tools/ps_ctl/command.h"

namespace downpour::ctl {

std::unique_ptr<Command> MakeDescribeCommand(CLI::App* flags);

}  // namespace downpour::ctl
