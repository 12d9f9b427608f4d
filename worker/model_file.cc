#include "worker/model_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <utility>

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

absl::Status Wrong(const std::string& path, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("the model ", path, ": ", what));
}

// A file whose header is sound; its entries may still be anything.
class OpenModel {
 public:
  static absl::StatusOr<OpenModel> Open(const std::string& path) {
    constexpr uint64_t kMaxHeaderBytes = 100 << 20;  // the format's own limit
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) return absl::NotFoundError(absl::StrCat("no model at ", path));
    const uint64_t size = std::filesystem::file_size(path, error);
    OpenModel model;
    model.path_ = path;
    model.in_.open(path, std::ios::binary);
    uint64_t length = 0;
    if (error || size < sizeof(length) || !model.in_.read(reinterpret_cast<char*>(&length), sizeof(length)) ||
        length > size - sizeof(length) || length > kMaxHeaderBytes) {
      return Wrong(path, "it is no safetensors file, or ends too early");
    }
    std::string text(length, '\0');
    if (!model.in_.read(text.data(), static_cast<std::streamsize>(length))) return Wrong(path, "it can't be read");
    auto header = ParseSafetensorsHeader(text);
    if (!header.ok()) return Wrong(path, std::string(header.status().message()));
    model.header_ = *std::move(header);
    model.begin_ = sizeof(length) + length;
    model.bytes_ = size - model.begin_;
    return model;
  }

  const std::map<std::string, SafetensorsEntry>& header() const { return header_; }

  absl::Status Read(const Parameter& parameter, std::span<float> values) {
    const auto wrong = [&](const std::string& what) {
      return Wrong(path_, absl::StrCat("tensor ", parameter.name, " ", what));
    };
    const auto at = Find(parameter);
    if (!at.ok()) return wrong(std::string(at.status().message()));
    const std::span<float> tensor = values.subspan(parameter.offset, parameter.size);
    in_.seekg(static_cast<std::streamoff>(begin_ + *at));
    if (!in_.read(reinterpret_cast<char*>(tensor.data()), static_cast<std::streamsize>(tensor.size_bytes()))) {
      return wrong("can't be read");
    }
    if (const auto bad = kernels::FirstNonFinite(tensor)) {
      return wrong(absl::StrCat("is not finite at ", *bad, ": ", tensor[*bad]));
    }
    return absl::OkStatus();
  }

 private:
  // Checks what the header says of one tensor; where its bytes begin, counted from the header's end.
  absl::StatusOr<uint64_t> Find(const Parameter& parameter) const {
    const auto found = header_.find(parameter.name);
    if (found == header_.end()) return absl::InvalidArgumentError("is not there");
    const SafetensorsEntry& entry = found->second;
    if (entry.type != "F32") return absl::InvalidArgumentError("is not of 32-bit floats (F32)");
    if (!std::ranges::equal(entry.shape, parameter.shape)) {
      return absl::InvalidArgumentError(absl::StrCat("has the shape [", absl::StrJoin(entry.shape, ","),
                                                     "], where the net has [", absl::StrJoin(parameter.shape, ","),
                                                     "]"));
    }
    const uint64_t bytes = parameter.size * sizeof(float);
    if (entry.offsets.size() != 2 || entry.offsets[1] > bytes_ || entry.offsets[1] < bytes ||
        entry.offsets[0] != entry.offsets[1] - bytes) {
      return absl::InvalidArgumentError("lies where the file has no such bytes");
    }
    return entry.offsets[0];
  }

  std::string path_;
  std::ifstream in_;
  std::map<std::string, SafetensorsEntry> header_;
  uint64_t begin_ = 0;  // of the tensors
  uint64_t bytes_ = 0;  // of them all
};

std::string Shown(const std::string& name) { return absl::CHexEscape(name.substr(0, 100)); }

}  // namespace

absl::Status ReadModel(const std::string& path, const std::vector<Parameter>& parameters, std::span<float> values) {
  auto model = OpenModel::Open(path);
  if (!model.ok()) return model.status();
  std::fill(values.begin(), values.end(), 0.0f);
  for (const Parameter& parameter : parameters) {
    if (absl::Status status = model->Read(parameter, values); !status.ok()) return status;
  }
  for (const auto& [name, entry] : model->header()) {
    if (std::ranges::find(parameters, name, &Parameter::name) == parameters.end()) {
      return Wrong(path, absl::StrCat("it has a tensor ", Shown(name), ", which the net has not"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ReadTensorsInCommon(const std::string& path,
                                                             const std::vector<Parameter>& parameters,
                                                             std::span<float> values) {
  auto model = OpenModel::Open(path);
  if (!model.ok()) return model.status();
  std::vector<std::string> left;
  for (const Parameter& parameter : parameters) {
    if (!model->header().contains(parameter.name)) {
      left.push_back(parameter.name);
    } else if (absl::Status status = model->Read(parameter, values); !status.ok()) {
      return status;
    }
  }
  if (left.size() == parameters.size()) {
    const auto& header = model->header();
    return Wrong(path, absl::StrCat("it has no tensor of the net's, whose first is ",
                                    parameters.empty() ? "none" : parameters[0].name,
                                    header.empty() ? "" : absl::StrCat("; its own first is ", Shown(header.begin()->first))));
  }
  return left;
}

}  // namespace downpour::worker
