// Layers over sequences, {steps, 1, features}, as nodes of ONNX. See OnnxExport::write.
#pragma once

#include "worker/formats/onnx_export.h"

namespace downpour::formats {

absl::StatusOr<bool> WriteInnerProductPerStep(OnnxWriter& out, const OnnxLayer& layer);
absl::StatusOr<bool> WriteEmbedding(OnnxWriter& out, const OnnxLayer& layer);
absl::StatusOr<bool> WriteSelfAttention(OnnxWriter& out, const OnnxLayer& layer);
absl::StatusOr<bool> WriteLstm(OnnxWriter& out, const OnnxLayer& layer);
absl::StatusOr<bool> WriteGru(OnnxWriter& out, const OnnxLayer& layer);

}  // namespace downpour::formats
