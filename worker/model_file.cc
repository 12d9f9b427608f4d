#include "worker/model_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/vector_ops.h"
#include "worker/safetensors_header.h"

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

namespace {

// Checks what the header says of one tensor; where its bytes begin, counted from the header's end.
absl::StatusOr<uint64_t> Find(const std::map<std::string, SafetensorsEntry>& header, const Parameter& parameter,
                              uint64_t bytes_there) {
  const auto found = header.find(parameter.name);
  if (found == header.end()) return absl::InvalidArgumentError("is not there");
  const SafetensorsEntry& entry = found->second;
  if (entry.type != "F32") return absl::InvalidArgumentError("is not of 32-bit floats (F32)");
  if (!std::ranges::equal(entry.shape, parameter.shape)) {
    return absl::InvalidArgumentError(absl::StrCat("has the shape [", absl::StrJoin(entry.shape, ","),
                                                   "], where the net has [", absl::StrJoin(parameter.shape, ","), "]"));
  }
  const uint64_t bytes = parameter.size * sizeof(float);
  if (entry.offsets.size() != 2 || entry.offsets[1] > bytes_there || entry.offsets[1] < bytes ||
      entry.offsets[0] != entry.offsets[1] - bytes) {
    return absl::InvalidArgumentError("lies where the file has no such bytes");
  }
  return entry.offsets[0];
}

}  // namespace

absl::Status ReadModel(const std::string& path, const std::vector<Parameter>& parameters, std::span<float> values) {
  constexpr uint64_t kMaxHeaderBytes = 100 << 20;  // the format's own limit
  const auto wrong = [&](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat("the model ", path, ": ", what));
  };
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return absl::NotFoundError(absl::StrCat("no model at ", path));
  const uint64_t size = std::filesystem::file_size(path, error);
  std::ifstream in(path, std::ios::binary);
  uint64_t length = 0;
  if (error || size < sizeof(length) || !in.read(reinterpret_cast<char*>(&length), sizeof(length)) ||
      length > size - sizeof(length) || length > kMaxHeaderBytes) {
    return wrong("it is no safetensors file, or ends too early");
  }
  std::string text(length, '\0');
  if (!in.read(text.data(), static_cast<std::streamsize>(length))) return wrong("it can't be read");
  const auto header = ParseSafetensorsHeader(text);
  if (!header.ok()) return wrong(std::string(header.status().message()));
  const uint64_t begin = sizeof(length) + length;
  std::fill(values.begin(), values.end(), 0.0f);
  for (const Parameter& parameter : parameters) {
    const auto at = Find(*header, parameter, size - begin);
    if (!at.ok()) return wrong(absl::StrCat("tensor ", parameter.name, " ", at.status().message()));
    const std::span<float> tensor = values.subspan(parameter.offset, parameter.size);
    in.seekg(static_cast<std::streamoff>(begin + *at));
    if (!in.read(reinterpret_cast<char*>(tensor.data()), static_cast<std::streamsize>(tensor.size_bytes()))) {
      return wrong(absl::StrCat("tensor ", parameter.name, " can't be read"));
    }
    if (const auto bad = kernels::FirstNonFinite(tensor)) {
      return wrong(absl::StrCat("tensor ", parameter.name, " is not finite at ", *bad, ": ", tensor[*bad]));
    }
  }
  for (const auto& [name, entry] : *header) {
    if (std::ranges::find(parameters, name, &Parameter::name) == parameters.end()) {
      return wrong(absl::StrCat("it has a tensor ", absl::CHexEscape(name.substr(0, 100)), ", which the net has not"));
    }
  }
  return absl::OkStatus();
}

}  // namespace downpour::worker
