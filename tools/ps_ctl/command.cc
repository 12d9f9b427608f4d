#include "tools/ps_ctl/command.h"

#include <iostream>

namespace downpour::ctl {

Exit Fail(Exit exit, const std::string& message) {
  std::cerr << "ps-ctl: " << message << "\n";
  return exit;
}

Exit Fail(const absl::Status& status) {
  const std::string message(status.message());
  if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) return Fail(Exit::kUnreachable, message);
  const bool usage = absl::IsInvalidArgument(status) || absl::IsNotFound(status);
  return Fail(usage ? Exit::kUsage : Exit::kRefused, message);
}

}  // namespace downpour::ctl
