// Layers that ONNX has no node for, of the nodes that they are written as, each as OnnxPattern has it.
#pragma once

#include "worker/formats/onnx_path.h"

namespace downpour::formats {

bool ReadGeluByErf(OnnxPath& path);
bool ReadLayerNormByMeans(OnnxPath& path);
bool ReadMaxout(OnnxPath& path);
bool ReadLrnWithinChannel(OnnxPath& path);

}  // namespace downpour::formats
