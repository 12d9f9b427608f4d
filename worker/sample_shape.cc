#include "worker/sample_shape.h"

#include "absl/strings/str_cat.h"

namespace downpour::worker {

absl::StatusOr<kernels::Shape> SampleShape(const std::vector<std::uint32_t>& sides) {
  constexpr std::size_t kMaxSampleSize = std::size_t{1} << 30;
  std::size_t size = 1;
  for (const std::uint32_t side : sides) {
    if (side == 0) return absl::InvalidArgumentError("data.shape has a side of 0; each needs at least 1");
    if (side > kMaxSampleSize / size) {
      return absl::InvalidArgumentError(absl::StrCat("data.shape has more than ", kMaxSampleSize, " values"));
    }
    size *= side;
  }
  const auto side = [&](std::size_t i) { return static_cast<int>(sides[i]); };
  switch (sides.size()) {
    case 1:
      return kernels::Shape{side(0), 1, 1};
    case 2:
      return kernels::Shape{1, side(0), side(1)};
    case 3:
      return kernels::Shape{side(0), side(1), side(2)};
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("data.shape has ", sides.size(), " sides; it needs 1 to 3: channels, height, width"));
  }
}

}  // namespace downpour::worker
