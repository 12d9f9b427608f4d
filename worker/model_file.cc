#include "worker/model_file.h"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace downpour::worker {

// Format: u64 length of the header, the header (JSON: tensor to type, shape and byte range), the tensors' bytes.
absl::Status WriteModel(const std::string& path, const std::vector<Parameter>& parameters,
                        std::span<const float> values) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};
  uint64_t at = 0;
  for (const Parameter& parameter : parameters) {
    const uint64_t bytes = parameter.size * sizeof(float);
    header[parameter.name] = {{"dtype", "F32"}, {"shape", parameter.shape}, {"data_offsets", {at, at + bytes}}};
    at += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the tensors begin on a multiple of 8
  const uint64_t length = text.size();

  const std::string beside = absl::StrCat(path, ".part");
  std::ofstream out(beside, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(&length), sizeof(length));
  out << text;
  for (const Parameter& parameter : parameters) {
    const auto tensor = values.subspan(parameter.offset, parameter.size);
    out.write(reinterpret_cast<const char*>(tensor.data()), static_cast<std::streamsize>(tensor.size_bytes()));
  }
  out.close();
  if (!out || std::rename(beside.c_str(), path.c_str()) != 0) {
    const std::string why = std::strerror(errno);
    std::remove(beside.c_str());
    return absl::UnavailableError(absl::StrCat("can't write the model to ", path, ": ", why));
  }
  return absl::OkStatus();
}

}  // namespace downpour::worker
