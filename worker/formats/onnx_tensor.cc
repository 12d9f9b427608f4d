// Constants of an ONNX graph.
#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "worker/formats/onnx_reader.h"

namespace downpour::formats {
namespace {

static_assert(std::endian::native == std::endian::little);

template <typename To, typename From>
std::vector<To> FromBytes(const std::string& bytes) {
  std::vector<To> values(bytes.size() / sizeof(From));
  for (std::size_t i = 0; i < values.size(); ++i) {
    From value;
    std::memcpy(&value, bytes.data() + i * sizeof(From), sizeof(From));
    values[i] = static_cast<To>(value);
  }
  return values;
}

template <typename To, typename From>
std::vector<To> Values(const onnx::TensorProto& tensor, const google::protobuf::RepeatedField<From>& fields) {
  if (!tensor.raw_data().empty()) return FromBytes<To, From>(tensor.raw_data());
  return std::vector<To>(fields.begin(), fields.end());
}

// Checked against what the sides make.
template <typename To>
absl::StatusOr<std::vector<To>> Checked(const onnx::TensorProto& tensor, std::vector<To> values) {
  const auto count = CountOf(tensor);
  if (tensor.data_location() == onnx::TensorProto::EXTERNAL) {
    return absl::InvalidArgumentError("its values are in another file, which is not read");
  }
  if (!count || *count != values.size()) {
    return absl::InvalidArgumentError(absl::StrCat("has ", values.size(), " values, not those of its sides"));
  }
  return values;
}

}  // namespace

std::optional<std::size_t> CountOf(const onnx::TensorProto& tensor) {
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  std::int64_t count = 1;
  for (const std::int64_t side : tensor.dims()) {
    if (side < 0 || side > kMost || (side > 0 && count > kMost / side)) return std::nullopt;
    count *= side;
  }
  return static_cast<std::size_t>(count);
}

absl::StatusOr<std::vector<float>> FloatsOf(const onnx::TensorProto& tensor) {
  switch (tensor.data_type()) {
    case onnx::TensorProto::FLOAT: return Checked(tensor, Values<float>(tensor, tensor.float_data()));
    case onnx::TensorProto::DOUBLE: return Checked(tensor, Values<float>(tensor, tensor.double_data()));
    default: return absl::InvalidArgumentError(absl::StrCat("has the type ", tensor.data_type(), ", not floats"));
  }
}

absl::StatusOr<std::vector<std::int64_t>> IntegersOf(const onnx::TensorProto& tensor) {
  switch (tensor.data_type()) {
    case onnx::TensorProto::INT64: return Checked(tensor, Values<std::int64_t>(tensor, tensor.int64_data()));
    case onnx::TensorProto::INT32: return Checked(tensor, Values<std::int64_t>(tensor, tensor.int32_data()));
    default: return absl::InvalidArgumentError(absl::StrCat("has the type ", tensor.data_type(), ", not integers"));
  }
}

}  // namespace downpour::formats
