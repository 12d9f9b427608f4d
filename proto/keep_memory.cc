#include "proto/keep_memory.h"

#include <malloc.h>

namespace downpour {

#ifdef __GLIBC__

void KeepFreedMemory() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most that glibc takes
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
}

#else

void KeepFreedMemory() {}

#endif

}  // namespace downpour
