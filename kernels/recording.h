// A sequence of ops that is run many times.
#pragma once

#include <cstdint>
#include <span>

#include "absl/functional/function_ref.h"

namespace downpour::kernels {

// One thread at a time.
class Recording {
 public:
  virtual ~Recording() = default;

  // Does what `work` does, which runs ops of the device and nothing else. A device may keep what they were and do that
  // again without asking `work`: with the same key they must be the same, with the same memory and numbers. What the
  // memory holds may differ.
  virtual void Run(std::span<const std::uintptr_t> key, absl::FunctionRef<void()> work) = 0;
};

}  // namespace downpour::kernels
