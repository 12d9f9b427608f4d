// What of a part a codec must not touch, and where its matrices are.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/codec/codec.h"
#include "proto/service.pb.h"

namespace downpour {

// Floats [begin, end) of a part.
struct ExemptRange {
  uint32_t begin = 0;
  uint32_t end = 0;

  friend bool operator==(const ExemptRange&, const ExemptRange&) = default;
};

struct PartLayout {
  uint32_t elements = 0;
  std::vector<ExemptRange> exempt;  // ascending, and none touches another
  std::vector<RowRange>
      rows;  // of tensors that are not exempt, as far as they lie in the part in whole rows; ascending

  friend bool operator==(const PartLayout&, const PartLayout&) = default;
};

// Of elements [begin, end) of a table: running averages and tensors of less than `min_elements` floats are exempt.
// `table` must have passed ValidateTableSpec (ps/table_spec.h).
PartLayout LayoutOf(const TableSpec& table, uint64_t begin, uint64_t end, uint32_t min_elements);

}  // namespace downpour
