// Damaged nets and parameters of Caffe's: refused, or a net with its parameters.
#include "tests/fuzz/mutations.h"
#include "worker/formats/caffe_net.h"
#include "worker/formats/caffe_weights.h"

namespace {

using namespace downpour;
using namespace downpour::formats;

constexpr char kNet[] =
    "name: 'fuzz'\n"
    "input: 'data' input_dim: 1 input_dim: 2 input_dim: 9 input_dim: 9\n"
    "layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv' param { lr_mult: 1 } param { lr_mult: 2 }\n"
    "  convolution_param { num_output: 4 kernel_size: 3 pad: 1 group: 2 weight_filler { type: 'xavier' } } }\n"
    "layer { name: 'bn' type: 'BatchNorm' bottom: 'conv' top: 'conv' }\n"
    "layer { name: 'scale' type: 'Scale' bottom: 'conv' top: 'conv' scale_param { bias_term: true } }\n"
    "layer { name: 'relu' type: 'ReLU' bottom: 'conv' top: 'conv' relu_param { negative_slope: 0.5 } }\n"
    "layer { name: 'lrn' type: 'LRN' bottom: 'conv' top: 'lrn' lrn_param { local_size: 3 } }\n"
    "layer { name: 'pool' type: 'Pooling' bottom: 'lrn' top: 'pool' pooling_param { pool: AVE kernel_size: 3 stride: 2 } }\n"
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'pool' top: 'ip' inner_product_param { num_output: 3\n"
    "  weight_filler { type: 'gaussian' std: 0.1 } } }\n"
    "layer { name: 'prob' type: 'Softmax' bottom: 'ip' top: 'prob' }\n";
constexpr char kSolver[] = "base_lr: 0.01 momentum: 0.9 lr_policy: 'step' gamma: 0.1 stepsize: 10 max_iter: 100 type: 'Adam'";

// A net's blobs, as Caffe would have written them.
std::string BlobsOf(const CaffeNet& net, const worker::NetOutline& outline) {
  caffe::NetParameter model;
  for (const CaffeBlobs& blobs : net.blobs) {
    caffe::LayerParameter* const layer = model.add_layer();
    layer->set_name(blobs.caffe_layer);
    for (const std::string& tensor : blobs.tensors) {
      caffe::BlobProto* const blob = layer->add_blobs();
      if (tensor == "scale") {
        blob->mutable_shape()->add_dim(1);
        blob->add_data(2);
      }
      for (const worker::Parameter& parameter : outline.parameters) {
        if (parameter.name != blobs.layer + "." + tensor) continue;
        for (const std::uint32_t side : parameter.shape) blob->mutable_shape()->add_dim(side);
        for (std::size_t i = 0; i < parameter.size; ++i) blob->add_data(1);
      }
    }
  }
  return model.SerializeAsString();
}

}  // namespace

int main(int argc, char** argv) {
  const auto text = ParseCaffeNet(kNet, "net");
  const auto net = text.ok() ? FromCaffeNet(*text, {}) : text.status();
  if (!net.ok()) return 1;
  const auto outline = worker::OutlineNet(net->job.net(), {2, 9, 9});
  if (!outline.ok()) return 1;
  const std::string blobs = BlobsOf(*net, *outline);
  const auto read = [&](const std::string& bytes) {
    const auto model = ParseCaffeModel(bytes, "damaged");
    return model.ok() ? FromCaffeModel(*model, "damaged", net->blobs, *outline).status() : model.status();
  };
  if (!read(blobs).ok()) return 1;
  return fuzz::Main(argc, argv, {kNet, kSolver, blobs}, [&](const std::string& bytes) {
    (void)read(bytes);
    if (const auto damaged = ParseCaffeNet(bytes, "damaged"); damaged.ok()) {
      const auto made = FromCaffeNet(*damaged, {});
      if (made.ok()) (void)worker::OutlineNet(made->job.net(), {made->job.data().shape().begin(), made->job.data().shape().end()});
    }
    if (const auto solver = ParseCaffeSolver(bytes, "damaged"); solver.ok()) {
      CaffeNet solved = *net;
      (void)ApplyCaffeSolver(*solver, "damaged", &solved);
    }
  });
}
