// Nodes of ONNX on sequences, each as OnnxImport has it, and what several nodes make together, as OnnxPattern has it.
// Of attention it is the form in which we write it, of the rest PyTorch's too.
#pragma once

#include "worker/formats/onnx_path.h"
#include "worker/formats/onnx_reader.h"

namespace downpour::formats {

void ReadCast(OnnxReader& reader);
void ReadGather(OnnxReader& reader);
void ReadTranspose(OnnxReader& reader);
void ReadSqueeze(OnnxReader& reader);
void ReadLstm(OnnxReader& reader);
void ReadGru(OnnxReader& reader);

bool ReadSelfAttention(OnnxPath& path);

}  // namespace downpour::formats
