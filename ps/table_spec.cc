#include "ps/table_spec.h"

#include <algorithm>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace downpour::ps {
namespace {

constexpr int kMaxTensors = 4096;
constexpr int kMaxRank = 8;
constexpr size_t kMaxName = 256;

std::string Describe(const TensorSpec& tensor) {
  return absl::StrCat("'", absl::CHexEscape(tensor.name().substr(0, kMaxName)), "' of shape ",
                      absl::StrJoin(tensor.shape(), "x"), " at ", tensor.offset());
}

}  // namespace

absl::Status ValidateTableSpec(const TableSpec& spec) {
  const auto invalid = [](auto&&... what) {
    return absl::InvalidArgumentError(absl::StrCat("the table: ", what...));
  };
  if (spec.elements() == 0) return invalid("it has no elements");
  if (spec.tensors_size() == 0) return invalid("it has no tensors");
  if (spec.tensors_size() > kMaxTensors)
    return invalid(spec.tensors_size(), " tensors; at most ", kMaxTensors);
  uint64_t end = 0;
  for (const TensorSpec& tensor : spec.tensors()) {
    if (tensor.name().empty() || tensor.name().size() > kMaxName) {
      return invalid("a tensor's name has ", tensor.name().size(), " bytes; it must have 1 to ", kMaxName);
    }
    if (tensor.shape_size() > kMaxRank) {
      return invalid("tensor '", absl::CHexEscape(tensor.name()), "' has ", tensor.shape_size(),
                     " dimensions");
    }
    uint64_t size = 1;
    for (const uint64_t dimension : tensor.shape()) {
      if (dimension == 0 || __builtin_mul_overflow(size, dimension, &size)) {
        return invalid("tensor ", Describe(tensor), " has no size that fits");
      }
    }
    if (tensor.offset() < end)
      return invalid("tensor ", Describe(tensor), " begins before the last one ends, ", end);
    if (__builtin_add_overflow(tensor.offset(), size, &end) || end > spec.elements()) {
      return invalid("tensor ", Describe(tensor), " ends after the table's ", spec.elements(), " elements");
    }
  }
  return absl::OkStatus();
}

absl::Status CompareTableSpecs(const TableSpec& known, const TableSpec& given) {
  const int both = std::min(known.tensors_size(), given.tensors_size());
  for (int i = 0; i < both; ++i) {
    const std::string a = Describe(known.tensors(i));
    const std::string b = Describe(given.tensors(i));
    if (a != b) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the net differs from that of the first worker: tensor ", i, " is ", b, ", there it is ", a));
    }
  }
  if (known.tensors_size() != given.tensors_size()) {
    const bool more = given.tensors_size() > both;
    return absl::FailedPreconditionError(absl::StrCat(
        "the net differs from that of the first worker: it has ", given.tensors_size(),
        " tensors, there are ", known.tensors_size(), "; the first ", more ? "surplus" : "missing",
        " one is ", Describe(more ? given.tensors(both) : known.tensors(both))));
  }
  if (known.elements() != given.elements()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the net differs from that of the first worker: ", given.elements(), " elements, there ",
                     known.elements()));
  }
  return absl::OkStatus();
}

}  // namespace downpour::ps
