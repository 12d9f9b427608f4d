#include "worker/model_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
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

namespace {

// Checks what the header says of one tensor; where its bytes begin, counted from the header's end.
absl::StatusOr<uint64_t> Find(const nlohmann::json& header, const Parameter& parameter, uint64_t bytes_there) {
  const auto found = header.find(parameter.name);
  if (found == header.end()) return absl::InvalidArgumentError("is not there");
  const nlohmann::json& entry = *found;
  if (!entry.is_object() || entry.value("dtype", nlohmann::json()) != "F32") {
    return absl::InvalidArgumentError("is not of 32-bit floats (F32)");
  }
  if (const auto shape = entry.value("shape", nlohmann::json()); shape != nlohmann::json(parameter.shape)) {
    return absl::InvalidArgumentError(absl::StrCat("has the shape ", shape.dump(-1, ' ', true).substr(0, 100),
                                                   ", where the net has ", nlohmann::json(parameter.shape).dump()));
  }
  const auto offsets = entry.value("data_offsets", nlohmann::json());
  const uint64_t bytes = parameter.size * sizeof(float);
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned() || offsets[1].get<uint64_t>() > bytes_there || bytes > bytes_there ||
      offsets[1].get<uint64_t>() < bytes || offsets[0].get<uint64_t>() != offsets[1].get<uint64_t>() - bytes) {
    return absl::InvalidArgumentError("lies where the file has no such bytes");
  }
  return offsets[0].get<uint64_t>();
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
  const nlohmann::json header = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!header.is_object()) return wrong("its header is no JSON object: it is damaged, or no safetensors file");
  const uint64_t begin = sizeof(length) + length;
  std::fill(values.begin(), values.end(), 0.0f);
  for (const Parameter& parameter : parameters) {
    const auto at = Find(header, parameter, size - begin);
    if (!at.ok()) return wrong(absl::StrCat("tensor ", parameter.name, " ", at.status().message()));
    const std::span<float> tensor = values.subspan(parameter.offset, parameter.size);
    in.seekg(static_cast<std::streamoff>(begin + *at));
    if (!in.read(reinterpret_cast<char*>(tensor.data()), static_cast<std::streamsize>(tensor.size_bytes()))) {
      return wrong(absl::StrCat("tensor ", parameter.name, " can't be read"));
    }
  }
  for (const auto& [name, entry] : header.items()) {
    const bool known = name == "__metadata__" || std::any_of(parameters.begin(), parameters.end(),
                                                             [&](const Parameter& p) { return p.name == name; });
    if (!known) return wrong(absl::StrCat("it has a tensor ", name.substr(0, 100), ", which the net has not"));
  }
  return absl::OkStatus();
}

}  // namespace downpour::worker
