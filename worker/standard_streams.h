// What a process does before it opens anything.
#pragma once

namespace downpour::worker {

// Opens /dev/null for those of standard input, output and error that are closed, so that no file or socket gets their
// number, and with it what is meant for them.
void EnsureStandardStreams();

// Whether the number is an open descriptor.
bool IsOpen(int fd);

}  // namespace downpour::worker
