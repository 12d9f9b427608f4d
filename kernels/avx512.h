// Intel's intrinsics, where there are any. GCC 12's header reads what it calls undefined, on purpose.
#pragma once

#if defined(__x86_64__)

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

// Before the definition of a function that uses them.
#define DOWNPOUR_AVX512 [[gnu::target("avx512f")]]

#endif
