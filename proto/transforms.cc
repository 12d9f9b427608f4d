#include "proto/transforms.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace downpour {

SampleSides SidesOf(const Data& data) {
  const auto& shape = data.shape();
  switch (shape.size()) {
    case 1: return {.channels = shape[0]};
    case 2: return {.height = shape[0], .width = shape[1]};
    case 3: return {.channels = shape[0], .height = shape[1], .width = shape[2]};
    default: return {};
  }
}

std::vector<uint32_t> NetShape(const Data& data) {
  std::vector<uint32_t> shape(data.shape().begin(), data.shape().end());
  const uint32_t crop = data.transforms().crop();
  if (crop > 0 && shape.size() >= 2) std::fill(shape.end() - 2, shape.end(), crop);
  return shape;
}

void CheckTransforms(const Data& data, const std::function<void(absl::string_view, absl::string_view)>& mistake) {
  if (data.shape_size() > 3) return;  // no shape that a net could have
  const Transforms& transforms = data.transforms();
  const SampleSides sides = SidesOf(data);
  const int means = transforms.mean_size();
  if (means > 1 && means != static_cast<int>(sides.channels)) {
    mistake("data.transforms.mean", absl::StrCat("has ", means, " numbers; it needs one, or one for each of the ",
                                                 sides.channels, data.shape_size() == 1 ? " values" : " channels"));
  }
  if (data.shape_size() < 2) {
    const auto refuse = [&](absl::string_view key) {
      mistake(key, absl::StrCat("needs samples with a height and a width; data.shape [",
                                absl::StrJoin(data.shape(), ", "), "] is a flat row"));
    };
    if (transforms.crop() > 0) refuse("data.transforms.crop");
    if (transforms.mirror()) refuse("data.transforms.mirror");
    if (transforms.shift() > 0) refuse("data.transforms.shift");
    return;
  }
  const uint32_t side = std::min(sides.height, sides.width);
  if (transforms.crop() > side) {
    mistake("data.transforms.crop",
            absl::StrCat(transforms.crop(), " is more than samples of ", sides.height, " x ", sides.width, " have"));
    return;
  }
  if (const uint32_t seen = transforms.crop() > 0 ? transforms.crop() : side; transforms.shift() >= seen) {
    mistake("data.transforms.shift",
            absl::StrCat(transforms.shift(), " should be less than ", seen, ", the side of what the net takes"));
  }
}

}  // namespace downpour
