// ps-ctl convert: a net and its parameters from one form to another.
#pragma once

#include "tools/ps_ctl/command.h"

namespace downpour::ctl {

std::unique_ptr<Command> MakeConvertCommand(CLI::App* flags);

}  // namespace downpour::ctl
