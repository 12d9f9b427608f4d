#include "ps/table_spec.h"

#include <catch2/catch.hpp>
#include <functional>

namespace downpour::ps {
namespace {

TableSpec MakeSpec() {
  TableSpec spec;
  spec.set_elements(64);
  TensorSpec* weights = spec.add_tensors();
  weights->set_name("conv1.weights");
  weights->add_shape(4);
  weights->add_shape(5);
  TensorSpec* bias = spec.add_tensors();
  bias->set_name("conv1.bias");
  bias->add_shape(4);
  bias->set_offset(32);
  return spec;
}

TEST_CASE("a table as a net lays it out") { CHECK(ValidateTableSpec(MakeSpec()).ok()); }

TEST_CASE("each kind of nonsense is refused") {
  const std::vector<std::function<void(TableSpec&)>> mistakes = {
      [](TableSpec& s) { s.set_elements(0); },
      [](TableSpec& s) { s.clear_tensors(); },
      [](TableSpec& s) { s.set_elements(35); },
      [](TableSpec& s) { s.mutable_tensors(1)->set_offset(19); },
      [](TableSpec& s) { s.mutable_tensors(1)->set_offset(~uint64_t{0}); },
      [](TableSpec& s) { s.mutable_tensors(0)->set_shape(0, uint64_t{1} << 63); },
      [](TableSpec& s) { s.mutable_tensors(0)->set_shape(0, 0); },
      [](TableSpec& s) { s.mutable_tensors(0)->set_name(""); },
      [](TableSpec& s) { s.mutable_tensors(0)->set_name(std::string(300, 'x')); },
      [](TableSpec& s) {
        for (int i = 0; i < 9; ++i) s.mutable_tensors(1)->add_shape(1);
      },
      [](TableSpec& s) {
        for (int i = 0; i < 4100; ++i) *s.add_tensors() = s.tensors(0);
      },
  };
  for (const auto& mistake : mistakes) {
    TableSpec spec = MakeSpec();
    mistake(spec);
    CHECK(ValidateTableSpec(spec).code() == absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("the tensor that differs is named") {
  CHECK(CompareTableSpecs(MakeSpec(), MakeSpec()).ok());
  TableSpec other = MakeSpec();
  other.mutable_tensors(1)->set_shape(0, 5);
  const absl::Status shape = CompareTableSpecs(MakeSpec(), other);
  CHECK(shape.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(std::string(shape.message()).find("conv1.bias") != std::string::npos);
  other = MakeSpec();
  other.add_tensors()->set_name("conv2.weights");
  CHECK(std::string(CompareTableSpecs(MakeSpec(), other).message()).find("surplus one is 'conv2") !=
        std::string::npos);
  CHECK(std::string(CompareTableSpecs(other, MakeSpec()).message()).find("missing one is 'conv2") !=
        std::string::npos);
  other = MakeSpec();
  other.set_elements(65);
  CHECK(!CompareTableSpecs(MakeSpec(), other).ok());
}

}  // namespace
}  // namespace downpour::ps
