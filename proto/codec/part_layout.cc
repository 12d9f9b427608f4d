#include "proto/codec/part_layout.h"

#include <algorithm>
#include <vector>

namespace downpour {

PartLayout LayoutOf(const TableSpec& table, uint64_t begin, uint64_t end, uint32_t min_elements) {
  PartLayout layout;
  layout.elements = static_cast<uint32_t>(end - begin);
  std::vector<const TensorSpec*> tensors;
  for (const TensorSpec& tensor : table.tensors()) tensors.push_back(&tensor);
  std::ranges::sort(tensors, {}, [](const TensorSpec* tensor) { return tensor->offset(); });
  for (const TensorSpec* tensor : tensors) {
    uint64_t size = 1;
    for (const uint64_t extent : tensor->shape()) size *= extent;
    const uint64_t from = std::max(begin, tensor->offset());
    const uint64_t to = std::min(end, tensor->offset() + size);
    if (from >= to) continue;
    if (tensor->average() || size < min_elements) {
      const auto at = static_cast<uint32_t>(from - begin);
      // Neighbours are one range; the padding between them belongs to nobody.
      if (!layout.exempt.empty() && (layout.exempt.back().end + 15) / 16 * 16 >= at) {
        layout.exempt.back().end = static_cast<uint32_t>(to - begin);
      } else {
        layout.exempt.push_back({at, static_cast<uint32_t>(to - begin)});
      }
    } else if (tensor->shape_size() > 1) {
      const uint64_t row = size / tensor->shape(0);
      const uint64_t first = (from - tensor->offset() + row - 1) / row * row + tensor->offset();
      const uint64_t last = (to - tensor->offset()) / row * row + tensor->offset();
      if (first < last) {
        layout.rows.push_back(
            {static_cast<uint32_t>(first - begin), static_cast<uint32_t>(last - begin), static_cast<uint32_t>(row)});
      }
    }
  }
  return layout;
}

}  // namespace downpour
