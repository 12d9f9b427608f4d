#include <catch2/catch.hpp>
#include <map>

#include "absl/strings/str_cat.h"
#include "proto/job_config.h"
#include "worker/formats/onnx_export.h"
#include "worker/formats/onnx_import.h"
#include "worker/layers/table.h"

namespace downpour::formats {
namespace {

Model MakeModel(const std::string& layers, const std::string& shape = "[3, 8, 8]") {
  const auto job =
      ParseJob(absl::StrCat("name: test\nsync: {mode: downpour}\ndata: {shape: ", shape, ", scale: 1}\nnet:\n", layers), "test");
  if (!job.ok()) FAIL(job.status().message());
  Model model{.job = *job};
  model.outline = *worker::OutlineNet(job->net(), {job->data().shape().begin(), job->data().shape().end()});
  for (size_t i = 0; i < model.outline.parameter_count; ++i) model.values.push_back(static_cast<float>(i % 7) - 3);
  return model;
}

constexpr char kLayers[] =
    "  - {name: conv, type: convolution, outputs: 4, kernel: 3}\n"
    "  - {name: pool, type: pooling, kernel: 3, stride: 2, round_up: true}\n"
    "  - {name: ip, type: inner_product, outputs: 2}\n"
    "  - {name: loss, type: softmax_loss}\n";

onnx::ModelProto Written(const Model& model) {
  const auto bytes = ToOnnx(model.job, model);
  if (!bytes.ok()) FAIL(bytes.status().message());
  onnx::ModelProto written;
  REQUIRE(written.ParseFromString(*bytes));
  return written;
}

absl::StatusOr<Model> Read(const onnx::ModelProto& model) {
  return FromOnnx(model.SerializeAsString(), "net.onnx", {});
}

std::string Mistake(const onnx::ModelProto& model) {
  const auto read = Read(model);
  REQUIRE(!read.ok());
  CHECK(absl::IsInvalidArgument(read.status()));
  return std::string(read.status().message());
}

TEST_CASE("what was written is read again") {
  const Model model = MakeModel(kLayers);
  const auto again = Read(Written(model));
  if (!again.ok()) FAIL(again.status().message());
  CHECK(again->values == model.values);
  REQUIRE(again->job.net_size() == 4);
  CHECK(again->job.net(1).round_up());
  CHECK(again->job.net(2).inputs_size() == 0);
  CHECK(again->job.net(3).type() == "softmax_loss");
  CHECK(again->notes.size() == 1);
}

TEST_CASE("two nodes that give one value are a mistake") {
  onnx::ModelProto model = Written(MakeModel(kLayers));
  const std::string first = model.graph().node(0).output(0);
  model.mutable_graph()->mutable_node(1)->set_output(0, first);
  CHECK_THAT(Mistake(model), Catch::Contains("gives '" + first + "', which something before it gives too"));
}

TEST_CASE("only what leads to the answer is written") {
  const Model model = MakeModel(
      "  - {name: ip1, type: inner_product, outputs: 3}\n"
      "  - {name: early, type: inner_product, outputs: 2, inputs: [ip1]}\n"
      "  - {name: early_loss, type: softmax_loss}\n"
      "  - {name: ip2, type: inner_product, outputs: 2, inputs: [ip1]}\n"
      "  - {name: loss, type: softmax_loss}\n");
  const onnx::ModelProto written = Written(model);
  CHECK(written.graph().node_size() == 3);
  CHECK(written.graph().output(0).name() == "ip2");
}

TEST_CASE("a newer set of operators only where a layer needs it") {
  CHECK(Written(MakeModel(kLayers)).opset_import(0).version() == 13);
  CHECK(Written(MakeModel("  - {name: gelu, type: gelu}\n  - {name: ip, type: inner_product, outputs: 2}\n"
                          "  - {name: loss, type: softmax_loss}\n"))
            .opset_import(0)
            .version() == 20);
}

TEST_CASE("nodes that are not known are named, all of them") {
  onnx::ModelProto model = Written(MakeModel(kLayers));
  model.mutable_graph()->mutable_node(0)->set_op_type("Einsum");
  model.mutable_graph()->mutable_node(1)->set_op_type("Loop");
  CHECK(Mistake(model) ==
        "net.onnx: node conv (Einsum): this operator is not known\nnet.onnx: node pool (Loop): this operator is not known");
}

TEST_CASE("what a layer here does not do is refused") {
  const onnx::ModelProto good = Written(MakeModel(kLayers));
  const auto with = [&](int node, const std::string& name, const std::vector<int64_t>& ints) {
    onnx::ModelProto model = good;
    for (onnx::AttributeProto& attribute : *model.mutable_graph()->mutable_node(node)->mutable_attribute()) {
      if (attribute.name() == name) attribute.mutable_ints()->Assign(ints.begin(), ints.end());
    }
    return Mistake(model);
  };
  CHECK_THAT(with(0, "kernel_shape", {3, 5}), Catch::Contains("kernel_shape is not the same in all directions"));
  CHECK_THAT(with(0, "strides", {2}), !Catch::Contains("node pool"));
  CHECK_THAT(with(0, "strides", {0, 0}), Catch::Contains("strides is out of bounds"));
  CHECK_THAT(with(0, "pads", {1, 0, 1, 0}), Catch::Contains("pads at the beginning that differ"));
  CHECK_THAT(with(1, "pads", {0, 0, 0, 2}), Catch::Contains("other windows than rounding up"));
}

TEST_CASE("a file that lies about its sizes is refused before anything is allocated") {
  const onnx::ModelProto good = Written(MakeModel(kLayers));
  onnx::ModelProto model = good;
  model.mutable_graph()->mutable_initializer(0)->set_dims(0, int64_t{1} << 40);
  CHECK_THAT(Mistake(model), Catch::Contains("no outputs or no groups"));
  model = good;
  model.mutable_graph()->mutable_initializer(0)->mutable_raw_data()->resize(8);
  CHECK_THAT(Mistake(model), Catch::Contains("conv.weight: has 2 values, not those of its sides"));
  model = good;
  model.mutable_graph()->mutable_initializer(0)->set_data_location(onnx::TensorProto::EXTERNAL);
  CHECK_THAT(Mistake(model), Catch::Contains("in another file"));
  model = good;
  model.mutable_graph()->mutable_input(0)->mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim(2)->set_dim_value(65536);
  Mistake(model);
  CHECK(!FromOnnx("no protobuf at all", "net.onnx", {}).ok());
}

TEST_CASE("a row is cut, and a cut that is not there is refused") {
  onnx::ModelProto model = Written(MakeModel("  - {name: flat, type: flatten}\n  - {name: slice, type: slice, from: 64, to: 128}\n"
                                             "  - {name: ip, type: inner_product, outputs: 2}\n  - {name: loss, type: softmax_loss}\n"));
  // The writer makes an image of a row first.
  for (onnx::NodeProto& node : *model.mutable_graph()->mutable_node()) {
    if (node.op_type() == "Slice") node.set_input(0, "flat");
  }
  const auto read = Read(model);
  if (!read.ok()) FAIL(read.status().message());
  CHECK(read->outline.layers[1].output.size() == 64);
  for (onnx::TensorProto& constant : *model.mutable_graph()->mutable_initializer()) {
    if (constant.name() != "slice.axis") continue;
    constant.clear_raw_data();
    constant.clear_int64_data();
    constant.add_int64_data(2);
  }
  CHECK_THAT(Mistake(model), Catch::Contains("one that is not there"));
}

TEST_CASE("recurrent nodes that a job's layers are not") {
  const onnx::ModelProto good = Written(MakeModel("  - {name: lstm, type: lstm, outputs: 3, last: true}\n"
                                                  "  - {name: ip, type: inner_product, outputs: 2}\n  - {name: loss, type: softmax_loss}\n",
                                                  "[5, 1, 4]"));
  const auto with = [&](auto change) {
    onnx::ModelProto model = good;
    for (onnx::NodeProto& node : *model.mutable_graph()->mutable_node()) {
      if (node.op_type() == "LSTM") change(node);
    }
    return Mistake(model);
  };
  CHECK_THAT(with([](onnx::NodeProto& node) {
               onnx::AttributeProto* const direction = node.add_attribute();
               direction->set_name("direction");
               direction->set_s("bidirectional");
             }),
             Catch::Contains("another way than forward"));
  CHECK_THAT(with([](onnx::NodeProto& node) { node.mutable_attribute(0)->set_i(int64_t{1} << 40); }), Catch::Contains("out of bounds"));
  CHECK_THAT(with([](onnx::NodeProto& node) { node.mutable_attribute(0)->set_i(4); }), Catch::Contains("its weights are no constants of 1 x 16"));
  CHECK_THAT(with([](onnx::NodeProto& node) { node.set_input(0, node.input(1)); }), Catch::Contains("no node before it"));
}

TEST_CASE("a matrix is turned, and biases are those of the node after it") {
  onnx::ModelProto model = Written(MakeModel("  - {name: ip, type: inner_product, outputs: 2}\n  - {name: loss, type: softmax_loss}\n", "[3]"));
  onnx::NodeProto* const node = model.mutable_graph()->mutable_node(0);
  node->set_op_type("MatMul");
  node->clear_attribute();
  node->mutable_input()->RemoveLast();
  node->set_output(0, "product");
  onnx::NodeProto* const add = model.mutable_graph()->add_node();
  add->set_op_type("Add");
  add->add_input("ip.bias");
  add->add_input("product");
  add->add_output("ip");
  onnx::TensorProto* const weight = model.mutable_graph()->mutable_initializer(0);
  weight->set_dims(0, 3);
  weight->set_dims(1, 2);
  weight->clear_raw_data();
  for (const float value : {1, 2, 3, 4, 5, 6}) weight->add_float_data(value);
  const auto read = Read(model);
  if (!read.ok()) FAIL(read.status().message());
  CHECK(std::vector<float>(read->values.begin(), read->values.begin() + 6) == std::vector<float>{1, 3, 5, 2, 4, 6});
  CHECK(read->values.size() == 8);
  CHECK(!read->job.net(0).has_bias_lr_mult());
}

TEST_CASE("a slope for all channels, and a logarithm at the end that a loss has itself") {
  onnx::ModelProto model = Written(MakeModel("  - {name: prelu, type: prelu}\n  - {name: ip, type: inner_product, outputs: 2}\n"
                                             "  - {name: loss, type: softmax_loss}\n"));
  onnx::TensorProto* const slopes = model.mutable_graph()->mutable_initializer(0);
  slopes->clear_dims();
  slopes->add_dims(1);
  slopes->clear_raw_data();
  slopes->add_float_data(0.5f);
  onnx::NodeProto* const last = model.mutable_graph()->add_node();
  last->set_op_type("LogSoftmax");
  last->add_input("ip");
  last->add_output("scores");
  model.mutable_graph()->mutable_output(0)->set_name("scores");
  const auto read = Read(model);
  if (!read.ok()) FAIL(read.status().message());
  CHECK(std::vector<float>(read->values.begin(), read->values.begin() + 3) == std::vector<float>{0.5f, 0.5f, 0.5f});
  CHECK(read->job.net_size() == 3);
  CHECK(read->job.net(2).type() == "softmax_loss");
  model.mutable_graph()->add_output()->set_name("scores");
  CHECK_THAT(Mistake(model), Catch::Contains("is not the net's output"));
}

TEST_CASE("each of a job's layers is written and read, or it is said why not") {
  const std::map<std::string_view, std::string_view> not_written = {
      {"softmax_loss", "a loss"}, {"hinge_loss", "a loss"},       {"euclidean_loss", "a loss"},
      {"sigmoid_loss", "a loss"}, {"contrastive_loss", "a loss"}};
  const std::map<std::string_view, std::string_view> not_read = {
      {"softmax_loss", "comes of a Softmax at the end"},
      {"hinge_loss", "a loss"},
      {"euclidean_loss", "a loss"},
      {"sigmoid_loss", "a loss"},
      {"contrastive_loss", "a loss"},
  };
  for (const worker::LayerType& type : worker::LayerTypes()) {
    CAPTURE(std::string(type.type));
    const bool written = std::ranges::any_of(OnnxExports(), [&](const OnnxExport& each) { return each.type == type.type; });
    const bool read = std::ranges::any_of(OnnxImports(), [&](const OnnxImport& each) { return each.layer == type.type; }) ||
                      std::ranges::any_of(OnnxPatterns(), [&](const OnnxPattern& each) { return each.layer == type.type; });
    CHECK((written != not_written.contains(type.type)));
    CHECK((read != not_read.contains(type.type)));
  }
}

}  // namespace
}  // namespace downpour::formats
