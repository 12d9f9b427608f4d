#pragma once

namespace downpour::ps {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace downpour::ps
