// ps-ctl predict: what a net says of samples.
#pragma once

#include "tools/ps_ctl/command.h"

namespace downpour::ctl {

std::unique_ptr<Command> MakePredictCommand(CLI::App* flags);

}  // namespace downpour::ctl
