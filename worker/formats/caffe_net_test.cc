#include "worker/formats/caffe_net.h"

#include <catch2/catch.hpp>

#include "proto/job_config.h"
#include "worker/formats/caffe_layers.h"
#include "worker/formats/caffe_weights.h"
#include "worker/layers/table.h"

namespace downpour::formats {
namespace {

absl::StatusOr<CaffeNet> Read(const std::string& text, const CaffeNetOptions& options = {}) {
  const auto parsed = ParseCaffeNet(text, "net.prototxt");
  if (!parsed.ok()) return parsed.status();
  return FromCaffeNet(*parsed, options);
}

CaffeNet Good(const std::string& text, const CaffeNetOptions& options = {}) {
  auto net = Read(text, options);
  if (!net.ok()) FAIL(net.status().message());
  if (const auto job = ParseJob(JobToYaml(net->job), "job"); !job.ok()) FAIL(job.status().message());
  return *std::move(net);
}

std::string Mistake(const std::string& text) {
  const auto net = Read(text);
  REQUIRE(!net.ok());
  CHECK(absl::IsInvalidArgument(net.status()));
  return std::string(net.status().message());
}

// What a layer becomes, as it stands in a job.
std::string LineOf(const Layer& layer) {
  Job job;
  *job.add_net() = layer;
  const std::string yaml = JobToYaml(job);
  return yaml.substr(yaml.find('{'), yaml.find('}') - yaml.find('{') + 1);
}

constexpr char kData[] =
    "layer { name: 'mnist' type: 'Data' top: 'data' top: 'label' transform_param { scale: 0.5 }\n"
    "  data_param { source: 'train' batch_size: 32 backend: LMDB } include { phase: TRAIN } }\n"
    "layer { name: 'mnist' type: 'Data' top: 'data' top: 'label' include { phase: TEST }\n"
    "  data_param { source: 'held out' backend: LMDB } }\n";
constexpr char kInput[] =
    "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n";
constexpr char kLoss[] =
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'ip' inner_product_param { num_output: 4\n"
    "  weight_filler { type: 'xavier' } } }\n";

// The one layer between samples and an inner product.
std::string Becomes(const std::string& layer) {
  const CaffeNet net = Good(absl::StrCat(kInput, "layer { name: 'l' bottom: 'data' top: 'x' ", layer, " }\n", kLoss));
  REQUIRE(net.job.net_size() == 3);
  return LineOf(net.job.net(0));
}

std::string Refused(const std::string& layer) {
  return Mistake(absl::StrCat(kInput, "layer { name: 'l' bottom: 'data' top: 'x' ", layer, " }\n", kLoss));
}

TEST_CASE("keys that are not known hide no type that is not known") {
  const std::string text = absl::StrCat(kInput, "layer { name: 'roi' type: 'ROIPooling' bottom: 'data' top: 'a'\n"
                                                "  roi_pooling_param { pooled_w: 7 } }\n"
                                                "layer { name: 'pool' type: 'Pooling' bottom: 'data' top: 'x'\n"
                                                "  pooling_param { kernel_size: 2\n"
                                                "    rounding: 1 } }\n",
                                        kLoss, "layer { name: 'odd' type: 'Odd' bottom: 'ip' top: 'z' }\n");
  const std::string told = Mistake(text);
  CHECK_THAT(told, Catch::Contains("net.prototxt:2: layer roi (ROIPooling)"));
  CHECK_THAT(told, Catch::Contains("net.prototxt:6: ") && Catch::Contains("has no field named \"rounding\""));
  CHECK_THAT(told, Catch::Contains("layer odd (Odd)"));
  CHECK_THAT(told, !Catch::Contains("roi_pooling_param"));
  CHECK_THAT(told, Catch::Contains("known types: "));
  CHECK_THAT(Mistake("nonsense: 3\n" + std::string(kInput)), Catch::Contains("net.prototxt:1: "));
  const std::string test_only = "layer { name: 'acc' type: 'Accuracy' bottom: 'ip' include { phase: TEST } odd: 1 }";
  const std::string good = absl::StrCat(kInput, "layer { name: 'p' type: 'ReLU' bottom: 'data' top: 'x' }\n", kLoss);
  CHECK(Read(good + test_only).ok());
  CHECK_THAT(Mistake(good + test_only + "\nnonsense: 3\n"), Catch::Contains("no field named \"nonsense\""));
  const std::string one_line = "layer { name: 'q' type: 'ReLU' bottom: 'ip' top: 'q' rounding: 1 } ";
  CHECK_THAT(Mistake(good + one_line + test_only), Catch::Contains("no field named \"rounding\""));
}

TEST_CASE("layers become those of a job") {
  CHECK(Becomes("type: 'Convolution' param { lr_mult: 0 } param { lr_mult: 2 decay_mult: 0 } convolution_param { num_output: 6 "
                "kernel_size: 3 pad: 1 stride: 2 dilation: 2 group: 3 weight_filler { type: 'msra' } }") ==
        "{name: \"l\", type: \"convolution\", outputs: 6, kernel: 3, stride: 2, pad: 1, filler: \"msra\", dilation: 2, "
        "groups: 3, lr_mult: 0, bias_lr_mult: 2, bias_decay_mult: 0}");
  CHECK(Becomes("type: 'Convolution' convolution_param { num_output: 6 kernel_h: 3 kernel_w: 3 pad_h: 1 pad_w: 1 bias_term: "
                "false weight_filler { type: 'xavier' } }") ==
        "{name: \"l\", type: \"convolution\", outputs: 6, kernel: 3, pad: 1, filler: \"xavier\", bias_lr_mult: 0}");
  CHECK(
      Becomes(
          "type: 'Deconvolution' convolution_param { num_output: 3 group: 3 kernel_size: 4 stride: 2 pad: 1 bias_term: "
          "false weight_filler { type: 'bilinear' } }") ==
      "{name: \"l\", type: \"transposed_convolution\", outputs: 3, kernel: 4, stride: 2, pad: 1, filler: \"bilinear\", "
      "groups: 3, bias_lr_mult: 0}");
  const auto filled = [](const std::string& fillers) {
    return Becomes(absl::StrCat("type: 'InnerProduct' inner_product_param { num_output: 2 ", fillers, " }"));
  };
  const std::string layer = "{name: \"l\", type: \"inner_product\", outputs: 2, filler: ";
  CHECK(filled("weight_filler { value: 3 } bias_filler { value: 1 }") ==
        layer + "\"constant\", filler_value: 3, bias_filler_value: 1}");
  CHECK(filled("weight_filler { type: 'gaussian' std: 0.25 }") == layer + "\"gaussian\", filler_std: 0.25}");
  CHECK(filled("weight_filler { type: 'uniform' min: -1 }") == layer + "\"uniform\", filler_min: -1, filler_max: 1}");
  CHECK(Becomes("type: 'LRN' lrn_param { alpha: 0.5 k: 2 }") ==
        "{name: \"l\", type: \"lrn\", local_size: 5, alpha: 0.5, beta: 0.75, k: 2}");
  CHECK(Becomes("type: 'LRN' lrn_param { norm_region: WITHIN_CHANNEL local_size: 3 k: 2 }") ==
        "{name: \"l\", type: \"lrn\", local_size: 3, alpha: 1, beta: 0.75, region: \"within_channel\"}");
  CHECK(Becomes("type: 'Flatten'") == "{name: \"l\", type: \"flatten\"}");
  CHECK(Becomes("type: 'Reshape' reshape_param { shape { dim: 0 dim: 12 dim: 4 dim: 4 } }") ==
        "{name: \"l\", type: \"reshape\", shape: [12, 4, 4]}");
  CHECK(Becomes("type: 'Pooling' pooling_param { pool: AVE kernel_size: 3 stride: 2 }") ==
        "{name: \"l\", type: \"pooling\", kernel: 3, stride: 2, method: \"average\", round_up: true}");
  CHECK(Becomes("type: 'Pooling' pooling_param { kernel_size: 2 round_mode: FLOOR }") ==
        "{name: \"l\", type: \"pooling\", kernel: 2}");
  CHECK(Becomes("type: 'Pooling' pooling_param { global_pooling: true }") ==
        "{name: \"l\", type: \"global_pooling\"}");
  CHECK(Becomes("type: 'ReLU' relu_param { negative_slope: 0.5 }") == "{name: \"l\", type: \"leaky_relu\", slope: 0.5}");
  CHECK(Becomes("type: 'ELU' elu_param { alpha: 2 }") == "{name: \"l\", type: \"elu\", slope: 2}");
  CHECK(Becomes("type: 'PReLU' prelu_param { filler { type: 'constant' value: 0.25 } }") == "{name: \"l\", type: \"prelu\"}");
  CHECK(Becomes("type: 'Dropout' dropout_param { dropout_ratio: 0.25 }") == "{name: \"l\", type: \"dropout\", rate: 0.25}");
  CHECK(Becomes("type: 'BatchNorm'") ==
        "{name: \"l\", type: \"batch_norm\", epsilon: 1e-05, moving_average_fraction: 0.999, lr_mult: 0, bias_lr_mult: 0}");
  CHECK(Becomes("type: 'Eltwise' bottom: 'data' eltwise_param { operation: MAX }") ==
        "{name: \"l\", type: \"eltwise\", inputs: [\"data\", \"data\"], operation: \"max\"}");
  CHECK(Becomes("type: 'Concat' bottom: 'data'") == "{name: \"l\", type: \"concat\", inputs: [\"data\", \"data\"]}");
}

TEST_CASE("each top of a slice is a layer") {
  const CaffeNet net = Good(absl::StrCat(
      kInput,
      "layer { name: 's' type: 'Slice' bottom: 'data' top: 'a' top: 'b' slice_param { axis: 2 slice_point: 3 } }\n",
      "layer { name: 'x' type: 'Concat' bottom: 'b' bottom: 'a' top: 'x' concat_param { axis: 1 } }\n", kLoss));
  REQUIRE(net.job.net_size() == 5);
  CHECK(LineOf(net.job.net(0)) == "{name: \"s\", type: \"slice\", axis: \"height\", to: 3}");
  CHECK(LineOf(net.job.net(1)) == "{name: \"s_2\", type: \"slice\", inputs: [\"data\"], axis: \"height\", from: 3}");
  CHECK(LineOf(net.job.net(2)) == "{name: \"x\", type: \"concat\", inputs: [\"s_2\", \"s\"]}");
}

TEST_CASE("what a layer here does not do is refused, with its line") {
  CHECK_THAT(Refused("type: 'Slice' top: 'y'"), Catch::Contains("slice_point for each top"));
  CHECK_THAT(Refused("type: 'Reshape' reshape_param { shape { dim: 0 dim: -1 } }"), Catch::Contains("numbers above 0"));
  CHECK_THAT(Refused("type: 'InnerProduct' inner_product_param { num_output: 1 bias_filler { type: 'gaussian' } }"),
             Catch::Contains("bias_filler other than constant"));
  CHECK_THAT(Refused("type: 'InnerProduct' inner_product_param { num_output: 1 weight_filler { type: 'odd' } }"),
             Catch::Contains("weight_filler 'odd'"));
  CHECK(Refused("type: 'Convolution' convolution_param { num_output: 6 kernel_h: 3 kernel_w: 5 weight_filler { type: 'xavier' } }") ==
        "net.prototxt:2: layer l (Convolution): kernel is not the same for height and width");
  CHECK_THAT(Refused("type: 'Eltwise' bottom: 'data' eltwise_param { coeff: 1 coeff: -1 }"), Catch::Contains("coeff other than 1"));
  CHECK_THAT(Refused("type: 'Pooling' pooling_param { pool: STOCHASTIC kernel_size: 2 }"), Catch::Contains("STOCHASTIC"));
  CHECK_THAT(Refused("type: 'Scale'"), Catch::Contains("does not follow a BatchNorm"));
  CHECK_THAT(Refused("type: 'ReLU' propagate_down: false"), Catch::Contains("propagate_down"));
}

TEST_CASE("what Caffe does to samples becomes the job's transforms, and what can't is noted") {
  CaffeNetOptions options;
  options.shape = {3, 8, 8};
  const std::string text = absl::StrCat("layer { name: 'd' type: 'Data' top: 'data' top: 'label' transform_param {\n"
                                      "  mirror: true crop_size: 8 mean_value: 104 mean_value: 117 mean_value: 123 } }\n"
                                      "layer { name: 'x' type: 'ReLU' bottom: 'data' top: 'x' }\n",
                                         kLoss);
  const CaffeNet net = Good(text, options);
  const Transforms& transforms = net.job.data().transforms();
  CHECK(std::vector<float>(transforms.mean().begin(), transforms.mean().end()) == std::vector<float>{104, 117, 123});
  CHECK(transforms.mirror());
  CHECK_FALSE(transforms.has_crop());
  CHECK_THAT(absl::StrJoin(net.notes, "\n"), Catch::Contains("left out: crop_size") && !Catch::Contains("mean"));
  options.shape = {3, 9, 10};
  CHECK(Good(text, options).job.data().transforms().crop() == 8);
}

TEST_CASE("every unknown layer is named with its line, and what takes its values is no mistake of its own") {
  const std::string mistake = Mistake(absl::StrCat(kInput, "layer { name: 'a' type: 'Tile' bottom: 'data' top: 'x' }\n", kLoss,
                                                   "layer { name: 'b' type: 'Exp' bottom: 'ip' top: 'y' }\n"
                                                   "layer { name: 'c' type: 'ReLU' bottom: 'nowhere' top: 'z' }\n"));
  CHECK(mistake.substr(0, mistake.find("\nknown")) ==
        "net.prototxt:2: layer a (Tile): this type is not known\n"
        "net.prototxt:5: layer b (Exp): this type is not known\n"
        "net.prototxt:6: layer c (ReLU): no layer before it has the top 'nowhere'");
}

TEST_CASE("text that is none is refused where it goes wrong") {
  CHECK_THAT(Mistake("name: 'x'\nlayer { name: 'a' type: }"), Catch::Contains("net.prototxt:2:"));
  const std::string keys = Mistake("layer {\n  nme: 'a'\n  type: 'ReLU'\n  relu_param { slope: 1 }\n}\n");
  CHECK_THAT(keys, Catch::Contains("net.prototxt:2:") && Catch::Contains("\"nme\""));
  CHECK_THAT(keys, Catch::Contains("net.prototxt:4:") && Catch::Contains("\"slope\""));
  std::string deep = "layer ";
  for (int i = 0; i < 100000; ++i) deep += "{ x ";
  Mistake(deep);
}

TEST_CASE("layers of the training phase count, and its data says the batch") {
  CaffeNetOptions options;
  options.shape = {1, 4, 4};
  const CaffeNet net = Good(absl::StrCat("name: 'my net'\n", kData,
                                         "layer { name: 'ip/1' type: 'InnerProduct' bottom: 'data' top: 'ip' inner_product_param {\n"
                                         "  num_output: 4 weight_filler { type: 'xavier' } } }\n"
                                         "layer { name: 'relu' type: 'ReLU' bottom: 'ip' top: 'ip' }\n"
                                         "layer { name: 'drop' type: 'Dropout' bottom: 'ip' top: 'ip' exclude { phase: TRAIN } }\n"
                                         "layer { name: 'split' type: 'Split' bottom: 'ip' top: 'a' top: 'b' }\n"
                                         "layer { name: 'aside' type: 'TanH' bottom: 'b' top: 'c' }\n"
                                         "layer { name: 'quiet' type: 'Silence' bottom: 'c' }\n"
                                         "layer { name: 'accuracy' type: 'Accuracy' bottom: 'a' bottom: 'label' top: 'accuracy' }\n"
                                         "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'a' bottom: 'label' loss_weight: 0.5 }\n"),
                            options);
  CHECK(net.job.name() == "my_net");
  CHECK(net.job.training().batch() == 32);
  CHECK(net.job.data().scale() == 0.5f);
  CHECK(net.job.data().format() == "lmdb");
  CHECK(net.job.data().train().images() == "train");
  CHECK(net.job.data().test().images() == "held out");
  REQUIRE(net.job.net_size() == 3);
  CHECK(net.job.net(0).name() == "ip_1");
  CHECK(net.job.net(1).inputs_size() == 0);
  CHECK(LineOf(net.job.net(2)) == "{name: \"loss\", type: \"softmax_loss\", loss_weight: 0.5}");
  CHECK(net.notes.back() == "layer aside is left out, for it leads to no loss");
}

TEST_CASE("a net for deployment gets a loss") {
  const CaffeNet net = Good(absl::StrCat("input: 'x' input_dim: 1 input_dim: 3 input_dim: 5 input_dim: 6\n", kLoss,
                                         "layer { name: 'prob' type: 'Softmax' bottom: 'ip' top: 'prob' }\n"));
  CHECK(std::vector<uint32_t>(net.job.data().shape().begin(), net.job.data().shape().end()) ==
        std::vector<uint32_t>{3, 5, 6});
  REQUIRE(net.job.net_size() == 2);
  CHECK(LineOf(net.job.net(1)) == "{name: \"prob\", type: \"softmax_loss\"}");
}

TEST_CASE("old layers are read like new ones") {
  const CaffeNet net = Good(
      "input: 'data' input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n"
      "layers { name: 'c' type: CONVOLUTION bottom: 'data' top: 'c' blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0\n"
      "  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: 'xavier' } } }\n"
      "layers { name: 'r' type: RELU bottom: 'c' top: 'c' }\n");
  REQUIRE(net.job.net_size() == 3);
  CHECK(LineOf(net.job.net(0)) ==
        "{name: \"c\", type: \"convolution\", outputs: 4, kernel: 3, filler: \"xavier\", bias_lr_mult: 2, bias_decay_mult: 0}");
  CHECK(Mistake("layers { name: 'a' type: MVN }\n\nlayers { name: 'b' type: NONE }").substr(0, 97) ==
        "net.prototxt:1: layer a (MVN): this type is not known\nnet.prototxt:3: layer b (NONE): this type i");
}

TEST_CASE("a solver becomes optimizer, schedule and steps") {
  CaffeNet net = Good(absl::StrCat(kInput, "layer { name: 'r' type: 'ReLU' bottom: 'data' top: 'x' }\n", kLoss));
  const auto solver = ParseCaffeSolver(
      "net: 'x' base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: 'step' gamma: 0.1 stepsize: 100 max_iter: 450\n"
      "type: 'Nesterov' test_interval: 100 clip_gradients: 5 random_seed: 7 regularization_type: 'L1'",
      "solver.prototxt");
  REQUIRE(solver.ok());
  REQUIRE(ApplyCaffeSolver(*solver, "solver.prototxt", &net).ok());
  const auto job = ParseJob(JobToYaml(net.job), "job");
  if (!job.ok()) FAIL(job.status().message());
  CHECK(job->optimizer().name() == "nesterov");
  CHECK(job->optimizer().learning_rate() == 0.01f);
  CHECK(job->optimizer().momentum() == 0.9f);
  CHECK(job->optimizer().l1() == 0.0005f);
  CHECK(job->schedule().policy() == "step");
  CHECK(job->schedule().gamma() == 0.1f);
  CHECK(job->schedule().step_size() == 100);
  CHECK(job->training().max_steps() == 450);
  CHECK(job->training().clip_norm() == 5);
  CHECK(job->seed() == 7);
  CHECK(job->run().evaluations() == 4);
}

TEST_CASE("every solver and every policy that Caffe has is known") {
  for (const char* const type : {"SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"}) {
    for (const char* const policy : {"fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid"}) {
      CaffeNet net = Good(absl::StrCat(kInput, "layer { name: 'r' type: 'ReLU' bottom: 'data' top: 'x' }\n", kLoss));
      const auto solver = ParseCaffeSolver(
          absl::StrCat("base_lr: 0.01 momentum: 0.9 gamma: 0.5 power: 1 stepsize: 3 stepvalue: 4 stepvalue: 6 max_iter: 10 type: '",
                       type, "' lr_policy: '", policy, "'"),
          "solver.prototxt");
      REQUIRE(solver.ok());
      REQUIRE(ApplyCaffeSolver(*solver, "solver.prototxt", &net).ok());
      const auto job = ParseJob(JobToYaml(net.job), "job");
      if (!job.ok()) FAIL(job.status().message());
      CHECK(job->schedule().policy() == policy);
    }
  }
  CaffeNet net;
  caffe::SolverParameter solver;
  solver.set_type("LBFGS");
  solver.set_lr_policy("cyclic");
  const absl::Status status = ApplyCaffeSolver(solver, "solver.prototxt", &net);
  CHECK_THAT(std::string(status.message()),
             Catch::Contains("'LBFGS' is not known") && Catch::Contains("'cyclic' is not known") && Catch::Contains("max_iter"));
}

// A net of a convolution without biases, a normalisation and an inner product, and its .caffemodel.
constexpr char kNormed[] =
    "layer { name: 'c' type: 'Convolution' bottom: 'data' top: 'c' convolution_param { num_output: 2 kernel_size: 1\n"
    "  bias_term: false weight_filler { type: 'xavier' } } }\n"
    "layer { name: 'bn' type: 'BatchNorm' bottom: 'c' top: 'c' batch_norm_param { eps: 0.001 } }\n"
    "layer { name: 'scale' type: 'Scale' bottom: 'c' top: 'x' scale_param { bias_term: true } }\n";

caffe::BlobProto Blob(const std::vector<int64_t>& sides, const std::vector<float>& values) {
  caffe::BlobProto blob;
  for (const int64_t side : sides) blob.mutable_shape()->add_dim(side);
  for (const float value : values) blob.add_data(value);
  return blob;
}

void AddLayer(caffe::NetParameter* model, const std::string& name, const std::vector<caffe::BlobProto>& blobs) {
  caffe::LayerParameter* const layer = model->add_layer();
  layer->set_name(name);
  for (const caffe::BlobProto& blob : blobs) *layer->add_blobs() = blob;
}

struct Parameters {
  CaffeNet net = Good(absl::StrCat(kInput, kNormed, kLoss));
  worker::NetOutline outline = *worker::OutlineNet(net.job.net(), {3, 8, 8});
  caffe::NetParameter model;

  Parameters() {
    AddLayer(&model, "c", {Blob({2, 3, 1, 1}, {1, 2, 3, 4, 5, 6})});
    AddLayer(&model, "bn", {Blob({2}, {10, 20}), Blob({2}, {30, 40}), Blob({1}, {2})});
    AddLayer(&model, "scale", {Blob({2}, {7, 8}), Blob({2}, {9, 11})});
    AddLayer(&model, "ip", {Blob({4, 128}, std::vector<float>(512, 1)), Blob({1, 1, 1, 4}, {1, 2, 3, 4})});
  }
  absl::StatusOr<std::vector<float>> Read() const { return FromCaffeModel(model, "net.caffemodel", net.blobs, outline); }
};

TEST_CASE("a .caffemodel's blobs are the parameters") {
  const Parameters parameters;
  REQUIRE(parameters.net.job.net_size() == 4);
  CHECK(!parameters.net.job.net(1).has_lr_mult());
  const auto values = parameters.Read();
  if (!values.ok()) FAIL(values.status().message());
  std::map<std::string, std::vector<float>> named;
  for (const worker::Parameter& parameter : parameters.outline.parameters) {
    named[parameter.name].assign(values->begin() + parameter.offset, values->begin() + parameter.offset + parameter.size);
  }
  CHECK(named["c.weight"] == std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(named["c.bias"] == std::vector<float>{0, 0});
  CHECK(named["bn.weight"] == std::vector<float>{7, 8});
  CHECK(named["bn.bias"] == std::vector<float>{9, 11});
  CHECK(named["bn.running_mean"] == std::vector<float>{5, 10});
  CHECK(named["bn.running_var"] == std::vector<float>{15, 20});
  CHECK(named["ip.bias"] == std::vector<float>{1, 2, 3, 4});
}

TEST_CASE("blobs that do not fit are refused, all of them") {
  Parameters parameters;
  parameters.model.mutable_layer(0)->mutable_blobs(0)->add_data(1);
  parameters.model.mutable_layer(2)->set_name("elsewhere");
  parameters.model.mutable_layer(3)->mutable_blobs()->RemoveLast();
  const auto values = parameters.Read();
  REQUIRE(!values.ok());
  const std::string message(values.status().message());
  CHECK_THAT(message, Catch::Contains("net.caffemodel: layer c: its weight is 2x3 of 7 values; the net has 2x3x1x1"));
  CHECK_THAT(message, Catch::Contains("has no parameters of layer scale"));
  CHECK_THAT(message, Catch::Contains("layer ip has 1 blobs; the net has 2"));
}

TEST_CASE("a blob of floats and doubles both is refused, and so are its values") {
  Parameters parameters;
  caffe::BlobProto* const blob = parameters.model.mutable_layer(0)->mutable_blobs(0);
  blob->mutable_data()->RemoveLast();
  blob->add_double_data(6);
  CHECK_THAT(std::string(parameters.Read().status().message()), Catch::Contains("floats and doubles both"));
}

TEST_CASE("what is between BatchNorm and its Scale is not there for others") {
  const std::string apart =
      "layer { name: 'bn' type: 'BatchNorm' bottom: 'data' top: 'bn' }\n"
      "layer { name: 'scale' type: 'Scale' bottom: 'bn' top: 'x0' scale_param { bias_term: true } }\n"
      "layer { name: 'both' type: 'Concat' bottom: 'x0' bottom: 'bn' top: 'x' }\n";
  CHECK_THAT(Mistake(absl::StrCat(kInput, apart, kLoss)),
             Catch::Contains("layer both (Concat): takes 'bn', which here is one layer with scale behind it"));
}

TEST_CASE("losses of two classes and of pairs") {
  CaffeNetOptions options;
  options.shape = {3, 8, 8};
  const CaffeNet sigmoid = Good(absl::StrCat(
      kData,
      "layer { name: 'ip' type: 'InnerProduct' bottom: 'data' top: 'ip' inner_product_param { num_output: 1 weight_filler { type: 'xavier' } } }\n"
      "layer { name: 'loss' type: 'SigmoidCrossEntropyLoss' bottom: 'ip' bottom: 'label' }\n"),
      options);
  CHECK(sigmoid.job.net(1).type() == "sigmoid_loss");
  const CaffeNet pairs = Good(absl::StrCat(
      kData,
      "layer { name: 'a' type: 'InnerProduct' bottom: 'data' top: 'a' inner_product_param { num_output: 2 weight_filler { type: 'xavier' } } }\n"
      "layer { name: 'b' type: 'InnerProduct' bottom: 'data' top: 'b' inner_product_param { num_output: 2 weight_filler { type: 'xavier' } } }\n"
      "layer { name: 'loss' type: 'ContrastiveLoss' bottom: 'a' bottom: 'b' bottom: 'label' contrastive_loss_param { margin: 3 } }\n"),
      options);
  CHECK(pairs.job.net(2).type() == "contrastive_loss");
  CHECK(pairs.job.net(2).inputs_size() == 2);
  CHECK(pairs.job.net(2).margin() == 3);
}

TEST_CASE("each of a job's layers comes of one of Caffe's, or it is said why not") {
  const std::map<std::string_view, std::string_view> without = {
      {"global_pooling", "comes of Pooling with global_pooling"},
      {"leaky_relu", "comes of ReLU with negative_slope"},
      {"gelu", "Caffe has none"},
      {"layer_norm", "Caffe has none"},
      {"maxout", "Caffe has none"},
      {"embedding", "Caffe's Embed has a bias"},
      {"self_attention", "Caffe has none"},
      {"lstm", "Caffe's takes steps as samples, and says where a sequence begins"},
      {"gru", "Caffe has none"},
  };
  for (const worker::LayerType& type : worker::LayerTypes()) {
    CAPTURE(std::string(type.type));
    const bool comes = std::ranges::any_of(CaffeLayerTypes(), [&](const CaffeLayerType& each) { return each.layer == type.type; });
    CHECK((comes != without.contains(type.type)));
  }
}

}  // namespace
}  // namespace downpour::formats
