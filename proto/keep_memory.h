// How a process that moves parts all day treats memory that was freed.
#pragma once

namespace downpour {

// Freed memory stays the process's, ready for the next part, instead of going back to the system, which would hand out
// zeroed pages again, one fault each: that halves what a connection moves. Call it first, before any thread starts.
void KeepFreedMemory();

}  // namespace downpour
