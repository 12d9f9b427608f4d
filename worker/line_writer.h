// Writes lines to somebody who may have stopped reading.
#pragma once

#include <chrono>

#include "absl/strings/string_view.h"

namespace downpour::worker {

// Writes all of `text`, but waits no longer than `patience` for a pipe or terminal that takes no more; false when it
// gave up, or nobody is there any more. A piece of at most PIPE_BUF bytes is written whole or not at all. Any thread;
// lines of several threads mix where they are longer than that.
bool WriteWithin(int fd, absl::string_view text, std::chrono::milliseconds patience);

}  // namespace downpour::worker
