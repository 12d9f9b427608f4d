#include "worker/safetensors_header.h"

#include <utility>

#include <nlohmann/json.hpp>

namespace downpour::worker {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostSides = 32;
constexpr std::string_view kMetadata = "__metadata__";  // names and texts, which nobody asks for

// Gets the pieces of the text one by one: the outer object is 1 deep, a tensor's 2, its lists 3.
class Reader final : public nlohmann::json_sax<Json> {
 public:
  std::map<std::string, SafetensorsEntry> entries() && { return std::move(entries_); }

  bool start_object(std::size_t) override { return ++depth_ <= 2 && list_ == nullptr; }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override {
    ++depth_;
    if (depth_ != 3 || tensor_ == nullptr || (key_ != "shape" && key_ != "data_offsets")) return false;
    list_ = key_ == "shape" ? &tensor_->shape : &tensor_->offsets;
    list_->clear();
    return true;
  }
  bool end_array() override {
    --depth_;
    list_ = nullptr;
    return true;
  }
  bool key(std::string& name) override {
    if (depth_ == 1) {
      tensor_ = name == kMetadata ? nullptr : &entries_[name];
    } else {
      key_ = name;
    }
    return true;
  }
  bool string(std::string& value) override {
    if (depth_ != 2 || list_ != nullptr) return false;
    if (tensor_ != nullptr && key_ == "dtype") tensor_->type = value;
    return true;
  }
  bool number_unsigned(std::uint64_t value) override {
    if (list_ == nullptr || list_->size() == kMostSides) return false;
    list_->push_back(value);
    return true;
  }
  bool null() override { return false; }
  bool boolean(bool) override { return false; }
  bool number_integer(std::int64_t) override { return false; }
  bool number_float(double, const std::string&) override { return false; }
  bool binary(Json::binary_t&) override { return false; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  std::map<std::string, SafetensorsEntry> entries_;
  int depth_ = 0;
  SafetensorsEntry* tensor_ = nullptr;              // null within metadata
  std::string key_;                                 // of the tensor
  std::vector<std::uint64_t>* list_ = nullptr;  // that is open
};

}  // namespace

absl::StatusOr<std::map<std::string, SafetensorsEntry>> ParseSafetensorsHeader(std::string_view json) {
  Reader reader;
  if (!Json::sax_parse(json.begin(), json.end(), &reader)) {
    return absl::InvalidArgumentError("its header is no JSON of tensors: it is damaged, or no safetensors file");
  }
  return std::move(reader).entries();
}

}  // namespace downpour::worker
