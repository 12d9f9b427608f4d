// What a peer may claim of a job's description. All sides keep to these.
#pragma once

#include <cstddef>

namespace downpour {

// Of the serialized job, and of the serialized table, in a registration.
inline constexpr size_t kMaxRegisterBytes = 256 << 10;

// Layers in a net.
inline constexpr int kMaxLayers = 2000;

}  // namespace downpour
