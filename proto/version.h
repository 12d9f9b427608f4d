// Of all programs alike; what travels between them has versions of its own.
#pragma once

namespace downpour {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace downpour
