// What each type of Caffe's layers becomes in a job.
#pragma once

#include <span>
#include <string_view>

#include "worker/formats/caffe_builder.h"

namespace downpour::formats {

struct CaffeLayerType {
  std::string_view type;
  // Adds to the builder what the layer, which was begun there, becomes.
  void (*add)(CaffeBuilder& builder, const caffe::LayerParameter& layer);
  std::string_view layer;  // the job's type that comes of it; empty where none does
};

// Every type that is known. One job's type may come of several.
std::span<const CaffeLayerType> CaffeLayerTypes();

// Null where it is not known.
const CaffeLayerType* FindCaffeLayerType(std::string_view type);

}  // namespace downpour::formats
