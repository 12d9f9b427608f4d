// DOWNPOUR_CLONES before a function's definition has it compiled for several instruction sets; the best one
// that the CPU has is chosen when the program is loaded. Meant for elementwise loops that the compiler
// vectorises: contraction is off in the whole build, so such a loop gives the same bits on every CPU. A loop
// that sums must not count on that.
//
// The function must be neither a template nor inline, and what it calls is not cloned with it. Sanitizers'
// run time is not up when the choice is made, so their builds have the plain version only.
#pragma once

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define DOWNPOUR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define DOWNPOUR_CLONES
#endif
