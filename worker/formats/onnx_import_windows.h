// Nodes of ONNX that go over an image in windows: convolutions and pooling. Each as OnnxImport has it.
#pragma once

#include <cstdint>

#include "worker/formats/onnx_reader.h"

namespace downpour::formats {

// A side of a window, a stride, a padding.
constexpr std::int64_t kMostOfWindow = 1024;

void ReadConv(OnnxReader& reader);
void ReadConvTranspose(OnnxReader& reader);
void ReadMaxPool(OnnxReader& reader);
void ReadAveragePool(OnnxReader& reader);
void ReadGlobalMaxPool(OnnxReader& reader);
void ReadGlobalAveragePool(OnnxReader& reader);
void ReadReduceMean(OnnxReader& reader);

}  // namespace downpour::formats
