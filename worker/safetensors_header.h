// The header of a safetensors file: JSON of tensors' types, shapes and places.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace downpour::worker {

struct SafetensorsEntry {
  std::string type;                   // "F32"
  std::vector<std::uint64_t> shape;
  std::vector<std::uint64_t> offsets;  // begin and end, counted from the header's end
};

// By tensor. InvalidArgument where it is no JSON of tensors: nested deeper than these are, of too many sides, or of other
// values. Takes memory for tensors alone, whatever else it holds.
absl::StatusOr<std::map<std::string, SafetensorsEntry>> ParseSafetensorsHeader(std::string_view json);

}  // namespace downpour::worker
